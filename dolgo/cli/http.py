"""A client of a server for the commands: refusals become exit codes, and answers stay as they were sent."""

from __future__ import annotations

import asyncio
import functools
import os
from collections.abc import Callable, Coroutine, Mapping
from types import TracebackType
from typing import Any, Self, TypeVar

import click

from dolgo.cli.exits import CallFailed, Exit
from dolgo.cli.options import load, setting_options
from dolgo.cli.output import plain
from dolgo.client import AsyncClient, NotDolgo, Unanswered, core, verbs
from dolgo.client.core import Op, Reply, Send, path_of
from dolgo.client.verbs import task_path
from dolgo.errors import Refused

__all__ = ["Server", "client_command", "decode", "path_of", "task_path"]

T = TypeVar("T")

PATIENCE = 2.0  # seconds to try again in: long enough for a busy store, short enough for a person
CODES = {401: Exit.AUTH, 403: Exit.AUTH, 404: Exit.NOT_FOUND, 409: Exit.CONFLICT}


class Server:
    """The HTTP interface at one address. `patience` is how long a request is tried again, in seconds."""

    def __init__(self, url: str, *, token: str = "", patience: float = PATIENCE) -> None:
        self.patience = patience
        try:
            self._client = AsyncClient(url, token=token, patience=patience)
        except ValueError as error:
            raise click.UsageError(f"{error}.") from None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self._client.aclose()

    async def get(self, path: str, /, *, wait: float = 0.0, params: Mapping[str, str] | None = None) -> bytes:
        """The body of a GET; `wait` asks the server to hold the answer back until the task is final. Raises `CallFailed`."""
        return (await self._request(verbs.get(path, params or {}, wait=wait))).body

    async def changed(
        self, path: str, etag: str | None, /, *, wait: float, params: Mapping[str, str] | None = None
    ) -> tuple[bytes | None, str | None]:
        """The body of a GET as soon as it is another than the one with this ETag, and its own ETag. Raises `CallFailed`.

        None in its place if it was the same for `wait` seconds."""
        headers = {} if etag is None else {"If-None-Match": etag}
        reply = await self._request(verbs.get(path, params or {}, wait=wait, headers=headers))
        return None if reply.status == core.NOT_MODIFIED else reply.body, reply.headers.get("etag", etag)

    async def ended(self, path: str, /, *, until: float | None) -> bytes:
        """What is said of a task once it has ended, or when `time.monotonic()` says `until`. Raises `CallFailed`."""
        return (await self._run(verbs.ended(self._client.rules, path, {}, until=until))).body

    async def send(
        self,
        method: str,
        path: str,
        /,
        *,
        body: bytes = b"",
        params: Mapping[str, str] | None = None,
        repeatable: bool,
    ) -> bytes:
        """The body of what a change is answered. `repeatable`: sent twice it does no more than once. Raises `CallFailed`."""
        return (await self._request(Send(method, path, params or {}, verbs.JSON, body, repeatable=repeatable))).body

    async def submit(self, path: str, /, *, body: bytes = b"", key: str | None = None) -> tuple[bytes, bool]:
        """The body of what a submit is answered, and whether another task of its `unique_key` stands for it. Raises `CallFailed`.

        Without a key it has one of its own: it can be repeated when the answer is lost, and there is still one task."""
        reply = await self._request(verbs.post_once(path, body, key))
        return reply.body, "dolgo-existing" in reply.headers

    async def _request(self, send: Send) -> Reply:
        return await self._run(core.request(self._client.rules, send, patience=self.patience))

    async def _run(self, operation: Op[T]) -> T:
        try:
            return await self._client.run(operation)
        except Unanswered as error:
            hint = "Is `dolgo serve` running there? --server or DOLGO_URL names another address."
            raise CallFailed(f"{plain(str(error))}. {hint}", Exit.UNREACHABLE) from None
        except NotDolgo as error:
            hint = ": give that as --server." if error.location else ""
            raise CallFailed(plain(str(error)) + hint, CODES.get(error.status, Exit.ERROR)) from None
        except Refused as error:
            raise _refused(error) from None


def _refused(error: Refused) -> CallFailed:
    told = len(error.problems) == 1 and error.problems[0].detail in error.detail  # the one that is wrong is in the sentence
    lines = [plain(error.detail)] + [
        f"  {plain(wrong.pointer) or '(the body)'}: {plain(wrong.detail)}" for wrong in (() if told else error.problems)
    ]
    if error.status == 401:
        lines.append("  The environment variable DOLGO_TOKEN holds the token.")
    return CallFailed("\n".join(lines), CODES.get(error.status, Exit.ERROR))


def client_command(function: Callable[..., Coroutine[Any, Any, int | None]]) -> Callable[..., int | None]:
    """Makes a coroutine that takes a `Server` first into a command's callback, with `--server` and `--json`.

    The coroutine's answer is the exit code.
    """

    @functools.wraps(function)
    def call(*, server: str | None, **arguments: Any) -> int | None:
        url = load({"server": server}).server

        async def talk() -> int | None:
            async with Server(url, token=os.environ.get("DOLGO_TOKEN", "").strip()) as opened:
                return await function(opened, **arguments)

        return asyncio.run(talk())

    as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
    return setting_options("client")(as_json(call))


def decode(raw: bytes, type: type[T]) -> T:
    """The answer as data. Raises `CallFailed` when something else than dolgo answered."""
    try:
        return core.decode(Reply(200, {}, raw), type)
    except NotDolgo as error:
        raise CallFailed(str(error)) from None
