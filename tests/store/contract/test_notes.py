"""Notes: small things kept under a task while an attempt holds it, there until the task is gone."""

import pytest

from dolgo.store.base import Store
from dolgo.task.types import EventKind, Note, Status
from tests.store.build import again, claim, done, ended, failed, hold, note, read, submit, task
from tests.store.clock import Clock

pytestmark = pytest.mark.anyio


async def test_a_note_is_there_byte_for_byte(store: Store) -> None:
    lease = await hold(store)
    value = '{"done":1, "note":"Ёж 🦔"}'.encode()
    assert await store.note([note(lease, "progress", value)]) == [True]
    assert list(await store.notes(lease.id)) == [("progress", value)]


async def test_a_note_replaces_the_one_of_its_key(store: Store) -> None:
    lease = await hold(store)
    await store.note([note(lease, "a", b"1"), note(lease, "b", b"2"), note(lease, "a", b"3")])
    await store.note([note(lease, "b", b"4")])
    assert list(await store.notes(lease.id)) == [("a", b"3"), ("b", b"4")]


async def test_notes_come_by_key_and_by_the_start_of_it(store: Store) -> None:
    lease, other = await hold(store), await hold(store)
    keys = ["step/b", "log/00000001/00000002", "step/a", "log/00000001/00000000", "progress", "step", "step/a%b_"]
    await store.note([note(lease, key, key.encode()) for key in keys])
    await store.note([note(other, "step/x", b"0")])
    assert [key for key, _ in await store.notes(lease.id)] == sorted(keys)
    assert [key for key, _ in await store.notes(lease.id, "step/")] == ["step/a", "step/a%b_", "step/b"]
    assert [key for key, _ in await store.notes(lease.id, "step/a%")] == ["step/a%b_"]
    assert list(await store.notes(lease.id, "Step/")) == []
    assert list(await store.notes("nobody")) == []


async def test_a_note_takes_only_under_the_current_token_of_a_task_in_progress(store: Store, clock: Clock) -> None:
    held, final, given = await hold(store), await ended(store, Status.DONE), await hold(store)
    await store.settle([again(given, 0)])
    notes = [note(held), note(final), note(given), Note(held.id, "forged", "x", b"1"), Note("nobody", held.token, "x", b"1")]
    assert await store.note(notes) == [True, False, False, False, False]
    (second,) = (await claim(store)).leases
    assert second.id == given.id
    assert await store.note([note(given), note(second)]) == [False, True]
    assert [len(await store.notes(lease.id)) for lease in (held, final, given)] == [1, 0, 1]


async def test_a_note_takes_past_the_time_of_the_lease_until_somebody_takes_it_away(store: Store, clock: Clock) -> None:
    lease = await hold(store, lease=1.0)
    clock.advance(100)
    assert await store.note([note(lease, "a")]) == [True]
    await store.reclaim((), 10)
    assert await store.note([note(lease, "b")]) == [False]
    assert [key for key, _ in await store.notes(lease.id)] == ["a"]


async def test_notes_outlive_attempts_ends_and_retries(store: Store) -> None:
    lease = await hold(store)
    await store.note([note(lease, "step/a", b"1")])
    await store.settle([again(lease, 0)])
    (lease,) = (await claim(store)).leases
    await store.settle([failed(lease)])
    await store.retry([lease.id])
    assert list(await store.notes(lease.id)) == [("step/a", b"1")]


async def test_notes_go_with_their_task(store: Store, clock: Clock) -> None:
    deleted, pruned = await hold(store), await hold(store)
    await store.note([note(deleted), note(pruned)])
    await store.settle([done(deleted), done(pruned)])
    await store.delete([deleted.id])
    clock.advance(100)
    assert await store.prune(10.0, 10) == 1
    assert [list(await store.notes(lease.id)) for lease in (deleted, pruned)] == [[], []]
    await store.submit([task(id=deleted.id)])
    assert list(await store.notes(deleted.id)) == []


