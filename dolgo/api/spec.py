"""The OpenAPI document, made of the routes and the structs that serve them."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import msgspec

from dolgo.api import problem
from dolgo.api.examples import ANSWERED, REFUSED, SENT
from dolgo.api.problem import ProblemDetails
from dolgo.api.route import Header, Reply, Route
from dolgo.api.schema import SCHEMAS
from dolgo.errors import (
    Forbidden,
    InvalidRequest,
    MalformedJson,
    NotFound,
    NotReady,
    Problem,
    RateLimited,
    Refused,
    StoreUnavailable,
    TooLarge,
    Unauthorized,
    UnsupportedMediaType,
)

OPENAPI = "3.1.0"
DIALECT = "https://json-schema.org/draft/2020-12/schema"
ANYWHERE = (Forbidden, InvalidRequest, StoreUnavailable)  # what every route may refuse
GUARDED = (Unauthorized, RateLimited, NotReady)  # what every route with a scope may refuse
BODIES = (MalformedJson, TooLarge, UnsupportedMediaType)  # what every route that reads a body may refuse

INFO = (
    "Runs work that takes too long for a web request. Submit a task, have its id at once, ask for its status and result.\n\n"
    "Every refusal is `application/problem+json` (RFC 9457). Its `error` is one plain sentence; `errors` names every wrong "
    "member by a JSON pointer into the body, or by `/query/NAME` or `/header/NAME`. Parameters that an address does not know "
    "are refused, not ignored. `HEAD` works where `GET` does."
)

TOKEN = "token"
SCHEME = {
    "type": "http",
    "scheme": "bearer",
    "description": (
        "A token made by `dolgo token create`, or a JWT if the server takes those. Needed once there is one, and always where "
        "the server listens beyond its own machine. Each operation names the scope the token must have; `admin` has them all."
    ),
}

# What a path names, by the word for it in the path.
NAMED = {
    "id": "A task's id.",
    "type": "A task type's name.",
    "queue": "A queue's name.",
    "name": "A schedule's name.",
    "worker": "A worker's id.",
}

Json = dict[str, Any]


def spec(routes: Sequence[Route], version: str) -> Json:
    """The document as plain data."""
    schemas, components = _schemas(routes)
    paths: Json = {}
    for route in routes:
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route, schemas)
    return {
        "openapi": OPENAPI,
        "jsonSchemaDialect": DIALECT,
        "info": {"title": "dolgo", "version": version, "description": INFO, "license": {"name": "MIT", "identifier": "MIT"}},
        "paths": paths,
        "components": {"schemas": components, "examples": dict(_problems()), "securitySchemes": {TOKEN: SCHEME}},
    }


def refusals() -> Iterator[type[Refused]]:
    """Every kind of refusal, in the order in which they are written down."""
    yield from Refused.__subclasses__()


def example(refused: type[Refused]) -> Json:
    """What a refusal of this kind may look like."""
    detail, wrong = REFUSED[refused.slug]
    answer = problem.refusal(refused(detail, [Problem(*member) for member in wrong]))
    found: Json = msgspec.json.decode(answer.body)
    return found


def _problems() -> Iterator[tuple[str, Json]]:
    for refused in refusals():
        yield refused.slug, {"summary": refused.title(), "value": example(refused)}
    yield "internal-error", {"summary": "dolgo failed.", "value": msgspec.json.decode(problem.broken().body)}


def _schemas(routes: Sequence[Route]) -> tuple[dict[Any, Json], Json]:
    """The schema of each type that is sent or answered, and what these refer to."""
    types = [ProblemDetails, *(route.takes for route in routes if route.takes is not None)]
    types += [shown for route in routes for reply in route.replies.values() for shown in _shown(reply)]
    wanted = list(dict.fromkeys(types))
    schemas, components = msgspec.json.schema_components(wanted, ref_template=SCHEMAS + "{name}")
    return dict(zip(wanted, schemas, strict=True)), components


def _operation(route: Route, schemas: dict[Any, Json]) -> Json:
    summary, _, description = (inspect.getdoc(route.handler) or "").partition("\n")
    operation: Json = {"operationId": route.handler.__name__, "summary": summary, "parameters": list(_parameters(route))}
    operation["security"] = [] if route.scope is None else [{TOKEN: [route.scope]}, {}]
    if description.strip():
        operation["description"] = description.strip().replace("\n", " ")
    if route.takes is not None:
        operation["requestBody"] = _body(route, schemas)
    replies = {str(status): _reply(route, status, reply, schemas) for status, reply in route.replies.items()}
    return {**operation, "responses": {**replies, **_refusals(route, schemas)}}


def _parameters(route: Route) -> Iterator[Json]:
    for name in re.findall(r"{(\w+)}", route.path):
        yield {"name": name, "in": "path", "required": True, "description": NAMED[name], "schema": {"type": "string"}}
    for place, parts in (("query", route.query), ("header", route.headers)):
        for part in parts:
            yield {"name": part.name, "in": place, "description": part.help, "schema": part.schema}


def _body(route: Route, schemas: dict[Any, Json]) -> Json:
    content: Json = {"schema": schemas[route.takes]}
    named = SENT.get((route.method, route.path))
    if named:
        content["examples"] = {name: {"value": value} for name, value in named.items()}
    required = any(member.required for member in msgspec.structs.fields(route.takes))
    return {"required": required, "content": {"application/json": content}}


def _reply(route: Route, status: int, reply: Reply, schemas: dict[Any, Json]) -> Json:
    described: Json = {"description": reply.help}
    if reply.headers:
        described["headers"] = {header.name: _header(header) for header in reply.headers}
    shown = [schemas[tp] for tp in _shown(reply)]
    if shown:
        content: Json = {"schema": shown[0] if len(shown) == 1 else {"anyOf": shown}}
        named = ANSWERED.get((route.method, route.path, status))
        if named:
            content["examples"] = {name: {"value": value} for name, value in named.items()}
        described["content"] = {reply.media_type: content}
    if reply.streams:
        described.setdefault("content", {})[reply.streams] = {"schema": {"type": "string"}}
    return described


def _shown(reply: Reply) -> tuple[Any, ...]:
    return reply.shows if isinstance(reply.shows, tuple) else (reply.shows,)


def _header(header: Header) -> Json:
    return {"description": header.help, "schema": header.schema}


def _refusals(route: Route, schemas: dict[Any, Json]) -> Json:
    """The problems a route may answer with, by status."""
    guarded = () if route.scope is None else GUARDED
    kinds: Iterable[type[Refused]] = (*ANYWHERE, *guarded, *(BODIES if route.takes is not None else ()), *route.refuses)
    if "{" in route.path:
        kinds = (*kinds, NotFound)
    by_status: dict[int, list[type[Refused]]] = {}
    for kind in kinds:
        by_status.setdefault(kind.status, []).append(kind)
    answers = {
        str(status): _problem([kind.slug for kind in at], by_status[status], schemas) for status, at in sorted(by_status.items())
    }
    return {**answers, "500": _problem(["internal-error"], [], schemas)}


def _problem(slugs: Sequence[str], kinds: Sequence[type[Refused]], schemas: dict[Any, Json]) -> Json:
    described: Json = {
        "description": " ".join(kind.title() for kind in kinds) or "dolgo failed.",
        "content": {
            "application/problem+json": {
                "schema": schemas[ProblemDetails],
                "examples": {slug: {"$ref": f"#/components/examples/{slug}"} for slug in slugs},
            }
        },
    }
    headers: Json = {}
    if any(kind.retry_after is not None for kind in kinds):
        headers["Retry-After"] = {"description": "Seconds to wait.", "schema": {"type": "integer"}}
    if any(kind.challenge is not None for kind in kinds):
        headers["WWW-Authenticate"] = {"description": "What is wanted (RFC 6750).", "schema": {"type": "string"}}
    if headers:
        described["headers"] = headers
    return described
