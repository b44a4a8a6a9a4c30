"""What records should do: part of the model."""

from __future__ import annotations

from collections.abc import Sequence

from dolgo.task.types import Put


class Recording:
    """Records by key: value, version, end."""

    def __init__(self) -> None:
        self.records: dict[str, tuple[bytes, int, float | None]] = {}
        self.now = 0.0

    def blocked(self, puts: Sequence[Put]) -> str | None:
        """The key of the record in the way."""
        before = self.records
        key, self.records = self.put(puts), before
        return key

    def put(self, puts: Sequence[Put]) -> str | None:
        written = dict(self.records)  # what has expired is still there until a trim, for a clock that is set back
        for put in puts:
            if put.key in written and put.key not in self.unexpired():
                del written[put.key]
            version = written[put.key][1] if put.key in written else 0
            if put.version not in (None, version):
                return put.key
            written[put.key] = (put.value, version + 1, None if put.keep is None else self.now + put.keep)
        self.records = written
        return None

    def unexpired(self) -> dict[str, tuple[bytes, int, float | None]]:
        return {key: one for key, one in self.records.items() if one[2] is None or one[2] > self.now}

    def trim(self) -> None:
        self.records = self.unexpired()
