"""Every route is behind the entrance: walked with no token, bad ones, and each scope."""

from __future__ import annotations

import asyncio
import re
from typing import Any

import httpx
import pytest

from dolgo.api.access.entrance import FRESH, STALE, Entrance, House
from dolgo.api.app import ROUTES
from dolgo.api.route import Of, Route
from dolgo.errors import StoreUnavailable
from dolgo.task.tokens import Scope, Tokens
from tests.api.web import WORKER, Web, client, refused

pytestmark = pytest.mark.anyio

GUARDED = [route for route in ROUTES if route.scope is not None]
OPEN = {"/livez", "/readyz", "/healthz"}
PAYLOADS: dict[str, Any] = {
    "POST /tasks": {"type": "pause"},
    "POST /tasks/batch": {"tasks": [{"type": "pause"}]},
    "PUT /schedules/{name}": {"type": "pause", "every": 60},
}


def title(route: Route) -> str:
    return f"{route.method} {route.path}"


async def secret(web: Web, *scopes: Scope, **limits: Any) -> str:
    """A new token as it is sent."""
    name = f"t{len(await web.tokens.all())}"
    return (await web.tokens.create(name, scopes=scopes, **limits))[1]


async def ask(
    web: Web, route: Route, token: str | None, *, http: httpx.AsyncClient | None = None, **named: str
) -> httpx.Response:
    names = {"id": "nothing", "type": "pause", "queue": "default", "name": "nightly", "worker": WORKER, **named}
    path = re.sub(r"{(\w+)}", lambda found: names[found[1]], route.path)
    query = {"status": "failed"} if route.path in ("/tasks/cancel", "/tasks/retry") else {}
    headers = {} if token is None else {"Authorization": f"Bearer {token}"}
    return await (http or web.http).request(route.method, path, params=query, json=PAYLOADS.get(title(route)), headers=headers)


def test_only_probes_are_without_a_scope() -> None:
    assert {route.path for route in ROUTES if route.scope is None} == OPEN


@pytest.mark.parametrize("route", ROUTES, ids=title)
async def test_a_service_without_tokens_asks_for_none(web: Web, route: Route) -> None:
    assert (await ask(web, route, None)).status_code not in (401, 403, 500)


@pytest.mark.parametrize("route", GUARDED, ids=title)
async def test_without_a_good_token_nothing_is_answered(web: Web, route: Route) -> None:
    good = await secret(web, Scope.ADMIN)
    _, id, _ = good.split("_")
    expired = await secret(web, Scope.ADMIN, lasts=5.0)
    gone = await secret(web, Scope.ADMIN)
    await web.tokens.revoke(gone.split("_")[1])
    web.clock.advance(10)
    answer = await ask(web, route, None)
    assert answer.headers["www-authenticate"] == 'Bearer realm="dolgo"'
    refused(answer, 401, "unauthorized")
    for bad in (f"dolgo_{id}_{'0' * 48}", f"dolgo_{'0' * 12}_{'0' * 48}", expired, gone, "dolgo", "a.b.c", f"{good}x"):
        answer = await ask(web, route, bad)
        assert 'error="invalid_token"' in answer.headers["www-authenticate"]
        assert bad not in answer.text
        refused(answer, 401, "unauthorized")
    assert await web.store.head() == 0


@pytest.mark.parametrize("route", GUARDED, ids=title)
@pytest.mark.parametrize("scope", Scope)
async def test_a_route_needs_its_scope_or_admin(web: Web, route: Route, scope: Scope) -> None:
    answer = await ask(web, route, await secret(web, scope))
    if scope in (route.scope, Scope.ADMIN):
        assert answer.status_code not in (401, 403, 500)
    else:
        refused(answer, 403, "forbidden")
        assert f'scope="{route.scope}"' in answer.headers["www-authenticate"]


@pytest.mark.parametrize("route", GUARDED, ids=title)
@pytest.mark.parametrize("limits", [{"queues": ["mail"]}, {"types": ["thumbnail"]}], ids=["queue", "type"])
async def test_what_is_of_another_queue_or_type_is_not_there(web: Web, route: Route, limits: dict[str, list[str]]) -> None:
    id = await web.submit()
    await web.http.put("/schedules/nightly", json={"type": "pause", "every": 60})
    token = await secret(web, Scope.ADMIN, **limits)
    answer = await ask(web, route, token, id=id)
    if route.of is Of.SERVICE or route.scope is Scope.SUBMIT:
        refused(answer, 403, "forbidden")
    elif route.path == "/ws":
        refused(answer, 426, "upgrade-required")  # what it tells is narrowed to what the token may see
    elif route.of is Of.OWN:
        assert answer.status_code == (426 if route.path == "/ws" else 200)
        assert id not in answer.text
        if route.path not in ("/ws", "/docs"):
            assert answer.json().get("matched", 0) == 0
    elif route.of is Of.TYPE:
        assert (answer.status_code == 404) is ("types" in limits)
    elif route.of is Of.QUEUE and "types" in limits:
        assert (answer.status_code == 403) is (route.method != "GET")
    else:
        refused(answer, 404, "not-found")
    assert (await web.manager.get(id)).status == "queued"


