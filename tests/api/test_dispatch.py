"""From a request to its handler, and from an error to its response."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from dolgo import errors
from dolgo.api import spec
from dolgo.api.app import ROUTES
from dolgo.errors import Problem, Refused
from tests.api.web import Web, call, client, pointers, refused

pytestmark = pytest.mark.anyio


NOWHERE = ["/", "/task", "/tasks/", "/tasks//", "//tasks", "/tasks/x/", "/tasks/x/stop", "/tasks/batch/cancel", "/types/"]
NOWHERE += ["/types/a/b", "/%00", "/TASKS", "/favicon.ico", "/" + "a" * 5000]


@pytest.mark.parametrize("path", NOWHERE)
async def test_another_address_is_not_found(web: Web, path: str) -> None:
    for method in ("GET", "POST", "OPTIONS", "BREW"):
        answer = await web.http.request(method, f"http://dolgo.test{path}")
        assert len(refused(answer, 404, "not-found")["error"]) < 300


async def test_a_part_that_has_a_meaning_wins_over_a_name(web: Web) -> None:
    for verb in ("cancel", "retry"):
        refused(await web.http.post(f"/tasks/{verb}"), 422, "invalid-request")
        refused(await web.http.post(f"/tasks/{verb}/{verb}"), 404, "not-found")
        refused(await web.http.post(f"/tasks/x/{verb}"), 404, "not-found")


@pytest.mark.parametrize("path", sorted({route.path for route in ROUTES}))
async def test_another_method_is_told_which_are_allowed(web: Web, path: str) -> None:
    methods = {route.method for route in ROUTES if route.path == path}
    methods |= {"HEAD"} if "GET" in methods else set()
    for method in {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "BREW"} - methods:
        answer = await web.http.request(method, path.replace("{", "").replace("}", ""))
        assert answer.status_code == 405
        assert answer.headers["allow"] == ", ".join(sorted(methods))
        if method != "HEAD":
            refused(answer, 405, "method-not-allowed")


async def test_head_is_get_without_its_body(web: Web) -> None:
    id = await web.submit("anything", payload={"value": "x" * 500})
    paths = ["/tasks", f"/tasks/{id}", f"/tasks/{id}?view=full", "/types", "/queues", "/workers", "/livez", "/openapi.json"]
    paths += ["/docs", "/types/pause", "/queues/default", "/tasks/nope", "/tasks?limit=0"]
    for path in paths:
        got, head = await web.http.get(path), await web.http.head(path)
        assert (head.status_code, head.headers, head.content) == (got.status_code, got.headers, b"")
        assert int(head.headers["content-length"]) == len(got.content) > 0


@pytest.mark.parametrize("path", sorted({route.path for route in ROUTES if not route.query}))
async def test_parameters_are_refused_where_there_are_none(web: Web, path: str) -> None:
    for route in ROUTES:
        if route.path == path:
            answer = await web.http.request(route.method, path.replace("{", "").replace("}", "") + "?wait=5")
            if not route.query:
                refused(answer, 422, "invalid-request")
                assert pointers(answer) == ["/query/wait"]


async def test_every_answer_forbids_guessing_its_kind(web: Web) -> None:
    for path in ("/tasks", "/docs", "/nope"):
        assert (await web.http.get(path)).headers["x-content-type-options"] == "nosniff"


async def test_a_header_sent_twice_is_read_as_one_list(web: Web) -> None:
    headers = [("Prefer", "respond-async"), ("Prefer", "wait=0.01")]
    answer = await web.http.post("/tasks", json={"type": "pause"}, headers=headers)
    assert answer.headers["preference-applied"] == "wait=0.01"
    headers = [("Idempotency-Key", "a"), ("Idempotency-Key", "b")]
    refused(await web.http.post("/tasks", json={"type": "pause"}, headers=headers), 422, "invalid-request")


@pytest.mark.parametrize("kind", list(spec.refusals()), ids=lambda kind: kind.slug)
async def test_every_refusal_is_a_problem_with_its_status_and_slug(
    web: Web, kind: type[Refused], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refuse(*_: Any) -> None:
        raise kind("It is so.", [Problem("/a", "wrong")])

    monkeypatch.setattr(web.manager, "get", refuse)
    answer = await web.http.get("/tasks/x")
    problem = refused(answer, kind.status, kind.slug)
    assert list(problem) == ["type", "title", "status", "detail", "error", "errors"]
    assert (problem["title"], problem["error"]) == (kind.title(), "It is so.")
    assert problem["errors"] == [{"pointer": "/a", "detail": "wrong"}]
    assert answer.headers.get("retry-after") == (None if kind.retry_after is None else str(kind.retry_after))


async def test_an_unexpected_error_is_logged_and_told_to_nobody(
    web: Web, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def fail(*_: Any) -> None:
        raise RuntimeError("the secret is 42")

    monkeypatch.setattr(web.manager, "get", fail)
    answer = await web.http.get("/tasks/x")
    problem = refused(answer, 500, "internal-error")
    assert list(problem) == ["type", "title", "status", "detail", "error"]
    assert "secret" not in answer.text
    assert "RuntimeError" not in answer.text
    (record,) = caplog.records
    assert (record.name, record.levelno) == ("dolgo.api", logging.ERROR)
    assert record.exc_info
    assert "GET" in record.getMessage()


async def test_other_protocols_than_http_are_not_spoken(web: Web) -> None:
    with pytest.raises(NotImplementedError):
        await web.app({"type": "lifespan"}, None, None)  # type: ignore[arg-type]


async def test_a_request_without_headers_is_served(web: Web) -> None:
    async def receive() -> Any:
        return {"type": "http.request", "body": b'{"type":"pause"}'}

    assert (await call(web.app, "POST", "/tasks", receive=receive))[0]["status"] == 202


SAME = "http://dolgo.test"


@pytest.mark.parametrize(
    "headers",
    [
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Sec-Fetch-Site": "cross-site", "Origin": SAME},
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": f"{SAME}.evil.example"},
        {"Origin": f"{SAME}:81"},
    ],
)
async def test_a_page_of_another_site_changes_nothing(web: Web, headers: dict[str, str]) -> None:
    id = await web.submit()
    for method, path in (
        ("POST", "/tasks"),
        ("POST", "/tasks/batch"),
        ("POST", f"/tasks/{id}/cancel"),
        ("DELETE", f"/tasks/{id}"),
    ):
        refused(await web.http.request(method, path, json={"type": "pause"}, headers=headers), 403, "forbidden")
    assert (await web.http.get(f"/tasks/{id}", headers=headers)).json()["status"] == "queued"


@pytest.mark.parametrize("headers", [{}, {"Sec-Fetch-Site": "same-origin"}, {"Sec-Fetch-Site": "none"}, {"Origin": SAME}])
async def test_our_own_pages_and_programs_may(web: Web, headers: dict[str, str]) -> None:
    assert (await web.http.post("/tasks", json={"type": "pause"}, headers=headers)).status_code == 202


OURS = ["localhost", "localhost:8080", "LocalHost:1", "127.0.0.1", "127.0.0.1:80", "127.1.2.3:80", "[::1]:8080", "a.localhost"]
STRANGE = ["evil.example", "localhost.evil.example", "127.0.0.1.evil.example", "127.evil.example", "10.0.0.1", "", "a@localhost"]


async def test_a_service_for_this_machine_answers_to_its_names_alone(web: Web) -> None:
    async with client(web.make(local=True)) as http:
        for host in (
            "localhost",
            "localhost:8080",
            "LocalHost:1",
            "127.0.0.1",
            "127.0.0.1:80",
            "127.1.2.3:80",
            "[::1]:8080",
            "a.localhost",
        ):
            assert (await http.get("/livez", headers={"Host": host})).status_code == 200
        for host in (
            "evil.example",
            "localhost.evil.example",
            "127.0.0.1.evil.example",
            "127.evil.example",
            "10.0.0.1",
            "",
            "[::2]",
            "a@localhost",
        ):
            refused(await http.get("/livez", headers={"Host": host}), 403, "forbidden")
    assert (await web.http.get("/livez", headers={"Host": "any.example"})).status_code == 200


def test_every_error_that_refuses_is_in_the_tree_once() -> None:
    slugs = [kind.slug for kind in spec.refusals()]
    assert len(slugs) == len(set(slugs))
    assert errors.Refused.slug == ""
    assert all(kind.slug and 400 <= kind.status < 600 for kind in spec.refusals())
