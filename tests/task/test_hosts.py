"""Receivers that are left alone for a while, so that others have the slots."""

from __future__ import annotations

from dolgo.task.callbacks.hosts import IN_A_ROW, LONGEST_REST, REST, Hosts
from tests.store.clock import Clock


def dead(hosts: Hosts, host: str, times: int) -> None:
    for _ in range(times):
        hosts.timed_out(host)


def test_a_host_rests_after_some_timeouts_in_a_row_and_no_other_does() -> None:
    hosts = Hosts(Clock())
    dead(hosts, "a", IN_A_ROW - 1)
    hosts.answered("a")
    dead(hosts, "a", IN_A_ROW - 1)
    assert not hosts.rests("a")
    dead(hosts, "a", 1)
    assert hosts.rests("a")
    assert not hosts.rests("b")


def test_after_its_rest_one_tries_for_all() -> None:
    clock = Clock()
    hosts = Hosts(clock)
    dead(hosts, "a", IN_A_ROW)
    clock.advance(REST)
    assert [hosts.rests("a") for _ in range(3)] == [False, True, True]
    dead(hosts, "a", 1)
    clock.advance(REST)
    assert hosts.rests("a")  # twice as long
    clock.advance(REST)
    assert not hosts.rests("a")
    hosts.answered("a")
    assert [hosts.rests("a") for _ in range(3)] == [False] * 3


def test_one_that_tries_and_is_never_heard_of_keeps_nobody_for_ever() -> None:
    clock = Clock()
    hosts = Hosts(clock)
    dead(hosts, "a", 10_000)
    clock.advance(LONGEST_REST)
    assert not hosts.rests("a")
    clock.advance(REST)
    assert not hosts.rests("a")