async def test_a_task_of_another_is_no_parent(web: Web) -> None:
    theirs, token = await web.submit(), await secret(web, Scope.ADMIN, queues=["mail"])
    wanted = {"type": "pause", "queue": "mail", "depends_on": [theirs]}
    answers = [
        await web.http.post(path, json=body, headers={"Authorization": f"Bearer {token}"})
        for path, body in (("/tasks", wanted), ("/tasks/batch", {"tasks": [wanted]}))
    ]
    for answer in answers:
        assert f"there is no task {theirs}" in refused(answer, 422, "invalid-request")["error"]


@pytest.mark.parametrize("path", ["/tasks", "/tasks/batch"])
async def test_errors_tell_a_token_for_some_types_of_no_others(web: Web, path: str) -> None:
    token = await secret(web, Scope.SUBMIT, types=["missing"])
    headers = {"Authorization": f"Bearer {token}"}
    bodies: list[Any] = [{"type": type, "colour": 1} for type in ("thumbnail", "thumbnai", "missing")]
    bodies += [{"type": "missing"}, {"type": "missing", "queue": "mail"}]
    for body in bodies:
        sent = {"tasks": [body]} if path == "/tasks/batch" else body
        answer = await web.http.post(path, json=sent, headers=headers)
        assert answer.status_code == 422
        for told in ("thumbnail'", "Known types", "url", "pause"):  # the name of a type, and a member of its payload
            assert told not in answer.text
    own = {"Authorization": f"Bearer {await secret(web, Scope.SUBMIT, types=['thumbnail'])}"}
    answer = await web.http.post(path, json={"tasks": bodies[:1]} if path == "/tasks/batch" else bodies[0], headers=own)
    assert len(answer.json()["errors"]) == 2, "of its own type it is told all that is wrong"


async def test_a_queue_shows_a_token_for_some_types_nothing_of_the_others(web: Web) -> None:
    await web.submit()
    web.clock.advance(60)
    token = await secret(web, Scope.READ, types=["anything"])
    shown = (await web.http.get("/queues", headers={"Authorization": f"Bearer {token}"})).json()["queues"]
    assert [(queue["name"], queue["oldest_age"], queue["counts"]["queued"]) for queue in shown] == [("default", None, 0)]


async def test_a_token_that_may_not_read_is_not_told_how_the_task_of_another_ended(web: Web) -> None:
    theirs = await web.submit(unique_key="invoice-7")
    reads, submits = await secret(web, Scope.READ, Scope.SUBMIT), await secret(web, Scope.SUBMIT)
    asked = [
        asyncio.create_task(
            web.http.post(
                "/tasks?wait=20",
                json={"type": "pause", "unique_key": "invoice-7"},
                headers={"Authorization": f"Bearer {token}"},
            )
        )
        for token in (reads, submits)
    ]
    async with asyncio.timeout(10):
        while len(web.notify._watches.get(theirs, ())) < len(asked):
            await asyncio.sleep(0.001)
    await web.run(theirs, b'"secret"')
    told, untold = await asyncio.gather(*asked)
    assert (told.status_code, told.json()["result"]) == (200, "secret")
    assert (untold.status_code, untold.json()) == (202, {"id": theirs, "status": "queued"})


async def test_an_idempotency_key_is_its_callers_own(web: Web) -> None:
    tokens = [await secret(web, Scope.SUBMIT) for _ in range(2)]
    answers = [
        await web.http.post("/tasks", json={"type": type}, headers={"Authorization": f"Bearer {token}", "Idempotency-Key": "k"})
        for token, type in zip((*tokens, tokens[0]), ("pause", "anything", "pause"), strict=True)
    ]
    assert [answer.status_code for answer in answers] == [202] * 3
    assert len({answer.json()["id"] for answer in answers}) == 2
    assert "idempotency-replayed" not in answers[1].headers
    assert answers[2].json() == answers[0].json()


async def test_of_a_list_with_others_between_only_its_own_are_shown(web: Web) -> None:
    own = [await web.submit(queue=queue) for queue in ("mail", "default", "post", "default", "mail")][::2]
    token = await secret(web, Scope.READ, Scope.OPERATE, queues=["mail", "post"])
    headers = {"Authorization": f"Bearer {token}"}
    listed = (await web.http.get("/tasks", headers=headers)).json()
    assert [task["id"] for task in listed["tasks"]] == own[::-1]
    answer = (await web.http.post("/tasks/cancel?status=queued", headers=headers)).json()
    assert answer == {"matched": 3, "changed": 3, "more": False}


