"""Somebody wants a worker to drain: it hears of it wherever that was said, ends what it runs and claims no more."""

from __future__ import annotations

import asyncio
import logging
import time
from pathlib import Path

import pytest

from dolgo.metrics.tally import Tally
from dolgo.task import worker as work_room
from dolgo.task.figures import Figures
from dolgo.task.fleet import Fleet
from dolgo.task.types import Outcome, Status
from dolgo.task.worker import Worker
from tests.task.wrapped import refuse
from tests.task.yard import DEADLINE, Yard, history, until

pytestmark = pytest.mark.anyio

AT_ONCE = 2.0  # seconds; the next heartbeat is 10 s away


async def is_said(yard: Yard, state: str) -> float:
    """Return once the only worker is known to be so; the seconds it took."""

    async def said() -> bool:
        return [seen.info.state for seen in await Fleet(yard.store.store).all()] == [state]

    return await until(said)


async def asked(worker: Worker) -> None:
    await asyncio.wait_for(worker.drain_asked.wait(), DEADLINE)


async def test_a_worker_of_this_process_drains_at_once(any_yard: Yard) -> None:
    worker = await any_yard.start()
    await any_yard.manager.drain(worker.id)
    assert await is_said(any_yard, "drained") < AT_ONCE
    assert worker.draining
    id = await any_yard.one("quick")
    await asyncio.sleep(0.3)
    assert await any_yard.statuses([id]) == [Status.QUEUED]


async def test_a_worker_that_has_drained_is_not_taken_for_one_whose_claims_stand_still(any_yard: Yard) -> None:
    worker = await any_yard.start()
    figures = Figures(any_yard.manager, Fleet(any_yard.store.store), worker, Tally(), version="1", slots=5, whole=False)
    assert b"\ndolgo_worker_claim_age_seconds " in (await figures.page(""))[0]
    await any_yard.manager.drain(worker.id)
    await is_said(any_yard, "drained")
    assert b"\ndolgo_worker_claim_age_seconds " not in (await figures.page(""))[0]


async def test_a_busy_worker_hears_soon_what_was_said_in_another_process(any_yard: Yard) -> None:
    worker = await any_yard.start()
    file, mark = any_yard.mark(), any_yard.mark()
    running = await any_yard.one("wait_for", file=file, mark=mark)
    await any_yard.begun(mark)
    begun = time.monotonic()
    await any_yard.another_manager().drain(worker.id)
    await asked(worker)
    assert time.monotonic() - begun < AT_ONCE
    await is_said(any_yard, "draining")
    waits = await any_yard.one("quick")
    await asyncio.sleep(0.3)
    assert await any_yard.statuses([running, waits]) == [Status.IN_PROGRESS, Status.QUEUED]
    Path(file).touch()
    assert (await any_yard.end(running)).status is Status.DONE
    await is_said(any_yard, "drained")
    assert await any_yard.statuses([waits]) == [Status.QUEUED]


async def test_an_idle_worker_hears_by_its_next_heartbeat(any_yard: Yard) -> None:
    worker = await any_yard.start(lease=1.5)
    await any_yard.another_manager().drain(worker.id)
    await asked(worker)
    await is_said(any_yard, "drained")


async def test_what_does_not_end_in_time_is_given_back(any_yard: Yard) -> None:
    worker = await any_yard.start(drain_timeout=0.2)
    mark = any_yard.mark()
    id = await any_yard.one("wait_for", file=any_yard.mark(), mark=mark)
    await any_yard.begun(mark)
    await any_yard.manager.drain(worker.id)
    await is_said(any_yard, "drained")
    task = await any_yard.task(id)
    assert (task.status, task.failures, task.losses, history(task)) == (Status.QUEUED, 0, 0, [(1, Outcome.GIVEN_BACK)])


async def test_of_an_end_that_the_store_does_not_take_it_is_said_that_time_ran_out(
    yard: Yard, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(work_room, "GIVE_BACK", 0.2)
    worker = await yard.start(drain_timeout=0.2)
    yard.store.hooks["settle"] = refuse
    await yard.one("quick")
    await until(lambda: any("wait for the store" in line for line in caplog.messages))
    with caplog.at_level(logging.WARNING):
        await asyncio.wait_for(worker.drain(), DEADLINE)
    assert not [line for line in caplog.messages if "did not end in time" in line]  # its handler had ended
    assert "They could not be given back and wait for their leases to end: time ran out." in caplog.messages


async def test_a_wish_outlives_an_outage_of_the_store(yard: Yard) -> None:
    worker = await yard.start(lease=1.5)
    await Fleet(yard.store.store).drain(worker.id)
    yard.store.hooks["put"] = refuse
    yard.store.hooks["records"] = refuse
    await yard.one("quick")
    await asyncio.sleep(0.7)
    assert not worker.drain_asked.is_set()
    yard.store.hooks.clear()
    await asked(worker)
    await is_said(yard, "drained")


async def test_who_drains_a_worker_that_drains_already_waits_for_its_end(yard: Yard) -> None:
    worker = await yard.start()
    file, mark = yard.mark(), yard.mark()
    id = await yard.one("wait_for", file=file, mark=mark)
    await yard.begun(mark)
    first = asyncio.create_task(worker.drain())
    await until(lambda: worker.draining)
    second = asyncio.create_task(worker.drain())
    await asyncio.sleep(0.2)
    assert not first.done()
    assert not second.done()
    Path(file).touch()
    await asyncio.wait_for(asyncio.gather(first, second), DEADLINE)
    assert (await yard.task(id)).status is Status.DONE


async def test_a_worker_that_drains_loads_no_task_files_anew(yard: Yard) -> None:
    worker = await yard.start()
    await worker.drain()
    await until(lambda: not worker._crew._berths)
    worker.reload()
    assert not worker._crew._berths


async def test_a_worker_says_which_tasks_its_code_cannot_decode(any_yard: Yard) -> None:
    def version(source: str) -> str:
        path = any_yard.folder / "changing.py"
        path.write_text(f"from dolgo import task\n\n@task\nasync def changing({source}) -> None: ...\n")
        return str(path)

    first = await any_yard.start(paths=(version("value: int"),))
    await first.drain()
    await first.stop()
    id = await any_yard.one("changing", value=1)
    await any_yard.start(paths=(version("another: str"),))

    async def is_told() -> bool:
        reason = await any_yard.manager.waiting_for(await any_yard.task(id))
        return reason is not None and reason.code == "no_worker" and "another version of the type" in reason.text

    await until(is_told)
    await any_yard.start(paths=(version("value: int, more: int = 1"),))
    assert (await any_yard.end(id)).status is Status.DONE
