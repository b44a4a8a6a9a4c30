"""Several processes' stores on one schema, with every verb at once: whatever meets, the books are right afterwards."""

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Sequence
from itertools import pairwise

import msgspec
import pytest

from dolgo.store.base import Claim
from dolgo.store.postgres import PostgresStore
from dolgo.task.types import Dependency, Lease, OnParentFailure, Outcome, Put, Settlement, Status
from tests.store.build import fresh_id, task

pytestmark = pytest.mark.anyio

STORES = 4
PHASES = 20  # after each of them the books are looked at: a later write might put right what is wrong
ROUNDS = 4
Made = Callable[[], Awaitable[PostgresStore]]


class Actor:
    """What one process does: anything, in an order that chance decides."""

    def __init__(self, store: PostgresStore, name: str, seed: int, ids: list[str]) -> None:
        self.store = store
        self.name = name
        self.random = random.Random(seed)
        self.ids = ids  # of all actors
        self.leases: list[Lease] = []

    async def act(self, rounds: int, *, others: bool) -> None:
        """`others`: not only what workers and submitters do, which goes side by side, but what has the store to itself too."""
        deeds = [self.submit, self.submit, self.claim, self.claim, self.settle, self.settle]
        deeds += [self.change, self.record, self.upkeep] if others else []
        for _ in range(rounds):
            chosen = self.random.sample(deeds, 3)
            await asyncio.gather(*(deed() for deed in chosen))

    async def submit(self) -> None:
        new = []
        for _ in range(self.random.randint(1, 5)):
            parents = self.random.sample(self.ids, min(len(self.ids), 2)) if self.random.random() < 0.2 else []
            new.append(task(
                id=fresh_id(), queue=self.random.choice(("a", "b")), delay=self.random.choice((0.0, 0.0, 0.05)),
                depends_on=tuple(map(Dependency, parents)), on_parent_failure=self.random.choice(list(OnParentFailure)),
                limit_key=self.random.choice((None, None, "k", "l")), expires_at=None,
                unique_key=self.random.choice((None, None, None, "u", "v")),
            ))  # fmt: skip
        submitted = await self.store.submit(new)
        if submitted.statuses:
            self.ids += [one.id for one in new]

    async def claim(self) -> None:
        answer = await self.store.claim(Claim(self.name, self.random.randint(1, 8), 30.0, frozenset({"echo"})))
        self.leases += answer.leases

    async def settle(self) -> None:
        leases, self.leases = self.leases, []
        self.random.shuffle(leases)
        await self.store.settle([self._end(lease) for lease in leases])

    def _end(self, lease: Lease) -> Settlement:
        if self.random.random() < 0.3:
            return Settlement(lease, Status.QUEUED, Outcome.RETRY, delay=self.random.choice((0.0, 0.02)))
        if self.random.random() < 0.3:
            return Settlement(lease, Status.FAILED, Outcome.FAILED, failures=1)
        return Settlement(lease, Status.DONE, Outcome.DONE, b"null")

    async def change(self) -> None:
        some = self.random.sample(self.ids, min(len(self.ids), 3))
        verb = self.random.choice((self.store.cancel, self.store.retry, self.store.delete))
        for id, change in zip(some, await verb(some), strict=True):
            if change.after is None and id in self.ids:
                self.ids.remove(id)

    async def record(self) -> None:
        await self.store.put([Put(self.random.choice("xyz"), b"1", None)])
        await self.store.gate("queue/a", {"max_running": self.random.choice((None, 3))})

    async def upkeep(self) -> None:
        await asyncio.gather(
            self.store.reclaim([self.name] if self.random.random() < 0.1 else [], 10), self.store.cascade(20),
            self.store.expire(10), self.store.prune(0.3, 5), self.store.trim(60.0, 1_000_000, 100),
        )  # fmt: skip


@pytest.mark.parametrize("others", [False, True], ids=["work alone", "every verb"])
async def test_what_several_processes_do_at_once_leaves_the_books_right(
    opened: Made, caplog: pytest.LogCaptureFixture, others: bool
) -> None:
    stores = [await opened() for _ in range(STORES)]
    ids: list[str] = []
    actors = [Actor(store, f"w{n}", n, ids) for n, store in enumerate(stores)]
    for _ in range(PHASES):
        await asyncio.gather(*(actor.act(ROUNDS, others=others) for actor in actors))
        while any([await store.cascade(100) for store in stores]):
            pass
        await books_are_right(stores[0])
    await everything_ends(stores[0], actors)
    await books_are_right(stores[0])
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]


async def everything_ends(store: PostgresStore, actors: Sequence[Actor]) -> None:
    """Nothing is stuck: with all limits gone, everything that is unfinished can be run."""
    await store.gate("queue/a", {"max_running": None})
    await store.reclaim([actor.name for actor in actors], 10_000)
    async with asyncio.timeout(60):
        while any(counts.counts[status] for counts in await store.counts() for status in UNFINISHED):
            leases = (await store.claim(Claim("last", 100, 30.0, frozenset({"echo"})))).leases
            await store.settle([Settlement(lease, Status.DONE, Outcome.DONE, b"null") for lease in leases])
            await store.cascade(100)


UNFINISHED = (Status.WAITING, Status.QUEUED, Status.IN_PROGRESS)

COUNTED = """
SELECT line.n, state, count(*) FROM every_task JOIN line ON line.n = every_task.line GROUP BY 1, 2 EXCEPT
SELECT n, state, count FROM line, LATERAL (VALUES (1, waiting), (2, later), (3, ready), (4, in_progress), (5, done), (6, failed),
    (7, cancelled)) AS v (state, count)"""
KEYED = """
SELECT line, limit_key, count(*) FILTER (WHERE state = 4),
    min(rank) FILTER (WHERE state = 3), (array_agg(id ORDER BY rank, id) FILTER (WHERE state = 3))[1]
FROM task WHERE limit_key > '' AND state IN (3, 4) GROUP BY 1, 2 EXCEPT SELECT line, key, running, head, first FROM keyed_line"""
HIDDEN = "SELECT id FROM task JOIN line ON line.n = task.line WHERE state = 3 AND limit_key = '' AND rank < head"
STUCK = """
SELECT id FROM task WHERE state = 1 AND NOT EXISTS (SELECT 1 FROM edge JOIN body ON body.id = edge.parent
    JOIN task AS parent ON parent.n = body.n WHERE edge.child = task.n AND open)"""
TWICE = "SELECT n FROM task JOIN final USING (n)"
NOWHERE = "SELECT body.n FROM body LEFT JOIN task USING (n) LEFT JOIN final USING (n) WHERE task.n IS NULL AND final.n IS NULL"
SHARED = "SELECT unique_key FROM task WHERE unique_key IS NOT NULL GROUP BY 1 HAVING count(*) > 1"


async def books_are_right(store: PostgresStore) -> None:
    for wrong in (COUNTED, KEYED, HIDDEN, STUCK, TWICE, NOWHERE, SHARED):
        assert not [tuple(row) for row in await store._server.reader.query(wrong)], wrong
    rows = [tuple(row) for row in await store._server.reader.query("SELECT first, last, entries FROM log ORDER BY last")]
    assert all(here[0] == before[1] + 1 for before, here in pairwise(rows)), "the log has a gap"
    assert all(last - first + 1 == len(msgspec.msgpack.decode(entries)) for first, last, entries in rows)
    assert rows[-1][1] == await store.head()
