"""Plain batches in one way to the server: submits, ends and claims that no rule but the order of tasks has a say in.

Whether the batch is one is seen here; whether the store has gates, limit keys, dependents or what is due is seen by the
statement, which then does nothing. The verbs of `writes.py` do it then, one statement after the other: what is written is the
same.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import asyncpg
import msgspec

from dolgo.store.base import Claim, Claimed, Submitted
from dolgo.store.postgres.lines import Lines
from dolgo.store.postgres.rows import EventRow, number_of
from dolgo.store.postgres.sql import Connection, Record, rows
from dolgo.store.postgres.turn import MOST_AT_ONCE, Row
from dolgo.store.postgres.walk import fits
from dolgo.store.relational.rows import FINAL_STATE, IN_PROGRESS, READY, from_error, from_tags, to_lease
from dolgo.store.relational.rules import is_checked, is_plain
from dolgo.task.types import NewTask, Settlement, Status

UNTAKEN = "UD001"  # SQLSTATE: an end does not take, so what becomes of it has to be looked up
VERBS = frozenset({"submit", "settle", "claim"})
HEADER = 4  # columns before those of a lease
SUBMIT_COLUMNS, END_COLUMNS, CLAIM_COLUMNS = 9, 10, 4
_pack = msgspec.msgpack.Encoder().encode


class Plain(NamedTuple):
    """A batch that may be written so."""

    submits: Sequence[Sequence[NewTask]]  # call by call
    settles: Sequence[Sequence[Settlement]]
    claims: Sequence[Claim]

    @property
    def work(self) -> bool:
        """Something may become claimable."""
        return bool(self.submits)


class Written(NamedTuple):
    """What was committed."""

    answers: dict[str, list[Any]]  # by verb, call by call
    events: list[EventRow]  # time, id, line, state, attempt
    first_seq: int  # of the first of them


def plain(calls: Mapping[str, Sequence[Any]], lines: Lines, size: int) -> Plain | None:
    """The batch, if it is one; `size`: bytes it writes."""
    if not calls.keys() <= VERBS or size > MOST_AT_ONCE:
        return None
    submits, settles = calls.get("submit", ()), calls.get("settle", ())
    if any(puts or notes for _, puts, notes in submits):
        return None
    tasks = [task for call, _, _ in submits for task in call]
    ends = [end for call in settles for end in call]
    known = lines.by_key
    if not all(is_plain(task) and not is_checked(task) and (task.queue, task.type, task.hash) in known for task in tasks):
        return None
    if not all(map(_is_end, ends)) or not all((end.lease.queue, end.lease.type, end.lease.hash) in known for end in ends):
        return None
    if len({end.lease.token for end in ends}) < len(ends):
        return None
    return Plain([call for call, _, _ in submits], settles, calls.get("claim", ()))


def _is_end(item: Settlement) -> bool:
    return item.status is not Status.QUEUED and item.lease.limit_key is None


async def write(
    connection: Connection, batch: Plain, lines: Lines, now: float | None, told: Sequence[str | None]
) -> Written | None:
    """Write it, in a transaction of its own. None: rules have a say in it, and nothing was done.

    `now`: the time if tests have one of their own; `told`: the channel and the beginning of the notice that goes with it."""
    tasks = sorted((_task(task, lines) for call in batch.submits for task in call), key=_first)
    ends = sorted((_end(item, lines) for call in batch.settles for item in call), key=_first)
    events: list[Row] = [(id, line, READY, 0) for id, line, *_ in tasks]  # `queued`, whether it is to wait or not
    events += [_ended(item, lines) for call in batch.settles for item in call]
    packed = b"".join(map(_pack, events))
    values = [*_columns(tasks, SUBMIT_COLUMNS), *_columns(ends, END_COLUMNS), *_claims(batch.claims, lines)]
    try:
        found = await rows(connection, "quick", now, *values, len(events), packed, *told)
    except asyncpg.PostgresError as error:
        if error.sqlstate == UNTAKEN:
            return None
        raise
    return _written(batch, events, found, lines) if found else None


def _written(batch: Plain, events: list[Row], found: Sequence[Record], lines: Lines) -> Written:
    *taken, (_, now, last, next_at, *_) = found
    claimed = [Claimed([], next_at) for _ in batch.claims]
    for row in taken:
        lease = to_lease(row[HEADER + 1 :], lines.by_number[row[HEADER + 3]])
        claimed[row[0] - 1].leases.append(lease)
        events.append((lease.id, row[HEADER + 3], IN_PROGRESS, lease.attempt))
    answers: dict[str, list[Any]] = {
        "submit": [Submitted([Status.QUEUED] * len(tasks)) for tasks in batch.submits],
        "settle": [[True] * len(ends) for ends in batch.settles],
        "claim": claimed,
    }
    return Written(answers, [(now, *event) for event in events], (last or 0) - len(events) + 1)


def _first(row: Row) -> Any:
    return row[0]


def _columns(table: Sequence[Row], many: int) -> Iterable[list[Any]]:
    return map(list, zip(*table, strict=True)) if table else [[] for _ in range(many)]


def _task(task: NewTask, lines: Lines) -> Row:
    line = lines.by_key[task.queue, task.type, task.hash]
    return (
        task.id,
        line,
        task.lead,
        task.run_at,
        task.delay,
        task.priority,
        task.max_attempts,
        from_tags(task.tags),
        task.payload,
    )


def _end(item: Settlement, lines: Lines) -> Row:
    lease = item.lease
    line = lines.by_key[lease.queue, lease.type, lease.hash]
    return (number_of(lease.token), lease.id, lease.token, line, FINAL_STATE[item.status], item.result, from_error(item.error),
            item.failures, item.losses, item.deferrals)  # fmt: skip


def _ended(item: Settlement, lines: Lines) -> Row:
    lease = item.lease
    return (lease.id, lines.by_key[lease.queue, lease.type, lease.hash], FINAL_STATE[item.status], lease.attempt)


def _claims(claims: Sequence[Claim], lines: Lines) -> list[list[Any]]:
    table = [(call.worker, max(0, call.limit), call.lease, _fitting(call, lines)) for call in claims]
    return [*_columns(table, CLAIM_COLUMNS), list(lines.by_number) if claims else []]


def _fitting(call: Claim, lines: Lines) -> str:
    """The lines it fits, as PostgreSQL writes an array."""
    return "{" + ",".join(str(line) for key, line in lines.by_key.items() if fits(call, key)) + "}"
