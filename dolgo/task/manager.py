"""The one door to tasks: every change passes here, so that checks, rules and news are written once."""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections.abc import Callable, Mapping, Sequence

import msgspec
from msgspec import Struct

from dolgo.errors import Conflict, IdempotencyKeyReused, InvalidPayload, NotFound, Problem, Refused, TooLarge, UnknownType
from dolgo.store.base import Bell, Claim, Claimed, Page, Renewed, Store
from dolgo.task.announced import Announced
from dolgo.task.ids import Ids
from dolgo.task.notify import Notify
from dolgo.task.types import FINAL, End, Lease, NewTask, Put, Query, QueueCounts, Settlement, Status, Task, TypeInfo
from dolgo.task.verdict import Ended, given_back, unwritable, verdict

log = logging.getLogger("dolgo.manager")

KEY_KEPT = 86_400.0  # seconds an Idempotency-Key is remembered
CHECKED_AT_ONCE = 200  # payloads of a batch checked before others get a turn of the loop

_DEFAULT_QUEUE = "default"
_DEFAULT_PRIORITY = 5


class Rules(Struct, frozen=True):
    """The settings that decide what may be submitted and what becomes of it."""

    ageing: float = 600.0  # seconds of age that one level of priority is worth
    max_payload: int = 1 << 20  # bytes
    max_losses: int = 3


class Submission(Struct, frozen=True):
    """One task as a caller asks for it. What is None is taken from its type."""

    type: str
    payload: bytes = b"{}"
    queue: str | None = None
    priority: int | None = None  # 0-9
    run_at: float | None = None
    delay: float = 0.0
    tags: tuple[str, ...] = ()


class Once(Struct, frozen=True):
    """An Idempotency-Key: who sent it where, and a digest of what was sent with it."""

    scope: str  # caller, method and path
    key: str
    digest: str


class Accepted(Struct, frozen=True):
    """Ids and statuses as they were when the tasks were accepted, in the order of submission."""

    tasks: list[tuple[str, Status]]
    replayed: bool = False  # answered from an Idempotency-Key: nothing new was stored


class _Kept(Struct, frozen=True):
    """What is stored under an Idempotency-Key."""

    digest: str
    tasks: list[tuple[str, Status]]


