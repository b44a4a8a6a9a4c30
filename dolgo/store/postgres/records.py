"""Small keyed things with a version, as the verbs write them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from dolgo.store.postgres.turn import Turn
from dolgo.store.relational.rows import to_record
from dolgo.task.types import Put, Record


class Records:
    """Some records as one turn sees and changes them: read together, and written together at its end."""

    def __init__(self, turn: Turn, found: dict[str, Record]) -> None:
        self._turn = turn
        self._found = found
        self._written: dict[str, Record] = {}

    @classmethod
    async def read(cls, turn: Turn, puts: Iterable[Put]) -> Records:
        """Those that these puts are about."""
        keys = list({item.key for item in puts})
        rows = await turn.run("records_named", keys, turn.now) if keys else []
        return cls(turn, {row[0]: to_record(row) for row in rows})

    def in_the_way(self, puts: Sequence[Put]) -> Record | None:
        """The first record that has another version than was named."""
        for item in puts:
            record = self._found.get(item.key)
            if item.version is not None and item.version != (record.version if record else 0):
                return record or Record(item.key, b"", 0, self._turn.now, self._turn.now, None)
        return None

    def put(self, puts: Sequence[Put]) -> None:
        """All of them, whatever is there."""
        now = self._turn.now
        before = [self._found.get(item.key) for item in puts]
        for item, record in zip(puts, before, strict=True):
            version, first_at = (record.version + 1, record.first_at) if record else (1, now)
            expires_at = None if item.keep is None else now + item.keep
            written = Record(item.key, item.value, version, now, first_at, expires_at)
            self._written[item.key] = written
            self._found[item.key] = written

    async def write(self) -> None:
        """Write what was put, in the order of the keys."""
        if self._written:
            rows = [self._written[key] for key in sorted(self._written)]
            await self._turn.run(
                "records_put", [row.key for row in rows], [row.value for row in rows], [row.version for row in rows],
                [row.written_at for row in rows], [row.first_at for row in rows], [row.expires_at for row in rows],
            )  # fmt: skip
            self._written = {}


async def put(turn: Turn, calls: Sequence[Sequence[Put]]) -> list[Record | None]:
    records = await Records.read(turn, [item for puts in calls for item in puts])
    answers = []
    for puts in calls:
        existing = records.in_the_way(puts)
        if existing is None:
            records.put(puts)
        answers.append(existing)
    await records.write()
    return answers


async def forget(turn: Turn, calls: Sequence[Sequence[str]]) -> list[None]:
    await turn.run("records_forget", list({key for keys in calls for key in keys}))
    return [None] * len(calls)
