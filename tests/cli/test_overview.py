"""`dolgo types` and `workers`."""

from __future__ import annotations

import pytest

from tests.cli.conftest import Run, Stub


def test_types_are_listed_and_broken_files_told(run: Run, stub: Stub) -> None:
    info = {"name": "t", "workers": 2, "description": "Do it.\n\nAt length.", "payload_schema": {}, "options": {}}
    broken = {"file": "tasks/x.py", "worker": "w", "error": "Traceback\n  …\nImportError: no y\n"}
    stub.answer("GET /types", {"types": [info], "broken": [broken]})
    ran = run("types")
    assert ran == (0, "t\t2\tDo it.\n", "broken: tasks/x.py: ImportError: no y\n")
    assert run("types", "--json").out.startswith('{"types":[{"name":"t"')


def test_one_type_is_shown_with_its_schemas(run: Run, stub: Stub) -> None:
    stub.answer("GET /types/t", {"name": "t", "payload_schema": {"type": "object"}})
    assert run("types", "t").out == '{"name":"t","payload_schema":{"type":"object"}}\n'


def test_workers_are_listed_with_what_they_run(run: Run, stub: Stub) -> None:
    worker = {"id": "w", "host": "h", "pid": 7, "version": "0.1.0", "state": "running", "slots": 5}
    worker |= {"queues": None, "types": ["t"], "running": ["a", "b"], "heartbeat_age": 1.25, "started_at": "2026-01-31T12:00:00Z"}
    stub.answer("GET /workers", {"workers": [worker]})
    assert run("workers").out == "w\th\t7\t0.1.0\trunning\t2\t5\tall\t1\t1.2s\n"
    assert run("workers", "--json").out.startswith('{"workers":[')


def a_worker(id: str, state: str) -> dict[str, object]:
    return {"id": id, "host": "h", "pid": 7, "version": "0.1.0", "state": state, "slots": 5, "running": ["a"]}


def test_workers_are_asked_to_drain_and_shown(run: Run, stub: Stub) -> None:
    stub.answer("POST /workers/v/drain", a_worker("v", "draining"), 202)
    stub.answer("POST /workers/w/drain", a_worker("w", "draining"), 202)
    ran = run("workers", "drain", "v", "w")
    assert (ran.code, ran.err) == (0, "")
    assert ran.out == "v\th\t7\t0.1.0\tdraining\t1\t5\tall\t0\t\nw\th\t7\t0.1.0\tdraining\t1\t5\tall\t0\t\n"
    assert run("workers", "drain", "w", "--json").out.startswith('{"id":"w"')
    assert stub.asked("GET /workers") == []


def test_a_worker_that_is_not_there_keeps_no_other_from_draining(run: Run, stub: Stub) -> None:
    stub.refuse("POST /workers/v/drain", 404, "There is no worker v.")
    stub.answer("POST /workers/w/drain", a_worker("w", "draining"), 202)
    code, out, err = run("workers", "drain", "v", "w")
    assert (code, out[:2], err) == (4, "w\t", "dolgo: v: There is no worker v.\n")


def test_a_drain_can_be_waited_for(run: Run, stub: Stub) -> None:
    for id in "vw":
        stub.answer(f"POST /workers/{id}/drain", a_worker(id, "draining"), 202)
    others = [a_worker("u", "running")]
    stub.answer("GET /workers", {"workers": [*others, a_worker("v", "draining"), a_worker("w", "draining")]})
    stub.answer("GET /workers", {"workers": [*others, a_worker("w", "draining")]})
    stub.answer("GET /workers", {"workers": [*others, a_worker("w", "drained")]})
    assert run("workers", "drain", "v", "w", "--wait").code == 0
    assert len(stub.asked("GET /workers")) == 3


def test_a_drain_that_takes_too_long_is_code_124(run: Run, stub: Stub) -> None:
    stub.answer("POST /workers/w/drain", a_worker("w", "draining"), 202)
    stub.answer("GET /workers", {"workers": [a_worker("w", "draining")]})
    assert run("workers", "drain", "w", "--wait-timeout", "0.1").code == 124


@pytest.mark.parametrize("arguments", [["drain"], ["--json", "drain", "w"], ["--server", "http://x", "drain", "w"], ["w"]])
def test_what_is_not_meant_for_workers_is_a_usage_error(arguments: list[str], run: Run, stub: Stub) -> None:
    assert run("workers", *arguments).code == 2
    assert stub.requests == []
