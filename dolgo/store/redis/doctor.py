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

from dolgo.store import disk
from dolgo.store.findings import Checks, Finding, Verdict, bad, findings, ok, warn
from dolgo.store.redis.doctor_kept import KEPT, MANAGED
from dolgo.store.redis.doctor_look import Look, key_of, look
from dolgo.store.redis.url import Address, parse

PATIENCE = 5.0  # seconds for an answer
OLDEST = (7, 0)  # functions and sharded channels came with it
PINGS = 20
SLOW_PING = 0.01  # seconds; every call costs one way there and back
SKEW = 5.0  # seconds between two clocks that nobody need mind
FULL_SHARE = 0.8  # of maxclients in use
SHORT_IDLE = 60  # seconds; a client that is not told of work is silent for up to a minute
MOST_NAMED = 8  # commands that a user may not do
LEAST_BUFFER = 1 << 20  # bytes that may wait for a subscriber
# What the store calls, in a form that changes nothing: on a key that does not exist, or refused for its arguments. Of SADD and
# RPUSH there is no such form; who may SREM and LPOP may do them by any sensible rule.
TRIES = (
    ("FUNCTION", "LOAD", "no library"), ("FCALL", "no_such_function", 1, "{key}"), ("TIME",), ("SPUBLISH", "{key}", ""),
    ("EXISTS", "{key}"), ("DEL", "{key}"),
    ("GET", "{key}"), ("GETRANGE", "{key}", 0, 0), ("MGET", "{key}"), ("SET", "{key}", "", "EX", "no number"),
    ("MSET", "{key}", "", "{key}"),
    ("HGET", "{key}", ""), ("HMGET", "{key}", ""), ("HGETALL", "{key}"), ("HKEYS", "{key}"), ("HEXISTS", "{key}", ""),
    ("HSCAN", "{key}", 0), ("HRANDFIELD", "{key}"), ("HSET", "{key}", "", "", ""), ("HINCRBY", "{key}", "", "no number"),
    ("HDEL", "{key}", ""),
    ("ZADD", "{key}", "no number", ""), ("ZREM", "{key}", ""), ("ZCARD", "{key}"), ("ZCOUNT", "{key}", 0, 0),
    ("ZSCORE", "{key}", ""), ("ZMSCORE", "{key}", ""), ("ZRANGE", "{key}", 0, 0), ("ZRANGEBYSCORE", "{key}", 0, 0),
    ("ZRANGEBYLEX", "{key}", "-", "+"),
    ("SMEMBERS", "{key}"), ("SISMEMBER", "{key}", ""), ("SREM", "{key}", ""), ("SPOP", "{key}"),
    ("SUNIONSTORE", "{key}", "{key}"), ("LPOP", "{key}"),
    ("XADD", "{key}", "no id", "", ""), ("XRANGE", "{key}", "-", "+"), ("XTRIM", "{key}", "MAXLEN", 0),
)  # fmt: skip


def examine(url: str) -> list[Finding]:
    """What is found in the Redis at `url`. Raises `BadSetting`."""
    address = parse(url)
    node = (address.host, address.port)
    found = []
    try:
        with _client(address, node) as client:
            node = _node(client, address)
        with _client(address, node) as client:
            _reach(client)
            found.append(Finding("connection", *ok(f"{address.shown} answers")))
            there = look(client, address, node)
            checks = {"server": _server} if there.sentinel else CHECKS  # of one that keeps no data the rest says nothing
            found += findings(checks, there, hides=redis.ResponseError)
    except (redis.RedisError, OSError, UnicodeError) as error:  # a certificate's file, a host's name
        found.append(Finding("connection", *_no_connection(address.shown, error)))
    return found


def _client(address: Address, node: tuple[str, int]) -> redis.Redis:
    tls = {"ssl": True, **address.tls} if address.tls is not None else {}
    return redis.Redis(
        *node, address.db, address.password, username=address.username, decode_responses=True, **tls,
        socket_timeout=PATIENCE, socket_connect_timeout=PATIENCE, retry=Retry(NoBackoff(), 0),
    )  # fmt: skip


def _node(client: Any, address: Address) -> tuple[str, int]:
    """Who has the keys. dolgo goes there too."""
    _reach(client)
    try:
        client.exists(key_of(address))
    except redis.exceptions.MovedError as moved:
        return moved.host or address.host, moved.port
    except redis.ResponseError:  # checks of their own find what is wrong
        pass
    return address.host, address.port


def _reach(client: Any) -> None:
    try:
        client.ping()
    except redis.exceptions.NoPermissionError:  # it has let us in: a check says what this user may not
        pass
    except redis.ResponseError as error:
        if not str(error).startswith("MISCONF"):  # it cannot write to its disk, and refuses pings too: a check says so
            raise


def _no_connection(url: str, error: Exception) -> Verdict:
    text = f"{url}: {str(error).rstrip('.')}"
    if isinstance(error, redis.AuthenticationError) or "NOAUTH" in text or "Authentication required" in text:
        return bad(text, "Give user and password in the URL: redis://USER:PASSWORD@HOST:PORT/0.")
    if isinstance(error, redis.BusyLoadingError):
        return bad(text, "It reads its data from disk: ask again when it has.")
    if "certificate" in text.lower():
        return bad(text, "Name its authority's certificate: rediss://HOST:PORT/0?ssl_ca_certs=FILE.")
    if isinstance(error, redis.exceptions.InvalidResponse):
        return bad(text, "What answers there is no Redis: correct host, port or the scheme (rediss:// with TLS) in --store.")
    if isinstance(error, redis.ConnectionError | redis.TimeoutError | OSError | UnicodeError):
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
    if look.sentinel:
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
    except redis.ResponseError as error:
        return bad(f"the cluster does not answer for the keys {look.address.prefix}…: {error}", "See CLUSTER INFO.")
    host, port = look.node
    here = look.node == (look.address.host, look.address.port)
    return ok(
        "a node of a cluster, with all keys of this store" if here else f"the keys are on {host}:{port}, and dolgo goes there"
    )


# -- the way there


def _rights(look: Look) -> Verdict:
    missing = [" ".join(map(str, words[:2])) if words[0] == "FUNCTION" else words[0] for words in TRIES if not _may(look, *words)]
    if not _may_subscribe(look):
        missing.append("SSUBSCRIBE")
    if missing:
        named = missing if len(missing) <= MOST_NAMED else [*missing[:MOST_NAMED], f"{len(missing) - MOST_NAMED} more"]
        keys = f"~{look.address.prefix}* &{look.address.prefix}*"
        return bad(
            f"this user may not do {', '.join(map(str, named))} on {look.key}",
            f"ACL SETUSER NAME {keys} +@read +@write +@pubsub +@connection +@scripting +time +info",
        )
    return ok("this user may do what the store does")


def _may(look: Look, *words: Any) -> bool:
    try:
        look.command(*(look.key if word == "{key}" else word for word in words))
    except redis.exceptions.NoPermissionError:
        return False
    except redis.ResponseError as error:  # mostly for its arguments; what else is wrong, a check of its own finds
        return "unknown command" not in str(error)
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
    if look.loopback:
        return ok("on this machine")
    lacks = [
        what for what, is_there in (("encryption", look.address.tls), ("a password", look.address.password)) if is_there is None
    ]
    if lacks:
        return warn(
            f"{look.node[0]} is reached without {' and '.join(lacks)}: whoever is in between reads and changes tasks",
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
        look.command("ECHO", "")  # unlike PING it is answered whatever is wrong
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
