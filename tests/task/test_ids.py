"""Ids: UUIDv7 that rise, whatever the clock does."""

from __future__ import annotations

import re
import time
import uuid
from concurrent.futures import ThreadPoolExecutor

import pytest

from dolgo.task.ids import Ids
from tests.store.clock import Clock

FORMAT = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")


def test_an_id_is_a_uuid_of_version_7_in_lower_case_that_tells_its_time(clock: Clock) -> None:
    made = Ids(clock).new()
    assert FORMAT.fullmatch(made)
    parsed = uuid.UUID(made)
    assert (parsed.version, parsed.variant) == (7, uuid.RFC_4122)
    assert parsed.int >> 80 == int(clock.now * 1000)


def test_ids_rise_while_the_clock_stands_still(clock: Clock) -> None:
    ids = Ids(clock)
    made = [ids.new() for _ in range(10_000)]  # more than the counter holds in one millisecond
    assert made == sorted(set(made))


@pytest.mark.parametrize("jump", [-3600.0, -0.001, 0.0, 0.001, 3600.0])
def test_ids_rise_when_the_clock_jumps(clock: Clock, jump: float) -> None:
    ids = Ids(clock)
    made = []
    for _ in range(100):
        made += [ids.new(), ids.new()]
        clock.jump(jump)
    assert made == sorted(set(made))


def test_ids_of_several_threads_differ() -> None:
    ids = Ids(time.time)
    with ThreadPoolExecutor(8) as pool:
        batches = list(pool.map(lambda _: [ids.new() for _ in range(2_000)], range(8)))
    assert all(batch == sorted(batch) for batch in batches)
    assert len({id for batch in batches for id in batch}) == 16_000


def test_ids_of_two_makers_differ_at_the_same_instant(clock: Clock) -> None:
    one, other = Ids(clock), Ids(clock)
    assert not {one.new() for _ in range(1_000)} & {other.new() for _ in range(1_000)}
