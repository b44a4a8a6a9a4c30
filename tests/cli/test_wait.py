"""`dolgo wait`: until all are final, or time runs out."""

from __future__ import annotations

import pytest

from tests.cli.conftest import Run, Stub, on_terminal


def test_it_waits_until_every_task_is_final_and_prints_them_in_order(run: Run, stub: Stub) -> None:
    stub.answer("GET /tasks/a", {"id": "a", "status": "queued"})
    stub.answer("GET /tasks/a", {"id": "a", "status": "in_progress"})
    stub.answer("GET /tasks/a", {"id": "a", "status": "done", "result": 1})
    stub.answer("GET /tasks/b", {"id": "b", "status": "done", "result": 2})
    assert run("wait", "a", "b") == (0, "a  done\n1\nb  done\n2\n", "")
    assert all(0 < float(made.query["wait"]) <= 60 for made in stub.requests)


def test_one_that_failed_is_code_3(run: Run, stub: Stub) -> None:
    stub.answer("GET /tasks/a", {"id": "a", "status": "done", "result": 1})
    stub.answer("GET /tasks/b", {"id": "b", "status": "failed", "error": "It broke."})
    assert run("wait", "a", "b").code == 3
    assert run("wait", "b", "a", "--json").out.count("\n") == 2


def test_time_that_runs_out_is_code_124_and_shows_where_the_task_stands(run: Run, stub: Stub) -> None:
    stub.answer("GET /tasks/a", {"id": "a", "status": "in_progress"})
    assert run("wait", "a", "--timeout", "50ms") == (124, "a  in_progress\n", "")
    assert run("wait", "a", "--timeout", "0").code == 124


def test_one_that_is_missing_does_not_keep_it_from_the_others(run: Run, stub: Stub) -> None:
    stub.answer("GET /tasks/a", {"id": "a", "status": "done", "result": 1})
    ran = run("wait", "missing", "a")
    assert (ran.code, ran.out) == (4, "a  done\n1\n")
    assert ran.err.startswith("dolgo: missing: ")


def test_a_server_that_restarts_meanwhile_is_waited_for(run: Run, stub: Stub) -> None:
    stub.answer("GET /tasks/a", {"id": "a", "status": "queued"})
    stub.answer("GET /tasks/a", b"", 0)
    stub.refuse("GET /tasks/a", 503, "The store cannot be read.")
    stub.answer("GET /tasks/a", {"id": "a", "status": "done", "result": 1})
    assert run("wait", "a").code == 0


@pytest.mark.parametrize("colour", [{}, {"NO_COLOR": "1"}])
def test_a_terminal_gets_a_progress_bar_for_several(colour: dict[str, str], stub: Stub) -> None:
    for id in "abc":
        stub.answer(f"GET /tasks/{id}", {"id": id, "status": "done", "result": 1})
    code, shown = on_terminal("stderr", "wait", "a", "b", "c", DOLGO_URL=stub.url, **colour)
    assert code == 0
    assert "3/3" in shown


def test_one_task_and_no_terminal_get_no_progress_bar(run: Run, stub: Stub) -> None:
    stub.answer("GET /tasks/a", {"id": "a", "status": "done", "result": 1})
    assert run("wait", "a", "a").err == ""
    assert on_terminal("stderr", "wait", "a", DOLGO_URL=stub.url) == (0, "")
