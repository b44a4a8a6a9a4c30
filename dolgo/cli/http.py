"""A client of a server for the commands: refusals become exit codes, and answers stay as they were sent."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import os
import re
from collections.abc import AsyncGenerator, Callable, Coroutine, Iterator, Mapping
from types import TracebackType
from typing import Any, Self, TypeVar

import click
from msgspec import Raw

from dolgo.cli import output
from dolgo.cli.exits import CallFailed, Exit
from dolgo.cli.options import contents, load, setting_options
from dolgo.cli.output import plain
from dolgo.client import AsyncClient, NotDolgo, Unanswered, core, streams, verbs
from dolgo.client.core import Op, Reply, Send, Stream, path_of
from dolgo.client.streams import Lost, Told
from dolgo.client.verbs import task_path
from dolgo.errors import Refused

__all__ = ["Server", "client_command", "decode", "path_of", "task_path"]

T = TypeVar("T")

PATIENCE = 2.0  # seconds to try again in: long enough for a busy store, short enough for a person
CODES = {401: Exit.AUTH, 403: Exit.AUTH, 404: Exit.NOT_FOUND, 409: Exit.CONFLICT}
SCOPE = re.compile(r'scope="(\w+)"')


class Server:
    """The HTTP interface at one address. `patience` is how long a request is tried again, in seconds."""

    def __init__(self, url: str, *, token: str = "", patience: float = PATIENCE) -> None:
        self.patience = patience
        self._is_lost = False  # a stream broke off, and none has told of anything since
        try:
            self._client = AsyncClient(url, token=token, patience=patience)
        except ValueError as error:
            raise click.UsageError(f"{str(error)[:1].upper()}{str(error)[1:]}.") from None

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

    def told(self, id: str | None, after: str | None = None, /, **filters: str) -> AsyncGenerator[Told]:
        """What happens to a task until it has ended, or to all for ever. An outage is told on stderr. Raises `CallFailed`.

        To be closed by who listens (`contextlib.aclosing`): no loop would do it in time when printing fails."""
        return self._each(streams.told(self._client.rules, id, after, filters))

    def lines(self, id: str, attempt: int | None, /, *, follow: bool) -> AsyncGenerator[Raw]:
        """The lines of a task's log as they were sent; with `follow` until it has ended. As `told`."""
        return self._each(streams.lines(self._client.rules, id, attempt, follow=follow))

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
        with _failing():
            return await self._client.run(operation)

    async def _each(self, stream: Stream[T | Lost]) -> AsyncGenerator[T]:
        with _failing():
            async with contextlib.aclosing(self._client.each(stream)) as found:
                async for one in found:
                    if isinstance(one, Lost):
                        self._say_lost(one)
                        continue
                    self._is_lost = False
                    yield one

    def _say_lost(self, lost: Lost) -> None:
        if not self._is_lost:  # of many streams, once
            output.talk(f"dolgo: {plain(self._client.rules.url)} broke off: {plain(lost.reason)}. Coming back to it.")
        self._is_lost = True


@contextlib.contextmanager
def _failing() -> Iterator[None]:
    """What a client raises becomes `CallFailed`."""
    try:
        yield
    except Unanswered as error:
        hint = "Is `dolgo serve` running there? --server or DOLGO_URL names another address."
        raise CallFailed(f"{plain(str(error)).rstrip('.')}. {hint}", Exit.UNREACHABLE) from None
    except NotDolgo as error:
        hint = ": give that as --server." if error.location else ""
        raise CallFailed(plain(str(error)) + hint, CODES.get(error.status, Exit.ERROR)) from None
    except Refused as error:
        raise _refused(error) from None


def _refused(error: Refused) -> CallFailed:
    told = len(error.problems) == 1 and error.problems[0].detail in error.detail  # the one that is wrong is in the sentence
    lines = [" ".join(filter(None, (plain(error.detail), _way_out(error))))] + [
        f"  {plain(wrong.pointer) or '(the body)'}: {plain(wrong.detail)}" for wrong in (() if told else error.problems)
    ]
    return CallFailed("\n".join(lines), CODES.get(error.status, Exit.ERROR))


def _way_out(error: Refused) -> str:
    """What to do about a refusal that is not about the request."""
    match error.status:
        case 401:
            return "DOLGO_TOKEN holds the token, or --token @FILE names its file; `dolgo token create` makes one."
        case 403 if needed := SCOPE.search(error.challenge or ""):
            return f"`dolgo token create NAME --scope {needed[1]}` makes a token that does, for DOLGO_TOKEN or --token @FILE."
        case 429:
            return f"Try again in {error.retry_after or 1} s."
    return ""


def client_command(function: Callable[..., Coroutine[Any, Any, int | None]]) -> Callable[..., int | None]:
    """Makes a coroutine that takes a `Server` first into a command's callback, with `--server`, `--token` and `--json`.

    The coroutine's answer is the exit code.
    """

    @functools.wraps(function)
    def call(*, server: str | None, token: str | None, **arguments: Any) -> int | None:
        url = load({"server": server}).server
        secret = os.environ.get("DOLGO_TOKEN", "") if token is None else _read_token(token)

        async def talk() -> int | None:
            async with Server(url, token=secret) as opened:
                return await function(opened, **arguments)

        return asyncio.run(talk())

    as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
    token = click.option("--token", metavar="@FILE", help="A file with the token, or - for stdin.  [default: DOLGO_TOKEN]")
    return setting_options("client")(token(as_json(call)))


def _read_token(source: str) -> str:
    if source != "-" and not source.startswith("@"):
        raise click.UsageError(
            "Every user of a machine can see what its commands are given: put the token into DOLGO_TOKEN, or give --token @FILE."
        )
    return contents(source)


def decode(raw: bytes, type: type[T]) -> T:
    """The answer as data. Raises `CallFailed` when something else than dolgo answered."""
    try:
        return core.decode(Reply(200, {}, raw), type)
    except NotDolgo as error:
        raise CallFailed(str(error)) from None
