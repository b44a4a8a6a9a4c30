"""The HTTP wrapper: what is sent, what is tried again, and what a refusal becomes."""

from __future__ import annotations

import socket

import pytest

from tests.cli.conftest import Run, Stub


def test_a_submit_is_repeated_under_the_same_key_when_the_answer_is_lost(run: Run, stub: Stub) -> None:
    stub.answer("POST /tasks", b"", 0)
    stub.refuse("POST /tasks", 503, "The store cannot be written.")
    stub.answer("POST /tasks", {"id": "a", "status": "queued"}, 202)
    ran = run("submit", "long_task")
    assert (ran.code, ran.out) == (0, "a\n")
    keys = [made.headers["idempotency-key"] for made in stub.asked("POST /tasks")]
    assert len(keys) == 3
    assert len(set(keys)) == 1


def test_two_submits_have_two_keys_and_key_names_one(run: Run, stub: Stub) -> None:
    stub.answer("POST /tasks", {"id": "a", "status": "queued"}, 202)
    for arguments in ([], [], ["--key", "mine"]):
        run("submit", "long_task", *arguments)
    keys = [made.headers["idempotency-key"] for made in stub.asked("POST /tasks")]
    assert len(set(keys)) == 3
    assert keys[2] == "mine"


def test_a_retry_is_not_repeated_when_its_answer_is_lost(run: Run, stub: Stub) -> None:
    stub.answer("POST /tasks/a/retry", b"", 0)
    assert run("retry", "a").code == 7
    assert len(stub.asked("POST /tasks/a/retry")) == 1


def test_what_is_wrong_is_not_told_twice(run: Run, stub: Stub) -> None:
    stub.refuse(
        "POST /tasks", 422, "The request cannot be used: /timeout: Expected `float` > 0.", _timeout="Expected `float` > 0"
    )
    assert run("submit", "t").err == "dolgo: The request cannot be used: /timeout: Expected `float` > 0.\n"


def test_a_store_that_stays_away_is_told_as_the_server_tells_it(run: Run, stub: Stub) -> None:
    stub.refuse("GET /tasks/a", 503, "The store cannot be read right now.")
    ran = run("get", "a")
    assert (ran.code, ran.out, ran.err) == (1, "", "dolgo: The store cannot be read right now.\n")
    assert len(stub.asked("GET /tasks/a")) > 2


def test_a_server_that_is_not_there_is_code_7_and_says_what_to_do(alone: Run) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound but not listening: connections are refused
        ran = alone("get", "a", "--server", f"http://me:secret@127.0.0.1:{taken.getsockname()[1]}")
    assert (ran.code, ran.out) == (7, "")
    assert ran.err.startswith("dolgo: http://me:***@127.0.0.1:")
    assert "--server or DOLGO_URL" in ran.err
    assert ran.err.count("\n") == 1


@pytest.mark.parametrize(("status", "code"), [(400, 1), (401, 6), (403, 6), (404, 4), (409, 5), (413, 1), (422, 1), (500, 1)])
def test_a_refusal_has_a_code_by_its_status(status: int, code: int, run: Run, stub: Stub) -> None:
    stub.refuse("GET /types", status, "No.")
    ran = run("types")
    assert (ran.code, ran.out) == (code, "")
    assert ran.err.startswith("dolgo: No.\n")


def test_every_wrong_member_is_on_a_line_of_its_own(run: Run, stub: Stub) -> None:
    stub.refuse("POST /tasks", 422, "The payload does not fit.", _payload_url="Expected `str`", _payload_n="Expected `int`")
    ran = run("submit", "x")
    assert ran.err == "dolgo: The payload does not fit.\n  /payload/url: Expected `str`\n  /payload/n: Expected `int`\n"


def test_a_missing_token_is_told_where_it_goes(run: Run, stub: Stub) -> None:
    stub.refuse("GET /tasks/a", 401, "A token is needed.")
    assert "DOLGO_TOKEN" in run("get", "a").err


def test_the_token_of_the_environment_is_sent_and_never_shown(run: Run, stub: Stub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOLGO_TOKEN", "dolgo_1_secret\n")
    stub.refuse("GET /tasks/a", 403, "Not yours.")
    ran = run("get", "a")
    assert ran.code == 6
    assert stub.requests[0].headers["authorization"] == "Bearer dolgo_1_secret"
    assert "secret" not in ran.out + ran.err


def test_a_proxy_of_the_environment_is_not_asked_for_this_machine(run: Run, stub: Stub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    stub.answer("GET /tasks/a", {"id": "a", "status": "queued"})
    assert run("get", "a").code == 0


@pytest.mark.parametrize("body", [b"<html>", b"[]", b"{}", b"\xff", b""])
def test_an_answer_of_something_else_is_no_traceback(body: bytes, run: Run, stub: Stub) -> None:
    stub.answer("GET /tasks/a", body)
    stub.answer("GET /tasks", body, 502)
    ran = run("get", "a")
    assert (ran.code, ran.out) == (1, "")
    assert ran.err.startswith("dolgo: The answer is not what dolgo would send")
    assert "502, and not as dolgo does" in run("list").err


def test_a_server_that_moved_is_told(run: Run, stub: Stub) -> None:
    stub.answer("GET /tasks", b"", 301)
    assert "sends us to elsewhere" in run("list").err


@pytest.mark.parametrize("id", ["../types", "..", ".", "a/cancel", "a?view=full", "a b", "%2e"])
def test_an_id_never_leads_elsewhere(id: str, run: Run, stub: Stub) -> None:
    stub.answer("GET /tasks", {"tasks": [], "next": None})
    stub.answer("GET /types", {"types": []})
    ran = run("get", id)
    assert ran.code == 4
    assert stub.requests[0].path.count("/") == 2
    assert not stub.requests[0].query


def test_what_a_terminal_would_obey_is_shown_instead(run: Run, stub: Stub) -> None:
    stub.refuse("GET /tasks/a", 422, "Bad \x1b[2J name.")
    assert run("get", "a").err == "dolgo: Bad \\x1b[2J name.\n"
