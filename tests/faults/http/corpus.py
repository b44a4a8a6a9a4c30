"""Plays a case against a server, and says what was not as it should be."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable

from tests.faults.http.case import Case, request
from tests.faults.http.wire import Broken, Response, Wire

_numbers = itertools.count(1)


def play(port: int, case: Case, pieces: Iterable[bytes]) -> None:
    """Send a case in these pieces. Raises Broken where what comes back is not what it promises.

    Whether the server goes on at the right byte is seen by a good request after an open case: it has the very next answer."""
    with Wire(port) as wire:
        wire.send([*pieces])
        responses = []
        for status in case.statuses:
            response = wire.response(bodiless=case.bodiless)
            if response is None or response.status != status:
                raise Broken(f"{case.name}: {response} instead of {status}, after {len(responses)} answers")
            check(response, bodiless=case.bodiless)
            responses.append(response)
        if case.slug and json.loads(responses[-1].body)["type"] != f"/docs#{case.slug}":
            raise Broken(f"{case.name}: {responses[-1].body!r} is no {case.slug}")
        if case.closed:
            _closed(wire, case, responses)
        else:
            _in_step(wire, case)


def check(response: Response, *, bodiless: bool = False) -> None:
    """Raises Broken for what no answer may be: dolgo's failure, or an error that says nothing."""
    if response.status >= 500:
        raise Broken(f"dolgo failed: {response}")
    if response.status >= 400 and not bodiless:
        kind = response.headers.get(b"content-type")
        if kind != b"application/problem+json" or json.loads(response.body)["status"] != response.status:
            raise Broken(f"an error that is no problem: {response}")


def _closed(wire: Wire, case: Case, responses: list[Response]) -> None:
    if rest := wire.end():
        raise Broken(f"{case.name}: {rest[:200]!r} came after the last answer")
    if responses and responses[-1].headers.get(b"connection") != b"close":
        raise Broken(f"{case.name}: closed without saying so: {responses[-1]}")


def _in_step(wire: Wire, case: Case) -> None:
    name = b"sentinel-%d" % next(_numbers)
    wire.send([request(b"GET /types/" + name + b" HTTP/1.1")])
    response = wire.response()
    if response is None or response.status != 404 or name not in response.body:
        raise Broken(f"{case.name}: the next request was answered with {response}")
