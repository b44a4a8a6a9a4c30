"""Tasks that are submitted by the clock. A schedule is a record; its tick and the task it makes are one commit.

Every process that has the store open fires what is due. The record's version lets one of them through, and the task's id is made
of the schedule and the tick, so each tick makes one task however many look at the same moment.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Literal

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from dolgo.errors import InvalidRequest, NotFound, Problem, QueueFull, Refused, StoreUnavailable
from dolgo.store.base import Store
from dolgo.task.ids import Ids
from dolgo.task.manager import Accepted, Manager, Once, Submission
from dolgo.task.timetable import Cron, Every, Timetable, upcoming, zone
from dolgo.task.types import FINAL, Put, Record

log = logging.getLogger("dolgo.schedules")

PREFIX = "schedule/"
LATE = 30.0  # seconds after its time at which a tick counts as missed: until then the service was only busy
SHOWN = 5  # ticks to come that are shown
AT_ONCE = 60  # ticks of one schedule in a row, before others have their turn
TOGETHER = 100  # schedules seen to at a time, so that they share commits: at midnight there may be thousands due
TRIES = 5  # to write over somebody else's write


class Schedule(Struct, frozen=True, kw_only=True):
    """What is to be submitted, and when. Either `cron` or `every` is given."""

    cron: str | None = None
    every: float | None = None  # seconds
    timezone: str = "UTC"
    submission: Submission
    missed: Literal["skip", "once"] = "skip"  # ticks that passed while no server ran
    overlap: Literal["allow", "skip"] = "allow"  # a tick while the task of the one before has not ended
    paused: bool = False


class Run(Struct, frozen=True):
    """A task that a schedule has made."""

    at: float  # the time of its tick, or of the request to run it now
    id: str


class Planned(Struct, frozen=True):
    """A schedule as it stands."""

    name: str
    schedule: Schedule
    next: list[float]  # up to five; none while it is paused
    last: Run | None
    error: str | None  # why the last tick made no task


class _Kept(Struct, frozen=True):
    """What is stored of a schedule."""

    schedule: Schedule
    since: float  # when it was put: what `every` counts from
    next_at: float | None
    last: Run | None = None
    error: str | None = None


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(_Kept).decode


class Schedules:
    """The schedules of a store."""

    def __init__(self, store: Store, manager: Manager) -> None:
        self._store = store
        self._manager = manager
        self._latest = float("inf")  # the latest time of a look for what is due; none yet: as if time had gone back since

    # -- for people

    async def put(self, name: str, schedule: Schedule) -> tuple[Planned, bool]:
        """The schedule under this name, and whether it is new. Raises all that is wrong with its times and with its task."""
        await self._check(schedule)
        return await self._change(name, lambda before, now: _merged(before, schedule, now))

    async def get(self, name: str) -> Planned:
        """One schedule. Raises NotFound."""
        return await self._planned(name, _decode((await self._known(name)).value))

    async def all(self) -> list[Planned]:
        """Every schedule, by name."""
        records = await self._store.records(PREFIX)
        return [await self._planned(record.key.removeprefix(PREFIX), _decode(record.value)) for record in records]

    async def delete(self, name: str) -> None:
        """It fires no more; its tasks stay. Raises NotFound."""
        await self._store.forget([(await self._known(name)).key])

    async def pause(self, name: str) -> Planned:
        """It rests until it is resumed; one that rests already is no error. Raises NotFound."""
        return await self._rest(name, paused=True)

    async def resume(self, name: str) -> Planned:
        """It goes on with its next time to come; one that does not rest is no error. Raises NotFound."""
        return await self._rest(name, paused=False)

    async def run(self, name: str, *, once: Once | None = None) -> Accepted:
        """Submit its task now, whatever the time and though it is paused. Raises NotFound, and what is wrong with the task."""
        record = await self._known(name)
        accepted = await self._manager.submit([_decode(record.value).schedule.submission], once=once)
        if not accepted.replayed:
            await self._note_run(name, Run(await self._store.now(), accepted.tasks[0][0]))
        return accepted

    async def _check(self, schedule: Schedule) -> None:
        problems = _wrong_times(schedule)
        try:
            await self._manager.check(schedule.submission)
        except InvalidRequest as error:  # of its options, a callback alone is looked at here
            problems += [Problem(f"/options{problem.pointer}", problem.detail) for problem in error.problems]
        except Refused as error:
            if not problems or not error.problems:
                raise
            problems += error.problems
        if problems:
            raise InvalidRequest.of(problems, "schedule")

    async def _rest(self, name: str, *, paused: bool) -> Planned:
        def rest(before: _Kept | None, now: float) -> _Kept:
            if before is None:
                raise _unknown(name)
            return replace(_merged(before, replace(before.schedule, paused=paused), now), error=before.error)

        planned, _ = await self._change(name, rest)
        return planned

    async def _change(self, name: str, change: Callable[[_Kept | None, float], _Kept]) -> tuple[Planned, bool]:
        """Write what `change` makes of what is there, and of nothing else: it is asked again if somebody was faster."""
        for _ in range(TRIES):
            record, now = await self._record(name), await self._store.now()
            kept = change(None if record is None else _decode(record.value), now)
            if await self._write(name, kept, record):
                return await self._planned(name, kept), record is None
        raise StoreUnavailable(f"The schedule {name!r} is being changed all the time; try again.")

    # -- by the clock

    async def fire(self) -> None:
        """Submit the tasks of every schedule that is due, one for each tick. Raises what keeps the store from taking them."""
        now = await self._store.now()
        records = await self._store.records(PREFIX)
        back, self._latest = now < self._latest - LATE, now
        due = [record for record in records if back or _is_due(_decode(record.value), now)]
        for start in range(0, len(due), TOGETHER):
            some = due[start : start + TOGETHER]
            ends = await asyncio.gather(*(self._catch_up(record, now, back=back) for record in some), return_exceptions=True)
            for record, error in zip(some, ends, strict=True):
                if isinstance(error, (StoreUnavailable, QueueFull)):
                    raise error
                if error is not None:  # it must not keep the others from their time
                    log.error("The schedule %r cannot fire.", record.key.removeprefix(PREFIX), exc_info=error)

    async def _catch_up(self, record: Record, now: float, *, back: bool) -> None:
        """See to the ticks of one schedule that are due. `back`: the clock may have been ahead and set right since."""
        due: Record | None = await self._turned_back(record, now) if back else record
        for _ in range(AT_ONCE):
            due = due and await self._fire(due, now)

    async def _turned_back(self, record: Record, now: float) -> Record | None:
        """Let the ticks that the clock jumped over come after all. Those that were made are not made again: their tasks have the
        same ids."""
        kept = _decode(record.value)
        first = _first_after(kept.schedule, kept.since, now)
        if kept.next_at is None or first is None or first >= kept.next_at:
            return record
        name = record.key.removeprefix(PREFIX)
        await self._write(name, replace(kept, next_at=first), record)
        return await self._record(name)

    async def _fire(self, record: Record, now: float) -> Record | None:
        """See to one tick. The record as it is then; None if nothing is due."""
        kept = _decode(record.value)
        tick = kept.next_at
        if tick is None or not _is_due(kept, now):
            return None
        name = record.key.removeprefix(PREFIX)
        after = tick if now - tick <= LATE else now - LATE  # of ticks that were missed one speaks for all
        following = replace(kept, next_at=_first_after(kept.schedule, kept.since, after), error=None)
        if await self._passed_over(kept, now - tick):
            await self._write(name, following, record)
        else:
            await self._submit(name, tick, following, record)
        return await self._record(name)

    async def _passed_over(self, kept: _Kept, late: float) -> bool:
        """Whether a tick makes no task: it was missed, or the task of the one before has not ended."""
        missed = late > LATE and kept.schedule.missed == "skip"
        return missed or (kept.schedule.overlap == "skip" and await self._still_runs(kept.last))

    async def _submit(self, name: str, tick: float, following: _Kept, record: Record) -> None:
        """The task and the schedule's next tick in one commit."""
        id = following.schedule.submission.flagged(Ids.derived_at(tick, f"{record.key}/{record.first_at}/{tick}"))
        put = _put(name, replace(following, last=Run(tick, id)), record)
        try:
            stored = await self._manager.submit_as(following.schedule.submission, id=id, puts=[put])
            if stored not in (id, None):  # another task has its `unique_key`
                await self._note_run(name, Run(tick, stored))
        except (StoreUnavailable, QueueFull):  # in a moment it may well be taken
            raise
        except Refused as error:
            log.error("The schedule %r cannot submit its task: %s", name, error)
            await self._write(name, replace(following, error=error.detail), record)

    async def _still_runs(self, last: Run | None) -> bool:
        if last is None:
            return False
        (task,) = await self._store.get([last.id])
        return task is not None and task.status not in FINAL

    # -- records

    async def _record(self, name: str) -> Record | None:
        found = await self._store.records(PREFIX + name)
        return next((record for record in found if record.key == PREFIX + name), None)

    async def _known(self, name: str) -> Record:
        record = await self._record(name)
        if record is None:
            raise _unknown(name)
        return record

    async def _write(self, name: str, kept: _Kept, before: Record | None) -> bool:
        """False if somebody else has written since."""
        return await self._store.put([_put(name, kept, before)]) is None

    async def _note_run(self, name: str, run: Run) -> None:
        for _ in range(TRIES):
            record = await self._record(name)
            if record is None or await self._write(name, replace(_decode(record.value), last=run, error=None), record):
                return

    async def _planned(self, name: str, kept: _Kept) -> Planned:
        schedule, now = kept.schedule, await self._store.now()
        ticks = [] if schedule.paused else upcoming(_timetable(schedule, kept.since), now, SHOWN)
        return Planned(name, schedule, ticks, kept.last, kept.error)


