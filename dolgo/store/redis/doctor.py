"""What can be wrong with a Redis that is to keep tasks. Nothing is written to it.

Where only a try can tell, the try is one that is refused for its arguments, and what is looked at is whether it was refused for
lack of rights before that.
"""

from __future__ import annotations

import re
import statistics
import time
from typing import Any

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from dolgo.setting_kinds import masked
from dolgo.store import disk
from dolgo.store.findings import Checks, Finding, Verdict, bad, findings, ok, warn
from dolgo.store.redis.doctor_kept import KEPT, MANAGED
from dolgo.store.redis.doctor_look import Look, look, read_address

PATIENCE = 5.0  # seconds for an answer
OLDEST = (7, 0)  # functions and sharded channels came with it
PINGS = 20
SLOW_PING = 0.01  # seconds; every call costs one way there and back
SKEW = 5.0  # seconds between two clocks that nobody need mind
FULL_SHARE = 0.8  # of maxclients in use
SHORT_IDLE = 60  # seconds; a client that is not told of work is silent for up to a minute
LEAST_BUFFER = 1 << 20  # bytes that may wait for a subscriber
# What the store calls, in a form that changes nothing: refused for its arguments, or on a key that does not exist.
TRIES = (
    ("FUNCTION", "LOAD", "no library"), ("FCALL", "no_such_function", 1, "{key}"), ("TIME",), ("GET", "{key}"),
    ("SET", "{key}", "", "EX", "no number"), ("DEL", "{key}"), ("HGET", "{key}", "no"), ("HINCRBY", "{key}", "no", "no number"),
    ("HDEL", "{key}", "no"), ("ZADD", "{key}", "no number", "no"), ("ZRANGE", "{key}", 0, 0), ("ZREM", "{key}", "no"),
    ("SREM", "{key}", "no"), ("XADD", "{key}", "no id", "no", "no"), ("SPUBLISH", "{key}", ""),
)  # fmt: skip


def examine(url: str) -> list[Finding]:
    """What is found in the Redis at `url`. Raises `BadSetting`."""
    address = read_address(url)
    client = redis.Redis.from_url(
        address.url, decode_responses=True, socket_timeout=PATIENCE, socket_connect_timeout=PATIENCE, retry=Retry(NoBackoff(), 0)
    )
    found = []
    with client:
        try:
            client.ping()
            found.append(Finding("connection", *ok(f"{masked(url)} answers")))
            found += findings(CHECKS, look(client, address), hides=redis.ResponseError)
        except redis.RedisError as error:
            found.append(Finding("connection", *_no_connection(masked(url), error)))
    return found


def _no_connection(url: str, error: redis.RedisError) -> Verdict:
    text = f"{url}: {str(error).rstrip('.')}"
    if isinstance(error, redis.AuthenticationError) or "NOAUTH" in text or "Authentication required" in text:
        return bad(text, "Give user and password in the URL: redis://USER:PASSWORD@HOST:PORT/0.")
    if isinstance(error, redis.BusyLoadingError):
        return bad(text, "It reads its data from disk: ask again when it has.")
    if isinstance(error, redis.ConnectionError | redis.TimeoutError):
        return bad(text, "Start Redis, or correct host, port or the scheme (rediss:// with TLS) in --store.")
    return bad(text, "See the log of Redis.")


def _rights_to_look(look: Look) -> Verdict | None:
    if not look.refused:
        return None
    said = "; ".join(f"{command}: {reason}" for command, reason in look.refused.items())
    return warn(
        f"part of it cannot be looked at ({said})",
        "Run this with a user who may (+info +config|get), or ask whoever runs this Redis for: append-only file on, "
        "appendfsync always, maxmemory-policy noeviction. " + MANAGED,
    )


# -- what it is


def _server(look: Look) -> Verdict:
    name = str(look.info.get("server_name") or look.hello.get("server", "redis"))
    version = str(look.info.get(f"{name}_version") or look.info.get("redis_version") or look.hello.get("version", "0"))
    if "sentinel" in (look.info.get("redis_mode"), look.hello.get("mode")):
        return bad("this is a Sentinel, which keeps no data", "Name the server itself in --store.")
    if "dragonfly_version" in look.info:
        return warn(f"Dragonfly {look.info['dragonfly_version']}: dolgo was never tried on it", "Use Redis or Valkey.")
    if tuple(int(part) for part in re.findall(r"\d+", version)[:2]) < OLDEST:
        return bad(f"{name} {version} has no functions", "Upgrade to Redis 7.0 or newer, or to Valkey.")
    return ok(f"{name} {version}")


def _role(look: Look) -> Verdict | None:
    role = look.info.get("role") or look.hello.get("role")
    if role in ("slave", "replica"):
        master = f"{look.info['master_host']}:{look.info['master_port']}" if look.info else "its master"
        return bad(f"this is a replica of {master}, and takes no writes", f"Name {master} in --store.")
    return ok("master") if role == "master" else None


