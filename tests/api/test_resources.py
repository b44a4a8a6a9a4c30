"""Task types and workers."""

from __future__ import annotations

import jsonschema
import pytest

from dolgo.task import fleet
from tests.api.web import TYPES, WORKER, Web, refused

pytestmark = pytest.mark.anyio


async def test_types_are_shown_with_their_schemas(web: Web) -> None:
    types = (await web.http.get("/types")).json()
    assert types["broken"] == []
    assert [found["name"] for found in types["types"]] == ["anything", "pause", "thumbnail"]
    thumbnail = types["types"][2]
    assert list(thumbnail) == ["name", "description", "payload_schema", "result_schema", "options", "workers"]
    assert (thumbnail["description"], thumbnail["options"], thumbnail["workers"]) == (
        "Scale a picture to a width.", {"queue": "pictures", "priority": 7}, 0,
    )  # fmt: skip
    for schema in (thumbnail["payload_schema"], thumbnail["result_schema"]):
        assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
        jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate({"url": "x"}, thumbnail["payload_schema"])
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({"url": 1}, thumbnail["payload_schema"])
    assert (await web.http.get("/types/thumbnail")).json() == thumbnail


async def test_workers_that_run_are_counted_and_their_broken_files_are_shown(web: Web) -> None:
    await web.announce_worker()
    await web.announce_worker(id="worker-2", types=((TYPES[0].name, "older"),), broken=())
    await web.announce_worker(id="worker-3", state="draining", broken=())
    types = (await web.http.get("/types")).json()
    assert {found["name"]: found["workers"] for found in types["types"]} == {"anything": 1, "pause": 2, "thumbnail": 1}
    assert types["broken"] == [{"file": "tasks/bad.py", "worker": WORKER, "error": "SyntaxError: oh"}]


@pytest.mark.parametrize("path", ["/types/nope", "/queues/nope", "/types/%00", "/queues/a%20b", "/types/a%2Fb"])
async def test_what_is_not_there_is_not_found(web: Web, path: str) -> None:
    refused(await web.http.get(path), 404, "not-found")


async def test_a_worker_that_runs_many_tasks_is_shown_with_all_of_them(web: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fleet, "HELD_AT_ONCE", 2)
    ids = [await web.submit() for _ in range(5)]
    await web.claim(ids[0])
    await web.announce_worker()
    (worker,) = (await web.http.get("/workers")).json()["workers"]
    assert sorted(worker["running"]) == sorted(ids)


async def test_workers_are_shown_with_what_they_run(web: Web) -> None:
    assert (await web.http.get("/workers")).json() == {"workers": []}
    await web.announce_worker(queues=("a", "b"))
    held, other = await web.submit(), await web.submit()
    await web.claim(held)
    await web.announce_worker(id="worker-2")
    web.clock.advance(1.5)
    first, second = (await web.http.get("/workers")).json()["workers"]
    assert sorted(first.pop("running")) == sorted([held, other])
    assert first == {
        "id": WORKER, "host": "box", "pid": 4711, "version": "1.2.3", "state": "running", "queues": ["a", "b"],
        "types": ["pause", "thumbnail", "anything"], "slots": 5, "heartbeat_age": 1.5,
        "started_at": "2023-11-14T22:13:20.000000Z",
    }  # fmt: skip
    assert (second["queues"], second["running"]) == (None, [])
    assert list(second) == [
        "id", "host", "pid", "version", "state", "queues", "types", "slots", "running", "heartbeat_age", "started_at",
    ]  # fmt: skip


async def test_a_worker_is_asked_to_drain_and_shown_as_it_is_from_then_on(web: Web) -> None:
    await web.announce_worker()
    held = await web.submit()
    await web.claim(held)
    rung = web.manager.drains.count
    for _ in range(2):
        answer = await web.http.post(f"/workers/{WORKER}/drain")
        (shown,) = (await web.http.get("/workers")).json()["workers"]
        assert (answer.status_code, answer.json()) == (202, shown)
        assert (shown["state"], shown["running"]) == ("draining", [held])
    assert web.manager.drains.count > rung
    assert (await web.http.get("/types/pause")).json()["workers"] == 0
    await web.announce_worker(state="drained")
    assert (await web.http.post(f"/workers/{WORKER}/drain", json={})).json()["state"] == "drained"


@pytest.mark.parametrize("id", ["nope", WORKER[:-1], "a%20b", "%00"])
async def test_a_worker_that_is_not_there_cannot_be_drained(web: Web, id: str) -> None:
    await web.announce_worker()
    refused(await web.http.post(f"/workers/{id}/drain"), 404, "not-found")
    assert (await web.http.get("/workers")).json()["workers"][0]["state"] == "running"


async def test_a_drain_takes_no_members(web: Web) -> None:
    await web.announce_worker()
    refused(await web.http.post(f"/workers/{WORKER}/drain", json={"now": True}), 422, "invalid-request")
    assert (await web.http.get("/workers")).json()["workers"][0]["state"] == "running"