async def test_a_token_made_a_moment_ago_is_good_and_one_that_was_revoked_is_not_for_long(web: Web) -> None:
    now = [100.0]
    async with client(web.make(entrance=Entrance(Tokens(web.store), monotonic=lambda: now[0]))) as http:
        route = next(route for route in ROUTES if route.path == "/queues")
        assert (await ask(web, route, None, http=http)).status_code == 200
        first, second = await secret(web, Scope.READ), await secret(web, Scope.READ)
        now[0] += STALE + 0.1
        assert (await ask(web, route, None, http=http)).status_code == 401
        assert (await ask(web, route, first, http=http)).status_code == 200
        await web.tokens.revoke(first.split("_")[1])
        now[0] += STALE + 0.1
        assert (await ask(web, route, first, http=http)).status_code == 401
        await web.tokens.revoke(second.split("_")[1])
        now[0] += STALE + 0.1
        assert (await ask(web, route, None, http=http)).status_code == 401, "the last revoked must not open the door"


async def test_a_house_that_lay_open_is_shut_once_there_is_a_token(web: Web) -> None:
    now = [100.0]
    entrance = Entrance(Tokens(web.store), monotonic=lambda: now[0])
    async with client(web.make(entrance=entrance)) as http:
        route = next(route for route in ROUTES if route.path == "/queues")
        assert not entrance.lies_open({}), "before anything is known of the tokens"
        assert (await ask(web, route, None, http=http)).status_code == 200
        assert entrance.lies_open({})
        assert not entrance.lies_open({b"authorization": b"Bearer dolgo_x"}), "who sends a credential is told if it is bad"
        token = await secret(web, Scope.READ)
        now[0] += FRESH
        assert not entrance.lies_open({}), "what was known is too old"
        await ask(web, route, token, http=http)
        assert not entrance.lies_open({})
        assert (await ask(web, route, None, http=http)).status_code == 401


async def test_metrics_are_told_while_the_tokens_cannot_be_read_to_who_could_have_them_before(web: Web) -> None:
    metrics, queues = (next(route for route in ROUTES if route.path == path) for path in ("/metrics", "/queues"))
    token = await secret(web, Scope.METRICS, Scope.READ)
    now = [100.0]

    async def away(*_: object) -> None:
        raise StoreUnavailable("gone")

    async with client(web.make(entrance=Entrance(Tokens(web.store), monotonic=lambda: now[0]))) as http:
        assert (await ask(web, metrics, token, http=http)).status_code == 200
        web.store.records = away  # type: ignore[assignment]
        now[0] += 100 * STALE
        assert (await ask(web, metrics, token, http=http)).status_code == 200
        assert (await ask(web, metrics, None, http=http)).status_code == 401
        refused(await ask(web, queues, token, http=http), 503, "store-unavailable")
    async with client(web.make(entrance=Entrance(Tokens(web.store)))) as http:
        refused(await ask(web, metrics, token, http=http), 503, "store-unavailable")


async def test_requests_beyond_a_rate_are_told_when_to_come_again(web: Web) -> None:
    token = await secret(web, Scope.READ, rate=2.0)
    route = next(route for route in ROUTES if route.path == "/queues")
    answers = [await ask(web, route, token) for _ in range(20)]
    assert answers[0].status_code == 200
    late = next(answer for answer in answers if answer.status_code == 429)
    refused(late, 429, "rate-limited")
    assert late.headers["retry-after"] == "1"


async def test_a_guarded_house_takes_its_admin_token_alone_while_there_is_no_other(web: Web) -> None:
    house = House(guarded=True, admin="a" * 40, public=frozenset({"/docs"}))
    async with client(web.make(entrance=Entrance(Tokens(web.store), house))) as http:
        for route in GUARDED:
            assert (await ask(web, route, None, http=http)).status_code == (200 if route.path == "/docs" else 401)
            assert (await ask(web, route, "a" * 40, http=http)).status_code not in (401, 403, 500)


async def test_what_is_done_by_hand_is_in_the_audit_log(web: Web) -> None:
    id, token = await web.submit(), await secret(web, Scope.ADMIN)
    for route in GUARDED:
        await ask(web, route, token, id=id)
    entries = (await web.http.get("/audit", headers={"Authorization": f"Bearer {token}"})).json()["entries"]
    noted = {entry["action"]: entry for entry in entries}
    assert noted["cancel_task"]["ids"] == [id]
    assert noted["pause_queue"]["target"] == "default"
    assert noted["cancel_tasks"]["detail"] == "status=failed"
    assert {entry["who"] for entry in entries} == {f"token/{token.split('_')[1]}"}
    assert [entry["seq"] for entry in entries] == list(range(1, len(entries) + 1))
    assert not {"submit", "get_task", "list_tasks"} & noted.keys()
