"""What has to be done from time to time. Every verb is bounded by its limit, and right whoever else does it too."""

from __future__ import annotations

from collections.abc import Sequence

from dolgo.store.sentences import EXPIRED
from dolgo.store.sqlite.by_hand import remove
from dolgo.store.sqlite.edges import end_unstarted
from dolgo.store.sqlite.sql import run
from dolgo.store.sqlite.turn import Turn
from dolgo.task.types import Error, ErrorCode


def clamp(turn: Turn, calls: Sequence[float]) -> list[int]:
    return [run(turn.connection, "clamp", turn.now + lease, turn.now + lease).rowcount for lease in calls]


def expire(turn: Turn, calls: Sequence[int]) -> list[int]:
    return [end_expired(turn, limit) for limit in calls]


def end_expired(turn: Turn, limit: int) -> int:
    """Tasks whose time to start is over → cancelled. How many."""
    numbers = [n for (n,) in run(turn.connection, "unstarted", turn.now, limit).fetchall()]
    end_unstarted(turn, dict.fromkeys(numbers, Error(ErrorCode.EXPIRED, EXPIRED)))
    return len(numbers)


def prune(turn: Turn, calls: Sequence[tuple[float, int]]) -> list[int]:
    return [_prune(turn, keep, limit) for keep, limit in calls]


def _prune(turn: Turn, keep: float, limit: int) -> int:
    run(turn.connection, "needed_no_more", turn.now, limit)
    found = run(turn.connection, "finished_before", turn.now - keep, limit).fetchall()
    found += run(turn.connection, "kept_long_enough", turn.now, limit).fetchall()
    oldest = sorted(found)[:limit]
    if oldest:
        remove(turn, [(n, line, state) for _, _, n, line, state in oldest])
    return len(oldest)


def trim(turn: Turn, calls: Sequence[tuple[float, int, int, int | None]]) -> list[int]:
    return [_trim(turn, *call) for call in calls]


def _trim(turn: Turn, keep: float, most: int, limit: int, upto: int | None) -> int:
    first, last = run(turn.connection, "log_ends").fetchone()
    gone = 0
    if first is not None:
        old = run(turn.connection, "log_old", limit, turn.now - keep).fetchone()[0]
        cut = min(max(last - most, old or 0), first + limit - 1, last - 1)  # the last one stays: its seq is the counter
        cut = cut if upto is None else min(cut, upto)
        gone = run(turn.connection, "log_trim", cut).rowcount
    return gone + run(turn.connection, "records_expired", turn.now, limit).rowcount
