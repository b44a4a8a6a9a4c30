"""From a request to its handler, and from the answer, or the error, to the response."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from time import perf_counter
from typing import Any

from dolgo.api import audit, guard, problem
from dolgo.api.access import limits
from dolgo.api.access.caller import ANYBODY
from dolgo.api.access.entrance import Entrance
from dolgo.api.call import Answer, Call, Gone, Headers, Receive, Reply, Scope, Send
from dolgo.api.lasting import last
from dolgo.api.parts import Api
from dolgo.api.query import read_query
from dolgo.api.route import Route
from dolgo.errors import MethodNotAllowed, NotFound, Refused
from dolgo.metrics.catalog import LATENCY, REQUESTS
from dolgo.metrics.tally import Spread, Tally

log = logging.getLogger("dolgo.api")

QUERIES_KEPT = 200
SHOWN = 200  # characters of a path that are repeated in an error


class Served:
    """A route as it is served: what has to be known of it for every request, worked out once."""

    def __init__(self, route: Route, tally: Tally) -> None:
        self.route = route
        self.noted = audit.is_noted(route)
        self.traffic = Traffic(tally, route.method, route.path)


class Traffic:
    """Counts what was answered under an address as it stands in the list of routes."""

    def __init__(self, tally: Tally, *address: str) -> None:
        self._tally = tally
        self._address = address
        self._answered = [(*address, f"{first}xx") for first in range(6)]
        self._spread: Spread | None = None

    def count(self, status: int, seconds: float | None) -> None:
        """An answer, and how long it took if that says anything."""
        self._tally.count(REQUESTS, self._answered[status // 100])
        if seconds is not None:
            self._spread = self._spread or self._tally.spread(LATENCY, self._address)
            self._spread.add(seconds)


class Place:
    """A part of the paths: which handlers end here, and where they go on."""

    def __init__(self) -> None:
        self.routes: dict[str, Served] = {}
        self.parts: dict[str, Place] = {}
        self.any: Place | None = None  # behind a part that may be anything

    def at(self, part: str) -> Place:
        """The place behind a part, made if there is none yet."""
        if not part.startswith("{"):
            return self.parts.setdefault(part, Place())
        self.any = self.any or Place()
        return self.any

    def allow(self) -> str:
        """The methods that are taken here."""
        return ", ".join(sorted({*self.routes, *({"HEAD"} if "GET" in self.routes else ())}))


class App:
    """The service as an ASGI application."""

    def __init__(self, api: Api, routes: Sequence[Route], entrance: Entrance, *, local: bool) -> None:
        self._api = api
        self._entrance = entrance
        self._local = local
        self._queries: dict[tuple[str, str, bytes], Mapping[str, Any]] = {}
        self._unknown = Traffic(api.tally, "other", "other")  # what clients make up is one address
        self._root = Place()
        for route in routes:
            place = self._root
            for part in route.path.split("/")[1:]:
                place = place.at(part)
            place.routes[route.method] = Served(route, api.tally)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            raise NotImplementedError(f"There is nothing for {scope['type']} here.")
        began = perf_counter()
        try:
            answer = await self._answer(scope, receive)
        except Gone:
            return
        except Refused as error:
            answer = problem.refusal(error)
        except Exception:
            log.exception("%s %r failed", scope["method"], scope["path"][:SHOWN])
            answer = problem.broken()
        waits = b"wait=" in scope["query_string"]  # it takes as long as was asked for
        traffic: Traffic = scope.get("traffic", self._unknown)
        traffic.count(answer.status, None if waits else perf_counter() - began)
        if isinstance(answer, Answer):
            await _send(answer, send, bodiless=scope["method"] == "HEAD")
        else:
            await last(answer, scope, receive, send, may_stay=lambda: self._may_stay(scope), tally=self._api.tally)

    async def _may_stay(self, scope: Scope) -> bool:
        """Whether who asked for what lasts would still be let in."""
        route = self._find(scope["path"])[0].routes["GET"].route
        return await self._entrance.lets_stay(route, _headers(scope))

    async def _answer(self, scope: Scope, receive: Receive) -> Reply:
        headers = _headers(scope)
        guard.check(scope["method"], headers, local=self._local)
        place, name = self._find(scope["path"])
        method = scope["method"]
        served = place.routes.get("GET" if method == "HEAD" else method)
        if served is None:
            refused = MethodNotAllowed(f"{scope['path'][:SHOWN]} takes {place.allow()}, not {method[:SHOWN]}.")
            return problem.refusal(refused, ((b"allow", place.allow().encode()),))
        scope["traffic"] = served.traffic
        route = served.route
        caller = ANYBODY if self._entrance.lies_open(headers) else await self._entrance.caller(route, headers)
        query = self._query(route, scope["query_string"])
        call = Call(scope, receive, name=name, query=query, headers=headers, caller=caller)
        if caller.limited:
            await limits.check(self._api, route, call)
        answer = await route.handler(self._api, call)
        if served.noted:
            await audit.note(self._api, route, call)
        return answer

    def _query(self, route: Route, raw: bytes) -> Mapping[str, Any]:
        """The parameters of a query. Clients send few different ones, so these are read once."""
        key = (route.method, route.path, raw)
        query = self._queries.get(key)
        if query is None:
            query = read_query(route.query, raw)
            if len(self._queries) >= QUERIES_KEPT:
                self._queries.clear()
            if len(raw) <= SHOWN:
                self._queries[key] = query
        return query

    def _find(self, path: str) -> tuple[Place, str]:
        """The place of a path, and the part of it that may be anything. Raises NotFound."""
        place: Place | None = self._root
        name = ""
        for part in path.split("/")[1:]:
            if place is None:
                break
            if part in place.parts:
                place = place.parts[part]
            else:
                place, name = (place.any if part else None), part
        if place is None or not place.routes or len(name) > SHOWN:
            raise NotFound(f"There is nothing at {path[:SHOWN]}.")
        return place, name


def _headers(scope: Scope) -> Headers:
    """The headers by name; what was sent in several lines is put in one, as RFC 9110 has it."""
    sent = scope["headers"]
    headers: dict[bytes, bytes] = dict(sent)
    if len(headers) != len(sent):
        headers = {}
        for name, value in sent:
            headers[name] = headers[name] + b", " + value if name in headers else value
    return headers


async def _send(answer: Answer, send: Send, *, bodiless: bool) -> None:
    body = answer.body
    headers = [
        (b"content-type", answer.media_type),
        (b"content-length", b"%d" % len(body)),
        (b"x-content-type-options", b"nosniff"),
        *answer.headers,
    ]
    if answer.status in (204, 304):
        headers = headers[3:]
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})
    await send({"type": "http.response.body", "body": b"" if bodiless else body})
