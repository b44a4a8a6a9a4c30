"""The client that awaits."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Iterable, Mapping, Sequence
from types import TracebackType
from typing import Any, Self, TypeVar, Unpack, cast

import httpx

from dolgo.client import core, streams, verbs, wiring
from dolgo.client.core import Cut, Emit, Op, Pause, Read, Reply, Step, Stream
from dolgo.client.options import Filters, NewTask, TaskOptions
from dolgo.client.records import Accepted, Event, LogLine, Ref, TaskView, id_of
from dolgo.task.types import Status

T = TypeVar("T")


class AsyncClient:
    """A client of one server, for one event loop.

    Requests that fail for a while are tried again where that is safe, for `patience` seconds; a submit always is, because each
    has an `Idempotency-Key`. Refusals are raised as the classes of `dolgo.errors`, the rest as those of `dolgo.client`.
    Wherever a task is meant, its id will do, or any record of it."""

    def __init__(
        self,
        url: str | None = None,
        *,
        token: str | None = None,
        patience: float = wiring.PATIENCE,
        timeout: float = wiring.ANSWER,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        """`url` and `token` default to `DOLGO_URL` and `DOLGO_TOKEN`. `timeout` is for one answer, in seconds."""
        url = wiring.address(url)
        self.rules = wiring.rules(url, patience)
        self._timeout = timeout
        self._http = httpx.AsyncClient(**wiring.options(url, token), transport=transport)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.rules.url!r})"

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    # -- submit

    async def submit(self, type: str, payload: Any = None, *, key: str | None = None, **options: Unpack[TaskOptions]) -> Accepted:
        """A new task. `key` is its `Idempotency-Key`: the same submit under the same key within a day is the same task."""
        return await self.run(verbs.submit(self.rules, {"type": type, "payload": payload, **options}, key))

    async def submit_many(self, tasks: Iterable[NewTask], *, key: str | None = None) -> Sequence[Accepted]:
        """New tasks in the order given, at most 10,000: all of them or none. They may depend on each other by `ref`."""
        return await self.run(verbs.submit_many(self.rules, list(tasks), key))

    # -- look

    async def get(self, task: Ref) -> TaskView:
        """The task as it stands. Raises `NotFound`."""
        return await self.run(verbs.task(self.rules, id_of(task)))

    async def wait(self, task: Ref, *, timeout: float | None = None) -> TaskView:
        """The task once it has ended, however that was. Raises `WaitTimeout` after `timeout` seconds. Outlives restarts."""
        return await self.run(verbs.wait(self.rules, id_of(task), timeout))

    async def result(self, task: Ref, *, timeout: float | None = None) -> Any:
        """What the handler returned, once it has. Raises `TaskFailed` or `TaskCancelled` with the error, and `WaitTimeout`."""
        return await self.run(verbs.result(self.rules, id_of(task), timeout))

    def list(self, **filters: Unpack[Filters]) -> AsyncGenerator[TaskView]:
        """The tasks that all filters let through, newest first. Pages are fetched as they are reached."""
        return self.each(verbs.listed(self.rules, filters))

    def logs(self, task: Ref, *, attempt: int | None = None, follow: bool = False) -> AsyncGenerator[LogLine]:
        """The lines that the handler wrote, oldest first; with `follow` until the task has ended."""
        return self.each(streams.logs(self.rules, id_of(task), attempt, follow=follow))

    def events(
        self,
        task: Ref | None = None,
        *,
        after: int | str | Event | None = None,
        type: str | None = None,
        status: str | None = None,
        queue: str | None = None,
    ) -> AsyncGenerator[Event]:
        """What happens: to one task, as it stands first, until it has ended; or to all, from now on, for ever.

        `after`: from behind an event, its `place` or its `seq`; 0 is the oldest there is. Cut connections and restarts are borne,
        without loss or repetition; where that cannot be, the event `reset` says so."""
        filters = {"type": type, "status": status, "queue": queue}
        return self.each(streams.events(self.rules, None if task is None else id_of(task), after, filters))

    # -- by hand

    async def cancel(self, task: Ref) -> Status:
        """`cancelled`, or `in_progress` where its worker was asked to stop it. Raises `Conflict` if it has ended."""
        return await self.run(verbs.cancel(self.rules, id_of(task)))

    async def retry(self, task: Ref) -> Status:
        """`queued` again, or `waiting`. Raises `Conflict` unless it was failed or cancelled."""
        return await self.run(verbs.retry(self.rules, id_of(task)))

    async def delete(self, task: Ref) -> None:
        """The task is gone. Raises `Conflict` unless it had ended."""
        await self.run(verbs.delete(self.rules, id_of(task)))

    # -- anything else

    async def request(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, str] | None = None,
        body: Any = None,
        wait: float = 0.0,
        repeatable: bool | None = None,
    ) -> Any:
        """What any address answers, such as `request("PUT", "queues/mail/pause")`: data, or text; None if it has no body.

        `repeatable`: sent twice it does no more than once. If not given, that is taken of GET, PUT and PATCH."""
        send = wiring.anything(method, path, params or {}, body, wait=wait, repeatable=repeatable)
        reply = await self.run(core.request(self.rules, send))
        return core.anything(reply)

    async def run(self, operation: Op[T]) -> T:
        """Carry out an operation: what it returns."""
        came: Any = None
        while True:
            try:
                step = operation.send(came)
            except StopIteration as end:
                return cast(T, end.value)
            came = await self._take(step)

    async def each(self, stream: Stream[T]) -> AsyncGenerator[T]:
        """Carry out an operation: what it finds, one by one."""
        came: Any = None
        async with contextlib.AsyncExitStack() as opened:  # the answer that is being read, if one is
            while True:
                try:
                    step = stream.send(came)
                except StopIteration:
                    return
                came = None
                if isinstance(step, Emit):
                    yield step.value
                    continue
                came = await self._take(step)
                if isinstance(came, Reply) and came.source is not None:
                    await opened.aclose()
                    opened.push_async_callback(came.source.close)

    async def _take(self, step: Step) -> Reply | Cut | bytes | None:
        if isinstance(step, Pause):
            await asyncio.sleep(step.seconds)
            return None
        try:
            if isinstance(step, Read):
                return cast(bytes, await step.source.next())
            request = self._http.build_request(**wiring.request(step, self._timeout))
            response = await self._http.send(request, stream=step.stream)
            if step.stream and wiring.is_stream(response):
                return wiring.reply(response, _Source(response))
            await response.aread()
            return wiring.reply(response)
        except httpx.RequestError as error:
            return wiring.cut(error)


class _Source:
    """What is left to be read of an answer."""

    def __init__(self, response: httpx.Response) -> None:
        self.close = response.aclose
        self._pieces = response.aiter_bytes()

    async def next(self) -> bytes:
        """The next piece, empty at the end."""
        return await anext(self._pieces, b"")
