"""The store seam: what a store promises. It is the single source of truth, and by default the queue as well.

A store keeps tasks, the event log and records. It holds no policy: the manager decides, the store writes. Three rules must be
atomic and therefore live here: `cancel_asked` beats `queued`, a parent's end releases or cancels its dependents, and gates hold
for all workers together.

Every verb is batch-shaped and every item of a batch is atomic. A transition is one conditional write on id, state and token, and
appends its event in the same commit. A verb returns after its commit is as durable as the store's docs say; if it raises
`StoreUnavailable` the write may or may not have happened, and every verb may be repeated in doubt.
"""

from __future__ import annotations

import asyncio
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Mapping, Sequence

from msgspec import Struct

from dolgo.task.types import (
    Change,
    Details,
    Event,
    Gate,
    HeldUp,
    Lease,
    NewTask,
    Note,
    Put,
    Query,
    QueueCounts,
    Record,
    Settlement,
    Status,
    Task,
)

Clock = Callable[[], float]  # seconds since the epoch

PROBE = Put("probe", b"{}", None, 60.0)  # what is written to see whether anything can be
CASCADED = 500  # dependents that one commit moves on; what is left over is done by `cascade`


class Claim(Struct, frozen=True):
    """What a worker asks for."""

    worker: str
    limit: int  # tasks at most
    lease: float  # seconds
    types: frozenset[str]
    queues: frozenset[str] | None = None  # None: all
    avoid: frozenset[tuple[str, str]] = frozenset()  # (type, hash) this worker cannot decode
    ahead: bool = False  # for slots that are not free yet: nothing that a gate or a limit key counts


class Claimed(Struct, frozen=True):
    """The leases taken, smallest rank first, and when more will become claimable (None: not by time alone)."""

    leases: list[Lease]
    next_at: float | None
    seen: int = 0  # rings of `Store.work` that this answer accounts for


class Renewed(Struct, frozen=True):
    """What a worker must know of its leases."""

    lost: list[str]  # ids named whose token is no longer current
    cancel_asked: list[str]  # ids named that somebody wants cancelled
    unnamed: list[Lease]  # held by this worker but not named: a claim whose answer was lost


class Submitted(Struct, frozen=True):
    """The status of each task; or what stood in the way, and then nothing was written."""

    statuses: list[Status]
    existing: Record | None = None  # of a conditional put
    unique: dict[str, str] = {}  # new id → the unfinished task of its type that has its `unique_key`
    unknown: list[str] = []  # ids in `depends_on` that there are no tasks for
    lost: bool = False  # the token of a note was not current


class Page(Struct, frozen=True):
    """A page of tasks. `after` continues it; it may be set although `tasks` is short or empty, and None means the end."""

    tasks: list[Task]
    after: tuple[float, str] | None


class IdPage(Struct, frozen=True):
    """As `Page`, the ids alone."""

    ids: list[str]
    after: tuple[float, str] | None


class EventPage(Struct, frozen=True):
    """Events in order of `seq`.

    `reset` when the log no longer reaches back to the place asked for: then from the oldest there is; and when it ends before
    that place: then there are none, and `next` is where it ends."""

    events: list[Event]
    next: int  # ask for events after this next time
    reset: bool = False


class Bell:
    """Wakes everybody who waits. A ring between two looks is not lost: `count` tells."""

    def __init__(self) -> None:
        self.count = 0
        self._waiters: set[asyncio.Future[None]] = set()
        self.pause = 0.0  # seconds, at least, between two rings for what `hear` is told
        self._later: asyncio.TimerHandle | None = None

    def hear(self, ring: Callable[[], None] | None = None) -> None:
        """Another process has rung: ring here too, or call `ring` for it. At once, or when the pause is over."""
        ring = ring or self.ring
        if not self.pause:
            ring()
        elif self._later is None:
            self._later = asyncio.get_running_loop().call_later(self.pause, self._heard, ring)

    def _heard(self, ring: Callable[[], None]) -> None:
        self._later = None
        ring()

    def close(self) -> None:
        """What was heard and has not rung yet does not ring any more."""
        if self._later is not None:
            self._later.cancel()

    def ring(self) -> None:
        self.count += 1
        for waiter in self._waiters:
            if not waiter.done():
                waiter.set_result(None)
        self._waiters.clear()

    async def wait(self, seen: int, timeout: float | None = None) -> bool:
        """True as soon as the bell has rung after it had rung `seen` times; False after `timeout` seconds."""
        if self.count != seen:
            return True
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiters.add(waiter)
        try:
            await asyncio.wait_for(waiter, timeout)
        except TimeoutError:
            return False
        finally:
            self._waiters.discard(waiter)
        return True


