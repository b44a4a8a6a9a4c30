"""A store with somebody in between, who counts, delays, refuses and loses answers."""

from __future__ import annotations

import inspect
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any, cast

from dolgo.errors import StoreUnavailable
from dolgo.store.base import Store

Step = Callable[[], Awaitable[Any]]  # makes the call and answers what the store answers
Hook = Callable[[Step], Awaitable[Any]]


class Wrapped:
    """Passes every verb on to a store, through the hook of that verb if it has one."""

    def __init__(self, inner: Store) -> None:
        self._inner = inner
        self.calls: Counter[str] = Counter()
        self.hooks: dict[str, Hook] = {}
        self.down = False  # every verb is refused before it reaches the store

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._inner, name)
        if not inspect.iscoroutinefunction(found):
            return found

        async def verb(*args: Any, **kwargs: Any) -> Any:
            self.calls[name] += 1
            if self.down:
                raise StoreUnavailable("The store is down.")
            hook = self.hooks.get(name)
            return await found(*args, **kwargs) if hook is None else await hook(lambda: found(*args, **kwargs))

        return verb

    @property
    def store(self) -> Store:
        """Itself, for those who want a store."""
        return cast(Store, self)


async def refuse(step: Step) -> Any:
    """The store is not reached."""
    raise StoreUnavailable("The store is down.")


async def lose_the_answer(step: Step) -> Any:
    """The store does what it is asked to, and nobody hears of it."""
    await step()
    raise StoreUnavailable("The store did not answer in time.")


def at_first(times: int, hook: Hook) -> Hook:
    """A hook for so many calls; later ones pass."""
    left = times

    async def hooked(step: Step) -> Any:
        nonlocal left
        left -= 1
        return await (hook(step) if left >= 0 else step())

    return hooked
