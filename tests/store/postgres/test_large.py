"""Tasks as large as the door lets in, as many as a batch may hold."""

from collections.abc import Awaitable, Callable

import pytest

from dolgo.store.postgres import PostgresStore
from tests.store.build import claim, done, submit, task

pytestmark = pytest.mark.anyio

MIB = 2**20
MANY = 63  # with one MiB each, about what the body of a batch may have
Opened = Callable[[], Awaitable[PostgresStore]]


async def test_a_batch_as_large_as_can_be_is_submitted_run_and_read(opened: Opened) -> None:
    store = await opened()
    payload, result = b'"' + b"p" * (MIB - 2) + b'"', b'"' + b"r" * (MIB - 2) + b'"'
    ids = await submit(store, *(task(payload=payload, limit_key="k" if n % 2 else None) for n in range(MANY)))
    leases = (await claim(store, limit=MANY)).leases
    assert sorted(lease.id for lease in leases) == sorted(ids)
    assert all(lease.payload == payload for lease in leases)
    assert all(await store.settle([done(lease, result) for lease in leases]))
    found = [one for start in range(0, MANY, 8) for one in await store.get(ids[start : start + 8])]
    assert all(one is not None and one.result == result for one in found)


async def test_a_result_of_sixteen_mib_is_kept(opened: Opened) -> None:
    store = await opened()
    (id,) = await submit(store)
    (lease,) = (await claim(store)).leases
    result = b'"' + b"r" * (16 * MIB - 2) + b'"'
    assert await store.settle([done(lease, result)]) == [True]
    (found,) = await store.get([id])
    assert found is not None
    assert found.result == result
