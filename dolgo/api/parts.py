"""What the web is given: the rules' door, the workers, and what it must know of the process it runs in."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from msgspec import Struct

from dolgo.task.fleet import Fleet
from dolgo.task.manager import Manager


class Limits(Struct, frozen=True):
    """Sizes in bytes past which a body is refused."""

    max_payload: int = 1 << 20  # of one task
    max_batch: int = 64 << 20  # of the body of a batch


class Check(Struct, frozen=True):
    """One thing that was looked at."""

    name: str
    ok: bool
    detail: str = ""


class Health(Protocol):
    """How the process is."""

    draining: bool  # it is about to end: no longer ready, but answering

    def alive(self) -> Sequence[Check]:
        """Whether its loops turn; a restart would help if not. Costs nothing and asks no store."""
        ...

    async def ready(self) -> Sequence[Check]:
        """Whether it can take tasks: the store answers, types are announced."""
        ...


class Api(Struct, frozen=True):
    """What every handler is given."""

    manager: Manager
    fleet: Fleet
    health: Health
    limits: Limits
    version: str
