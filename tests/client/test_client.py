"""Both clients: what is sent, what is tried again, what an answer becomes."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import math
import socket
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest

import dolgo
from dolgo.client import Accepted, AsyncClient, Client, NotDolgo, TaskCancelled, TaskFailed, Unanswered, WaitTimeout
from dolgo.errors import Conflict, InvalidPayload, NotFound, Problem, Refused, StoreUnavailable, Unauthorized
from dolgo.task.types import Status
from tests.cli.conftest import Stub
from tests.client.conftest import Make

QUEUED = {"id": "a", "status": "queued"}
SECRET = "dolgo_1_secret"
LOST = {"code": "handler_error", "message": "no such page", "type": "KeyError", "traceback": None, "attempt": 2}


def full(id: str = "a", status: str = "queued", **members: Any) -> dict[str, Any]:
    """A task in full, as the server shows it."""
    times = {"created_at": "2026-01-31T12:00:00.000000Z", "run_at": "2026-01-31T12:00:00.000000Z"}
    return {"id": id, "status": status, "type": "t", "queue": "default", "priority": 5, "payload": {}, **times, **members}


def problem(slug: str, status: int, error: str, **pointers: str) -> dict[str, Any]:
    errors = [{"pointer": pointer.replace("_", "/"), "detail": detail} for pointer, detail in pointers.items()]
    return {"type": f"/docs#{slug}", "title": "x", "status": status, "detail": error, "error": error, "errors": errors}


def keys(stub: Stub, request: str) -> list[str]:
    return [made.headers["idempotency-key"] for made in stub.asked(request)]


# -- submit


def test_a_submit_sends_the_payload_and_the_options_and_answers_with_the_id(client: Any, stub: Stub) -> None:
    stub.answer("POST /tasks", {"id": "b", "status": "waiting"}, 202)
    moment = datetime(2026, 1, 31, 12, tzinfo=UTC)
    task = client.submit("t", {"n": 1}, queue="q", run_at=moment, depends_on=[Accepted("a", Status.QUEUED)], tags=("x",))
    assert task == Accepted("b", Status.WAITING)
    assert stub.requests[0].body == {
        "type": "t", "payload": {"n": 1}, "queue": "q", "run_at": "2026-01-31T12:00:00Z", "depends_on": ["a"], "tags": ["x"],
    }  # fmt: skip


def test_a_submit_without_a_payload_leaves_it_to_the_server(client: Any, stub: Stub) -> None:
    stub.answer("POST /tasks", QUEUED, 202)
    client.submit("t", timeout=None)
    assert stub.requests[0].body == {"type": "t"}


def test_a_submit_is_repeated_under_one_key_when_the_answer_is_lost_or_the_store_is_away(client: Any, stub: Stub) -> None:
    stub.answer("POST /tasks", b"", 0)
    stub.answer("POST /tasks", problem("store-unavailable", 503, "Away."), 503)
    stub.answer("POST /tasks", QUEUED, 202)
    assert client.submit("t").id == "a"
    sent = keys(stub, "POST /tasks")
    assert len(sent) == 3
    assert len(set(sent)) == 1


def test_each_submit_has_a_key_of_its_own_unless_it_is_given_one(client: Any, stub: Stub) -> None:
    stub.answer("POST /tasks", QUEUED, 202)
    for key in (None, None, "mine"):
        client.submit("t", key=key)
    first, second, third = keys(stub, "POST /tasks")
    assert len({first, second}) == 2
    assert third == "mine"


def test_many_are_submitted_in_one_request_and_answered_in_order(client: Any, stub: Stub) -> None:
    stub.answer("POST /tasks/batch", b"", 0)
    stub.answer("POST /tasks/batch", {"tasks": [QUEUED, {"id": "b", "status": "waiting"}]}, 202)
    tasks = client.submit_many([{"type": "t", "ref": "x"}, {"type": "t", "depends_on": ["ref:x"]}])
    assert [task.id for task in tasks] == ["a", "b"]
    assert stub.requests[1].body == {"tasks": [{"type": "t", "ref": "x"}, {"type": "t", "depends_on": ["ref:x"]}]}
    assert len(set(keys(stub, "POST /tasks/batch"))) == 1


def test_it_is_told_when_nothing_new_was_stored(client: Any, stub: Stub) -> None:
    stub.answer("POST /tasks", QUEUED, 202, Dolgo_Existing="true")
    stub.answer("POST /tasks", QUEUED, 202, Idempotency_Replayed="true")
    assert client.submit("t", unique_key="k").existing
    assert client.submit("t", key="k").replayed


@pytest.mark.parametrize("payload", [{"n": math.nan}, [1, -math.inf]])
def test_what_json_cannot_say_is_not_sent_as_null(payload: Any, client: Any, stub: Stub) -> None:
    with pytest.raises(ValueError, match="not JSON"):
        client.submit("t", payload)
    with pytest.raises(ValueError, match="not JSON"):
        client.submit("t", delay=math.nan)
    assert stub.requests == []


# -- look


def test_a_task_is_a_record_with_times_and_errors(client: Any, stub: Stub) -> None:
    attempt = {"number": 1, "worker": "w", "started_at": "2026-01-31T12:00:01.5Z", "outcome": "failed", "error": LOST}
    stub.answer("GET /tasks/a", full(status="failed", error=LOST, attempts=[attempt], progress={"done": 1}, new_member=1))
    task = client.get("a")
    assert (task.status, task.final, task.error.message) == (Status.FAILED, True, "no such page")
    assert task.attempts[0].started_at == datetime(2026, 1, 31, 12, 0, 1, 500_000, UTC)
    assert task.progress.total is None


def test_a_wait_goes_on_in_rounds_until_the_task_has_ended(client: Any, stub: Stub) -> None:
    for status in ("queued", "in_progress", "done"):
        stub.answer("GET /tasks/a", full(status=status, result=7))
    assert client.wait("a").result == 7
    assert all(0 < float(made.query["wait"]) <= 60 for made in stub.asked("GET /tasks/a"))


def test_a_wait_outlives_a_server_that_is_away_between_two_rounds(make: Make, stub: Stub) -> None:
    stub.answer("GET /tasks/a", full(status="in_progress"))
    for _ in range(4):
        stub.answer("GET /tasks/a", b"", 0)
    stub.answer("GET /tasks/a", full(status="done"))
    assert make(patience=0.0).wait(Accepted("a", Status.QUEUED)).final


def test_a_wait_that_runs_out_says_how_the_task_stands(client: Any, stub: Stub) -> None:
    stub.answer("GET /tasks/a", full(status="in_progress"))
    with pytest.raises(TimeoutError, match=r"a has not ended within 0\.3 s: it is in_progress") as raised:
        client.wait("a", timeout=0.3)
    assert isinstance(raised.value, WaitTimeout)


def test_a_result_is_what_the_handler_returned(client: Any, stub: Stub) -> None:
    stub.answer("GET /tasks/a", {"id": "a", "status": "done", "result": {"pages": 4}})
    assert client.result("a") == {"pages": 4}


@pytest.mark.parametrize(("status", "kind"), [("failed", TaskFailed), ("cancelled", TaskCancelled)])
def test_no_result_raises_what_kept_it_from_coming(status: str, kind: type[Exception], client: Any, stub: Stub) -> None:
    stub.answer("GET /tasks/a", {"id": "a", "status": status, "error": "no such page"})
    stub.answer("GET /tasks/a", full(status=status, error=LOST))
    with pytest.raises(kind, match=f"The task a ended {status}: no such page") as raised:
        client.result("a")
    assert raised.value.error.type == "KeyError"
    assert raised.value.task.id == "a"


def test_a_list_fetches_its_pages_as_they_are_reached(client: Any, stub: Stub) -> None:
    stub.answer("GET /tasks", {"tasks": [full("a"), full("b")], "next": "2"})
    stub.answer("GET /tasks", {"tasks": [], "next": "3"})
    stub.answer("GET /tasks", {"tasks": [full("c")], "next": None})
    found = client.list(type="t", created_after=datetime(2026, 1, 31, tzinfo=UTC), queue=None)
    assert next(found).id == "a"
    assert len(stub.requests) == 1
    assert [task.id for task in found] == ["b", "c"]
    assert [made.query.get("cursor") for made in stub.requests] == [None, "2", "3"]
    query = stub.requests[0].query
    assert (query["type"], query["created_after"], "queue" in query) == ("t", "2026-01-31T00:00:00Z", False)


def line(number: int) -> dict[str, Any]:
    return {"attempt": 1, "number": number, "time": "2026-01-31T12:00:00.000000Z", "level": "info", "text": f"line {number}"}


def test_a_log_is_read_to_its_end(client: Any, stub: Stub) -> None:
    for lines, place in (([line(1)], "1-1"), ([line(2)], "1-2"), ([], "1-2")):
        stub.answer("GET /tasks/a/logs", {"lines": lines, "next": place})
    assert [found.text for found in client.logs("a")] == ["line 1", "line 2"]
    assert [made.query.get("after") for made in stub.requests] == [None, "1-1", "1-2"]


def test_a_log_is_read_whenever_something_was_written_until_the_task_has_ended(client: Any, stub: Stub) -> None:
    told = [event(4, "in_progress"), event(5, "in_progress", kind="task.progress"), event(6, kind="task.log"), event(7, "done")]
    stub.send_events("GET /tasks/a/events", *told[:3])
    stub.send_events("GET /tasks/a/events", told[3])
    for lines, place in (([], None), ([line(1)], "1-1"), ([], "1-1"), ([line(2)], "1-2"), ([], "1-2")):
        stub.answer("GET /tasks/a/logs", {"lines": lines, "next": place})
    assert [found.text for found in client.logs("a", follow=True)] == ["line 1", "line 2"]
    assert [made.query.get("after") for made in stub.asked("GET /tasks/a/logs")] == [None, None, "1-1", "1-1", "1-2"]


def event(seq: int, status: str = "queued", kind: str = "task.status", **more: Any) -> tuple[str, str, dict[str, Any]]:
    time = "2026-01-31T12:00:00.000000Z"
    data = {"seq": seq, "time": time, "event": kind, "id": "a", "type": "t", "queue": "q", "status": status, **more}
    return f"e-{seq}", kind, data


def test_an_event_is_a_record(client: Any, stub: Stub) -> None:
    stub.send_events("GET /events", event(5, "in_progress", "task.progress", attempt=2, progress={"done": 1, "total": 4}, new=1))
    found = next(client.events())
    assert (found.event, found.place, found.seq, found.id) == ("task.progress", "e-5", 5, "a")
    assert (found.status, found.attempt, found.progress.total) == (Status.IN_PROGRESS, 2, 4)
    assert found.time == datetime(2026, 1, 31, 12, tzinfo=UTC)


def test_events_go_on_from_where_they_were_over_cut_connections(client: Any, stub: Stub) -> None:
    stub.send_events("GET /events", event(4), event(5), more=": here\nid: e-7\n\nid: e-8\nevent: task.sta")
    stub.answer("GET /events", b"", 0)
    stub.send_events("GET /events", event(9))
    found = list(itertools.islice(client.events(after=3, queue="q"), 3))
    assert [told.seq for told in found] == [4, 5, 9]
    assert [made.headers.get("last-event-id") for made in stub.requests] == [None, "e-7", "e-7"]
    assert [made.query for made in stub.requests] == [{"queue": "q", "after": "3"}] * 3


def test_events_begin_behind_one_that_is_known(client: Any, stub: Stub) -> None:
    stub.send_events("GET /events", event(4), event(5))
    first = next(client.events(after="e-3"))
    next(client.events(after=first))
    assert [made.query["after"] for made in stub.requests] == ["e-3", "e-4"]


def test_the_events_of_a_task_end_with_it_and_a_gap_is_told(client: Any, stub: Stub) -> None:
    stub.send_events("GET /tasks/a/events", event(4), ("f-8", "reset", {"epoch": "f", "next": 8}), event(9, "done"), event(10))
    assert [(told.event, told.status, told.seq) for told in client.events("a")] == [
        ("task.status", Status.QUEUED, 4),
        ("reset", None, 8),
        ("task.status", Status.DONE, 9),
    ]


def test_the_events_of_a_task_that_ended_before_are_none(client: Any, stub: Stub) -> None:
    stub.answer("GET /tasks/a/events", b"", 204)
    assert list(client.events("a", after=5)) == []


def test_a_refusal_in_the_middle_is_raised(client: Any, stub: Stub) -> None:
    stub.send_events("GET /events", event(4))
    stub.answer("GET /events", problem("unauthorized", 401, "Revoked."), 401)
    found = client.events()
    next(found)
    with pytest.raises(Unauthorized, match="Revoked"):
        next(found)


@pytest.mark.parametrize("body", [b'{"events": []}', b"<html>"])
def test_what_is_no_stream_is_told(body: bytes, client: Any, stub: Stub) -> None:
    stub.answer("GET /events", body)
    with pytest.raises(NotDolgo, match="without a stream"):
        next(client.events())


def test_a_stream_that_never_ends_an_event_is_given_up(client: Any, stub: Stub) -> None:
    stub.send_events("GET /events", more="data: " + "x" * (1 << 21))
    with pytest.raises(NotDolgo, match="has no end"):
        next(client.events())


class Unending(httpx.SyncByteStream, httpx.AsyncByteStream):
    """A stream with one event, which goes on until somebody closes it."""

    def __init__(self) -> None:
        self.is_closed = False

    def __iter__(self) -> Iterator[bytes]:
        yield b"id: e-4\nevent: task.status\ndata: {}\n\n"
        raise AssertionError("nobody asked for more")

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for piece in self:
            yield piece

    def close(self) -> None:
        self.is_closed = True

    async def aclose(self) -> None:
        self.is_closed = True

    def transport(self) -> httpx.MockTransport:
        answer = httpx.Response(200, headers={"Content-Type": "text/event-stream"}, stream=self)
        return httpx.MockTransport(lambda request: answer)


def test_who_stops_listening_lets_go_of_the_stream() -> None:
    stream = Unending()
    with Client("http://x", transport=stream.transport()) as client:
        for event in client.events():
            assert event.seq == 0
            break
        assert stream.is_closed


def test_who_stops_listening_lets_go_of_the_stream_on_a_loop() -> None:
    async def listen() -> bool:
        stream = Unending()
        async with AsyncClient("http://x", transport=stream.transport()) as client:
            async with contextlib.aclosing(client.events()) as events:
                await anext(events)
            return stream.is_closed

    assert asyncio.run(listen())


# -- by hand


def test_a_cancel_and_a_retry_say_where_the_task_stands(client: Any, stub: Stub) -> None:
    stub.answer("POST /tasks/a/cancel", {"id": "a", "status": "in_progress"}, 202)
    stub.answer("POST /tasks/a/retry", QUEUED, 202)
    stub.answer("DELETE /tasks/a", b"", 204)
    assert (client.cancel("a"), client.retry("a"), client.delete("a")) == (Status.IN_PROGRESS, Status.QUEUED, None)


def test_a_retry_whose_answer_is_lost_is_not_repeated(client: Any, stub: Stub) -> None:
    stub.answer("POST /tasks/a/retry", b"", 0)
    with pytest.raises(Unanswered):
        client.retry("a")
    assert len(stub.requests) == 1


def test_anything_else_can_be_asked(client: Any, stub: Stub) -> None:
    stub.answer("PUT /queues/q/pause", {"name": "q"})
    assert client.request("PUT", "/queues/q/pause", body={"reason": "r"}) == {"name": "q"}
    assert stub.requests[0].body == {"reason": "r"}


def test_an_answer_that_is_text_is_text(client: Any, stub: Stub) -> None:
    stub.answer("GET /metrics", b"tasks 1", content_type="text/plain; version=0.0.4")
    assert client.request("GET", "metrics") == "tasks 1"


def test_a_handler_in_the_place_of_its_name_is_told(client: Any, stub: Stub) -> None:
    with pytest.raises(TypeError, match="named by text"):
        client.submit(len, {"n": 1})
    assert stub.requests == []


# -- what is tried again, and for how long


def test_a_server_that_wants_to_be_left_alone_is(make: Make, stub: Stub) -> None:
    stub.answer("GET /tasks/a", problem("rate-limited", 429, "Slowly."), 429, Retry_After="60")
    with pytest.raises(Refused, match="Slowly") as raised:
        make(patience=20.0).get("a")
    assert len(stub.requests) == 1, "asked again before it may"
    assert (raised.value.status, raised.value.slug, raised.value.retry_after) == (429, "rate-limited", 60)


def test_patience_ends(make: Make, stub: Stub) -> None:
    stub.answer("GET /tasks/a", problem("store-unavailable", 503, "Away."), 503)
    with pytest.raises(StoreUnavailable):
        make(patience=0.5).get("a")
    assert len(stub.requests) > 1


def test_a_server_that_is_not_there_is_told_by_its_address(make: Make) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound but not listening: connections are refused
        url = f"http://me:hidden@127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(Unanswered, match=r"http://me:\*\*\*@127.0.0.1:\d+ does not answer") as raised:
            make(url, patience=0.2).get("a")
    assert "hidden" not in str(raised.value)


# -- refusals


@pytest.mark.parametrize(
    ("slug", "status", "kind"),
    [("not-found", 404, NotFound), ("conflict", 409, Conflict), ("of-a-later-version", 422, Refused)],
)
def test_a_refusal_is_the_error_the_server_raised(slug: str, status: int, kind: type, client: Any, stub: Stub) -> None:
    stub.answer("GET /tasks/a", problem(slug, status, "No."), status)
    with pytest.raises(kind, match=r"^No\.") as raised:
        client.get("a")
    assert type(raised.value) is kind
    assert (raised.value.status, raised.value.slug) == (status, slug)
    assert (Refused.status, Refused.slug) == (500, ""), "the class itself was changed"


def test_every_wrong_member_is_pointed_at(client: Any, stub: Stub) -> None:
    stub.answer("POST /tasks", problem("invalid-payload", 422, "It does not fit.", _payload_url="Expected `str`"), 422)
    with pytest.raises(InvalidPayload) as raised:
        client.submit("t")
    assert raised.value.problems == (Problem("/payload/url", "Expected `str`"),)


@pytest.mark.parametrize(("status", "body"), [(200, b"<html>"), (404, b"<html>"), (301, b""), (200, b"{}")])
def test_an_answer_of_something_else_says_so(status: int, body: bytes, client: Any, stub: Stub) -> None:
    stub.answer("GET /tasks/a", body, status)
    with pytest.raises(NotDolgo) as raised:
        client.get("a")
    assert raised.value.status == status


# -- who asks


def test_the_environment_names_server_and_token(make: Make, stub: Stub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOLGO_URL", stub.url)
    monkeypatch.setenv("DOLGO_TOKEN", f"{SECRET}\n")
    stub.answer("GET /tasks/a", full())
    with dolgo.Client() as client:
        client.get("a")
    make(token="other").get("a")
    assert [made.headers["authorization"] for made in stub.requests] == [f"Bearer {SECRET}", "Bearer other"]


def test_no_secret_is_shown(make: Make, stub: Stub, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    client = make(stub.url.replace("//", "//me:hidden@"), token=SECRET)
    with pytest.raises(Refused):
        client.get("a")
    assert stub.requests[0].headers["authorization"].startswith("Basic ")
    shown = caplog.text + repr(client) + repr(vars(client))
    assert caplog.text
    assert "hidden" not in shown
    assert SECRET not in shown


@pytest.mark.parametrize("url", ["nonsense", "ftp://there", "http://", "http://a:b", "127.0.0.1:8080"])
def test_what_is_no_address_is_refused_at_once(url: str, make: Make) -> None:
    with pytest.raises(ValueError, match="is no address of a server"):
        make(url)
