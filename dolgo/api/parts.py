"""What the web is given: the door to the tasks, the workers, and what it must know of the process it runs in."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from msgspec import Struct

from dolgo.api.call import Answer
from dolgo.metrics.tally import Tally
from dolgo.task.audit import Audit
from dolgo.task.fleet import Fleet
from dolgo.task.follow import Follow
from dolgo.task.manager import Manager
from dolgo.task.schedules import Schedules

OK = "ok"  # what a check says that passes; it may say more behind a colon


class Limits(Struct, frozen=True):
    """Sizes in bytes past which a body is refused."""

    max_payload: int = 1 << 20  # of one task
    max_batch: int = 64 << 20  # of the body of a batch


class Health(Protocol):
    """How the process is: checks by name, each "ok", or "ok: " and what to know, or a sentence that says why not."""

    def live(self) -> Mapping[str, str]:
        """Whether its loops turn; a restart would help if not. Costs nothing and asks no store."""
        ...

    async def ready(self) -> Mapping[str, str]:
        """Whether a task submitted now would be stored and claimed."""
        ...


class Metrics(Protocol):
    """What is counted and measured."""

    async def page(self, accept: str) -> tuple[bytes, str]:
        """What Prometheus reads in the format that is accepted, and its media type."""
        ...


class Api(Struct, frozen=True):
    """What every handler is given."""

    manager: Manager
    fleet: Fleet
    schedules: Schedules
    follow: Follow
    health: Health
    limits: Limits
    version: str
    openapi: Answer
    docs: Answer
    audit: Audit
    metrics: Metrics
    tally: Tally
    spans: bool  # whether somebody takes OpenTelemetry's spans
