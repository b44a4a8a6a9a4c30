"""Claims: what is due joins its line, what has expired ends, and the first tasks of the open lines are taken."""

from __future__ import annotations

from collections.abc import Sequence

from dolgo.store.base import Claim, Claimed, Renewed
from dolgo.store.postgres.edges import follow
from dolgo.store.postgres.sql import Record
from dolgo.store.postgres.turn import Turn
from dolgo.store.postgres.upkeep import end_expired
from dolgo.store.postgres.walk import Walk, fits
from dolgo.store.relational.rows import IN_PROGRESS, LATER, READY, to_lease
from dolgo.store.relational.rules import earlier, within
from dolgo.task.types import Lease

MOST_DUE = 500  # tasks a claim moves into their lines, and as many that it expires, before it takes some


async def claim(turn: Turn, calls: Sequence[Claim]) -> list[Claimed]:
    """In turns with the claims of all other processes, so that each sees what those before have left."""
    await follow(turn)
    expiry = await _expire(turn)
    next_at = earlier(expiry, await _move_due(turn))
    answers: list[Claimed] = []
    unmet: tuple[Claim, Claimed] | None = None  # a claim that got less than it asked for
    for call in calls:
        if unmet is not None and within(call, unmet[0]):
            answers.append(Claimed([], unmet[1].next_at))
            continue
        answer = await _claim(turn, call, next_at)
        unmet = (call, answer) if len(answer.leases) < call.limit else unmet
        answers.append(answer)
    return answers


async def _expire(turn: Turn) -> float | None:
    """Tasks that have expired end; now, if there are more of them: they would stand in the way."""
    next_expiry = turn.extras.next_expiry
    if next_expiry is None or next_expiry > turn.now:
        return None
    await turn.in_order()
    more = await end_expired(turn, MOST_DUE) == MOST_DUE
    await follow(turn)
    await turn.look_again()
    return turn.now if more else None


async def _move_due(turn: Turn) -> float | None:
    """Tasks whose time has come join their lines; when the next one's will come. No event: they were `queued` and still are."""
    next_due = turn.extras.next_due
    if next_due is None or next_due > turn.now:
        return next_due
    await turn.in_order()
    for line, key, rank in await turn.run("due", turn.now, MOST_DUE):
        turn.counted(line, LATER, READY)
        turn.joined(line, key, rank)
    await turn.write_keyed()
    await turn.look_again()
    return turn.extras.next_due


async def _claim(turn: Turn, call: Claim, next_at: float | None) -> Claimed:
    if not turn.extras.gates and not turn.extras.keyed:
        return Claimed(await _take_first(turn, call), next_at)
    await turn.in_order()
    await turn.look_again()
    walk = Walk(turn, call, await turn.gates())
    picks = await walk.picks()
    lease_until = turn.now + call.lease
    rows = await turn.run("claim", [n for _, _, n in picks], call.worker, turn.now, lease_until) if picks else []
    return Claimed(_taken(turn, rows), earlier(next_at, walk.next_at))


async def _take_first(turn: Turn, call: Claim) -> list[Lease]:
    """The first tasks by (rank, id) over all lines the claim fits, where no line is ever closed."""
    lines = [line for line in turn.open_lines() if fits(call, await turn.key(line))] if call.limit > 0 else []
    if not lines:
        return []
    await turn.in_order()
    rows = await turn.run("claim_first", lines, call.limit, call.worker, turn.now, turn.now + call.lease, turn.lowest())
    return _taken(turn, rows)


def _taken(turn: Turn, rows: Sequence[Record]) -> list[Lease]:
    """The leases of what was handed out, which is what was picked but for what has expired since it joined its line."""
    leases = []
    sure = turn.extras.next_expiry is None  # else what was picked and has expired may be left before what was taken
    for rank, *row in sorted(rows, key=lambda row: (row[0], row[1])):
        id, line, attempt, key = row[0], row[2], row[4], row[13]
        turn.moved(id, line, key, READY, IN_PROGRESS, attempt)
        if sure and not key:
            turn.claimed_to(line, rank)
        leases.append(to_lease(row, turn.lines.by_number[line]))
    return leases


async def renew(turn: Turn, calls: Sequence[tuple[str, dict[str, str], float]]) -> list[Renewed]:
    return [await _renew(turn, *call) for call in calls]


async def _renew(turn: Turn, worker: str, tokens: dict[str, str], lease: float) -> Renewed:
    held = {id: (n, token, asked) for n, id, token, asked in await turn.run("tokens", worker)}
    kept = [id for id, token in tokens.items() if id in held and held[id][1] == token]
    if kept:
        await turn.run("renew", sorted(held[id][0] for id in kept), worker, turn.now + lease)
    unnamed = [n for id, (n, token, _) in held.items() if tokens.get(id) != token]
    return Renewed(
        lost=[id for id in tokens if id not in held or held[id][1] != tokens[id]],
        cancel_asked=[id for id in kept if held[id][2]],
        unnamed=[to_lease(row, await turn.key(row[2])) for row in await turn.run("held", unnamed)] if unnamed else [],
    )
