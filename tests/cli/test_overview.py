"""`dolgo types` and `workers`."""

from __future__ import annotations

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
