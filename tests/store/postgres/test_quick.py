"""A plain batch is one way to the server, and comes to the same as the statements one after the other."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import pytest

from dolgo.store.base import Store
from dolgo.store.postgres import PostgresStore
from dolgo.task.types import Dependency, Event, Status
from tests.postgres_server import PostgresServer
from tests.store.build import claim, done, read, submit, task, wants

pytestmark = pytest.mark.anyio

Opened = Callable[..., Awaitable[PostgresStore]]


class Statements:
    """What a store says on the connection that writes, from the moment it is made."""

    def __init__(self) -> None:
        self.said: list[str] = []

    async def of(self, store: PostgresStore) -> "Statements":
        (await store._server.writing.ready()).add_query_logger(lambda query: self.said.append(query.query))
        return self

    def taken(self) -> list[str]:
        """The beginnings of what was said since the last call."""
        said, self.said = self.said, []
        return [text.split("(")[0] for text in said]


QUICK = "SELECT * FROM quick_1"


async def life(store: Store) -> list[Event]:
    """Tasks of several kinds are submitted, claimed and settled, each step with others beside it; the events of it all."""
    early = [task(priority=n, tags=("a", "b") if n else ()) for n in range(3)]
    odd = task(id="é" * 50 + '"', queue="other", run_at=1.0)
    await asyncio.gather(submit(store, *early), submit(store, odd), submit(store, delay=1_000.0))
    first, second = await asyncio.gather(claim(store, limit=2), claim(store, worker="w2", limit=5))
    assert [len(first.leases), len(second.leases)] == [2, 2]
    leases = [*first.leases, *second.leases]
    _, took, more = await asyncio.gather(
        submit(store), store.settle([done(lease) for lease in leases[:3]]), claim(store, limit=5)
    )
    assert took == [True, True, True]
    assert len(more.leases) == 1
    return list((await store.events(0, 1_000)).events)


async def shown(store: Store, events: Sequence[Event]) -> list[Any]:
    """All that is to be seen of it, but for times, tokens and ids."""
    names = {id: n for n, id in enumerate(dict.fromkeys(event.id for event in events))}
    seen: list[Any] = [(names[event.id], event.status, event.attempt, event.type, event.queue) for event in events]
    for id in names:
        found = await read(store, id)
        seen.append((found.status, found.attempt, found.priority, found.tags, found.result, found.worker, found.run_at == 1.0))
    return [*seen, await store.counts()]


async def test_a_plain_batch_is_one_statement(opened: Opened) -> None:
    store = await opened()
    await submit(store)  # the first of its line makes it
    statements = await Statements().of(store)
    await submit(store)
    assert statements.taken() == [QUICK]
    (lease, _) = (await claim(store)).leases
    assert statements.taken() == [QUICK]
    assert await store.settle([done(lease)]) == [True]
    assert statements.taken() == [QUICK]
    await asyncio.gather(submit(store), claim(store))
    assert statements.taken() == [QUICK]


async def test_it_comes_to_the_same_as_one_statement_after_the_other(
    server: PostgresServer, opened: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, other = await opened(), await opened(f"{server.url}?schema=other")
    quick = await shown(store, await life(store))
    monkeypatch.setattr("dolgo.store.postgres.quick.plain", lambda *_: None)
    assert await shown(other, await life(other)) == quick


async def test_what_it_logs_is_read_by_another_process_as_it_was_told_here(opened: Opened) -> None:
    store, other = await opened(), await opened()
    told = await life(store)
    assert (await other.events(0, 1_000)).events == told


async def test_what_rules_have_a_say_in_is_left_to_them(opened: Opened) -> None:
    store = await opened()
    parent, child = task(), task()
    await submit(store, parent, task())
    await submit(store, task(depends_on=(Dependency(parent.id),), id=child.id))
    statements = await Statements().of(store)
    leases = (await claim(store)).leases
    assert statements.taken() == [QUICK]
    await store.settle([done(lease) for lease in leases])
    assert "COMMIT" in statements.taken()
    assert (await read(store, child.id)).status is Status.QUEUED
    await store.gate("queue/default", {"paused": True})
    statements.taken()
    assert (await claim(store)).leases == []
    assert statements.taken()[0] == QUICK


async def test_an_end_that_does_not_take_leaves_the_others_of_its_batch_theirs(opened: Opened) -> None:
    store = await opened()
    await submit(store, task(), task())
    first, second = (await claim(store)).leases
    await store.settle([done(first)])
    again, fresh = await asyncio.gather(store.settle([done(first), done(second)]), submit(store))
    assert again == [True, True]
    assert [(await read(store, id)).status for id in (second.id, *fresh)] == [Status.DONE, Status.QUEUED]


async def test_a_line_that_another_process_has_made_is_claimed_from(opened: Opened) -> None:
    store, other = await opened(), await opened()
    await submit(store)
    assert len((await claim(store)).leases) == 1
    (id,) = await submit(other, type="new")
    assert [lease.id for lease in (await store.claim(wants(types=frozenset({"new"})))).leases] == [id]
