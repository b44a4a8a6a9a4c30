"""What probes are told of a process: by its worker as it really is."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from dolgo.task import health as health_room
from dolgo.task.health import UNUSABLE, Health
from dolgo.task.worker import Worker
from tests.task.wrapped import Step, refuse
from tests.task.yard import Yard, until

pytestmark = pytest.mark.anyio

LEASE = 0.6  # seconds


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Three leases count, though they are short."""
    monkeypatch.setattr(health_room, "LONGEST_TURN", 0.0)


def health(yard: Yard, worker: Worker | None, *, web: bool = False, lease: float = LEASE) -> Health:
    made = Health(yard.store.store, worker, lease=lease, web=web)
    made.started = True
    return made


async def never(step: Step) -> Any:
    """The store takes the call, and does not answer."""
    await asyncio.Event().wait()


async def test_a_worker_at_work_is_well(yard: Yard) -> None:
    worker = await yard.start(lease=LEASE)
    probe = health(yard, worker)
    await yard.end(await yard.one("quick"))
    await asyncio.sleep(4 * LEASE)  # it is idle for longer than it takes to be called dead
    assert probe.live() == {"loop": "ok", "claims": "ok"}
    assert await probe.ready() == {"store": "ok", "claims": "ok"}


async def test_a_claim_that_is_never_answered_is_called_dead_after_three_leases(yard: Yard) -> None:
    worker = await yard.start(lease=LEASE)
    probe = health(yard, worker)
    yard.store.hooks["claim"] = never
    took = await until(lambda: "has not come round" in probe.live()["claims"])
    assert took > LEASE
    assert await yard.one("quick")  # everything else goes on
    assert (await probe.ready())["store"] == "ok"


async def test_a_turn_that_waits_for_the_store_is_no_death_however_short_the_lease(
    yard: Yard, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.undo()
    worker = await yard.start(lease=LEASE)
    yard.store.hooks["claim"] = never
    await until(lambda: worker.turned_ago > 5 * LEASE)
    assert health(yard, worker).live()["claims"] == "ok"


async def test_an_outage_of_the_store_is_no_death(yard: Yard) -> None:
    worker = await yard.start(lease=LEASE)
    probe = health(yard, worker)
    yard.store.down = True

    async def is_not_ready() -> bool:
        return "did not reach" in (await probe.ready())["claims"]

    await until(is_not_ready)
    await asyncio.sleep(5 * LEASE)
    assert probe.live() == {"loop": "ok", "claims": "ok"}
    assert (await probe.ready())["store"] == UNUSABLE, "what the store says of itself is not for everybody"
    yard.store.down = False

    async def is_ready() -> bool:
        return await probe.ready() == {"store": "ok", "claims": "ok"}

    await until(is_ready)


async def test_a_store_that_does_not_answer_keeps_no_probe_waiting(yard: Yard, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health_room, "ANSWER", 0.1)
    yard.store.hooks["ready"] = never
    ready = await asyncio.wait_for(health(yard, None).ready(), 5)
    assert "has not answered" in ready["store"]


@pytest.mark.parametrize(("web", "said"), [(False, "the worker drains"), (True, "ok: the worker drains")])
async def test_a_worker_that_drains_is_alive_and_the_web_goes_on_without_it(yard: Yard, web: bool, said: str) -> None:
    worker = await yard.start(lease=LEASE)
    await worker.drain()
    probe = health(yard, worker, web=web)
    await asyncio.sleep(4 * LEASE)
    assert probe.live() == {"loop": "ok"}
    assert (await probe.ready())["claims"].startswith(said)


async def test_a_process_that_starts_or_stops_asks_no_store(yard: Yard) -> None:
    yard.store.hooks["ready"] = refuse
    probe = Health(yard.store.store, yard.worker(), lease=0.0, web=False)
    assert probe.live() == {"loop": "ok"}
    assert await probe.ready() == {"start": "the service is starting"}
    probe.draining = True
    assert await probe.ready() == {"draining": "the service is stopping"}