async def test_attempts_before_the_newest_are_no_notes(store: Store) -> None:
    lease = await hold(store)
    await store.settle([again(lease, 0)])
    (lease,) = (await claim(store)).leases
    await store.settle([failed(lease)])
    await store.retry([lease.id])
    assert [attempt.number for attempt in (await read(store, lease.id)).history] == [1, 2]
    assert list(await store.notes(lease.id)) == []


# -- events


async def test_a_note_may_be_an_event(store: Store, clock: Clock) -> None:
    lease = await hold(store)
    head = await store.head()
    seen = store.log.count
    clock.advance(1)
    await store.note(
        [
            note(lease, "progress", b"[1]", event=EventKind.PROGRESS),
            note(lease, "step/a", b"2"),
            note(lease, "log/00000001/00000000", b"[3]", event=EventKind.LOG),
        ]
    )
    assert await store.log.wait(seen, 5.0)
    events = (await store.events(head, 10)).events
    assert [(event.kind, event.data) for event in events] == [(EventKind.PROGRESS, b"[1]"), (EventKind.LOG, None)]
    assert {(event.id, event.type, event.queue, event.attempt) for event in events} == {(lease.id, "echo", "default", 1)}
    assert {(event.status, event.time) for event in events} == {(Status.IN_PROGRESS, clock.now)}
    assert [event.seq for event in events] == [head + 1, head + 2]
    assert await store.head() == head + 2


async def test_a_note_that_does_not_take_is_no_event(store: Store) -> None:
    lease = await ended(store, Status.DONE)
    head = await store.head()
    assert await store.note([note(lease, event=EventKind.PROGRESS)]) == [False]
    assert await store.head() == head


async def test_events_of_notes_and_of_statuses_are_one_log(store: Store) -> None:
    lease = await hold(store)
    await store.note([note(lease, value=b"1", event=EventKind.PROGRESS)])
    await submit(store)
    await store.note([note(lease, value=b"2", event=EventKind.PROGRESS)])
    await store.settle([done(lease)])
    events = (await store.events(0, 100)).events
    kinds = [EventKind.STATUS, EventKind.STATUS, EventKind.PROGRESS, EventKind.STATUS, EventKind.PROGRESS, EventKind.STATUS]
    assert [event.kind for event in events] == kinds
    assert [event.seq for event in events] == list(range(events[0].seq, events[0].seq + 6))
    assert [event.data for event in events] == [None, None, b"1", None, b"2", None]
    assert (await store.events(events[1].seq, 2)).events == events[2:4]


# -- with a submit


async def test_a_submit_writes_its_notes_in_the_same_commit(store: Store) -> None:
    lease, new = await hold(store), task()
    answer = await store.submit([new], notes=[note(lease, "submitted/a", b'"x"')])
    assert (answer.statuses, answer.lost) == ([Status.QUEUED], False)
    assert list(await store.notes(lease.id)) == [("submitted/a", b'"x"')]
    assert await store.get([new.id]) != [None]


async def test_a_submit_whose_note_has_lost_its_token_writes_nothing(store: Store) -> None:
    lease, held, new = await ended(store, Status.FAILED), await hold(store), task()
    head = await store.head()
    answer = await store.submit([new], notes=[note(held, "submitted/a"), note(lease, "submitted/b")])
    assert answer.lost
    assert await store.get([new.id]) == [None]
    assert [list(await store.notes(one.id)) for one in (held, lease)] == [[], []]
    assert await store.head() == head


# -- details


async def test_details_tell_progress_and_what_was_submitted(store: Store) -> None:
    lease = await hold(store)
    (found,) = await store.details([lease.id])
    assert found is not None
    assert (found.parents, found.dependents, found.submitted, found.progress) == ((), (), (), None)
    await store.note(
        [note(lease, "submitted/1", b'"first"'), note(lease, "submitted/2", b'"second"'), note(lease, "step/a", b"1")]
    )
    await store.note([note(lease, "progress", b'{"done":1}'), note(lease, "progress", b'{"done":2}')])
    (found, nothing) = await store.details([lease.id, "nobody"])
    assert nothing is None
    assert found is not None
    assert (found.submitted, found.progress) == (("first", "second"), b'{"done":2}')
