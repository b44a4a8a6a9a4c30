"""The web asked for what its own OpenAPI document allows, and for what it forbids."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import httpx
import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, settings
from schemathesis import GenerationMode
from schemathesis.specs.openapi.checks import positive_data_acceptance

from dolgo.api.openapi import document
from tests.api.web import Web, client, open_web
from tests.store.clock import Clock

EXAMPLES = 40  # requests for each route
KNOWN = 3  # tasks there are from the beginning, in turn queued, failed and done

SCHEMA = schemathesis.openapi.from_dict(document())
SCHEMA.config.generation.update(modes=[GenerationMode.POSITIVE, GenerationMode.NEGATIVE])


class Asked:
    """The web on a loop of its own, because requests come from functions that are none of asyncio's."""

    def __init__(self, runner: asyncio.Runner, web: Web, known: list[str]) -> None:
        self._runner = runner
        self._http = client(web.app)
        self._known = known
        self._count = 0

    def send(self, request: requests.PreparedRequest) -> httpx.Response:
        """The answer to a request."""
        headers = [(name.encode(), _octets(value)) for name, value in request.headers.items()]
        ours = self._http.build_request(request.method or "", request.url or "", content=request.body, headers=headers)
        return self._runner.run(self._http.send(ours))

    def turn(self, every: int) -> bool:
        """True every so many times."""
        self._count += 1
        return self._count % every == 0

    def known(self) -> str:
        """One of the tasks there are."""
        return self._known[self._count % len(self._known)]


def _octets(value: str | bytes) -> bytes:
    return value if isinstance(value, bytes) else value.encode("latin-1", "replace")


@pytest.fixture(scope="module")
def asked() -> Iterator[Asked]:
    with asyncio.Runner() as runner:
        opened = open_web(Clock())
        web = runner.run(opened.__aenter__())
        web.notify.close()  # or a wait would last as long as it is asked to
        known = [runner.run(web.submit()) for _ in range(KNOWN)]
        runner.run(web.run(known[0], error="no such page"))
        yield Asked(runner, web, known)
        runner.run(opened.__aexit__(None, None, None))


@SCHEMA.parametrize()
@settings(
    max_examples=EXAMPLES,
    deadline=None,
    phases=(Phase.explicit, Phase.generate),
    suppress_health_check=list(HealthCheck),
)
def test_every_answer_is_one_the_document_tells_of(case: schemathesis.Case, asked: Asked) -> None:
    if "id" in case.path_parameters and asked.turn(2):
        case.path_parameters["id"] = asked.known()
    if isinstance(case.body, dict) and case.meta and case.meta.generation.mode is GenerationMode.POSITIVE:
        case.body.update({"type": "pause"} if "type" in case.body else {})
    request = requests.Request(**case.as_transport_kwargs(base_url="http://dolgo.test"))
    case.validate_response(asked.send(request.prepare()), excluded_checks=[positive_data_acceptance])
