"""What survives in a Redis: whether it is written to disk, flushed, and left where it is."""

from __future__ import annotations

from dolgo.store import disk
from dolgo.store.findings import Checks, Verdict, bad, ok, warn
from dolgo.store.redis.doctor_look import Look

LAG = 10  # seconds a replica may be behind before it is said
FULL_SHARE = 0.8  # of maxmemory in use
MANAGED = "Managed services have these as settings of their own."


def _durability(look: Look) -> Verdict | None:
    if not look.info:
        return None
    if not look.info.get("aof_enabled"):
        never = look.config.get("save") == ""
        return bad(
            "neither append-only file nor snapshots: all tasks are lost when Redis ends"
            if never
            else "no append-only file: what was acknowledged since the last snapshot is lost when Redis ends",
            "Set appendonly yes and appendfsync always, in redis.conf or by CONFIG SET and CONFIG REWRITE. " + MANAGED,
        )
    match look.config.get("appendfsync"):
        case None:
            return warn("append-only file, but how often it is flushed cannot be looked at", "It should be appendfsync always.")
        case "no":
            return bad(
                "appendfsync no: half a minute of acknowledged tasks may be lost with the machine", "Set appendfsync always."
            )
        case "everysec":
            return warn(
                "appendfsync everysec: when the machine dies, about the last second of what was acknowledged is lost; "
                "when Redis alone dies, rarely anything",
                "If that is too much: appendfsync always.",
            )
    if look.config.get("no-appendfsync-on-rewrite") == "yes":
        return warn(
            "appendfsync always, but not while the file is rewritten or a snapshot made (no-appendfsync-on-rewrite yes)",
            "Set no-appendfsync-on-rewrite no.",
        )
    return ok("append-only file, flushed before each answer (appendfsync always)")


def _file_writes(look: Look) -> Verdict | None:
    failed = [name for name in ("aof_last_write_status", "aof_last_bgrewrite_status") if look.info.get(name, "ok") != "ok"]
    if "aof_last_write_status" in failed:
        return bad("the append-only file cannot be written, and Redis refuses writes", "Make room on its disk; see its log.")
    if failed:
        return warn("the last rewrite of the append-only file failed: it grows", "Make room on its disk; see its log.")
    if look.info.get("rdb_last_bgsave_status", "ok") == "ok":
        return ok("the last writes to disk went well") if look.info else None
    if look.config.get("save") and look.config.get("stop-writes-on-bgsave-error") == "yes":
        return bad("the last snapshot failed, and Redis refuses writes until one succeeds", "Make room on its disk; see its log.")
    return warn("the last snapshot failed", "Make room on its disk; see its log.")


def _replicas(look: Look) -> Verdict | None:
    if not look.info:
        return None
    count = int(look.info.get("connected_slaves", 0))
    least = int(look.config.get("min-replicas-to-write") or 0)
    good = int(look.info.get("min_slaves_good_slaves", count))
    if good < least:
        return bad(
            f"{good} replicas follow, and {least} must: Redis refuses writes", "Start replicas, or lower min-replicas-to-write."
        )
    if not count:
        return ok("none: nothing takes over when it dies, and no failover loses anything")
    lags = [int(look.info.get(f"slave{number}", {}).get("lag", 0)) for number in range(count)]
    text = (
        f"{count} replicas, the slowest {max(lags)} s behind; they follow after the answer, so a failover loses the newest tasks"
    )
    if max(lags) > LAG:
        return warn(text, "See why it is behind: its log, its network.")
    if not least and "min-replicas-to-write" in look.config:
        return warn(text, "Bound it: min-replicas-to-write 1 and min-replicas-max-lag 10.")
    return ok(f"{text}, at most {look.config['min-replicas-max-lag']} s" if least else text)


def _eviction(look: Look) -> Verdict | None:
    policy = look.info.get("maxmemory_policy")
    if policy is None:
        return None
    evicted = int(look.info.get("evicted_keys", 0))
    past = f"; {evicted} keys were evicted since its start" if evicted else ""
    if policy != "noeviction":
        return bad(f"maxmemory-policy {policy} throws tasks away when memory is short{past}", "Set maxmemory-policy noeviction.")
    return warn(f"noeviction{past}", "Tasks may be missing: submit them again.") if evicted else ok("noeviction")


def _memory(look: Look) -> Verdict | None:
    if "maxmemory" not in look.info:
        return None
    used, most, there = (int(look.info.get(name, 0)) for name in ("used_memory", "maxmemory", "total_system_memory"))
    of = f" of {disk.amount(there)} that the machine has" if there else ""
    text = f"{disk.amount(used)} used, maxmemory {disk.amount(most)}"
    if not most:
        return warn(
            f"{disk.amount(used)} used{of}, and no maxmemory: when it is used up, the system kills Redis",
            "Set maxmemory to what it may have, about half where it makes snapshots: then a submit is refused instead.",
        )
    if used >= most:
        return bad(f"{text}: Redis refuses writes", "Raise maxmemory, or keep ended tasks for a shorter time (keep).")
    if there and most > there:
        return warn(f"{text}, more than the {disk.amount(there)} that the machine has", "Lower it: the system would kill Redis.")
    return warn(text, "Raise it, or keep ended tasks for a shorter time (keep).") if used > FULL_SHARE * most else ok(text)


def _disk(look: Look) -> Verdict | None:
    """Of the folder of its data, if that is on this machine."""
    folder = look.config.get("dir", "")
    if not (folder and look.loopback and _is_here(look.info.get("process_id"))):
        return None
    try:
        verdict = disk.room(folder)
    except OSError:  # another user's: nothing can be said
        return None
    system = disk.file_system(disk.mount_of(folder, disk.read_mounts()))
    worst = verdict if system is None or verdict.level != "ok" else system
    return worst._replace(found=f"{folder}: {worst.found}")


def _is_here(pid: object) -> bool:
    try:
        with open(f"/proc/{pid}/comm") as file:
            return file.read().startswith(("redis", "valkey"))
    except OSError:
        return False


KEPT: Checks[Look] = {
    "durability": _durability,
    "disk writes": _file_writes,
    "replicas": _replicas,
    "eviction": _eviction,
    "memory": _memory,
    "disk": _disk,
}
