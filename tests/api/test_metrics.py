"""What Prometheus is told over HTTP."""

from __future__ import annotations

import asyncio

import pytest
from prometheus_client.parser import text_string_to_metric_families

from dolgo.api.app import PROBES
from dolgo.errors import StoreUnavailable
from dolgo.task.figures import MOST_QUEUES
from tests.api.web import Web, client
from tests.store.build import task

pytestmark = pytest.mark.anyio

Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]


async def scrape(web: Web) -> Samples:
    answer = await web.http.get("/metrics")
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/plain; version=")
    assert answer.headers["cache-control"] == "no-store"
    families = text_string_to_metric_families(answer.text)
    return {(each.name, tuple(sorted(each.labels.items()))): each.value for family in families for each in family.samples}


async def test_what_is_submitted_shows_at_once(web: Web) -> None:
    await web.submit(queue="q", payload={"secret": "hunter2"})
    found = await scrape(web)
    assert found["dolgo_tasks_submitted_total", (("queue", "q"), ("type", "pause"))] == 1
    assert found["dolgo_tasks", (("queue", "q"), ("status", "queued"), ("type", "pause"))] == 1
    assert found["dolgo_queue_paused", (("queue", "q"),)] == 0
    assert not [labels for _, labels in found if "hunter2" in str(labels)]


async def test_the_age_and_the_pause_of_a_queue_are_shown(web: Web) -> None:
    await web.submit()
    web.clock.advance(90)
    await web.http.put("/queues/default/pause", json={})
    await web.http.patch("/queues/default", json={"max_running": 3})
    found = await scrape(web)
    assert found["dolgo_queue_oldest_age_seconds", (("queue", "default"),)] == pytest.approx(90)
    assert found["dolgo_queue_paused", (("queue", "default"),)] == 1
    assert found["dolgo_queue_max_running", (("queue", "default"),)] == 3


async def test_requests_are_counted_by_their_route_and_not_by_what_clients_make_up(web: Web) -> None:
    id = await web.submit()
    for path in (f"/tasks/{id}", f"/tasks/{id}?wait=0.01", "/tasks/none", "/made/up", "/made/up/too"):
        await web.http.get(path)
    found = await scrape(web)
    route = (("method", "GET"), ("route", "/tasks/{id}"))
    assert found["dolgo_http_requests_total", (*route, ("status", "2xx"))] == 2
    assert found["dolgo_http_requests_total", (*route, ("status", "4xx"))] == 1
    assert found["dolgo_http_request_duration_seconds_count", route] == 2  # but not the one that waited
    assert found["dolgo_http_requests_total", (("method", "other"), ("route", "other"), ("status", "4xx"))] == 2


async def test_queues_past_the_most_are_shown_together(web: Web) -> None:
    await web.store.submit([task(queue=f"q{number:04}") for number in range(MOST_QUEUES + 7)])
    found = await scrape(web)
    queued = {dict(labels)["queue"]: value for (name, labels), value in found.items() if name == "dolgo_tasks" and value}
    assert len(queued) == MOST_QUEUES + 1
    assert queued["other"] == 7


async def test_without_the_store_the_rest_is_still_told(web: Web) -> None:
    await web.submit()

    async def away(*_: object) -> None:
        raise StoreUnavailable("gone")

    for verb in ("counts", "oldest", "gates", "records"):
        setattr(web.store, verb, away)
    web.tally.store_up = False
    found = await scrape(web)
    assert found["dolgo_store_up", ()] == 0
    assert found["dolgo_tasks_submitted_total", (("queue", "default"), ("type", "pause"))] == 1
    assert not [name for name, _ in found if name == "dolgo_tasks"]


async def test_a_store_that_does_not_answer_holds_no_scrape_up_for_long(web: Web) -> None:
    async def stuck() -> None:
        await asyncio.sleep(30)

    web.store.counts = stuck  # type: ignore[assignment]
    async with asyncio.timeout(15):
        assert ("dolgo_build_info", (("version", "1.2.3"),)) in await scrape(web)


async def test_the_health_port_of_a_worker_has_the_page_too(web: Web) -> None:
    async with client(web.make(routes=PROBES)) as http:
        assert "dolgo_build_info" in (await http.get("/metrics")).text
