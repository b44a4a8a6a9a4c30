"""Task types as workers announce them, and a manager that knows them."""

from __future__ import annotations

from typing import Any

import msgspec

from dolgo import shape
from dolgo.store.base import Store
from dolgo.task.announced import Announced
from dolgo.task.fleet import Fleet
from dolgo.task.manager import Manager, Rules
from dolgo.task.notify import Notify
from dolgo.task.types import TypeInfo
from tests.store.clock import Clock


def info(name: str = "echo", description: str = "", options: dict[str, Any] | None = None, **members: Any) -> TypeInfo:
    """A type whose payload has these members, each given by its Python type; unknown ones are refused."""
    payload = shape.describe(msgspec.defstruct("Payload", list(members.items()), forbid_unknown_fields=True))
    options = options or {"queue": "default", "priority": 5}
    return TypeInfo(name, shape.fingerprint(payload, None, options), description, payload, None, options)


ECHO = info("echo", value=int)


async def a_manager(store: Store, clock: Clock, *types: TypeInfo, **rules: Any) -> Manager:
    """A manager before this store, with these types announced."""
    announced = Announced(store)
    await announced.announce(types)
    return Manager(store, rules=Rules(**rules), types=announced, notify=Notify(store), fleet=Fleet(store), clock=clock)
