"""What survives in a PostgreSQL, and what keeps its tables small: flushes, replicas, disk, vacuum."""

from __future__ import annotations

from dolgo.store import disk
from dolgo.store.findings import Checks, Verdict, bad, ok, warn
from dolgo.store.postgres.doctor_look import Look

LAG = 10.0  # seconds a replica may be behind before it is said
OLD_TRANSACTION = 600.0  # seconds; nothing that ended since it began can be vacuumed
MANY_DEAD = 100_000  # rows; fewer are no burden whatever their share
DEAD_SHARE = 3.0  # dead rows for each living one
OLD_AGE = 1_000_000_000  # transactions since the last freeze; at two billion PostgreSQL refuses writes


def _durability(look: Look) -> Verdict:
    if look.settings["fsync"] != "on":
        return bad("fsync off: a crash of the machine destroys the database", "Set fsync on.")
    if look.settings["full_page_writes"] != "on":
        return warn(
            "full_page_writes off: a page half written in a power cut is damaged for good",
            "Set full_page_writes on, unless the file system writes pages whole (ZFS).",
        )
    match look.settings["synchronous_commit"]:
        case "off":
            return bad(
                "synchronous_commit off: about the last half second of what was acknowledged is lost when PostgreSQL ends badly",
                "Set synchronous_commit on, for this database or user if not for all.",
            )
        case "local" if look.settings["synchronous_standby_names"]:
            return warn(
                "synchronous_commit local: commits do not wait for the synchronous standby",
                "Set synchronous_commit on, or a failover loses the newest tasks.",
            )
        case setting:
            return ok(f"on disk before each answer (fsync on, synchronous_commit {setting})")


def _replicas(look: Look) -> Verdict | None:
    found, wanted = look.facts["standbys"], look.settings["synchronous_standby_names"]
    if not found:
        return None
    if wanted and not found["synchronous"]:
        return bad(
            f"no synchronous standby follows ({wanted}): every commit waits for one for ever",
            "Start it, or take it out of synchronous_standby_names.",
        )
    if not found["count"]:
        return ok("none: nothing takes over when it dies, and no failover loses anything")
    text = f"{found['count']} replicas, {found['synchronous']} of them synchronous"
    if (found["lag"] or 0.0) > LAG:
        return warn(f"{text}, the slowest {found['lag']:.0f} s behind", "See why it is behind: its log, its network.")
    return ok(text if found["synchronous"] else f"{text}: they follow after the answer, so a failover loses the newest tasks")


def _disk(look: Look) -> Verdict | None:
    """Of the folder of its data, if that is on this machine and may be asked for."""
    folder = look.settings.get("data_directory", "")
    if not (folder and look.loopback):
        return None
    try:
        verdict = disk.room(folder)
    except OSError:  # another machine's, behind a tunnel or in a container: nothing can be said
        return None
    system = disk.file_system(disk.mount_of(folder, disk.read_mounts()))
    worst = verdict if system is None or verdict.level != "ok" else system
    return worst._replace(found=f"{folder}: {worst.found}")


def _vacuum(look: Look) -> Verdict:
    if look.settings["autovacuum"] != "on" or look.settings["track_counts"] != "on":
        return bad("autovacuum is off: tables grow for ever, and slow down", "Set autovacuum on and track_counts on.")
    neglected = sorted(name for name, table in look.tables.items() if table["neglected"])
    if neglected:
        return bad(f"autovacuum is off for {', '.join(neglected)}", f"ALTER TABLE {neglected[0]} RESET (autovacuum_enabled).")
    for name, table in look.tables.items():
        if table["dead"] > MANY_DEAD and table["dead"] > DEAD_SHARE * table["live"]:
            return warn(
                f"{table['dead']} dead rows in {name}, and {table['live']} living ones: vacuum does not keep up",
                "See the check `old transactions`; else raise autovacuum_max_workers or lower autovacuum_naptime.",
            )
    return ok("autovacuum keeps up")


def _old_transactions(look: Look) -> Verdict | None:
    found, slots = look.facts["sessions"], look.fact("slots", "idle") or 0
    if not found:
        return None
    if look.fact("prepared", "count"):
        return warn(
            "there are prepared transactions that nobody ends: nothing that ended since can be vacuumed",
            "See pg_prepared_xacts, and COMMIT PREPARED or ROLLBACK PREPARED them.",
        )
    if slots:
        return warn(
            f"{slots} replication slots that nobody reads: the write-ahead log is kept until the disk is full",
            "Start their readers, or pg_drop_replication_slot.",
        )
    if (found["idle"] or 0.0) > OLD_TRANSACTION:
        return warn(
            f"a session has been idle in its transaction for {found['idle']:.0f} s: nothing that ended since can be vacuumed",
            "End it (pg_terminate_backend), and set idle_in_transaction_session_timeout.",
        )
    if (found["oldest"] or 0.0) > OLD_TRANSACTION:
        return warn(
            f"a transaction has been open for {found['oldest']:.0f} s: nothing that ended since can be vacuumed",
            "See pg_stat_activity; keep long reports and dumps on a replica.",
        )
    return ok("none that would hold vacuum up")


def _age(look: Look) -> Verdict | None:
    age = look.fact("age", "transactions")
    if age is None:
        return None
    text = f"{age} transactions since the last freeze"
    if age > OLD_AGE:
        return bad(
            f"{text}: at 2000000000 PostgreSQL refuses writes", "VACUUM FREEZE this database, and see what holds vacuum up."
        )
    return ok(text)


KEPT: Checks[Look] = {
    "durability": _durability,
    "replicas": _replicas,
    "disk": _disk,
    "vacuum": _vacuum,
    "old transactions": _old_transactions,
    "age": _age,
}
