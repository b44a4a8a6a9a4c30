"""Workers with real children in this process, before any store; each test awaits states, with a deadline."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Awaitable, Callable
from itertools import count
from pathlib import Path
from typing import Any

import msgspec

from dolgo.runner.link import Setup
from dolgo.store.base import Store
from dolgo.task.announced import Announced
from dolgo.task.fleet import Fleet
from dolgo.task.manager import Manager, Rules, Submission
from dolgo.task.notify import Notify
from dolgo.task.types import FINAL, Attempt, Outcome, Status, Task
from dolgo.task.worker import Options, Worker
from tests.task.wrapped import Wrapped

HANDLERS = str(Path(__file__).with_name("handlers.py"))
DEADLINE = 20.0  # seconds for anything; a machine under load is slow to start processes


class Yard:
    """A store, a manager before it, and workers."""

    def __init__(self, store: Store, folder: Path) -> None:
        self.folder = folder
        self.store = Wrapped(store)
        self.notify = Notify(self.store.store)
        self.manager = self.another_manager()
        self.workers: list[Worker] = []
        self._marks = count()

    def another_manager(self, store: Store | None = None) -> Manager:
        """As another process has it."""
        store = store or self.store.store
        types, fleet = Announced(store), Fleet(store)
        return Manager(store, rules=Rules(), types=types, notify=self.notify, fleet=fleet, clock=time.time)

    def worker(
        self,
        *,
        slots: int = 5,
        lease: float = 30.0,
        drain_timeout: float = 5.0,
        grace: float = 5.0,
        paths: tuple[str, ...] = (HANDLERS,),
    ) -> Worker:
        """A worker that is not started yet."""
        setup = Setup(paths, slots, 1 << 20, grace=grace)
        options = Options("test", slots, lease, drain_timeout, None, setup, os.environ)
        made = Worker(self.manager, Fleet(self.store.store), id=f"worker-{len(self.workers) + 1}", options=options)
        self.workers.append(made)
        return made

    async def start(self, **options: Any) -> Worker:
        """A worker at work."""
        worker = self.worker(**options)
        await asyncio.wait_for(worker.start(), DEADLINE)
        return worker

    async def close(self) -> None:
        self.store.hooks.clear()
        self.store.down = False
        self.notify.close()
        for worker in self.workers:
            worker.kill()
            await worker.stop()

    # -- tasks

    async def submit(self, type: str, times: int = 1, **payload: Any) -> list[str]:
        """Ids of so many tasks, stored in one commit."""
        return await self.send(*[Submission(type, msgspec.json.encode(payload))] * times)

    async def send(self, *submissions: Submission) -> list[str]:
        """Ids of these tasks, stored in one commit."""
        return [id for id, _ in (await self.manager.submit(submissions, batch=True)).tasks]

    async def one(self, type: str, **payload: Any) -> str:
        return (await self.submit(type, **payload))[0]

    async def task(self, id: str) -> Task:
        (found,) = await self.store.get([id])
        assert found is not None
        task: Task = found
        return task

    async def end(self, id: str, *, within: float = DEADLINE) -> Task:
        """The task once it has ended."""
        task = await self.manager.wait(id, within)
        assert task.status in FINAL, f"{task.status} after {within} s: {task}"
        return task

    async def ends(self, ids: list[str], *, within: float = DEADLINE) -> list[Task]:
        return [await self.end(id, within=within) for id in ids]

    async def statuses(self, ids: list[str]) -> list[Status]:
        return [(await self.task(id)).status for id in ids]

    async def come(self, ids: list[str], *wanted: Status) -> None:
        """Wait until each of the tasks has come to one of these statuses."""

        async def all_there() -> bool:
            return set(await self.statuses(ids)) <= set(wanted)

        await until(all_there)

    # -- handlers

    def mark(self) -> str:
        """The name of a file by which a handler says that it is at work."""
        return str(self.folder / f"mark-{next(self._marks)}")

    async def begun(self, mark: str, times: int = 1) -> list[int]:
        """The processes of the handlers that have begun under a mark, once there are so many."""
        await until(lambda: len(pids(mark)) >= times)
        return pids(mark)


def pids(mark: str) -> list[int]:
    try:
        return [int(line) for line in Path(mark).read_text().splitlines()]
    except FileNotFoundError:
        return []


async def until(true: Callable[[], bool] | Callable[[], Awaitable[bool]], within: float = DEADLINE) -> float:
    """Wait for what nobody announces; the seconds it took."""
    begun = time.monotonic()
    while True:
        answer = true()
        if answer if isinstance(answer, bool) else await answer:
            return time.monotonic() - begun
        assert time.monotonic() - begun < within, "it did not come true in time"
        await asyncio.sleep(0.005)


def kill(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)


def gone(pid: int) -> bool:
    """The process has ended and was waited for."""
    return not Path(f"/proc/{pid}").exists()


def history(task: Task) -> list[tuple[int, Outcome | None]]:
    """Every attempt before the newest: its number and how it ended."""
    return [(attempt.number, attempt.outcome) for attempt in task.history if isinstance(attempt, Attempt)]


def most_at_once(log: str) -> int:
    """How many of the stays in a log overlapped at most."""
    spans = [tuple(map(float, line.split())) for line in Path(log).read_text().splitlines()]
    edges = sorted([(begun, 1) for begun, _ in spans] + [(ended, -1) for _, ended in spans])
    running = most = 0
    for _, change in edges:
        running += change
        most = max(most, running)
    return most
