"""Why a task is not running: one sentence and a code for each reason, and none once it has started."""

from __future__ import annotations

import pytest

from dolgo.store.base import CASCADED, Store
from dolgo.task.fleet import Fleet
from dolgo.task.manager import Manager, Submission
from dolgo.task.types import Status, WorkerInfo
from tests.store.build import claim, done
from tests.store.clock import Clock
from tests.task.kinds import ECHO, a_manager

pytestmark = pytest.mark.anyio

GOOD = b'{"value":1}'


@pytest.fixture
async def manager(store: Store, clock: Clock) -> Manager:
    return await a_manager(store, clock, ECHO)


async def a_worker(store: Store, *, queues: tuple[str, ...] | None = None, types: tuple[str, ...] = ("echo",)) -> None:
    info = WorkerInfo(
        id="w1", host="h", pid=1, version="1", state="running", queues=queues, types=tuple((name, "h1") for name in types),
        broken=(), slots=5, lease=30.0, started_at=0.0, boot="", birth=0.0,
    )  # fmt: skip
    await Fleet(store).announce(info, every=10.0)


async def submit(manager: Manager, **options: object) -> str:
    return (await manager.submit([Submission("echo", GOOD, **options)])).tasks[0][0]  # type: ignore[arg-type]


async def reason(manager: Manager, id: str) -> tuple[str, str]:
    found = await manager.waiting_for(await manager.get(id))
    assert found is not None
    return found.code, found.text


async def test_scheduled_for_later_and_the_sentence_stands_still(manager: Manager, clock: Clock) -> None:
    """Who waits for a change of what is shown must not be answered because a second has passed."""
    id = await submit(manager, run_at=1_700_000_090.0)
    said = await reason(manager, id)
    assert said == ("scheduled", "It may start at 2023-11-14T22:14:50Z.")
    clock.advance(30)
    assert await reason(manager, id) == said


async def test_parents(manager: Manager) -> None:
    parents = [await submit(manager) for _ in range(5)]
    code, text = await reason(manager, await submit(manager, depends_on=tuple(parents)))
    assert code == "parents"
    assert "5 of 5" in text
    assert parents[0] in text
    assert "and 2 more" in text


async def test_parents_that_have_ended_and_the_next_commit_goes_on(manager: Manager, store: Store) -> None:
    parent = await submit(manager)
    wanted = [Submission("echo", GOOD, depends_on=(parent,))] * (CASCADED + 1)
    *_, (last, _) = (await manager.submit(wanted, batch=True)).tasks
    await store.settle([done((await claim(store)).leases[0])])
    assert await reason(manager, last) == ("parents", "What it waited for has ended; it goes on in a moment.")


async def test_queue_paused(manager: Manager, store: Store, clock: Clock) -> None:
    await a_worker(store)
    id = await submit(manager, queue="slow")
    await manager.pause("slow", reason="deploy", until=None)
    assert await reason(manager, id) == ("queue_paused", "The queue 'slow' is paused: deploy.")
    await manager.pause("slow", reason=None, until=clock.now + 60)
    code, text = await reason(manager, id)
    assert (code, "until" in text) == ("queue_paused", True)
    await manager.resume("slow")
    assert (await reason(manager, id))[0] == "behind"


async def test_no_worker_for_its_queue_or_its_type(manager: Manager, store: Store) -> None:
    id = await submit(manager)
    assert await reason(manager, id) == ("no_worker", "No live worker takes the queue 'default'.")
    await a_worker(store, queues=("other",))
    assert (await reason(manager, id))[0] == "no_worker"
    await a_worker(store, types=("else",))
    assert await reason(manager, id) == ("no_worker", "No live worker of the queue 'default' runs the type 'echo'.")


async def test_a_limit_reached(manager: Manager, store: Store) -> None:
    await a_worker(store)
    await manager.limit("default", {"max_running": 1})
    await submit(manager)
    id = await submit(manager)
    (lease,) = (await claim(store, limit=5)).leases
    code, text = await reason(manager, id)
    assert (code, "'default'" in text) == ("limit", True)
    await store.settle([done(lease)])
    assert (await reason(manager, id))[0] == "behind"


async def test_a_limit_of_its_key_reached(manager: Manager, store: Store) -> None:
    await a_worker(store)
    await manager.limit("default", {"max_running_per_key": 1})
    await submit(manager, limit_key="acme")
    id = await submit(manager, limit_key="acme")
    await claim(store, limit=5)
    code, text = await reason(manager, id)
    assert (code, "'acme'" in text) == ("limit", True)


async def test_a_rate_used_up(manager: Manager, store: Store) -> None:
    await a_worker(store)
    await manager.limit("default", {"rate": 0.1})
    await submit(manager)
    id = await submit(manager)
    await claim(store, limit=5)
    code, text = await reason(manager, id)
    assert (code, "until" in text) == ("rate", True)


async def test_behind_others(manager: Manager, store: Store) -> None:
    await a_worker(store)
    ids = [await submit(manager) for _ in range(3)]
    assert await reason(manager, ids[0]) == ("behind", "It is next in its queue: it starts as soon as a slot is free.")
    assert await reason(manager, ids[1]) == ("behind", "It stands behind 1 other in its queue.")
    assert await reason(manager, ids[2]) == ("behind", "It stands behind 2 others in its queue.")


async def test_a_task_that_runs_or_has_ended_waits_for_nothing(manager: Manager, store: Store) -> None:
    id = await submit(manager)
    (lease,) = (await claim(store)).leases
    assert await manager.waiting_for(await manager.get(id)) is None
    await store.settle([done(lease)])
    ended = await manager.get(id)
    assert ended.status is Status.DONE
    assert await manager.waiting_for(ended) is None
