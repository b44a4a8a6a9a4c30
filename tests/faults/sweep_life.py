"""The life that the sweep breaks off or lets fail at each of its writes: always the same steps, each told before and after it.

python -m tests.faults.sweep_life open|live|model|close FOLDER
"""

from __future__ import annotations

import asyncio
import os
import sqlite3
import sys
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

from dolgo.errors import StoreUnavailable, StoreUnusable
from dolgo.store.base import Store
from dolgo.store.sqlite import SqliteStore, threads, turn
from dolgo.store.sqlite.database import prepare
from dolgo.task.types import Lease, OnParentFailure, Put, Settlement
from tests.store.build import after, again, back, done, failed, note, task, wants
from tests.store.clock import Clock

WORKER = "w1"
TRIES = 20  # of one step, while the disk fails; no injected fault lasts so long
REFUSED = 3  # exit code of one that could not open the file and said why

Step = Callable[["Life"], Awaitable[None]]


class Life:
    """A store, the leases held, and the clock that every step moves on by a second."""

    def __init__(self, folder: Path, told: Callable[[str], object]) -> None:
        self.clock = Clock()
        self.store: Store = SqliteStore(str(folder / "dolgo.db"), clock=self.clock)
        self.held: dict[str, Lease] = {}  # by task
        self._told = told
        self._tries = 0  # of the step under way, before this one

    async def live(self) -> None:
        """Every step, in order. A step that the store could not take is repeated, as every verb may be."""
        for number, step in enumerate(STEPS):
            self.clock.advance(1.0)
            self._told(f"begin {number}")
            await self._insist(step)
            self._told(f"end {number}")

    async def _insist(self, step: Step) -> None:
        for self._tries in range(TRIES):
            try:
                return await step(self)
            except StoreUnavailable:
                pass
        raise AssertionError(f"the store does not recover: {step.__name__}")

    async def claim(self, *ids: str) -> None:
        """Hold these. A claim whose answer was lost shows in what the store says this worker has."""
        if self._tries:
            renewed = await self.store.renew(WORKER, {id: lease.token for id, lease in self.held.items()}, 30.0)
            self.held |= {lease.id: lease for lease in renewed.unnamed}
        missing = [id for id in ids if id not in self.held]
        if missing:
            claimed = await self.store.claim(wants(worker=WORKER, limit=len(missing)))
            self.held |= {lease.id: lease for lease in claimed.leases}
        assert set(ids) <= self.held.keys(), f"wanted {ids}, held {sorted(self.held)}"

    async def settle(self, end: Callable[[Lease], Settlement], *ids: str) -> None:
        assert await self.store.settle([end(self.held[id]) for id in ids]) == [True] * len(ids)
        for id in ids:
            del self.held[id]


# -- the steps: each a commit or none, together they write every table and every kind of page

ids = [f"{number:08x}-0000-7000-8000-{number:012x}" for number in range(60)]
LEFT, RIGHT, BOTH, EITHER, *FAN = ids[:9]  # two parents, what depends on both, and what depends on the first
LONE, LATER, KEYED, UNIQUE = ids[9:13]
BATCH, MORE = ids[13:40], ids[40:]


async def submit_a_batch(life: Life) -> None:
    fan = [task(id=id, depends_on=after(LEFT), priority=8) for id in FAN]
    either = task(id=EITHER, depends_on=after(LEFT, RIGHT), on_parent_failure=OnParentFailure.RUN)
    parents = [task(id=LEFT, priority=9), task(id=RIGHT, priority=9)]
    await life.store.submit([*parents, task(id=BOTH, depends_on=after(LEFT, RIGHT)), either, *fan])


async def submit_others(life: Life) -> None:
    """A record in the same commit, as an Idempotency-Key is; a delay, a limit key, a unique key."""
    others = [task(id=LATER, delay=3_600.0), task(id=KEYED, limit_key="k"), task(id=UNIQUE, unique_key="u")]
    await life.store.submit([task(id=LONE, tags=("a", "b")), *others], [Put("once/lone", b"{}", None, 60.0)])


async def set_a_gate(life: Life) -> None:
    await life.store.gate("queue/default", {"max_running": 10, "max_running_per_key": 1})


async def claim_the_parents(life: Life) -> None:
    await life.claim(LEFT, RIGHT)


async def take_notes(life: Life) -> None:
    assert await life.store.note([note(life.held[LEFT], "log/1", b'["said"]'), note(life.held[RIGHT])]) == [True, True]


async def end_one_parent(life: Life) -> None:
    """More dependents than one commit may release."""
    await life.settle(done, LEFT)