class Store(ABC):
    """Where tasks are kept. Use from one event loop; `open` before, `close` after."""

    def __init__(self, clock: Clock = time.time) -> None:
        self._clock = clock
        self.work = Bell()  # something may have become claimable, here or in another process
        self.log = Bell()  # the event log has grown, here or in another process

    # -- life

    @abstractmethod
    async def open(self) -> None:
        """Ready for use; migrated. Raises `StoreUnusable` with the way out where a person must do something.

        Raises `StoreUnavailable` where the store may only not be there yet: the caller waits and opens it again."""

    @abstractmethod
    async def close(self) -> None:
        """Finish what was begun and let go of everything. Calling it twice is harmless."""

    async def now(self) -> float:
        """The store's time, in seconds since the epoch. The only time that is stored."""
        return self._clock()

    def ring_work(self) -> None:
        """Somebody says that something may have become claimable."""
        self.work.ring()

    def be_told(self, *, pause: float, log: bool) -> None:
        """From now on somebody says so by `ring_work`: what other processes commit rings `work` only once in `pause` seconds.

        Without `log` nobody here waits for events of theirs either, and the store may look for them less often."""
        self.work.pause = pause

    async def ready(self) -> None:
        """Return if a task submitted now would be stored, which takes a small write to know. Raises StoreUnavailable."""
        await self.put([PROBE])

    # -- the life of a task

    @abstractmethod
    async def submit(self, tasks: Sequence[NewTask], puts: Sequence[Put] = (), notes: Sequence[Note] = ()) -> Submitted:
        """All the tasks, records and notes, or none: `Submitted` says what stood in the way.

        Idempotent by id: an id that exists is left as it is, and answered with its status. Parents of the same call stand before
        their dependents. A task whose parents are all `done` is `queued`, one with an unfinished parent `waiting`; one with a
        parent that has ended otherwise is `cancelled` with `dependency_failed`, unless it is to run all the same."""

    @abstractmethod
    async def get(self, ids: Sequence[str]) -> Sequence[Task | None]:
        """The tasks as committed, in the order asked for; None for an id that does not exist."""

    @abstractmethod
    async def list(self, query: Query) -> Page:
        """Tasks that match, in order; never more than `query.limit`. Stable under inserts: a keyset, not an offset.

        Looks at a bounded number of rows a call, so a page may be short while `after` is set."""

    @abstractmethod
    async def find(self, query: Query) -> IdPage:
        """As `list`, but only ids: for what is to be done to many."""

    @abstractmethod
    async def details(self, ids: Sequence[str]) -> Sequence[Details | None]:
        """What is known besides the records, in the order asked for; None for an id that does not exist."""

    @abstractmethod
    async def claim(self, claim: Claim, *, seen: int | None = None, wait: float = 0.0) -> Claimed:
        """`queued` → `in_progress`: the due tasks of smallest (rank, id) among the open lines the claim fits.

        A line is the claimable tasks of one queue, type and limit key. It is closed while its queue or type is paused, runs as
        many as it may, or has started as many as its rate lets it; the gates hold exactly, over all workers. Closed lines cost a
        claim next to nothing. What has expired is not claimed. `next_at` minds what gates hold back and time lets go.

        Two claims never get the same task. Attempt + 1, fresh token, lease from now. With `seen` it waits until `work` has rung
        more often than that, or `wait` seconds have passed: a store may then claim in the very commit that brings the work."""

    @abstractmethod
    async def renew(self, worker: str, tokens: Mapping[str, str], lease: float) -> Renewed:
        """Lengthen the leases named (id → token) to `lease` seconds from now."""

    @abstractmethod
    async def settle(self, settlements: Sequence[Settlement]) -> Sequence[bool]:
        """End attempts: answers for each whether it took.

        Takes while the lease's token is current, even past its time. `queued` becomes `cancelled` if a cancel was asked. The
        token stays on a final record, so the same settlement repeated answers True again and changes nothing."""

    @abstractmethod
    async def note(self, notes: Sequence[Note]) -> Sequence[bool]:
        """Keep notes under their tasks: answers for each whether it took, as it does while the token is current and the task
        in progress."""

    @abstractmethod
    async def notes(self, id: str, prefix: str = "") -> Sequence[tuple[str, bytes]]:
        """Key and value of a task's notes whose key starts with `prefix`, by key. Empty for a task that does not exist."""

    @abstractmethod
    async def cancel(self, ids: Sequence[str]) -> Sequence[Change]:
        """`waiting`, `queued` → `cancelled`; `in_progress` → marked. A task that is `cancelled` is no refusal and no change;
        but from then on no retry of a parent revives it."""

    @abstractmethod
    async def asked(self, worker: str) -> Sequence[str]:
        """Ids held by this worker that somebody wants cancelled."""

    @abstractmethod
    async def retry(self, ids: Sequence[str]) -> Sequence[Change]:
        """`failed`, `cancelled` → `queued`, or `waiting` by its parents as they are now. Generation + 1.

        Failures, losses and deferrals at 0; history, attempt numbers and notes go on; an `expires_at` that has passed is lifted.
        Dependents that were cancelled because of it alone, and would not be cancelled by their other parents as they are now, are
        revived: in the same way, but not before their own `run_at`; in the same commit up to `CASCADED`, the rest by `cascade`,
        and theirs after them. One whose `unique_key` another has taken stays."""

    @abstractmethod
    async def delete(self, ids: Sequence[str]) -> Sequence[Change]:
        """Final → gone, with its notes. Anything else is left as it is, and so is one that an unfinished task depends on."""

    # -- upkeep: conditional writes, so two processes at once do no harm

    @abstractmethod
    async def reclaim(self, dead: Collection[str], limit: int) -> int:
        """`in_progress` → `queued` and suspect, uncounted, where the lease is over or its worker is in `dead`. How many."""

    @abstractmethod
    async def clamp(self, lease: float) -> int:
        """Shorten leases that end later than `lease` seconds from now: the wall clock was set back. How many."""

    @abstractmethod
    async def prune(self, keep: float, limit: int) -> int:
        """Delete final tasks that finished more than `keep` seconds ago, or than they say themselves, oldest first. How many.

        Left are those that are still `needed`, and those that an unfinished task depends on."""

    @abstractmethod
    async def expire(self, limit: int) -> int:
        """`waiting`, `queued` → `cancelled` with `expired` where `expires_at` has passed. How many."""

    @abstractmethod
    async def cascade(self, limit: int) -> int:
        """Go on with what the ends and retries of parents have left to do, for at most so many dependents. How many; 0: nothing
        is left."""

    @abstractmethod
    async def trim(self, keep: float, most: int, limit: int, *, upto: int | None = None) -> int:
        """Drop events older than `keep` seconds or beyond the newest `most`, and expired records. How many.

        None with a larger `seq` than `upto` goes: somebody has still to read it."""

    # -- gates

    @abstractmethod
    async def gate(self, scope: str, changes: Mapping[str, object]) -> Gate:
        """The gate with these members changed, from the answer on for every claim. Unfinished attempts go on."""

    @abstractmethod
    async def gates(self) -> Sequence[Gate]:
        """Every gate that holds anything back, by scope."""

    @abstractmethod
    async def held_up(self, id: str) -> HeldUp | None:
        """Why a due task that is `queued` has not been claimed, as far as the store knows; None if it is not that."""

    # -- looking

    @abstractmethod
    async def counts(self) -> Sequence[QueueCounts]:
        """Tasks by queue, type and status. Costs the number of lines, not of tasks."""

    @abstractmethod
    async def oldest(self) -> dict[str, float]:
        """For each queue with a claimable task: the `run_at` of one that has waited longest by rank."""

    @abstractmethod
    async def events(self, after: int, limit: int) -> EventPage:
        """Events with a larger `seq`, in order. After a commit is visible, no smaller `seq` appears later."""

    @abstractmethod
    async def head(self) -> int:
        """The newest `seq`, 0 if there never was one."""

    # -- records

    @abstractmethod
    async def put(self, puts: Sequence[Put]) -> Record | None:
        """All of them or none: answers the record that stood in the way, None when written."""

    @abstractmethod
    async def records(self, prefix: str) -> Sequence[Record]:
        """Unexpired records whose key starts with `prefix`, by key."""

    @abstractmethod
    async def forget(self, keys: Sequence[str]) -> None:
        """Delete records; unknown keys are no error."""
