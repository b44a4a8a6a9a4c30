"""What a supervisor is told."""

from __future__ import annotations

import pytest

from dolgo.api.app import PROBES
from tests.api.web import Web, client, refused

pytestmark = pytest.mark.anyio


async def test_a_process_that_is_well_says_what_was_looked_at(web: Web) -> None:
    for path, checks in (("/livez", {"loop": "ok"}), ("/readyz", {"store": "ok"}), ("/healthz", {"loop": "ok", "store": "ok"})):
        answer = await web.http.get(path)
        assert (answer.status_code, answer.json()) == (200, {"status": "ok", "version": "1.2.3", "checks": checks})
        assert answer.headers["cache-control"] == "no-store"


async def test_a_process_that_is_not_ready_says_why_and_is_alive(web: Web) -> None:
    web.health.says_ready = {"store": "ok", "draining": "the service is stopping"}
    assert (await web.http.get("/livez")).status_code == 200
    answer = await web.http.get("/readyz")
    problem = refused(answer, 503, "not-ready")
    assert problem["error"] == "Not ready: draining: the service is stopping."
    assert problem["checks"] == {"store": "ok", "draining": "the service is stopping"}
    assert answer.headers["retry-after"] == "1"
    refused(await web.http.get("/healthz"), 503, "not-ready")


async def test_reasons_that_are_sentences_make_one_sentence(web: Web) -> None:
    web.health.says_ready = {"store": "No answer within 3 s.", "claims": "the last claim did not reach the store"}
    said = refused(await web.http.get("/readyz"), 503, "not-ready")["error"]
    assert said == "Not ready: store: No answer within 3 s; claims: the last claim did not reach the store."


async def test_what_one_probe_says_is_not_hidden_by_the_other(web: Web) -> None:
    web.health.says_live = {"claims": "the claim loop is stuck"}
    web.health.says_ready = {"claims": "ok"}
    refused(await web.http.get("/livez"), 503, "not-ready")
    assert (await web.http.get("/readyz")).status_code == 200
    assert refused(await web.http.get("/healthz"), 503, "not-ready")["checks"] == {"claims": "the claim loop is stuck"}


async def test_a_check_that_passes_may_say_more(web: Web) -> None:
    web.health.says_ready = {"store": "ok", "claims": "ok: the worker drains"}
    for path in ("/readyz", "/healthz"):
        answer = await web.http.get(path)
        assert (answer.status_code, answer.json()["checks"]["claims"]) == (200, "ok: the worker drains")
    web.health.says_ready = {"store": "okay"}
    refused(await web.http.get("/readyz"), 503, "not-ready")


async def test_where_only_probes_are_answered_nothing_else_is_there(web: Web) -> None:
    async with client(web.make(routes=PROBES)) as http:
        for path in ("/livez", "/readyz", "/healthz"):
            assert (await http.get(path)).json()["status"] == "ok"
            refused(await http.post(path), 405, "method-not-allowed")
        for path in ("/tasks", "/workers", "/openapi.json", "/docs"):
            refused(await http.get(path), 404, "not-found")
