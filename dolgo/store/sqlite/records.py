"""Small keyed things with a version, as the verbs write them."""

from __future__ import annotations

from collections.abc import Sequence

from dolgo.store.relational.rows import to_record
from dolgo.store.sqlite.sql import run
from dolgo.store.sqlite.turn import Turn
from dolgo.task.types import Put, Record


def put(turn: Turn, calls: Sequence[Sequence[Put]]) -> list[Record | None]:
    answers = []
    for puts in calls:
        existing = in_the_way(turn, puts)
        if existing is None:
            write(turn, puts)
        answers.append(existing)
    return answers


def in_the_way(turn: Turn, puts: Sequence[Put]) -> Record | None:
    """The first record that has another version than was named."""
    for item in puts:
        record = _record(turn, item.key)
        if item.version is not None and item.version != (record.version if record else 0):
            return record or Record(item.key, b"", 0, turn.now, turn.now, None)
    return None


def write(turn: Turn, puts: Sequence[Put]) -> None:
    found = [_record(turn, item.key) for item in puts]
    for item, record in zip(puts, found, strict=True):
        expires_at = None if item.keep is None else turn.now + item.keep
        version, first_at = (record.version + 1, record.first_at) if record else (1, turn.now)
        run(turn.connection, "record_put", item.key, item.value, version, first_at, turn.now, expires_at)


def _record(turn: Turn, key: str) -> Record | None:
    row = run(turn.connection, "record", key).fetchone()
    record = to_record(row) if row else None
    return None if record is None or (record.expires_at is not None and record.expires_at <= turn.now) else record


def forget(turn: Turn, calls: Sequence[Sequence[str]]) -> list[None]:
    for key in [key for keys in calls for key in keys]:
        run(turn.connection, "record_forget", key)
    return [None] * len(calls)