class Manager:
    """Submit, look, cancel, retry and delete for the web; claim, renew and settle for workers."""

    def __init__(self, store: Store, *, rules: Rules, types: Announced, notify: Notify, clock: Callable[[], float]) -> None:
        self._store = store
        self._rules = rules
        self._ids = Ids(clock)
        self._notify = notify
        self.types = types
        self.cancels = Bell()  # a running task was asked to be cancelled, in this process

    # -- submit

    async def submit(self, submissions: Sequence[Submission], *, batch: bool = False, once: Once | None = None) -> Accepted:
        """All of them committed, or an error and none. Pointers of a batch start with `/tasks/{place}`."""
        tasks = await self._checked(submissions, batch)
        return await self._store_new(tasks, once)

    async def submit_and_wait(
        self, submission: Submission, *, once: Once | None, timeout: float
    ) -> tuple[Accepted, Task | End | None]:
        """As `submit`, and how the task ended if it became final within `timeout` seconds."""
        (task,) = await self._checked([submission], False)
        watch = await self._notify.watch(task.id)
        try:
            accepted = await self._store_new([task], once)
            if accepted.replayed:
                return accepted, await self._replayed(accepted.tasks[0][0], timeout)
            end = await watch.ended(timeout)
        finally:
            self._notify.unwatch(task.id, watch)
        if end is not None:
            return accepted, end
        (found,) = await self._store.get([task.id])
        return accepted, found if found is not None and found.status in FINAL else None

    async def _replayed(self, id: str, timeout: float) -> Task | None:
        """The task of an earlier request, if it is or becomes final in time. A key outlives its task, if that is deleted."""
        try:
            task = await self.wait(id, timeout)
        except NotFound:
            return None
        return task if task.status in FINAL else None

    async def _checked(self, submissions: Sequence[Submission], batch: bool) -> list[NewTask]:
        tasks, problems, first = [], list[Problem](), None
        since = self.types.monotonic()
        for place, submission in enumerate(submissions):
            if place % CHECKED_AT_ONCE == CHECKED_AT_ONCE - 1:
                await asyncio.sleep(0)
            at = f"/tasks/{place}" if batch else ""
            try:
                tasks.append(await self._new(submission, at, since))
            except (UnknownType, InvalidPayload, TooLarge) as error:
                first = first or error
                problems.extend(error.problems)
        if first is not None:
            raise type(first)(first.detail, problems)
        return tasks

    async def _new(self, submission: Submission, at: str, since: float) -> NewTask:
        """The task with its type's defaults, its payload checked."""
        try:
            info = await self.types.find(submission.type, since=since)
        except UnknownType as error:
            raise UnknownType(error.detail, [Problem(f"{at}/type", error.detail)]) from None
        if len(submission.payload) > self._rules.max_payload:
            detail = f"The payload has {len(submission.payload)} bytes; {self._rules.max_payload} are allowed."
            raise TooLarge(detail, [Problem(f"{at}/payload", detail)])
        self.types.shape(info).check(submission.payload, f"{at}/payload")
        return self._stamped(submission, info)

    def _stamped(self, submission: Submission, info: TypeInfo) -> NewTask:
        options = info.options
        priority = options.get("priority", _DEFAULT_PRIORITY) if submission.priority is None else submission.priority
        return NewTask(
            id=self._ids.new(),
            type=info.name,
            hash=info.hash,
            queue=submission.queue or options.get("queue", _DEFAULT_QUEUE),
            payload=submission.payload,
            priority=priority,
            lead=priority * self._rules.ageing,
            run_at=submission.run_at,
            delay=submission.delay,
            tags=submission.tags,
        )

    async def _store_new(self, tasks: Sequence[NewTask], once: Once | None) -> Accepted:
        if once is None:
            answer = await self._store.submit(tasks)
            return Accepted([(task.id, status) for task, status in zip(tasks, answer.statuses, strict=True)])
        fresh = [(task.id, Status.QUEUED) for task in tasks]
        key = f"once/{once.scope}/{hashlib.sha256(once.key.encode()).hexdigest()}"
        put = Put(key, msgspec.json.encode(_Kept(once.digest, fresh)), 0, KEY_KEPT)
        answer = await self._store.submit(tasks, [put])
        if answer.existing is None:
            return Accepted(fresh)
        kept = msgspec.json.decode(answer.existing.value, type=_Kept)
        if kept.digest != once.digest:
            raise IdempotencyKeyReused(f"The Idempotency-Key {once.key!r} was used within the last day with another body.")
        return Accepted(kept.tasks, replayed=True)

    # -- look

    async def get(self, id: str) -> Task:
        """The task as the store has it at this moment. Raises NotFound."""
        (task,) = await self._store.get([id])
        if task is None:
            raise NotFound(f"There is no task {id}.")
        return task

    async def wait(self, id: str, timeout: float) -> Task:
        """The task as soon as it is final, or as it is after `timeout` seconds. Raises NotFound."""
        return await self.wait_until(id, timeout, lambda task: task.status in FINAL)

    async def wait_until(self, id: str, timeout: float, enough: Callable[[Task], bool]) -> Task:
        """The task as soon as `enough` says so of it, or as it is after `timeout` seconds. Raises NotFound."""
        deadline = asyncio.get_running_loop().time() + timeout
        watch = await self._notify.watch(id)
        try:
            task = await self.get(id)
            while not enough(task):
                left = deadline - asyncio.get_running_loop().time()
                if left <= 0 or self._notify.closed:
                    return task
                await watch.news(left)
                task = await self.get(id)
            return task
        finally:
            self._notify.unwatch(id, watch)

    async def list(self, query: Query) -> Page:
        return await self._store.list(query)

    async def counts(self) -> Sequence[QueueCounts]:
        return await self._store.counts()

    async def oldest(self) -> Mapping[str, float]:
        """For each queue with claimable tasks, how many seconds the first in line has waited."""
        now = await self._store.now()
        return {queue: max(0.0, now - run_at) for queue, run_at in (await self._store.oldest()).items()}

    # -- by hand

    async def cancel(self, id: str) -> Status:
        """`cancelled` at once, or `in_progress` when the worker was asked. Raises NotFound and Conflict."""
        (before,) = await self._store.cancel([id])
        if before is Status.IN_PROGRESS:
            self.cancels.ring()
            return before
        if _known(id, before) in (Status.DONE, Status.FAILED):
            raise Conflict(f"The task has ended {before}: it cannot be cancelled any more.")
        return Status.CANCELLED

    async def retry(self, id: str) -> Status:
        """`queued` again. Raises NotFound, and Conflict unless the task had failed or was cancelled."""
        (before,) = await self._store.retry([id])
        if _known(id, before) not in (Status.FAILED, Status.CANCELLED):
            raise Conflict(f"The task is {before}: only a failed or cancelled one can be retried.")
        return Status.QUEUED

    async def delete(self, id: str) -> None:
        """Gone. Raises NotFound, and Conflict unless the task was final."""
        (before,) = await self._store.delete([id])
        if _known(id, before) not in FINAL:
            raise Conflict(f"The task is {before}: only one that has ended can be deleted. Cancel it first.")

    # -- for workers

    @property
    def work(self) -> Bell:
        """Rings when something may have become claimable."""
        return self._store.work

    async def claim(self, claim: Claim, *, seen: int | None = None, wait: float = 0.0) -> Claimed:
        return await self._store.claim(claim, seen=seen, wait=wait)

    async def now(self) -> float:
        return await self._store.now()

    async def renew(self, worker: str, tokens: Mapping[str, str], lease: float) -> Renewed:
        return await self._store.renew(worker, tokens, lease)

    async def asked(self, worker: str) -> Sequence[str]:
        return await self._store.asked(worker)

    async def settle(self, ended: Sequence[Ended]) -> Sequence[bool]:
        """Decide what becomes of each attempt and write it; whether each took. What the store refuses to keep fails alone."""
        try:
            return await self._write([verdict(lease, end, max_losses=self._rules.max_losses) for lease, end in ended])
        except Refused:
            raise
        except Exception as error:
            if len(ended) > 1:
                return [(await self.settle([one]))[0] for one in ended]
            lease = ended[0][0]
            log.exception("How attempt %d of task %s ended cannot be stored.", lease.attempt, lease.id)
            return await self._write([unwritable(lease, f"{type(error).__name__}: {error}")])

    async def _write(self, settlements: Sequence[Settlement]) -> Sequence[bool]:
        took = await self._store.settle(settlements)
        self._notify.settled(
            settlement for settlement, ok in zip(settlements, took, strict=True) if ok and settlement.status in FINAL
        )
        return took

    async def give_back(self, leases: Sequence[Lease], *, started: bool) -> Sequence[bool]:
        settlements: list[Settlement] = [given_back(lease, started=started) for lease in leases]
        return await self._store.settle(settlements)


def _known(id: str, before: Status | None) -> Status:
    if before is None:
        raise NotFound(f"There is no task {id}.")
    return before
