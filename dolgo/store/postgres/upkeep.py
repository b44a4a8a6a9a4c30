"""What has to be done from time to time. Every verb is bounded by its limit, and right whoever else does it too."""

from __future__ import annotations

from collections.abc import Sequence

from dolgo.store.postgres.by_hand import remove
from dolgo.store.postgres.edges import end_unstarted
from dolgo.store.postgres.turn import Turn
from dolgo.store.sentences import EXPIRED
from dolgo.task.types import Error, ErrorCode


async def clamp(turn: Turn, calls: Sequence[float]) -> list[int]:
    return [len(await turn.run("clamp", turn.now + lease)) for lease in calls]


async def expire(turn: Turn, calls: Sequence[int]) -> list[int]:
    return [await end_expired(turn, limit) for limit in calls]


async def end_expired(turn: Turn, limit: int) -> int:
    """Tasks whose time to start is over → cancelled. How many."""
    numbers = [n for (n,) in await turn.run("unstarted", turn.now, limit)]
    return await end_unstarted(turn, dict.fromkeys(numbers, Error(ErrorCode.EXPIRED, EXPIRED)))


async def prune(turn: Turn, calls: Sequence[tuple[float, int]]) -> list[int]:
    return [await _prune(turn, keep, limit) for keep, limit in calls]


async def _prune(turn: Turn, keep: float, limit: int) -> int:
    await turn.run("needed_no_more", turn.now, limit)
    found = await turn.run("finished_before", turn.now - keep, limit)
    found += await turn.run("kept_long_enough", turn.now, limit)
    oldest = sorted(map(tuple, found))[:limit]
    return await remove(turn, sorted(n for _, _, n in oldest))


async def trim(turn: Turn, calls: Sequence[tuple[float, int, int, int | None]]) -> list[int]:
    return [await _trim(turn, *call) for call in calls]


async def _trim(turn: Turn, keep: float, most: int, limit: int, upto: int | None) -> int:
    ((dropped, last),) = await turn.run("log_ends")
    ((old,),) = await turn.run("log_old", dropped, limit, turn.now - keep)
    cut = min(max(last - most, old or 0), dropped + limit, last - 1)  # the last one stays, as in every store
    cut = cut if upto is None else min(cut, upto)
    gone: int = max(0, cut - dropped)
    if gone:
        await turn.run("log_trim", cut)
    return gone + len(await turn.run("records_expired", turn.now, limit))
