"""Reads that come together go together."""

import asyncio
from collections.abc import Sequence

import pytest

from dolgo.errors import StoreUnavailable
from dolgo.store.postgres.gathered import MOST_ASKED, Gathered
from dolgo.task.types import Task

pytestmark = pytest.mark.anyio


@pytest.fixture
def asked() -> list[list[str]]:
    return []


@pytest.fixture
def gathered(asked: list[list[str]]) -> Gathered:
    """Answers None for each id, and fails for one."""

    async def ask(ids: Sequence[str]) -> list[Task | None]:
        asked.append(list(ids))
        await asyncio.sleep(0)
        if "bad" in ids:
            raise StoreUnavailable
        return [None] * len(ids)

    return Gathered(ask)


async def test_what_comes_while_an_answer_is_under_way_is_one_question(gathered: Gathered, asked: list[list[str]]) -> None:
    answers = await asyncio.gather(*(gathered.get([f"{n}", "x"]) for n in range(3)))
    assert answers == [[None, None]] * 3
    assert asked == [["0", "x", "1", "x", "2", "x"]]


async def test_a_question_has_a_bound(gathered: Gathered, asked: list[list[str]]) -> None:
    await asyncio.gather(*(gathered.get([str(n)]) for n in range(MOST_ASKED + 1)))
    assert [len(ids) for ids in asked] == [MOST_ASKED, 1]


async def test_all_who_asked_hear_of_a_failure_and_the_next_is_asked_anew(gathered: Gathered) -> None:
    answers = await asyncio.gather(*(gathered.get([id]) for id in ("a", "bad")), return_exceptions=True)
    assert [type(answer) for answer in answers] == [StoreUnavailable] * 2
    assert await gathered.get(["a"]) == [None]


async def test_one_who_gave_up_costs_the_others_nothing(gathered: Gathered, asked: list[list[str]]) -> None:
    one, two = asyncio.create_task(gathered.get(["a"])), asyncio.create_task(gathered.get(["b"]))
    asyncio.get_running_loop().call_soon(one.cancel)
    assert await two == [None]
    await gathered.close()
