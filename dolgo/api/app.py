"""The web: every address there is, and the application made of them."""

from __future__ import annotations

from dolgo.api import submit, tasks
from dolgo.api.dispatch import App, Route
from dolgo.api.parts import Api, Check, Health, Limits
from dolgo.api.query import VIEW, WAIT
from dolgo.task.fleet import Fleet
from dolgo.task.manager import Manager

__all__ = ["ROUTES", "Check", "Health", "Limits", "create"]

ROUTES = (
    Route("POST", "/tasks", submit.submit, (WAIT,)),
    Route("POST", "/tasks/batch", submit.submit_batch),
    Route("GET", "/tasks/{id}", tasks.get, (WAIT, VIEW)),
)


def create(manager: Manager, fleet: Fleet, *, health: Health, limits: Limits, version: str, local: bool = False) -> App:
    """The ASGI application. `local`: it listens on this machine alone, so it answers to no other name than this machine's."""
    return App(Api(manager, fleet, health, limits, version), ROUTES, local=local)
