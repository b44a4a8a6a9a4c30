"""A claim begins where the last one ended, and misses nothing that has come in before that place."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from dolgo.store.postgres import PostgresStore
from tests.store.build import back, claim, submit, task

pytestmark = pytest.mark.anyio

HEAD = "SELECT head FROM line"
Opened = Callable[[], Awaitable[PostgresStore]]


async def test_a_line_is_entered_where_the_last_claim_left_it(opened: Opened) -> None:
    store = await opened()
    await submit(store, *(task(run_at=float(n)) for n in range(1, 6)))
    await claim(store, limit=3)
    assert [head for (head,) in await store._server.reader.query(HEAD)] == [3.0]
    assert len((await claim(store)).leases) == 2


async def test_what_comes_before_that_place_in_the_very_commit_of_a_claim_is_claimed_first(opened: Opened) -> None:
    store = await opened()
    await submit(store, *(task(run_at=float(n)) for n in range(100, 106)))
    await claim(store, limit=3)
    early = task(run_at=1.0)
    _, claimed = await asyncio.gather(store.submit([early]), claim(store, limit=1))
    assert [lease.id for lease in claimed.leases] == [early.id]


async def test_what_is_given_back_before_that_place_is_claimed_again(opened: Opened) -> None:
    store, other = await opened(), await opened()
    await submit(store, *(task(run_at=float(n)) for n in range(100, 106)))
    first, *_ = (await claim(store, limit=3)).leases
    await claim(other, limit=2)
    assert await store.settle([back(first, started=False)]) == [True]
    assert [lease.id for lease in (await claim(other, limit=1)).leases] == [first.id]
