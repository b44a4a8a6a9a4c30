"""The one door to tasks: every change passes here, so that checks, rules and news are written once."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence

import msgspec
from msgspec import Struct

from dolgo.errors import Conflict, NotFound, Refused
from dolgo.runner.link import Ask
from dolgo.store.base import Bell, Claim, Claimed, Page, Renewed, Store
from dolgo.task import bulk
from dolgo.task.announced import Announced
from dolgo.task.backoff import Random, pause
from dolgo.task.batch import Batch, single
from dolgo.task.callbacks.cursor import Book
from dolgo.task.desk import Desk
from dolgo.task.fleet import Fleet, Seen
from dolgo.task.ids import Ids
from dolgo.task.intake import Intake, Rules, Submission, unknown_parents
from dolgo.task.journal import Journal, LogPage
from dolgo.task.notify import Notify
from dolgo.task.once import KEY_KEPT, Once, kept_under, submitted_under
from dolgo.task.types import (
    FINAL,
    Change,
    Details,
    End,
    Gate,
    Lease,
    NewTask,
    Note,
    Put,
    Query,
    QueueCounts,
    Refusal,
    Settlement,
    Status,
    Task,
)  # fmt: skip
from dolgo.task.verdict import Ended, given_back, unwritable, verdict
from dolgo.task.waiting import Reason, Waiting

__all__ = ["Accepted", "Manager", "Once", "Rules", "Submission"]
log = logging.getLogger("dolgo.manager")


class Accepted(Struct, frozen=True):
    """Ids and statuses as they were when the tasks were accepted, in the order of submission."""

    tasks: list[tuple[str, Status]]
    replayed: bool = False  # answered from an Idempotency-Key: nothing new was stored
    existing: bool = False  # one of them was there before: an unfinished task with the same `unique_key`


class Manager:
    """Submit, look, cancel, retry and delete for the web; claim, renew and settle for workers."""

    def __init__(
        self,
        store: Store,
        *,
        rules: Rules,
        types: Announced,
        notify: Notify,
        fleet: Fleet,
        clock: Callable[[], float],
        random: Random = random.random,
        tell: Callable[[Iterable[NewTask]], None] | None = None,
    ) -> None:
        """`tell` is called with tasks once they are stored and can be claimed; without it workers look into the store alone."""
        self._store = store
        self._rules = rules
        self._ids = Ids(clock)
        self._notify = notify
        self._random = random
        self._tell = tell
        self.callbacks = Book(store)
        self._intake = Intake(types, self._ids, rules, self.callbacks)
        self._waiting = Waiting(store, fleet)
        self._journal = Journal(store)
        self._desk = Desk(store, self.submit_as)
        self.types = types
        self._fleet = fleet
        self.cancels = Bell()  # a running task was asked to be cancelled, in this process
        self.drains = Bell()  # a worker was asked to drain, in this process

    # -- submit

    async def submit(self, submissions: Sequence[Submission], *, batch: bool = False, once: Once | None = None) -> Accepted:
        """All of them committed, or an error and none. Pointers of a batch start with `/tasks/{place}`."""
        if batch or len(submissions) != 1:
            wanted = await self._intake.batch(submissions, pointed=batch)
        else:
            wanted = single(await self._intake.one(submissions[0]))
        return await self._store_new(wanted, submissions, batch=batch, once=once)

    async def submit_and_wait(
        self, submission: Submission, *, once: Once | None, timeout: float
    ) -> tuple[Accepted, Task | End | None]:
        """As `submit`, and how the task ended if it became final within `timeout` seconds."""
        task = await self._intake.one(submission)
        wanted = single(task)
        watch = await self._notify.watch(task.id)
        try:
            accepted = await self._store_new(wanted, [submission], batch=False, once=once)
            if accepted.replayed or accepted.existing:
                return accepted, await self._end_of_another(accepted.tasks[0][0], timeout)
            end = None if accepted.tasks[0][1] in FINAL else await watch.ended(timeout)
        finally:
            self._notify.unwatch(task.id, watch)
        if end is not None:
            return accepted, end
        (found,) = await self._store.get([task.id])
        return accepted, found if found is not None and found.status in FINAL else None

    async def submit_as(
        self, submission: Submission, *, id: str, puts: Sequence[Put] = (), notes: Sequence[Note] = ()
    ) -> str | None:
        """The id of the task, stored under `id` with these records and notes in one commit; the same again changes nothing.

        Another id if an unfinished task has its `unique_key`. None: a record or the token of a note was not as named."""
        wanted = single(await self._intake.one(submission, id=id))
        while True:
            answer = await self._store.submit(wanted.tasks, puts, notes)
            if answer.existing is not None or answer.lost:
                return None
            if answer.unknown:
                raise unknown_parents(answer.unknown, [submission.depends_on], pointed=False)
            if not answer.unique:
                self._tell_of(wanted.tasks, answer.statuses)
                return wanted.ids[0]
            wanted = wanted.merged(answer.unique)
            notes = [msgspec.structs.replace(note, value=msgspec.json.encode(wanted.ids[0])) for note in notes]

    async def check(self, submission: Submission) -> None:
        """Nothing, if it could be submitted now. Raises what is wrong with it."""
        await self._intake.one(submission)

    async def _end_of_another(self, id: str, timeout: float) -> Task | None:
        """The task of an earlier request, if it is or becomes final in time. A key outlives its task, if that is deleted."""
        try:
            task = await self.wait(id, timeout)
        except NotFound:
            return None
        return task if task.status in FINAL else None

    async def _store_new(self, wanted: Batch, submissions: Sequence[Submission], *, batch: bool, once: Once | None) -> Accepted:
        """Store it all. Where a `unique_key` is taken, the task that has it stands for the new one."""
        asked = wanted
        while True:
            tasks = wanted.tasks if once is None else [msgspec.structs.replace(t, needed=KEY_KEPT) for t in wanted.tasks]
            answer = await self._store.submit(tasks, () if once is None else [kept_under(once, wanted)])
            if answer.existing is not None and once is not None:
                return Accepted(submitted_under(once, answer.existing.value), replayed=True)
            if answer.unknown:
                if wanted.existing.isdisjoint(answer.unknown):
                    raise unknown_parents(answer.unknown, [s.depends_on for s in submissions], pointed=batch)
                wanted = asked  # one that stood for another has ended and is gone by now
                continue
            if not answer.unique:
                break
            wanted = wanted.merged(answer.unique)
        self._tell_of(tasks, answer.statuses)
        if len(wanted.ids) == len(tasks) == 1:  # nearly always
            return Accepted([(wanted.ids[0], answer.statuses[0])])
        statuses = {task.id: status for task, status in zip(tasks, answer.statuses, strict=True)}
        if wanted.existing:
            statuses.update(await self._statuses(wanted.existing - statuses.keys()))
        return Accepted([(id, statuses[id]) for id in wanted.ids], existing=bool(wanted.existing))

    def _tell_of(self, tasks: Sequence[NewTask], statuses: Sequence[Status]) -> None:
        if self._tell is not None:
            self._tell([task for task, status in zip(tasks, statuses, strict=True) if status is Status.QUEUED])

    async def _statuses(self, ids: Iterable[str]) -> dict[str, Status]:
        """As they are now; one that is gone by now had been queued."""
        ids = list(ids)
        found = await self._store.get(ids)
        return {id: Status.QUEUED if task is None else task.status for id, task in zip(ids, found, strict=True)}

    # -- look

    async def get(self, id: str) -> Task:
        """The task as the store has it at this moment. Raises NotFound."""
        (task,) = await self._store.get([id])
        if task is None:
            raise NotFound(f"There is no task {id}.")
        return task

    async def wait(self, id: str, timeout: float) -> Task:
        """The task as soon as it is final, or as it is after `timeout` seconds. Raises NotFound."""
        deadline = asyncio.get_running_loop().time() + timeout
        watch = await self._notify.watch(id)
        try:
            task = await self.get(id)
            while task.status not in FINAL:
                left = deadline - asyncio.get_running_loop().time()
                if left <= 0 or self._notify.closed:
                    break
                await watch.ended(left)  # whatever else happens to it is not worth a look
                watch.forget()
                task = await self.get(id)
            return task
        finally:
            self._notify.unwatch(id, watch)

    async def wait_until(self, id: str, timeout: float, enough: Callable[[Task], Awaitable[bool]]) -> Task:
        """The task as soon as `enough` says so of it, or as it is after `timeout` seconds. Raises NotFound."""
        deadline = asyncio.get_running_loop().time() + timeout
        watch = await self._notify.watch(id)
        try:
            task = await self.get(id)
            while not await enough(task):
                left = deadline - asyncio.get_running_loop().time()
                if left <= 0 or self._notify.closed:
                    return task
                await watch.news(left)
                task = await self.get(id)
            return task
        finally:
            self._notify.unwatch(id, watch)

    async def tasks(self, ids: Sequence[str]) -> Sequence[Task | None]:
        """The tasks in the order asked for; None for an id that does not exist."""
        return await self._store.get(ids)

    async def list(self, query: Query) -> Page:
        return await self._store.list(query)

    async def details(self, ids: Sequence[str]) -> Sequence[Details | None]:
        """What is known of tasks besides their records: parents, dependents, what they submitted, progress."""
        return await self._store.details(ids)

    async def waiting_for(self, task: Task) -> Reason | None:
        """Why a task is not running yet; None for one that has started or ended."""
        return await self._waiting.reason(task)

    async def log(self, id: str, *, attempt: int | None, after: str | None, limit: int) -> LogPage:
        """Lines that the handler wrote, oldest first. Raises NotFound."""
        return await self._journal.page(await self.get(id), attempt=attempt, after=after, limit=limit)

    async def counts(self) -> Sequence[QueueCounts]:
        return await self._store.counts()

    async def oldest(self) -> Mapping[str, float]:
        """For each queue with claimable tasks, how many seconds the first in line has waited."""
        now = await self._store.now()
        return {queue: max(0.0, now - run_at) for queue, run_at in (await self._store.oldest()).items()}

    # -- queues

    async def gates(self) -> Mapping[str, Gate]:
        """What holds queues and types back, by scope: "queue/NAME", "type/NAME"."""
        return {gate.scope: gate for gate in await self._store.gates()}

    async def pause(self, queue: str, *, reason: str | None, until: float | None) -> Gate:
        """From the answer on nothing in the queue is claimed, until a time or until it is resumed."""
        return await self._store.gate(f"queue/{queue}", {"paused": True, "reason": reason, "paused_until": until})

    async def resume(self, queue: str) -> Gate:
        """The queue goes on; one that was not paused is no error."""
        return await self._store.gate(f"queue/{queue}", {"paused": False, "reason": None, "paused_until": None})

    async def limit(self, queue: str, changes: Mapping[str, float | None]) -> Gate:
        """Other limits from the answer on: `max_running`, `max_running_per_key`, `rate`; None lifts one."""
        return await self._store.gate(f"queue/{queue}", changes)

    # -- by hand

    async def cancel(self, id: str) -> Status:
        """`cancelled` at once, or `in_progress` when the worker was asked. Raises NotFound and Conflict."""
        (change,) = await self._store.cancel([id])
        if _known(id, change) is Status.IN_PROGRESS:
            self.cancels.ring()
            return Status.IN_PROGRESS
        if change.refusal is not None:
            raise Conflict(f"The task has ended {change.before}: it cannot be cancelled any more.")
        return Status.CANCELLED

    async def retry(self, id: str) -> Status:
        """`queued` again, or `waiting`. Raises NotFound, and Conflict where the task or others forbid it."""
        (change,) = await self._store.retry([id])
        before = _known(id, change)
        match change.refusal:
            case Refusal.UNIQUE:
                raise Conflict("Another unfinished task has its unique_key: cancel that one first, or let it end.")
            case Refusal.PARENTS:
                raise Conflict("A task it depends on has ended without success: retry that one, which brings this one back.")
            case Refusal():
                raise Conflict(f"The task is {before}: only a failed or cancelled one can be retried.")
        return change.after or Status.QUEUED

    async def delete(self, id: str) -> None:
        """Gone. Raises NotFound, and Conflict unless the task was final and nobody needs it."""
        if Ids.is_flagged(id) and await self.callbacks.awaits(await self.get(id)):
            raise Conflict("Its callback has still to be taken up: try again in a moment.")
        (change,) = await self._store.delete([id])
        before = _known(id, change)
        if change.refusal is Refusal.DEPENDENTS:
            raise Conflict("A task that has not ended depends on this one: cancel that one first, or let it end.")
        if change.refusal is not None:
            raise Conflict(f"The task is {before}: only one that has ended can be deleted. Cancel it first.")

    async def cancel_all(self, queries: Sequence[Query], *, dry_run: bool = False) -> bulk.Bulk:
        """Cancel every task that one of the lists would show and that can be cancelled: up to 10,000 a call."""
        done = await bulk.cancel(self._store, queries, dry_run=dry_run)
        self.cancels.ring()
        return done

    async def retry_all(self, queries: Sequence[Query], *, dry_run: bool = False) -> bulk.Bulk:
        """Retry every task that one of the lists would show and that can be retried: up to 10,000 a call."""
        return await bulk.retry(self._store, queries, dry_run=dry_run)

    # -- for workers

    @property
    def work(self) -> Bell:
        """Rings when something may have become claimable."""
        return self._store.work

    async def claim(self, claim: Claim, *, seen: int | None = None, wait: float = 0.0) -> Claimed:
        return await self._store.claim(claim, seen=seen, wait=wait)

    async def drain(self, worker: str) -> Seen:
        """Have a worker end what it runs and claim no more; how it is known from then on. Raises NotFound."""
        seen = await self._fleet.drain(worker)
        self.drains.ring()
        return seen

    async def now(self) -> float:
        return await self._store.now()

    async def renew(self, worker: str, tokens: Mapping[str, str], lease: float) -> Renewed:
        return await self._store.renew(worker, tokens, lease)

    async def asked(self, worker: str) -> Sequence[str]:
        return await self._store.asked(worker)

    async def settle(self, ended: Sequence[Ended]) -> Sequence[bool]:
        """Decide what becomes of each attempt and write it; whether each took. What the store refuses to keep fails alone."""
        try:
            most, pause = self._rules.max_losses, self._pause
            return await self._write([verdict(lease, end, max_losses=most, pause=pause) for lease, end in ended])
        except Refused:
            raise
        except Exception as error:
            if len(ended) > 1:
                return [(await self.settle([one]))[0] for one in ended]
            lease = ended[0][0]
            log.exception("How attempt %d of task %s ended cannot be stored.", lease.attempt, lease.id)
            return await self._write([unwritable(lease, f"{type(error).__name__}: {error}")])

    def _pause(self, lease: Lease, tries: int) -> float:
        return pause(self.types.options(lease.type, lease.hash).get("backoff"), tries, self._random)

    async def note(self, notes: Sequence[Note]) -> Sequence[bool]:
        """Keep what handlers say of their tasks; whether each was written under the token in force."""
        return await self._store.note(notes)

    async def ask(self, lease: Lease, ask: Ask) -> bytes:
        """The answer to a handler, as JSON. Raises Refused with a sentence."""
        return await self._desk.answer(lease, ask)

    async def _write(self, settlements: Sequence[Settlement]) -> Sequence[bool]:
        took = await self._store.settle(settlements)
        self._notify.settled(
            settlement for settlement, ok in zip(settlements, took, strict=True) if ok and settlement.status in FINAL
        )
        return took

    async def give_back(self, leases: Sequence[Lease], *, started: bool) -> Sequence[bool]:
        return await self._store.settle([given_back(lease, started=started) for lease in leases])


def _known(id: str, change: Change) -> Status:
    if change.before is None:
        raise NotFound(f"There is no task {id}.")
    return change.before
