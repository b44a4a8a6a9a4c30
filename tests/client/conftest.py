"""A scripted server, and both clients run over it as one."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest

from dolgo.client import AsyncClient, Client
from tests.cli.conftest import Stub, stub

__all__ = ["stub"]


class Driven:
    """An `AsyncClient` that is called like a `Client`, so that one test holds for both."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        self._client = AsyncClient(*arguments, **options)
        self._runner = asyncio.Runner()

    def __enter__(self) -> Driven:
        return self

    def __exit__(self, *error: object) -> None:
        self._runner.run(self._client.aclose())
        self._runner.close()

    def __repr__(self) -> str:
        return repr(self._client)

    def __getattr__(self, name: str) -> Any:
        member = getattr(self._client, name)

        def call(*arguments: Any, **options: Any) -> Any:
            came = member(*arguments, **options)
            return self._runner.run(came) if inspect.iscoroutine(came) else self._each(came)

        return call if callable(member) else member

    def _each(self, found: AsyncIterator[Any]) -> Iterator[Any]:
        async def following() -> Any:
            return await anext(found)

        while True:
            try:
                yield self._runner.run(following())
            except StopAsyncIteration:
                return


Make = Callable[..., Any]


@pytest.fixture(params=["Client", "AsyncClient"])
def make(request: pytest.FixtureRequest, stub: Stub, monkeypatch: pytest.MonkeyPatch) -> Iterator[Make]:
    """Makes a client of the scripted server."""
    for name in ("DOLGO_TOKEN", "DOLGO_URL"):
        monkeypatch.delenv(name, raising=False)
    opened: list[Any] = []

    def make(url: str | None = None, **options: Any) -> Any:
        kind = Client if request.param == "Client" else Driven
        opened.append(kind(url or stub.url, **options))
        return opened[-1]

    yield make
    for client in opened:
        client.__exit__(None, None, None)


@pytest.fixture
def client(make: Make) -> Any:
    """A client of the scripted server that is not patient for long."""
    return make(patience=5.0)
