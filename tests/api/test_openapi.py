"""The OpenAPI document says what is so."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import jsonschema
import msgspec
import pytest
from openapi_spec_validator import validate

from dolgo.api.app import ROUTES
from dolgo.api.examples import REFUSED
from dolgo.api.openapi import document
from dolgo.api.spec import refusals
from dolgo.version import __version__
from tests.api.web import Web

DOCUMENT = document()
OPERATIONS = [
    (method.upper(), path, operation) for path, methods in DOCUMENT["paths"].items() for method, operation in methods.items()
]


def test_it_is_valid() -> None:
    validate(DOCUMENT)
    assert (DOCUMENT["openapi"][:3], DOCUMENT["info"]["version"]) == ("3.1", __version__)


def test_it_is_plain_json() -> None:
    assert msgspec.json.decode(msgspec.json.encode(DOCUMENT)) == DOCUMENT


def test_every_route_is_in_it_and_nothing_else() -> None:
    assert sorted((method, path) for method, path, _ in OPERATIONS) == sorted((route.method, route.path) for route in ROUTES)


def test_every_operation_has_a_name_of_its_own_and_is_explained() -> None:
    names = [operation["operationId"] for _, _, operation in OPERATIONS]
    assert len(names) == len(set(names))
    for _, _, operation in OPERATIONS:
        assert operation["summary"]
        assert all(p["description"] for p in operation["parameters"])


def test_every_problem_is_in_it_with_an_example() -> None:
    examples = DOCUMENT["components"]["examples"]
    assert set(examples) == {kind.slug for kind in refusals()} | {"internal-error"}
    for kind in refusals():
        assert examples[kind.slug]["value"]["status"] == kind.status
    assert set(REFUSED) == {kind.slug for kind in refusals()}


def contents() -> Iterator[Any]:
    """Every body there is, with its place."""
    for method, path, operation in OPERATIONS:
        for status, reply in operation["responses"].items():
            yield from ((f"{method} {path} {status}", content) for content in reply.get("content", {}).values())
        yield from ((f"{method} {path}", content) for content in operation.get("requestBody", {}).get("content", {}).values())


@pytest.mark.parametrize(("place", "content"), list(contents()))
def test_every_example_fits_its_schema(place: str, content: dict[str, Any]) -> None:
    schema = {**content["schema"], "components": DOCUMENT["components"]}
    for example in content.get("examples", {}).values():
        value = DOCUMENT["components"]["examples"][example["$ref"].rpartition("/")[2]] if "$ref" in example else example
        jsonschema.validate(value["value"], schema, cls=jsonschema.Draft202012Validator)


@pytest.mark.anyio
async def test_it_is_served_as_it_is(web: Web) -> None:
    served = (await web.http.get("/openapi.json")).json()
    assert served == {**DOCUMENT, "info": {**DOCUMENT["info"], "version": "1.2.3"}}


@pytest.mark.anyio
async def test_what_is_really_answered_fits_its_schema(web: Web) -> None:
    await web.announce_worker()
    done, failed, queued = [await web.submit("anything") for _ in range(3)]
    await web.run(done)
    await web.http.put("/schedules/nightly", json={"cron": "30 2 * * *", "type": "pause"})
    await web.http.put("/queues/default/pause", json={"until": "2030-01-31T12:00:00Z"})
    failing = await web.manager.get(failed)
    assert failing.status == "in_progress"
    for path, named in {
        "/tasks": "/tasks",
        "/tasks?view=full": "/tasks",
        "/tasks?limit=0": "/tasks",
        "/tasks/nope": "/tasks/{id}",
        **{f"/tasks/{id}{view}": "/tasks/{id}" for id in (done, failed, queued) for view in ("", "?view=full")},
        "/types": "/types",
        "/types/pause": "/types/{type}",
        "/queues": "/queues",
        "/queues/default": "/queues/{queue}",
        "/schedules": "/schedules",
        "/schedules/nightly": "/schedules/{name}",
        f"/tasks/{done}/logs": "/tasks/{id}/logs",
        "/workers": "/workers",
        "/livez": "/livez",
    }.items():
        answer = await web.http.get(path)
        described = DOCUMENT["paths"][named]["get"]["responses"][str(answer.status_code)]["content"]
        schema = described[answer.headers["content-type"]]["schema"]
        jsonschema.validate(answer.json(), {**schema, "components": DOCUMENT["components"]}, cls=jsonschema.Draft202012Validator)


@pytest.mark.anyio
async def test_what_the_examples_send_is_taken(web: Web) -> None:
    web_types = {"long_task": "pause"}
    for method, path, operation in OPERATIONS:
        for example in (
            operation.get("requestBody", {}).get("content", {}).get("application/json", {}).get("examples", {}).values()
        ):
            sent = msgspec.json.encode(example["value"]).decode()
            for shown, ours in web_types.items():
                sent = sent.replace(shown, ours)
            answer = await web.http.request(method, re.sub(r"{\w+}", "name", path), content=sent)
            assert answer.is_success, answer.text
