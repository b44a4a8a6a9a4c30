"""A server's HTTP interface for the client commands: tries again where that is safe, and turns refusals into exit codes."""

from __future__ import annotations

import asyncio
import functools
import os
import uuid
from collections.abc import Callable, Coroutine, Mapping
from types import TracebackType
from typing import Any, Self, TypeVar
from urllib.parse import quote, urlsplit

import click
import httpx
import msgspec

from dolgo.cli.exits import CallFailed, Exit
from dolgo.cli.options import load, setting_options
from dolgo.cli.output import plain
from dolgo.setting_kinds import masked
from dolgo.version import __version__

T = TypeVar("T")

CONNECT = 5.0  # seconds
ANSWER = 15.0  # seconds for an answer, besides what the server was asked to wait
PATIENCE = 2.0  # seconds to try again in: long enough for a busy store, short enough for a person
PAUSES = (0.1, 0.2, 0.4, 0.8, 1.6, 3.2)  # seconds between tries; the last one stays
NOT_MODIFIED = 304
JSON = {"Content-Type": "application/json"}
CODES = {401: Exit.AUTH, 403: Exit.AUTH, 404: Exit.NOT_FOUND, 409: Exit.CONFLICT}
LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})


class Problem(msgspec.Struct):
    """One wrong member of a request."""

    pointer: str = ""
    detail: str = ""


class Refusal(msgspec.Struct):
    """Problem details (RFC 9457) as dolgo sends them."""

    error: str
    errors: list[Problem] = []


class Server:
    """The HTTP interface at one address. `patience` is how long a request is tried again, in seconds."""

    def __init__(self, url: str, *, token: str = "", patience: float = PATIENCE) -> None:
        self.shown = masked(url)
        self.patience = patience
        headers = {"User-Agent": f"dolgo/{__version__}"} | ({"Authorization": f"Bearer {token}"} if token else {})
        # A proxy of the environment is for the world outside, not for this machine.
        proxied = urlsplit(url).hostname not in LOOPBACK
        self._http = httpx.AsyncClient(base_url=url, headers=headers, trust_env=proxied)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self._http.aclose()

    async def get(self, path: str, /, *, wait: float = 0.0, params: Mapping[str, str] | None = None) -> bytes:
        """The body of a GET; `wait` asks the server to hold the answer back until the task is final. Raises `CallFailed`."""
        return (await self._request("GET", path, params=_waiting(params, wait), wait=wait)).content

    async def changed(
        self, path: str, etag: str | None, /, *, wait: float, params: Mapping[str, str] | None = None
    ) -> tuple[bytes | None, str | None]:
        """The body of a GET as soon as it is another than the one with this ETag, and its own ETag. Raises `CallFailed`.

        None in its place if it was the same for `wait` seconds."""
        headers = {} if etag is None else {"If-None-Match": etag}
        response = await self._request("GET", path, params=_waiting(params, wait), headers=headers, wait=wait)
        body = None if response.status_code == NOT_MODIFIED else response.content
        return body, response.headers.get("ETag", etag)

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
        asked: dict[str, Any] = {"content": body, "params": dict(params or {}), "headers": JSON}
        return (await self._request(method, path, repeatable=repeatable, **asked)).content

    async def submit(self, path: str, /, *, body: bytes = b"", key: str | None = None) -> tuple[bytes, bool]:
        """The body of what a submit is answered, and whether another task of its `unique_key` stands for it. Raises `CallFailed`.

        Without a key it has one of its own: it can be repeated when the answer is lost, and there is still one task."""
        headers = JSON | {"Idempotency-Key": key or str(uuid.uuid4())}
        response = await self._request("POST", path, content=body, headers=headers)
        return response.content, "Dolgo-Existing" in response.headers

    async def _request(
        self, method: str, path: str, *, wait: float = 0.0, repeatable: bool = True, **request: Any
    ) -> httpx.Response:
        timeout = httpx.Timeout(ANSWER + wait, connect=CONNECT)
        deadline = asyncio.get_running_loop().time() + self.patience
        tried = 0
        while True:
            pause = PAUSES[min(tried, len(PAUSES) - 1)]
            last = asyncio.get_running_loop().time() + pause > deadline
            tried += 1
            try:
                response = await self._http.request(method, path, timeout=timeout, **request)
            except httpx.TransportError as error:
                # Before a connection nothing was sent; after it the server may have done what was asked.
                if last or not (repeatable or isinstance(error, httpx.ConnectError)):
                    raise self._unreached(error) from None
            else:
                if response.is_success or response.status_code == NOT_MODIFIED:
                    return response
                if response.status_code != 503 or last or not repeatable:
                    raise self._refused(response)
            await asyncio.sleep(pause)

    def _unreached(self, error: httpx.TransportError) -> CallFailed:
        reason = plain(str(error) or type(error).__name__)
        hint = "Is `dolgo serve` running there? --server or DOLGO_URL names another address."
        return CallFailed(f"{self.shown} does not answer: {reason}. {hint}", Exit.UNREACHABLE)

    def _refused(self, response: httpx.Response) -> CallFailed:
        code = CODES.get(response.status_code, Exit.ERROR)
        if response.is_redirect:
            where = plain(response.headers.get("Location", "elsewhere"))
            return CallFailed(f"{self.shown} sends us to {where}: give that as --server.", code)
        try:
            said = msgspec.json.decode(response.content, type=Refusal)
        except msgspec.MsgspecError:
            return CallFailed(f"{self.shown} answered {response.status_code}, and not as dolgo does.", code)
        told = len(said.errors) == 1 and said.errors[0].detail in said.error  # the one that is wrong is in the sentence
        lines = [plain(said.error)] + [
            f"  {plain(wrong.pointer) or '(the body)'}: {plain(wrong.detail)}" for wrong in ([] if told else said.errors)
        ]
        if response.status_code == 401:
            lines.append("  The environment variable DOLGO_TOKEN holds the token.")
        return CallFailed("\n".join(lines), code)


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


def path_of(what: str, name: str, verb: str = "") -> str:
    """The path of a thing that has a name, or of one of its verbs, whatever the name holds."""
    # A dot would be taken for a step in the path, and lead from the thing to the list of all.
    return f"{what}/{quote(name, safe='').replace('.', '%2E')}" + (f"/{verb}" if verb else "")


def task_path(id: str, verb: str = "") -> str:
    """The path of a task, or of one of its verbs."""
    return path_of("tasks", id, verb)


def _waiting(params: Mapping[str, str] | None, wait: float) -> dict[str, str]:
    return dict(params or {}) | ({"wait": f"{wait:.3f}"} if wait else {})


def decode(raw: bytes, type: type[T]) -> T:
    """The answer as data. Raises `CallFailed` when something else than dolgo answered."""
    try:
        return msgspec.json.decode(raw, type=type)
    except msgspec.MsgspecError as error:
        raise CallFailed(f"The answer is not what dolgo would send: {error}.") from None
