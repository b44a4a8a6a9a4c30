"""The web asked for what its own OpenAPI document allows, and for what it forbids."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import httpx
import jwt as pyjwt
import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, settings
from schemathesis import GenerationMode
from schemathesis.specs.openapi.checks import ignored_auth, negative_data_rejection, positive_data_acceptance

from dolgo.api.access.entrance import Entrance, House
from dolgo.api.access.jwts import Jwts, Trust
from dolgo.api.openapi import document
from dolgo.task.tokens import Scope
from tests.api.web import Web, client, open_web
from tests.store.clock import Clock

EXAMPLES = 40  # requests for each route
OPEN = {"/livez", "/readyz", "/healthz"}
ADMIN, KEY = "a" * 40, "k" * 40
KNOWN = 3  # tasks there are from the beginning, in turn queued, failed and done

SCHEMA = schemathesis.openapi.from_dict(document())
SCHEMA.config.generation.update(modes=[GenerationMode.POSITIVE, GenerationMode.NEGATIVE])


class Asked:
    """The web on a loop of its own, because requests come from functions that are none of asyncio's."""

    def __init__(self, runner: asyncio.Runner, web: Web, known: list[str], credentials: Sequence[str | None] = ()) -> None:
        self._runner = runner
        self._http = client(web.app)
        self._known = known
        self._credentials = credentials
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

    def credential(self) -> str | None:
        """One of those that are to be sent, None for none."""
        return self._credentials[self._count % len(self._credentials)]

    def known(self) -> str:
        """One of the tasks there are."""
        return self._known[self._count % len(self._known)]


def _octets(value: str | bytes) -> bytes:
    return value if isinstance(value, bytes) else value.encode("latin-1", "replace")


@contextmanager
def opened_web(make: Callable[[asyncio.Runner, Web, list[str]], Asked]) -> Iterator[Asked]:
    with asyncio.Runner() as runner:
        opened = open_web(Clock())
        web = runner.run(opened.__aenter__())
        web.notify.close()  # or a wait would last as long as it is asked to
        known = [runner.run(web.submit()) for _ in range(KNOWN)]
        runner.run(web.run(known[0], error="no such page"))
        yield make(runner, web, known)
        runner.run(opened.__aexit__(None, None, None))


@pytest.fixture(scope="module")
def asked() -> Iterator[Asked]:
    with opened_web(Asked) as made:
        yield made


def closed(runner: asyncio.Runner, web: Web, known: list[str]) -> Asked:
    """A web that asks for tokens, and all kinds of them."""
    limits: list[dict[str, Any]] = [{}, {"queues": ["default"]}, {"types": ["pause"]}, {"queues": ["pictures"]}, {"rate": 1.0}]
    made = [
        runner.run(web.tokens.create(f"t{place}", scopes=[Scope.ADMIN], **more))[1] for place, more in enumerate(limits)
    ]  # fmt: skip
    few = runner.run(web.tokens.create("few", scopes=[Scope.READ]))[1]
    gone = runner.run(web.tokens.create("gone", scopes=[Scope.ADMIN]))[1]
    runner.run(web.tokens.revoke("gone"))
    web.app = web.make(entrance=Entrance(web.tokens, House(admin=ADMIN), verifier=Jwts(Trust(key=KEY))))
    people = [jwt({"scope": "admin"}), jwt({"scope": "read submit operate", "dolgo_types": ["pause"]}), jwt({"dolgo_queues": []})]
    sent = [f"Bearer {token}" for token in (*made, few, gone, f"{gone}x", "a.b.c", *people, ADMIN)]
    return Asked(runner, web, known, [*sent, made[0], None])


def jwt(claims: dict[str, Any]) -> str:
    """What another service says of somebody."""
    return pyjwt.encode({"sub": "ann", "exp": time.time() + 3_600, **claims}, KEY, "HS256")


@pytest.fixture(scope="module")
def asked_with_tokens() -> Iterator[Asked]:
    with opened_web(closed) as made:
        yield made


@SCHEMA.parametrize()
@settings(
    max_examples=EXAMPLES,
    deadline=None,
    phases=(Phase.explicit, Phase.generate),
    suppress_health_check=list(HealthCheck),
)
def test_every_answer_is_one_the_document_tells_of(case: schemathesis.Case, asked: Asked) -> None:
    case.validate_response(asked.send(prepared(case, asked)), excluded_checks=[positive_data_acceptance])


@SCHEMA.parametrize()
@settings(
    max_examples=EXAMPLES,
    deadline=None,
    phases=(Phase.explicit, Phase.generate),
    suppress_health_check=list(HealthCheck),
)
def test_so_is_every_answer_to_those_who_have_a_token_or_a_bad_one(case: schemathesis.Case, asked_with_tokens: Asked) -> None:
    request = prepared(case, asked_with_tokens)
    credential = asked_with_tokens.credential()
    request.headers.pop("Authorization", None)
    if credential is not None:
        request.headers["Authorization"] = credential
    answer = asked_with_tokens.send(request)
    if credential is None and answer.status_code not in (400, 404, 405, 406):
        assert (answer.status_code == 401) is (case.path not in OPEN)
    case.validate_response(answer, excluded_checks=[positive_data_acceptance, negative_data_rejection, ignored_auth])


def prepared(case: schemathesis.Case, asked: Asked) -> requests.PreparedRequest:
    """The request of a case, some of them about a task that there is."""
    if "id" in case.path_parameters and asked.turn(2):
        case.path_parameters["id"] = asked.known()
    if isinstance(case.body, dict) and case.meta and case.meta.generation.mode is GenerationMode.POSITIVE:
        case.body.update({"type": "pause"} if "type" in case.body else {})
    return requests.Request(**case.as_transport_kwargs(base_url="http://dolgo.test")).prepare()
