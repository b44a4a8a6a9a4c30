"""Idempotency-Keys: what was submitted under one is answered again, and not submitted again."""

from __future__ import annotations

import hashlib

import msgspec
from msgspec import Struct

from dolgo.errors import IdempotencyKeyReused
from dolgo.task.batch import Batch
from dolgo.task.types import Put, Status

KEY_KEPT = 86_400.0  # seconds an Idempotency-Key is remembered, and the tasks submitted under it are kept


class Once(Struct, frozen=True):
    """An Idempotency-Key: who sent it where, and a digest of what was sent with it."""

    scope: str  # caller, method and path
    key: str
    digest: str


class _Kept(Struct, frozen=True):
    """What is stored under an Idempotency-Key."""

    digest: str
    tasks: list[tuple[str, Status]]


def kept_under(once: Once, wanted: Batch) -> Put:
    """The record of an Idempotency-Key."""
    waiting = {task.id for task in wanted.tasks if task.depends_on}
    fresh = [(id, Status.WAITING if id in waiting else Status.QUEUED) for id in wanted.ids]
    key = f"once/{once.scope}/{hashlib.sha256(once.key.encode()).hexdigest()}"
    return Put(key, msgspec.json.encode(_Kept(once.digest, fresh)), 0, KEY_KEPT)


def submitted_under(once: Once, value: bytes) -> list[tuple[str, Status]]:
    """The tasks in the record of an Idempotency-Key. Raises IdempotencyKeyReused if they are of another request."""
    kept = msgspec.json.decode(value, type=_Kept)
    if kept.digest != once.digest:
        raise IdempotencyKeyReused(f"The Idempotency-Key {once.key!r} was used within the last day with another body.")
    return kept.tasks
