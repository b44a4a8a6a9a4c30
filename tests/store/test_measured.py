"""Calls of a store are told to the tally, and go on as before."""

from __future__ import annotations

import inspect

import pytest

from dolgo.errors import StoreUnavailable
from dolgo.metrics import catalog
from dolgo.metrics.tally import Tally
from dolgo.store.base import Store
from dolgo.store.measured import VERBS, measure
from dolgo.store.memory import MemoryStore
from dolgo.task.types import Status
from tests.store.build import again, back, claim, done, failed, submit, task, wants
from tests.store.clock import Clock

pytestmark = pytest.mark.anyio

NOT_MEASURED = {"open", "close", "head", "now", "ready"}  # they begin and end it, or ask nothing of it most times


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def tally() -> Tally:
    return Tally()


@pytest.fixture
async def measured(tally: Tally) -> Store:
    store = MemoryStore(Clock())
    await store.open()
    measure(store, tally)
    return store


def test_every_verb_of_the_seam_is_measured() -> None:
    verbs = {name for name, of in vars(Store).items() if inspect.iscoroutinefunction(of) and not name.startswith("_")}
    assert set(VERBS) == verbs - NOT_MEASURED


async def test_tasks_are_counted_as_they_come_are_claimed_and_end(measured: Store, tally: Tally) -> None:
    await submit(measured, *(task() for _ in range(4)))
    await submit(measured, type="other", queue="q")
    one, two, three, four = (await claim(measured)).leases
    assert await measured.settle([done(one), failed(two), again(three), back(four, started=False)]) == [True] * 4
    assert await measured.settle([done(three)]) == [False]
    kind = ("default", "echo")
    assert tally.counted(catalog.SUBMITTED) == {kind: 4, ("q", "other"): 1}
    assert tally.counted(catalog.CLAIMED) == {kind: 4}
    assert tally.counted(catalog.ENDED) == {(*kind, "done"): 1, (*kind, "failed"): 2, (*kind, "given_back"): 1}
    assert tally.counted(catalog.SETTLED) == {(*kind, Status.DONE): 1, (*kind, Status.FAILED): 1}
    assert tally.counted(catalog.RETRIED) == {(*kind, "failed"): 1}
    assert tally.counted(catalog.FENCED) == {kind: 1}
    assert sum(tally.observed(catalog.WAIT)[kind].counts) == 4
    assert {labels: spread.sum for labels, spread in tally.observed(catalog.BATCH).items()} == {
        ("claim",): 4, ("settle",): 5,
    }  # fmt: skip


async def test_what_alerts_look_at_is_there_as_0_before_it_happens(measured: Store, tally: Tally) -> None:
    await submit(measured)
    await claim(measured)
    kind = ("default", "echo")
    assert tally.counted(catalog.FENCED) == {kind: 0}
    assert tally.counted(catalog.SETTLED) == {(*kind, Status.FAILED): 0}
    assert tally.counted(catalog.ERRORS) == {(verb,): 0 for verb in VERBS}


async def test_what_was_not_stored_is_not_counted(measured: Store, tally: Tally) -> None:
    await submit(measured, unique_key="u")
    assert (await measured.submit([task(unique_key="u")])).unique
    assert tally.counted(catalog.SUBMITTED) == {("default", "echo"): 1}


async def test_an_outage_is_counted_once_however_many_calls_it_fails(tally: Tally) -> None:
    store, away = MemoryStore(Clock()), True
    await store.open()

    async def forget(keys: object) -> None:
        if away:
            raise StoreUnavailable("gone")

    store.forget = forget  # type: ignore[method-assign,assignment]
    measure(store, tally)
    for _ in range(3):
        with pytest.raises(StoreUnavailable):
            await store.forget([])
    assert (tally.store_up, tally.counted(catalog.OUTAGES)) == (False, {(): 1})
    assert {labels: number for labels, number in tally.counted(catalog.ERRORS).items() if number} == {("forget",): 3}
    away = False
    await store.forget([])
    assert tally.store_up
    assert sum(tally.observed(catalog.CALLS)["forget",].counts) == 1


async def test_a_claim_that_waits_for_work_is_not_taken_for_a_slow_store(measured: Store, tally: Tally) -> None:
    answer = await claim(measured)
    await measured.claim(wants(), seen=answer.seen, wait=0.05)
    assert sum(tally.observed(catalog.CALLS)["claim",].counts) == 1
