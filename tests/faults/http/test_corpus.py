"""Every case made by hand, whole and in pieces, while a good client is served."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.blackbox.server import Server
from tests.faults.http.case import Case
from tests.faults.http.content import content
from tests.faults.http.corpus import play
from tests.faults.http.framing import framing
from tests.faults.http.watcher import Watcher
from tests.faults.http.wire import single

CASES = [*framing(), *content()]
SHORT = 3_000  # bytes that are worth sending one by one


@pytest.fixture(scope="module", autouse=True)
def _watched(hostile: Server) -> Iterator[None]:
    """Fails if a good client is not served all the while."""
    with Watcher(int(hostile.argv[3])):
        yield


def halves(sent: bytes) -> list[bytes]:
    return [sent[: len(sent) // 2], sent[len(sent) // 2 :]]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_what_comes_back_does_not_depend_on_how_it_was_cut(port: int, case: Case) -> None:
    play(port, case, [case.sent])
    play(port, case, halves(case.sent))
    if len(case.sent) <= SHORT:
        play(port, case, single(case.sent))


def test_names_of_cases_are_unique() -> None:
    assert len({case.name for case in CASES}) == len(CASES)
