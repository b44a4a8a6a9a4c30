"""Probes: what a supervisor asks before it restarts the process or sends it requests."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from dolgo.api import problem
from dolgo.api.call import Answer, Call
from dolgo.api.parts import OK, Api
from dolgo.api.schema import Healthy
from dolgo.errors import NotReady

UNCACHED = ((b"cache-control", b"no-store"),)


async def livez(api: Api, call: Call) -> Answer:
    """Whether the process turns. If not, restart it."""
    return _answer(api, api.health.live())


async def readyz(api: Api, call: Call) -> Answer:
    """Whether a task submitted now would be stored and claimed. If not, send requests elsewhere.

    Fails while the store cannot be reached, and from the moment the service is told to stop."""
    return _answer(api, await api.health.ready())


async def healthz(api: Api, call: Call) -> Answer:
    """Everything that `/livez` and `/readyz` look at."""
    live, ready = api.health.live(), await api.health.ready()
    failing = {name: said for name, said in live.items() if not _passes(said)}
    return _answer(api, {**live, **ready, **failing})


def _answer(api: Api, checks: Mapping[str, str]) -> Answer:
    wrong = "; ".join(f"{name}: {said.rstrip('.')}" for name, said in checks.items() if not _passes(said))
    if wrong:
        return problem.refusal(NotReady(f"Not ready: {wrong}."), UNCACHED, checks=checks)
    return Answer(200, msgspec.json.encode(Healthy("ok", api.version, dict(checks))), UNCACHED)


def _passes(said: str) -> bool:
    return said == OK or said.startswith(f"{OK}: ")