def _cluster(look: Look) -> Verdict | None:
    if not look.info.get("cluster_enabled"):
        return None
    try:
        look.command("EXISTS", look.key)
    except redis.exceptions.MovedError as error:
        other = f"{error.host}:{error.port}"
        return warn(f"the keys of {look.address.prefix!r} belong to the node {other}", f"Name {other} in --store.")
    except redis.ResponseError as error:
        return bad(f"the cluster does not answer for the keys of {look.address.prefix!r}: {error}", "See CLUSTER INFO.")
    return ok("a node of a cluster, with all the keys of this store: they are in one slot")


# -- the way there


def _rights(look: Look) -> Verdict:
    missing = [" ".join(map(str, words[:2])) if words[0] == "FUNCTION" else words[0] for words in TRIES if not _may(look, *words)]
    if not _may_subscribe(look):
        missing.append("SSUBSCRIBE")
    if missing:
        keys = f"~{look.tag}* &{look.tag}*"
        return bad(
            f"this user may not do {', '.join(map(str, missing))} on {look.key}",
            f"ACL SETUSER NAME {keys} +@read +@write +@pubsub +@connection +@scripting +time",
        )
    return ok("this user may do what the store does")


def _may(look: Look, *words: Any) -> bool:
    try:
        look.command(*(look.key if word == "{key}" else word for word in words))
    except redis.exceptions.NoPermissionError:
        return False
    except redis.ResponseError:  # refused for its arguments, or for another reason that a check of its own finds
        pass
    return True


def _may_subscribe(look: Look) -> bool:
    with look.client.pubsub() as channel:
        try:
            channel.execute_command("SSUBSCRIBE", look.key)
            channel.parse_response(timeout=PATIENCE)
        except redis.exceptions.NoPermissionError:
            return False
        except redis.ResponseError:
            pass
    return True


def _network(look: Look) -> Verdict:
    address = look.address
    if address.loopback:
        return ok("on this machine")
    open_to = [text for text, lacks in (("no encryption", not address.encrypted), ("no password", not address.password)) if lacks]
    if open_to:
        return warn(
            f"{address.host} is reached with {' and '.join(open_to)}: whoever is in between reads and changes tasks",
            "Use rediss://USER:PASSWORD@HOST, or make sure that nobody else is in that network.",
        )
    return ok("encrypted, with a password")


def _clock(look: Look) -> Verdict:
    before = time.time()
    seconds, micros = look.command("TIME")
    ahead = (int(seconds) + int(micros) / 1e6) - (before + time.time()) / 2
    text = f"its clock is {abs(ahead):.1f} s {'ahead of' if ahead > 0 else 'behind'} this machine's"
    if abs(ahead) > SKEW:
        return warn(
            text, "dolgo goes by the clock of Redis: a run_at that was reckoned here is off by as much. Keep both by NTP."
        )
    return ok(text)


def _latency(look: Look) -> Verdict:
    took = []
    for _ in range(PINGS):
        began = time.perf_counter()
        look.client.ping()
        took.append(time.perf_counter() - began)
    text = f"an answer takes {statistics.median(took) * 1000:.2f} ms"
    if statistics.median(took) > SLOW_PING:
        return warn(text, "Every call costs one: run dolgo near its Redis, or see what keeps it busy (SLOWLOG).")
    return ok(text)


def _connections(look: Look) -> Verdict | None:
    idle = int(look.config.get("timeout") or 0)
    if 0 < idle < SHORT_IDLE:
        return warn(f"connections that are silent for {idle} s are closed", "Set timeout 0: dolgo has to connect anew each time.")
    if "maxclients" not in look.info:
        return None
    used, most = int(look.info["connected_clients"]), int(look.info["maxclients"])
    text = f"{used} of {most} connections in use"
    return warn(text, "Raise maxclients, or run fewer processes.") if used > FULL_SHARE * most else ok(text)


def _notices(look: Look) -> Verdict | None:
    found = re.search(r"pubsub (\d+) (\d+)", look.config.get("client-output-buffer-limit", ""))
    limits = [int(limit) for limit in found.groups() if int(limit)] if found else []
    if not found:
        return None
    if limits and min(limits) < LEAST_BUFFER:
        return warn(
            f"a subscriber with {disk.amount(min(limits))} of news before it is cut off",
            "Set client-output-buffer-limit to 'pubsub 32mb 8mb 60': workers hear late of work otherwise.",
        )
    return ok("enough news may wait for a subscriber")


CHECKS: Checks[Look] = {
    "rights to look": _rights_to_look,
    "server": _server,
    "role": _role,
    "cluster": _cluster,
    **KEPT,
    "rights": _rights,
    "network": _network,
    "clock": _clock,
    "latency": _latency,
    "connections": _connections,
    "news": _notices,
}
