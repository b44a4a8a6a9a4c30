"""Claims: what is due joins its line, what has expired ends, and the first tasks of the open lines are taken."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from dolgo.store.base import Claim, Claimed, Renewed
from dolgo.store.relational.rows import IN_PROGRESS, LATER, READY, to_lease
from dolgo.store.relational.rules import earlier, within
from dolgo.store.sqlite.edges import follow
from dolgo.store.sqlite.sql import Row, run, run_rows
from dolgo.store.sqlite.turn import Turn
from dolgo.store.sqlite.upkeep import end_expired
from dolgo.store.sqlite.walk import Pick, Walk, fits
from dolgo.task.types import Lease

MOST_DUE = 500  # tasks a claim moves into their lines, and as many that it expires, before it takes some


def claim(turn: Turn, calls: Sequence[Claim]) -> list[Claimed]:
    follow(turn)
    next_at = earlier(_expire(turn), _move_due(turn))
    answers: list[Claimed] = []
    unmet: tuple[Claim, Claimed] | None = None  # a claim that got less than it asked for
    for call in calls:
        if unmet is not None and within(call, unmet[0]):
            answers.append(Claimed([], unmet[1].next_at))
            continue
        answer = _claim(turn, call, next_at)
        unmet = (call, answer) if len(answer.leases) < call.limit else unmet
        answers.append(answer)
    return answers


def _expire(turn: Turn) -> float | None:
    """Tasks that have expired end; now, if there are more of them: they would stand in the way."""
    next_expiry = turn.extras().next_expiry
    if next_expiry is None or next_expiry > turn.now:
        return None
    more = end_expired(turn, MOST_DUE) == MOST_DUE
    follow(turn)
    turn.changed()
    return turn.now if more else None


def _move_due(turn: Turn) -> float | None:
    """Tasks whose time has come join their lines; when the next one's will come. No event: they were `queued` and still are."""
    next_due = turn.extras().next_due
    if next_due is None or next_due > turn.now:
        return next_due
    due = run(turn.connection, "due", turn.now, MOST_DUE).fetchall()
    run_rows(turn.connection, "make_ready", [row[:1] for row in due])
    for _, line, rank, key in due:
        turn.counted(line, LATER, READY)
        turn.joined(line, key, rank, READY)
    turn.write_keyed()
    turn.changed()
    return turn.extras().next_due


def _claim(turn: Turn, call: Claim, next_at: float | None) -> Claimed:
    extras = turn.extras()
    if extras.gates or extras.keyed:
        walk = Walk(turn, call)
        picks = walk.picks()
        return Claimed(_take(turn, call, picks), earlier(next_at, walk.next_at))
    return Claimed(_take(turn, call, _first_of_lines(turn, call)), next_at)


def _first_of_lines(turn: Turn, call: Claim) -> list[Pick]:
    """The first tasks by (rank, id) over all lines the claim fits, where no line is ever closed.

    Lines come by their heads, so the walk ends at the first line whose head is behind all that was found: what a claim costs
    depends on its limit, not on how many lines there are or how long they are."""
    picks: list[Pick] = []
    for head, line in turn.open_lines() if call.limit > 0 else ():
        if len(picks) == call.limit and head > picks[-1][0]:
            break
        if fits(call, turn.key(line)):
            found = run(turn.connection, "line_first", line, "", call.limit).fetchall()
            picks = sorted(picks + found)[: call.limit] if picks else found
            turn.looked_into(line)
    return picks


def _take(turn: Turn, call: Claim, picks: Sequence[Pick]) -> list[Lease]:
    """Hand out what was picked, but what has expired since it joined its line."""
    if not picks:
        return []
    leases = []
    for _, *row in _taken_rows(turn, call, picks):
        id, line, attempt, key = row[0], row[2], row[4], row[13]
        turn.moved(id, line, key, READY, IN_PROGRESS, attempt)
        leases.append(to_lease(row, turn.lines.by_number[line]))
    return leases


def _taken_rows(turn: Turn, call: Claim, picks: Sequence[Pick]) -> list[Row]:
    chosen = msgspec.json.encode([n for _, _, n in picks]).decode()
    rows = run(turn.connection, "claim", call.worker, turn.now, turn.now + call.lease, chosen, turn.now).fetchall()
    rows.sort(key=lambda row: (row[0], row[1]))
    return rows


def renew(turn: Turn, calls: Sequence[tuple[str, dict[str, str], float]]) -> list[Renewed]:
    answers = []
    for worker, tokens, lease in calls:
        held = {row[0]: row for row in run(turn.connection, "held", worker)}
        kept = [id for id, token in tokens.items() if id in held and held[id][1] == token]
        run(turn.connection, "renew", turn.now + lease, worker, msgspec.json.encode(kept).decode())
        unnamed = [to_lease(row[:-1], turn.key(row[2])) for id, row in held.items() if tokens.get(id) != row[1]]
        answers.append(
            Renewed(
                lost=[id for id in tokens if id not in held or held[id][1] != tokens[id]],
                cancel_asked=[id for id in kept if held[id][-1]],
                unnamed=unnamed,
            )
        )
    return answers
