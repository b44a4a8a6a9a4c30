"""What handlers ask and are told: steps, tasks of their own, parents; and nothing once their lease is lost."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from dolgo.errors import Conflict, InvalidPayload, InvalidRequest, NotFound, Refused
from dolgo.runner.link import Ask, Verb
from dolgo.store.base import Store
from dolgo.task.desk import MANY, MOST_STEP
from dolgo.task.manager import Manager, Submission
from dolgo.task.types import Lease, Query
from tests.store.build import again, claim, done, failed, read
from tests.store.clock import Clock
from tests.task.kinds import ECHO, a_manager
from tests.task.wrapped import Wrapped

pytestmark = pytest.mark.anyio

GOOD = b'{"value":1}'


@pytest.fixture
async def manager(store: Store, clock: Clock) -> Manager:
    return await a_manager(store, clock, ECHO)


async def held(manager: Manager, store: Store, **options: Any) -> Lease:
    ((id, _),) = (await manager.submit([Submission("echo", GOOD, **options)])).tasks
    (lease,) = [lease for lease in (await claim(store)).leases if lease.id == id]
    return lease


async def ask(manager: Manager, lease: Lease, verb: Verb, name: str = "", body: object = None) -> Any:
    return msgspec.json.decode(await manager.ask(lease, Ask(0, 0, verb, name, msgspec.json.encode(body))))


async def test_a_step_is_kept_for_later_attempts(manager: Manager, store: Store, clock: Clock) -> None:
    lease = await held(manager, store)
    assert await ask(manager, lease, Verb.STEPS) == {}
    assert await ask(manager, lease, Verb.STEP, "fetch/1", {"rows": 3}) is None
    await ask(manager, lease, Verb.STEP, "load", [1])
    await store.settle([again(lease)])
    clock.advance(10)
    (second,) = (await claim(store)).leases
    assert await ask(manager, second, Verb.STEPS) == {"fetch/1": {"rows": 3}, "load": [1]}
    await store.settle([failed(second)])
    await manager.retry(lease.id)
    (third,) = (await claim(store)).leases
    assert set(await ask(manager, third, Verb.STEPS)) == {"fetch/1", "load"}


async def test_a_task_submitted_by_a_handler_is_linked_and_never_doubled(manager: Manager, store: Store, clock: Clock) -> None:
    lease = await held(manager, store)
    wanted = {"type": "echo", "payload": {"value": 2}, "priority": 9, "tags": ["x"], "delay": 5}
    id = await ask(manager, lease, Verb.SUBMIT, "1", wanted)
    assert await ask(manager, lease, Verb.SUBMIT, "1", wanted) == id
    other = await ask(manager, lease, Verb.SUBMIT, "2", wanted)
    assert other != id
    (details,) = await manager.details([lease.id])
    assert details is not None
    assert set(details.submitted) == {id, other}
    task = await read(store, id)
    assert (task.priority, task.tags, task.payload, task.run_at) == (9, ("x",), b'{"value":2}', task.created_at + 5)
    await store.settle([again(lease)])
    clock.advance(10)
    (second,) = [one for one in (await claim(store)).leases if one.id == lease.id]
    assert await ask(manager, second, Verb.SUBMIT, "1", wanted) == id
    await store.settle([failed(second)])
    await manager.retry(lease.id)
    (third,) = [one for one in (await claim(store)).leases if one.id == lease.id]
    assert await ask(manager, third, Verb.SUBMIT, "1", wanted) not in (id, other)
    assert len((await store.list(Query())).tasks) == 4


async def test_a_handler_may_submit_what_depends_on_its_own_tasks(manager: Manager, store: Store) -> None:
    lease = await held(manager, store)
    first = await ask(manager, lease, Verb.SUBMIT, "1", {"type": "echo", "payload": {"value": 1}})
    then = await ask(manager, lease, Verb.SUBMIT, "2", {"type": "echo", "payload": {"value": 1}, "depends_on": [first]})
    (details,) = await manager.details([then])
    assert details is not None
    assert [parent.id for parent in details.parents] == [first]


@pytest.mark.parametrize(("body", "error"), [
    ({"payload": {}}, InvalidRequest),
    ({"type": "dolgo.callback"}, InvalidRequest),
    ({"type": "echo", "priority": 11}, InvalidRequest),
    ({"type": "echo", "colour": 1}, InvalidRequest),
    ({"type": "echo", "payload": {}}, InvalidPayload),
    ({"type": "nonsense"}, Refused),
    ({"type": "echo", "payload": {"value": 1}, "depends_on": ["x"]}, InvalidRequest),
    ({"type": "echo", "payload": {"value": 1}, "timeout": 0}, InvalidRequest),
    ({"type": "echo", "payload": {"value": 1}, "timeout": 4e7}, InvalidRequest),
    ({"type": "echo", "payload": {"value": 1}, "delay": 1e12}, InvalidRequest),
    ({"type": "echo", "payload": {"value": 1}, "keep": 1e12}, InvalidRequest),
    ({"type": "echo", "payload": {"value": 1}, "run_at": 1e300}, InvalidRequest),
    ({"type": "echo", "payload": {"value": 1}, "run_at": "2030-01-01T00:00:00"}, InvalidRequest),
    ({"type": "echo", "payload": {"value": 1}, "run_at": "2030-01-01T00:00:00Z", "delay": 1}, InvalidRequest),
    ({"type": "echo", "payload": {"value": 1}, "queue": "a b"}, InvalidRequest),
    ({"type": "echo", "payload": {"value": 1}, "tags": ["a\nb"]}, InvalidRequest),
    ({"type": "echo", "payload": {"value": 1}, "tags": ["a"] * 33}, InvalidRequest),
    ({"type": "echo", "payload": {"value": 1}, "unique_key": "\0"}, InvalidRequest),
    ({"type": "echo", "payload": {"value": 1}, "ref": "a"}, InvalidRequest),
])  # fmt: skip
async def test_what_cannot_be_submitted_is_refused_and_stores_nothing(
    manager: Manager, store: Store, body: dict[str, Any], error: type[Refused]
) -> None:
    lease = await held(manager, store)
    with pytest.raises(error):
        await ask(manager, lease, Verb.SUBMIT, "1", body)
    assert len((await store.list(Query())).tasks) == 1


async def test_a_handler_whose_lease_is_lost_changes_nothing_any_more(manager: Manager, store: Store, clock: Clock) -> None:
    lease = await held(manager, store)
    clock.advance(31)
    assert await store.reclaim([], 10) == 1
    with pytest.raises(Conflict):
        await ask(manager, lease, Verb.STEP, "a", 1)
    with pytest.raises(Conflict):
        await ask(manager, lease, Verb.SUBMIT, "1", {"type": "echo", "payload": {"value": 1}})
    assert await store.notes(lease.id, "step/") == []
    assert len((await store.list(Query())).tasks) == 1


async def test_parents_come_one_by_one_in_the_order_of_depends_on(manager: Manager, store: Store) -> None:
    good, bad = (
        await manager.submit([Submission("echo", GOOD, ref="good"), Submission("echo", GOOD, ref="bad")], batch=True)
    ).tasks
    leases = {lease.id: lease for lease in (await claim(store)).leases}
    await store.settle([done(leases[good[0]], b'{"n":1.50}'), failed(leases[bad[0]])])
    lease = await held(manager, store, depends_on=(bad[0], good[0]), on_parent_failure="run")
    first, second = [await ask(manager, lease, Verb.PARENT, str(place)) for place in range(2)]
    assert (first["id"], first["status"], first["result"], first["error"]) == (bad[0], "failed", None, "it broke")
    assert (second["id"], second["type"], second["status"], second["result"]) == (good[0], "echo", "done", {"n": 1.5})
    assert await ask(manager, lease, Verb.PARENT, "2") is None


async def test_a_parent_that_was_deleted_is_named(manager: Manager, store: Store) -> None:
    parent = await held(manager, store)
    await store.settle([done(parent)])
    lease = await held(manager, store, depends_on=(parent.id,))
    await store.settle([failed(lease)])
    await store.delete([parent.id])
    await manager.retry(lease.id)
    (again,) = (await claim(store)).leases
    with pytest.raises(NotFound, match=parent.id):
        await ask(manager, again, Verb.PARENT, "0")


@pytest.mark.parametrize(("name", "body"), [
    ("a", b""), ("a", b"{"), ("a", b'"' + b"x" * MOST_STEP + b'"'), ("a\0b", b"1"), ("a" * 300, b"1"), ("a", b"[" * 100_000),
])  # fmt: skip
async def test_a_child_that_sends_no_step_is_refused(manager: Manager, store: Store, name: str, body: bytes) -> None:
    lease = await held(manager, store)
    with pytest.raises(InvalidRequest):
        await manager.ask(lease, Ask(0, 0, Verb.STEP, name, body))
    assert await store.notes(lease.id, "") == []


async def test_many_parents_are_read_once_and_not_for_each_of_them(store: Store, clock: Clock) -> None:
    wrapped = Wrapped(store)
    manager = await a_manager(wrapped.store, clock, ECHO)
    many = MANY + 1
    parents = tuple(id for id, _ in (await manager.submit([Submission("echo", GOOD)] * many, batch=True)).tasks)
    await store.settle([done(lease) for lease in (await claim(store, limit=many)).leases])
    lease = await held(manager, store, depends_on=parents)
    assert [(await ask(manager, lease, Verb.PARENT, str(place)))["id"] for place in range(many)] == list(parents)
    assert wrapped.calls["details"] == 1


async def test_what_an_attempt_has_submitted_is_not_submitted_again_though_it_is_gone(
    manager: Manager, store: Store, clock: Clock
) -> None:
    lease = await held(manager, store)
    wanted = {"type": "echo", "payload": {"value": 1}, "keep": 0}
    id = await ask(manager, lease, Verb.SUBMIT, "1", wanted)
    (child,) = (await claim(store)).leases
    await store.settle([done(child), again(lease)])
    await store.delete([id])
    clock.advance(10)
    (second,) = (await claim(store)).leases
    assert await ask(manager, second, Verb.SUBMIT, "1", wanted) == id
    assert (await store.get([id])) == [None]
