"""The rules over a ledger, faults and the log find what breaks them, each of them, and nothing where nothing is wrong."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.faults.judge import RULES, covered, judge
from tests.faults.records import Fault, Journal, Records, Run, read, runs, write_lines

LEASE = 2.0
ZERO = 1_767_225_600.0  # 2026-01-01T00:00:00Z


def at(second: float) -> str:
    return f"2026-01-01T00:00:{second:09.6f}Z"


def attempt(number: int, outcome: str, begun: float, ended: float) -> dict[str, Any]:
    return {"number": number, "outcome": outcome, "started_at": at(begun), "finished_at": at(ended), "error": None}


def task(id: str, status: str = "done", **more: Any) -> dict[str, Any]:
    return {
        "id": id, "status": status, "type": "waits", "queue": "default", "tags": [f"key-{id}"], "attempts": [], "attempt": 0,
        "max_attempts": 1, "error": None, "parents": [], "dependents": [], "on_parent_failure": "cancel", "unique_key": None,
        "finished_at": at(59), **more,
    }  # fmt: skip


def start(id: str, attempt: int, pid: int, worker: int, begun: float, ended: float | None) -> Run:
    return Run(id, attempt, pid, worker, ZERO + begun, None if ended is None else ZERO + ended, False)


def fault(kind: str, begun: float, ended: float, *pids: int) -> Fault:
    return Fault(kind, ZERO + begun, ZERO + ended, frozenset(pids), frozenset(), ZERO + begun)


class Made:
    """Records of a run in which all was right, to be spoilt: one task ran again after its worker was killed, one was charged with
    a loss, one was cancelled while it waited, and one has submitted two."""

    def __init__(self) -> None:
        lived = [attempt(1, "lost", 1, 3), attempt(2, "done", 4, 5)]
        charged = {"code": "worker_lost", "message": "it died"}
        again = task("again", attempts=lived, attempt=2, result=[2, 21])
        alone = task("alone", "failed", attempts=[attempt(1, "lost", 10, 12)], attempt=1, error=charged, result=None)
        called_off = task("called off", "cancelled", error={"code": "cancelled", "message": "by hand"})
        spawns = task("spawns", type="spawns", attempts=[attempt(1, "done", 20, 21)], attempt=1, result=[1, 22])
        children = [
            task(f"child {n}", tags=[f"child/spawns/{n}"], attempts=[attempt(1, "done", 22, 23)], attempt=1, result=[1, 22])
            for n in range(2)
        ]
        self.tasks = {one["id"]: one for one in (again, alone, called_off, spawns, *children)}
        self.runs = [
            start("again", 1, 11, 1, 1.1, None),
            start("again", 2, 21, 2, 4.1, 4.9),
            start("alone", 1, 23, 2, 10.1, None),
            start("spawns", 1, 22, 2, 20.1, 20.9),
            *(start(f"child {n}", 1, 22, 2, 22.1, 22.9) for n in range(2)),
        ]
        self.faults = [fault("kill worker", 2, 3.5, 1, 11), fault("kill child", 11.9, 12, 23)]
        ids = ["again", "alone", "called off", "spawns"]
        self.ops: list[dict[str, Any]] = [
            {"op": "submit", "how": "ok", "begun": ZERO, "ended": ZERO, "keys": [f"key-{id}" for id in ids], "ids": ids},
            {"op": "cancel", "how": "ok", "begun": ZERO + 0.2, "ended": ZERO + 0.3, "id": "called off", "code": 200},
        ]
        self.log = [
            *[("again", status) for status in ("queued", "in_progress", "queued", "in_progress", "done")],
            *[("alone", status) for status in ("queued", "in_progress", "failed")],
            *[("called off", status) for status in ("waiting", "cancelled")],
            *[(id, status) for id in ("spawns", "child 0", "child 1") for status in ("queued", "in_progress", "done")],
        ]

    def wrong(self) -> dict[str, list[str]]:
        counts = {"done": 0, "failed": 0, "cancelled": 0}
        for one in self.tasks.values():
            counts[one["status"]] = counts.get(one["status"], 0) + 1
        events = [{"seq": n, "kind": "task.status", "id": id, "status": status} for n, (id, status) in enumerate(self.log)]
        queues = [{"name": "default", "counts": counts}]
        plan = {"lease": LEASE}
        self.runs.sort(key=lambda run: run.started)
        return judge(Records(plan, self.runs, self.ops, self.faults, list(self.tasks.values()), queues, events)).wrong


@pytest.fixture
def made() -> Made:
    return Made()


def test_what_is_as_it_should_be_is_not_wrong(made: Made) -> None:
    assert made.wrong() == {}


def started_unrecorded(made: Made) -> None:
    made.runs.append(start("again", 7, 21, 2, 4.2, 4.3))


def started_twice(made: Made) -> None:
    made.runs.append(start("again", 2, 24, 2, 4.2, 4.3))


def done_without_a_start(made: Made) -> None:
    made.runs = [run for run in made.runs if run.id != "spawns"]


def has_the_result_of_another(made: Made) -> None:
    made.tasks["again"]["result"] = [1, 11]


def started_after_its_end(made: Made) -> None:
    made.runs[0] = start("again", 1, 11, 1, 3.2, None)


def claimed_after_its_cancel(made: Made) -> None:
    made.tasks["called off"].update(attempts=[attempt(1, "cancelled", 5, 6)], attempt=1)
    made.faults.append(fault("freeze worker", 5, 6, 1))


def done_after_its_cancel(made: Made) -> None:
    made.tasks["called off"].update(status="done", error=None, attempts=[attempt(1, "done", 0.1, 6)], attempt=1, result=[1, 22])
    made.runs.append(start("called off", 1, 22, 2, 0.15, 5.9))
    made.log += [("called off", "queued"), ("called off", "in_progress"), ("called off", "done")]


def charged_for_a_killed_worker(made: Made) -> None:
    made.faults[1] = fault("kill worker", 11.9, 12, 2, 23)


def charged_with_another_in_its_child(made: Made) -> None:
    made.runs.append(start("spawns", 1, 23, 2, 11.8, None))


def charged_before_it_started(made: Made) -> None:
    made.runs = [run for run in made.runs if run.id != "alone"]


def taken_away_from_a_living_worker(made: Made) -> None:
    made.faults[0] = fault("kill worker", 2, 3.5, 7)


def came_back_late(made: Made) -> None:
    made.tasks["again"]["attempts"][1] = attempt(2, "done", 13, 15)
    made.runs[1] = start("again", 2, 21, 2, 13.1, 14.9)


def submitted_too_few(made: Made) -> None:
    del made.tasks["child 1"]


def submitted_one_twice(made: Made) -> None:
    made.tasks["child 1"]["tags"] = ["child/spawns/0"]


def left_its_end(made: Made) -> None:
    made.log.append(("again", "in_progress"))


def is_stored_otherwise(made: Made) -> None:
    made.log.remove(("called off", "cancelled"))


def holds_a_key_twice(made: Made) -> None:
    for id in ("again", "alone"):
        made.tasks[id]["unique_key"] = "k"
    made.log.insert(1, made.log.pop(5))


def ended_otherwise(made: Made) -> None:
    made.tasks["spawns"].update(type="fails")


@pytest.mark.parametrize(
    ("spoil", "rule"),
    [
        (started_unrecorded, "started_without_a_claim"), (started_twice, "started_without_a_claim"),
        (done_without_a_start, "done_by_nobody"), (has_the_result_of_another, "done_by_nobody"),
        (started_after_its_end, "started_too_late"),
        (claimed_after_its_cancel, "started_after_a_cancel"), (done_after_its_cancel, "started_after_a_cancel"),
        (charged_for_a_killed_worker, "innocent_charged"), (charged_with_another_in_its_child, "innocent_charged"),
        (charged_before_it_started, "innocent_charged"),
        (taken_away_from_a_living_worker, "lost_without_a_fault"),
        (came_back_late, "recovered_late"),
        (submitted_too_few, "wrong_children"), (submitted_one_twice, "wrong_children"),
        (left_its_end, "against_the_log"), (is_stored_otherwise, "against_the_log"),
        (holds_a_key_twice, "unique_twice"),
        (ended_otherwise, "wrong_ends"),
    ],
    ids=lambda value: value if isinstance(value, str) else value.__name__,
)  # fmt: skip
def test_what_breaks_a_rule_is_found(spoil: Callable[[Made], None], rule: str, made: Made) -> None:
    spoil(made)
    assert rule in made.wrong()


def test_every_rule_is_broken_here() -> None:
    (mark,) = test_what_breaks_a_rule_is_found.pytestmark  # type: ignore[attr-defined]
    assert {rule for _, rule in mark.args[1]} == {rule.__name__ for rule in RULES}


def test_a_start_of_what_was_frozen_is_no_fault(made: Made) -> None:
    started_after_its_end(made)
    made.faults.append(fault("freeze worker", 2.5, 3.1, 1, 11))
    assert "started_too_late" not in made.wrong()


def test_what_is_late_because_of_another_fault_is_not_late(made: Made) -> None:
    came_back_late(made)
    made.faults.append(fault("kill all", 5, 11, 2, 21))
    assert "recovered_late" not in made.wrong()


def test_a_retry_lets_a_cancelled_task_run(made: Made) -> None:
    claimed_after_its_cancel(made)
    made.ops.append({"op": "retry", "how": "ok", "begun": ZERO + 4, "ended": ZERO + 4.1, "id": "called off", "code": 202})
    assert "started_after_a_cancel" not in made.wrong()


def test_spans_that_overlap_count_once() -> None:
    assert covered([(1, 3), (2, 4), (6, 7), (6.2, 6.5)]) == 4
    assert covered([]) == 0


def test_a_ledger_tells_starts_with_their_ends() -> None:
    ledger = ["start a 1 10 1 5.0", "start b 1 10 1 5.1", "end a 1 10 1 6.0", "start a 2 11 1 7.0", "stop a 2 11 1 8.0"]
    first, other, second = runs(ledger)
    assert (first.attempt, first.ended, first.stopped) == (1, 6.0, False)
    assert (other.id, other.ended) == ("b", None)
    assert (second.attempt, second.ended, second.stopped) == (2, 8.0, True)
    assert first.runs_at(5.5)
    assert not first.runs_at(6.5)


def test_records_are_read_as_they_were_written(tmp_path: Path) -> None:
    (tmp_path / "plan.json").write_text('{"lease": 2.0}')
    journal = Journal(tmp_path / "history.jsonl")
    journal.write("fault", 1.0, kind="kill worker", pids=[4], hits=["worker-0"], over=2.5, at=1.5)
    journal.write("cancel", 3.0, how="ok", id="x", code=200)
    write_lines(tmp_path / "tasks.jsonl", [task("x")])
    records = read(tmp_path)
    assert records.faults == [Fault("kill worker", 1.0, 2.5, frozenset({4}), frozenset({"worker-0"}), 1.5)]
    assert [op["op"] for op in records.ops] == ["fault", "cancel"]
    assert records.tasks == [task("x")]
    assert (records.runs, records.events) == ([], [])