async def cascade(life: Life) -> None:
    await life.store.cascade(2)


async def fail_the_other(life: Life) -> None:
    await life.settle(failed, RIGHT)


async def retry_it(life: Life) -> None:
    """Revives what was cancelled with it. Asked again in doubt it is refused, because it is queued already."""
    await life.store.retry([RIGHT])


async def claim_again(life: Life) -> None:
    await life.claim(RIGHT, *FAN[:2])


async def end_each_in_its_way(life: Life) -> None:
    ways: Sequence[tuple[str, Callable[[Lease], Settlement]]] = (
        (RIGHT, done), (FAN[0], lambda lease: again(lease, 5.0)), (FAN[1], lambda lease: back(lease, started=False)),
    )  # fmt: skip
    await life.store.settle([way(life.held[id]) for id, way in ways])
    for id, _ in ways:
        life.held.pop(id)


async def cancel_some(life: Life) -> None:
    await life.store.cancel([FAN[2], LATER, BOTH])


async def submit_large_ones(life: Life) -> None:
    """With payloads of several pages, so that pages overflow and the file grows."""
    await life.store.submit([task(id=id, payload=b'"%s"' % (b"x" * 5_000)) for id in BATCH[:8]])


async def submit_some_that_expire(life: Life) -> None:
    await life.store.submit([task(id=id, expires_at=life.clock.now + 0.5) for id in BATCH[8:]])


async def expire(life: Life) -> None:
    await life.store.expire(100)


async def checkpoint(life: Life) -> None:
    """By the writer's own thread, after this commit."""
    assert isinstance(life.store, SqliteStore)
    life.store._writer.checkpoint_soon()
    await life.store.put([Put("checkpoint", b"1", None)])


async def put_a_record(life: Life) -> None:
    await life.store.put([Put("record", b"1", None)])


async def cancel_large_ones(life: Life) -> None:
    await life.store.cancel(BATCH[:8])


async def submit_more(life: Life) -> None:
    await life.store.submit([task(id=id, depends_on=after(LONE)) for id in MORE])


async def prune(life: Life) -> None:
    await life.store.prune(0.0, 100)


async def trim(life: Life) -> None:
    await life.store.trim(3.0, 1_000, 100)


STEPS: tuple[Step, ...] = (
    submit_a_batch, submit_others, set_a_gate, claim_the_parents, take_notes, end_one_parent, cascade, cascade, fail_the_other,
    cascade, retry_it, cascade, claim_again, end_each_in_its_way, cancel_some, checkpoint, submit_large_ones,
    submit_some_that_expire, expire, prune, trim, checkpoint, put_a_record, cancel_large_ones, submit_more,
)  # fmt: skip


# -- the process


def main(phase: str, folder: Path) -> int:
    turn.CASCADED = 2  # type: ignore[attr-defined]  # so that a few dependents are more than one commit may see to
    threads.CHECKPOINT_EVERY = 600.0  # the thread's timing is chance; the writer's checkpoints are the same writes
    try:
        asyncio.run(PHASES[phase](folder))
    except StoreUnusable as error:
        sys.stderr.write(f"{error}\n")
        return REFUSED
    return 0


async def _open(folder: Path) -> None:
    prepare(str(folder / "dolgo.db"))


async def _live(folder: Path) -> None:
    said = os.open(folder / "said", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    await _lived(folder, lambda line: os.write(said, f"{line}\n".encode()))


async def _model(folder: Path) -> None:
    """As `live`, and keeps a copy of the database as it was before the first step and after each."""
    copies = folder / "model"
    copies.mkdir()
    _copy(folder, copies / "0.db")

    def tell(line: str) -> None:
        word, _, number = line.partition(" ")
        if word == "end":
            _copy(folder, copies / f"{int(number) + 1}.db")

    await _lived(folder, tell)


async def _lived(folder: Path, tell: Callable[[str], object]) -> None:
    life = Life(folder, tell)
    await life.store.open()
    await life.live()
    sys.stderr.flush()
    os._exit(0)  # as a kill would leave it: closing is a phase of its own


def _copy(folder: Path, target: Path) -> None:
    here, there = sqlite3.connect(folder / "dolgo.db"), sqlite3.connect(target)
    here.backup(there)
    here.close()
    there.close()


async def _close(folder: Path) -> None:
    """Opens what a killed process left, log and all, and closes it: the last one copies the log and deletes it."""
    life = Life(folder, lambda line: None)
    await life.store.open()
    await life.store.close()


PHASES = {"open": _open, "live": _live, "model": _model, "close": _close}

if __name__ == "__main__":
    sys.exit(main(sys.argv[1], Path(sys.argv[2])))
