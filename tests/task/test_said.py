"""What handlers note and ask while they run, from the handler to the store and back, in each isolation."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from dolgo.task.manager import Submission
from dolgo.task.types import OnParentFailure, Outcome, Status
from tests.task.wrapped import at_first, refuse
from tests.task.yard import HANDLERS, Yard, history, pids, until

pytestmark = pytest.mark.anyio

WAYS = str(Path(__file__).with_name("ways.py"))
ISOLATIONS = ["in_loop", "in_single", "in_thread"]


async def notes(yard: Yard, id: str, prefix: str = "") -> list[tuple[str, Any]]:
    return [(key, msgspec.json.decode(value)) for key, value in await yard.store.notes(id, prefix)]


async def lines(yard: Yard, id: str) -> list[str]:
    return [line[3] for _, piece in await notes(yard, id, "log/") for line in piece]


@pytest.mark.parametrize("isolation", ISOLATIONS)
async def test_the_last_word_of_a_handler_is_kept_before_its_end_is(yard: Yard, isolation: str) -> None:
    await yard.start(paths=(HANDLERS, WAYS))
    for number in (1, 3, 200):
        id = await yard.one(f"says_{isolation}", lines=number)
        assert (await yard.end(id)).status is Status.DONE
        assert await notes(yard, id, "progress") == [("progress", {"done": number, "total": number, "note": ""})]
        assert await lines(yard, id) == [f"line {line + 1}" for line in range(number)]


@pytest.mark.parametrize("isolation", ISOLATIONS)
async def test_what_is_noted_is_seen_while_the_handler_runs(yard: Yard, isolation: str) -> None:
    await yard.start(paths=(HANDLERS, WAYS))
    file = yard.mark()
    id = await yard.one(f"says_{isolation}", lines=2, file=file)

    async def all_there() -> bool:
        return await lines(yard, id) == ["line 1", "line 2"] and len(await notes(yard, id, "progress")) == 1

    await until(all_there)
    assert (await yard.task(id)).status is Status.IN_PROGRESS
    Path(file).touch()
    assert (await yard.end(id)).status is Status.DONE


async def test_a_store_that_keeps_no_notes_does_no_harm(yard: Yard) -> None:
    worker = await yard.start(paths=(HANDLERS, WAYS))
    yard.store.hooks["note"] = refuse
    id = await yard.one("says_in_loop", lines=3)
    assert (await yard.end(id)).status is Status.DONE
    yard.store.hooks.clear()
    await until(lambda: len(worker._notes) == 0)
    assert await notes(yard, id) == []


async def test_what_was_noted_waits_with_the_end_for_a_store_that_is_away(yard: Yard) -> None:
    await yard.start(paths=(HANDLERS, WAYS))
    yard.store.hooks["note"] = at_first(2, refuse)
    yard.store.hooks["settle"] = at_first(2, refuse)
    id = await yard.one("says_in_loop", lines=3)
    assert (await yard.end(id)).status is Status.DONE
    assert await lines(yard, id) == ["line 1", "line 2", "line 3"]


@pytest.mark.parametrize("isolation", ISOLATIONS)
async def test_a_step_is_run_once_and_a_task_submitted_once_however_many_attempts_there_are(yard: Yard, isolation: str) -> None:
    await yard.start(paths=(HANDLERS, WAYS))
    mark = yard.mark()
    task = await yard.end(await yard.one(f"asks_{isolation}", mark=mark))
    assert (task.status, history(task)) == (Status.DONE, [(1, Outcome.RETRY)])
    assert len(pids(mark)) == 1
    first, second, child = msgspec.json.decode(task.result or b"null")
    assert (first, second) == (1, 2)
    assert (await yard.end(child)).result == b"5"
    assert [key for key, _ in await notes(yard, task.id)] == ["step/one", "step/two", "submitted/0/1"]


async def test_what_is_refused_is_raised_in_the_handler_with_the_reason(yard: Yard) -> None:
    await yard.start(paths=(HANDLERS, WAYS))
    task = await yard.end(await yard.one("asks_for_nonsense"))
    assert task.status is Status.FAILED
    assert task.error is not None
    assert "no_such_type" in task.error.message


async def test_questions_wait_for_a_store_that_is_away(yard: Yard) -> None:
    await yard.start(paths=(HANDLERS, WAYS))
    yard.store.hooks["note"] = at_first(3, refuse)
    task = await yard.end(await yard.one("asks_in_loop", mark=yard.mark()))
    assert (task.status, task.failures) == (Status.DONE, 0)


async def test_many_questions_at_once_are_all_answered(yard: Yard) -> None:
    worker = await yard.start(paths=(HANDLERS, WAYS))
    task = await yard.end(await yard.one("asks_much", number=1_000))
    assert (task.status, task.result) == (Status.DONE, b"1000")
    await until(lambda: worker.running == 0)


async def test_a_handler_sees_what_its_task_depended_on(yard: Yard) -> None:
    await yard.start(paths=(HANDLERS, WAYS))
    parents = [await yard.one("quick", value=3), await yard.one("fail", text="a bad day")]
    depends_on, run = tuple(parents), OnParentFailure.RUN
    (id,) = await yard.send(Submission("sees_parents", depends_on=depends_on, on_parent_failure=run))
    task = await yard.end(id)
    error = (await yard.task(parents[1])).error
    assert error is not None
    assert msgspec.json.decode(task.result or b"null") == [
        [parents[0], "done", 3, None], [parents[1], "failed", None, error.message],
    ]  # fmt: skip