def _is_due(kept: _Kept, now: float) -> bool:
    return kept.next_at is not None and kept.next_at <= now and not kept.schedule.paused


def _put(name: str, kept: _Kept, before: Record | None) -> Put:
    return Put(PREFIX + name, _encode(kept), 0 if before is None else before.version)


def _merged(before: _Kept | None, schedule: Schedule, now: float) -> _Kept:
    """What it last did is kept. Its times are counted anew, unless they are as before: then a tick that is due stays due."""
    since, last = (now, None) if before is None else (before.since, before.last)
    if before is not None and _when(before.schedule) == _when(schedule):
        if not before.schedule.paused:
            return _Kept(schedule, since, before.next_at, last)
    else:
        since = now
    return _Kept(schedule, since, _first_after(schedule, since, now), last)


def _when(schedule: Schedule) -> tuple[str | None, float | None, str]:
    return schedule.cron, schedule.every, schedule.timezone


def _first_after(schedule: Schedule, since: float, time: float) -> float | None:
    return next(iter(upcoming(_timetable(schedule, since), time, 1)), None)


def _timetable(schedule: Schedule, since: float) -> Timetable:
    """Raises ValueError."""
    if schedule.cron is not None:
        return Cron(schedule.cron, schedule.timezone)
    return Every(schedule.every or 0.0, since=since)


def _wrong_times(schedule: Schedule) -> list[Problem]:
    """What keeps a schedule from having times, with a pointer."""
    if (schedule.cron is None) == (schedule.every is None):
        return [Problem("", "give either `cron` or `every`")]
    member = "/timezone"
    try:
        zone(schedule.timezone)
        member = "/every" if schedule.cron is None else "/cron"
        _timetable(schedule, 0.0)
    except ValueError as error:
        return [Problem(member, str(error))]
    return []


def _unknown(name: str) -> NotFound:
    return NotFound(f"There is no schedule {name!r}. GET /schedules lists those there are.")
