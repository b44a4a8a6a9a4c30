"""Leases that wait for a slot."""

from __future__ import annotations

from dolgo.task.line import Line
from dolgo.task.types import Lease


def leases(*ids: str) -> list[Lease]:
    """Those whose id begins with `s` need a child to themselves."""
    return [Lease(id, f"token-{id}", "echo", "h", "default", b"{}", 1, 0, 0, 1, False) for id in ids]


def alone(lease: Lease) -> bool:
    return lease.id.startswith("s")


def filled(*ids: str, start_by: float = 1.0) -> Line:
    line = Line()
    line.add(leases(*ids), start_by=start_by, alone=alone)
    return line


def ids(found: list[Lease]) -> list[str]:
    return [lease.id for lease in found]


def test_they_leave_in_the_order_they_came_whatever_child_they_need() -> None:
    line = filled("l1", "s1", "s2", "l2")
    line.add(leases("s3"), start_by=1.0, alone=alone)
    order = [line.next(loop=True, single=True) for _ in range(5)]
    assert [waiting.lease.id for waiting in order if waiting] == ["l1", "s1", "s2", "l2", "s3"]
    assert line.next(loop=True, single=True) is None
    assert not line


def test_a_kind_that_cannot_be_run_now_is_passed_by() -> None:
    line = filled("s1", "l1", "s2", "l2")
    first = line.next(loop=True, single=False)
    assert first is not None
    assert first.lease.id == "l1"
    assert line.next(loop=False, single=False) is None
    second = line.next(loop=False, single=True)
    assert second is not None
    assert (second.lease.id, second.alone) == ("s1", True)
    assert (len(line), line.for_single) == (2, 1)


def test_all_for_the_loop_leave_together() -> None:
    line = filled("l1", "s1", "l2")
    assert [waiting.lease.id for waiting in line.all_for_loop()] == ["l1", "l2"]
    assert (len(line), line.for_single) == (1, 1)


def test_some_can_be_picked_out_of_the_middle() -> None:
    line = filled("l1", "s1", "l2", "s2", start_by=1.0)
    line.add(leases("l3"), start_by=5.0, alone=alone)
    assert ids(line.take(lambda waiting: waiting.lease.token in ("token-l1", "token-s2"))) == ["l1", "s2"]
    assert ids(line.take(lambda waiting: waiting.start_by < 2.0)) == ["l2", "s1"]
    assert ids(line.take(lambda waiting: True)) == ["l3"]
    assert ids(line.take(lambda waiting: True)) == []
