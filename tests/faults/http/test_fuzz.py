"""Requests made wrong by chance: `python -m tests.faults.http` sends many more of them."""

from __future__ import annotations

import pytest

from tests.blackbox.client import until
from tests.blackbox.server import Server
from tests.faults.http import fuzz
from tests.faults.http.mutate import GOOD, Attempt, attempt
from tests.faults.http.watcher import Watcher

SEED = 20_260_131
WARM = 500  # requests: what is made once is made by then
REQUESTS = 2_000
GROWTH = 16_000_000  # bytes: caches of the store and of queries fill up; a leak of 10 KB a request would show


@pytest.mark.timeout(180)
def test_no_mutated_request_makes_it_fail_hang_or_leak(port: int, hostile: Server) -> None:
    fuzz.run(port, SEED + 1, WARM)
    memory, files = fuzz.rss(hostile.pid), fuzz.files(hostile.pid)
    with Watcher(port):
        figures = fuzz.run(port, SEED, REQUESTS)
    assert not figures.failures, f"replay with python -m tests.faults.http --seed {SEED} --only K: {figures.failures}"
    assert {"200", "202", "400", "404", "422"} <= set(figures.statuses)
    until(lambda: fuzz.files(hostile.pid) <= files, 10.0, "the files of its connections are closed")
    assert fuzz.rss(hostile.pid) - memory < GROWTH


def test_a_number_of_a_seed_is_always_the_same_request() -> None:
    made = [attempt(SEED, number) for number in range(300)]
    assert made == [attempt(SEED, number) for number in range(300)]
    assert made != [attempt(SEED + 1, number) for number in range(300)]
    assert {one.kind for one in made} == {"bytes", "framing", "json"}


@pytest.mark.parametrize("sent", GOOD, ids=lambda sent: sent.split(b"\r\n")[0].decode())
def test_what_is_mutated_is_good_before(port: int, sent: bytes) -> None:
    *_, last = fuzz.play(port, Attempt([sent], "none"))
    assert last.status in (200, 202, 404)
