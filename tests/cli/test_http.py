"""The HTTP wrapper: what is sent, what is tried again, and what a refusal becomes."""

from __future__ import annotations

import socket
from pathlib import Path

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
    assert ran.err.startswith("dolgo: No.")
    assert ran.err.count("\n") == 1


def test_every_wrong_member_is_on_a_line_of_its_own(run: Run, stub: Stub) -> None:
    stub.refuse("POST /tasks", 422, "The payload does not fit.", _payload_url="Expected `str`", _payload_n="Expected `int`")
    ran = run("submit", "x")
    assert ran.err == "dolgo: The payload does not fit.\n  /payload/url: Expected `str`\n  /payload/n: Expected `int`\n"


def test_a_missing_token_is_told_where_it_goes(run: Run, stub: Stub) -> None:
    stub.refuse("GET /tasks/a", 401, "A token is needed.")
    said = run("get", "a").err
    assert said.startswith("dolgo: A token is needed. DOLGO_TOKEN holds the token, or --token @FILE")
    assert said.count("\n") == 1


def test_a_missing_scope_is_told_how_it_is_had(run: Run, stub: Stub) -> None:
    error = {"type": "/docs#forbidden", "status": 403, "error": "This needs the scope `operate`."}
    stub.answer("POST /tasks/a/cancel", error, 403, WWW_Authenticate='Bearer error="insufficient_scope", scope="operate"')
    ran = run("cancel", "a")
    assert ran.code == 6
    assert ran.err.startswith("dolgo: This needs the scope `operate`. `dolgo token create NAME --scope operate` makes")


def test_who_asks_too_often_is_told_when_to_ask_again(run: Run, stub: Stub) -> None:
    stub.answer("GET /types", {"type": "/docs#rate-limited", "status": 429, "error": "Too often."}, 429, Retry_After="7")
    assert run("types") == (1, "", "dolgo: Too often. Try again in 7 s.\n")


def test_the_token_of_the_environment_is_sent_and_never_shown(run: Run, stub: Stub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOLGO_TOKEN", "dolgo_1_secret\n")
    stub.refuse("GET /tasks/a", 403, "Not yours.")
    ran = run("get", "a")
    assert ran.code == 6
    assert stub.requests[0].headers["authorization"] == "Bearer dolgo_1_secret"
    assert "secret" not in ran.out + ran.err


@pytest.mark.parametrize("command", [["types"], ["queue", "list"], ["watch", "a"], ["submit", "t"]])
def test_the_token_of_a_file_wins(command: list[str], run: Run, stub: Stub, at: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOLGO_TOKEN", "other")
    (at / "token").write_text("dolgo_1_secret\n")
    run(*command, "--token", f"@{at / 'token'}")
    assert stub.requests[0].headers["authorization"] == "Bearer dolgo_1_secret"


def test_a_token_is_not_taken_from_where_others_can_see_it(run: Run, stub: Stub) -> None:
    ran = run("types", "--token", "dolgo_1_secret")
    assert ran.code == 2
    assert "--token @FILE" in ran.err
    assert "secret" not in ran.err
    assert not stub.requests


@pytest.mark.parametrize("token", ["dolgo_1\nsecret", "dolgo 1 secret", "dolgo_1_s\u00e9cret"])
def test_what_is_no_token_is_neither_sent_nor_shown(token: str, run: Run, stub: Stub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOLGO_TOKEN", token)
    ran = run("types")
    assert ran.code == 2
    assert "Error: The token is not one word of printable ASCII.\n" in ran.err
    assert "cret" not in ran.err
    assert not stub.requests


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
