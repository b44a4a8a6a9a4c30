"""The web over a memory store, in this process, and the hands of a worker that does as a test says."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import Any

import httpx

from dolgo import Task, task
from dolgo.api.access.entrance import Entrance
from dolgo.api.app import Limits, create
from dolgo.api.call import Message
from dolgo.api.dispatch import App
from dolgo.metrics.tally import Tally
from dolgo.runner.link import Fault, Kind, Report
from dolgo.runner.registry import TaskType, mark_of
from dolgo.store.base import Claim
from dolgo.store.measured import measure
from dolgo.store.memory import MemoryStore
from dolgo.task.announced import Announced
from dolgo.task.audit import Audit
from dolgo.task.figures import Figures
from dolgo.task.fleet import Fleet
from dolgo.task.follow import Follow
from dolgo.task.manager import Manager, Rules
from dolgo.task.notify import Notify
from dolgo.task.schedules import Schedules
from dolgo.task.tokens import Tokens
from dolgo.task.types import BrokenFile, ErrorCode, Lease, TypeInfo, WorkerInfo
from tests.store.clock import Clock

LIMITS = Limits(max_payload=10_000, max_batch=1_000_000)
WORKER = "worker-1"


class Pause(Task, extra=True):
    """Take some time."""

    seconds: float = 1.0

    async def run(self) -> dict[str, str]:
        return {"result": "success"}


@task(queue="pictures", priority=7)
def thumbnail(url: str, width: int = 320) -> dict[str, int]:
    """Scale a picture to a width."""
    return {}


@task
def anything(value: Any = None) -> Any:
    """Take what comes."""


def announced(handler: Any) -> TypeInfo:
    """The type of a handler as a worker announces it."""
    mark = mark_of(handler)
    assert mark is not None
    return TaskType(mark).info


TYPES = [announced(handler) for handler in (Pause, thumbnail, anything)]


class Healthy:
    """A process that says of itself what a test wants."""

    def __init__(self) -> None:
        self.says_live = {"loop": "ok"}
        self.says_ready = {"store": "ok"}

    def live(self) -> dict[str, str]:
        return self.says_live

    async def ready(self) -> dict[str, str]:
        return self.says_ready


class Web:
    """The application, a client of it, and what is behind it."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.store = MemoryStore(clock)
        self.notify = Notify(self.store)
        self.types = Announced(self.store)
        self.fleet = Fleet(self.store)
        rules = Rules(max_payload=LIMITS.max_payload)
        self.manager = Manager(self.store, rules=rules, types=self.types, notify=self.notify, fleet=self.fleet, clock=clock)
        self.schedules = Schedules(self.store, self.manager)
        self.follow = Follow(self.store, self.notify)
        self.health = Healthy()
        self.tokens = Tokens(self.store)
        self.audit = Audit(self.store)
        self.entrance = Entrance(self.tokens)
        self.tally = Tally()
        measure(self.store, self.tally)
        self.figures = Figures(self.manager, self.fleet, None, self.tally, version="1.2.3", slots=0, whole=True)
        self.figures.started = True
        self.app = self.make()
        self.http = client(self.app)

    def make(self, **options: Any) -> App:
        return create(
            self.manager,
            self.fleet,
            self.schedules,
            health=self.health,
            limits=LIMITS,
            version="1.2.3",
            **{
                "follow": self.follow,
                "entrance": self.entrance,
                "audit": self.audit,
                "figures": self.figures,
                "tally": self.tally,
                **options,
            },
        )

    async def submit(self, type: str = "pause", **members: Any) -> str:
        """The id of a new task."""
        answer = await self.http.post("/tasks", json={"type": type, **members})
        assert answer.status_code == 202, answer.text
        id: str = answer.json()["id"]
        return id

    async def claim(self, id: str) -> Lease:
        """A worker holds the task, and whatever could be claimed before it."""
        types = frozenset(info.name for info in TYPES)
        claimed = await self.manager.claim(Claim(WORKER, 1000, 30.0, types))
        (lease,) = [lease for lease in claimed.leases if lease.id == id]
        return lease

    async def end(self, lease: Lease, result: bytes | None = b'{"result":"success"}', error: str = "") -> None:
        """The worker says that the task is done, or what went wrong."""
        fault = Fault(ErrorCode.HANDLER_ERROR, error, "ValueError", "Traceback: here") if error else None
        report = Report(0, Kind.ERROR, None, fault) if fault else Report(0, Kind.DONE, result)
        assert list(await self.manager.settle([(lease, report)])) == [True]

    async def run(self, id: str, result: bytes | None = b'{"result":"success"}', error: str = "") -> None:
        """The task is claimed and ends."""
        await self.end(await self.claim(id), result, error)

    async def announce_worker(self, **changes: Any) -> None:
        """A worker says that it is there."""
        facts: dict[str, Any] = {
            "id": WORKER, "host": "box", "pid": 4711, "version": "1.2.3", "state": "running", "queues": None,
            "types": tuple((info.name, info.hash) for info in TYPES), "broken": (BrokenFile("tasks/bad.py", "SyntaxError: oh"),),
            "slots": 5, "lease": 30.0, "started_at": self.clock(), "boot": "", "birth": 0.0,
        }  # fmt: skip
        await self.fleet.announce(WorkerInfo(**(facts | changes)), every=10.0)


def client(app: App) -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://dolgo.test")


@asynccontextmanager
async def open_web(clock: Clock) -> AsyncIterator[Web]:
    """The web with its types announced."""
    web = Web(clock)
    await web.types.announce(TYPES)
    async with web.http:
        yield web
    web.notify.close()


async def call(
    app: App, method: str, path: str, *, headers: Iterable[tuple[bytes, bytes]] = (), receive: Any, query: bytes = b""
) -> list[Message]:
    """The messages an application sends for a request whose body comes as `receive` has it."""
    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)

    scope = {"type": "http", "method": method, "path": path, "query_string": query, "headers": list(headers)}
    await app(scope, receive, send)
    return sent


def pointers(answer: httpx.Response) -> list[str]:
    """What an error points at."""
    return [wrong["pointer"] for wrong in answer.json()["errors"]]


def refused(answer: httpx.Response, status: int, slug: str) -> dict[str, Any]:
    """The problem an answer holds; fails if it is another one than expected."""
    problem: dict[str, Any] = answer.json()
    assert (answer.status_code, problem["type"]) == (status, f"/docs#{slug}"), answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert problem["status"] == status
    assert problem["title"]
    assert problem["error"] == problem["detail"]
    return problem
