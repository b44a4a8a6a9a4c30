"""A whole service inside a test."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable, Coroutine, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, TypeVar, Unpack, cast

import httpx

from dolgo.api.dispatch import App
from dolgo.client import Accepted, Client, Event, LogLine, TaskCancelled, TaskFailed, TaskView, WaitTimeout, streams
from dolgo.client.options import NewTask, TaskOptions
from dolgo.client.records import Ref, id_of
from dolgo.errors import BadTaskType
from dolgo.runner.capture import Taker
from dolgo.runner.registry import Mark, Registry, TaskType, mark_of
from dolgo.task.types import Status
from dolgo.testing.house import House

T = TypeVar("T")

URL = "http://dolgo.test"
PATIENCE = 60.0  # seconds of real time
Handler = Callable[..., Any]  # a function marked with `@task`, or a `Task` class


class Service(Client):
    """A service in this process, and a client of it: what takes a `Client` can be given this.

    It runs the handlers it is given: `async def` ones on an event loop of its own, `def` ones in threads. Tasks run when they are
    waited for, or when `run_until_idle` or `advance` says so, and its time stands still but for that."""

    def __init__(
        self, tasks: Iterable[Handler], *, slots: int = 1, now: datetime | None = None, patience: float = PATIENCE
    ) -> None:
        """`slots` tasks run at once. `now` is what its clock shows at first. No call takes longer than `patience` seconds of real
        time, for then a handler hangs."""
        types = registry_of(tasks)
        begins_at = None if now is None else now.timestamp()
        self._patience = patience
        self._closed = False
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="dolgo-testing", daemon=True)
        self._thread.start()
        self._ears = Ears()

        async def open() -> tuple[House, App]:
            house = House(types, slots=slots, now=begins_at)
            return house, await house.open()

        try:
            self._house, app = self._call(open(), max(patience, PATIENCE))  # no handler has a part in it
        except BaseException:
            self._end()
            raise
        super().__init__(URL, token="", patience=0.0, timeout=patience, transport=_Inward(app, self._call))

    def close(self) -> None:
        """Stop what runs, and forget everything."""
        if self._closed:
            return
        self._closed = True
        super().close()
        try:
            self._call(self._house.close())
        finally:
            self._end()

    def _end(self) -> None:
        self._ears.close()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(self._patience)
        if not self._thread.is_alive():  # else an `async def` handler holds the loop, and nothing here can stop it
            self._loop.close()

    # -- time

    @property
    def now(self) -> datetime:
        """What its clock shows."""
        return datetime.fromtimestamp(self._house.clock.now, UTC)

    def run_until_idle(self) -> None:
        """Run all tasks that may run now, and those that these bring about. Time stands still."""
        self._call(self._house.idle())

    def advance(self, seconds: float) -> None:
        """Let time pass, and run on the way what becomes due: delayed tasks, further attempts."""
        self._call(self._house.move(seconds))

    def begin(self) -> None:
        """Begin what may run now, and return: `async def` handlers have come to their first pause then, `def` ones run on."""
        self._call(self._house.begin())

    # -- as a client, with a difference

    def submit(
        self, type: str | Handler, payload: Any = None, *, key: str | None = None, **options: Unpack[TaskOptions]
    ) -> Accepted:
        """A new task, of a type or of the handler itself. It is checked as at the door of a server. Nothing runs yet."""
        return super().submit(_name(type), payload, key=key, **options)

    def submit_many(self, tasks: Iterable[NewTask | Mapping[str, Any]], *, key: str | None = None) -> Sequence[Accepted]:
        """New tasks, all of them or none. The `type` of each may be the handler itself."""
        named = [{**task, "type": _name(task.get("type"))} for task in tasks]
        return super().submit_many(cast(list[NewTask], named), key=key)

    def wait(self, task: Ref, *, timeout: float | None = None) -> TaskView:
        """The task once it has ended. Time passes as far as that takes.

        Raises `WaitTimeout` if it is more than `timeout` seconds, and `Stuck` if no time would do."""
        ended = self._call(self._house.end_of(id_of(task), timeout))
        view = self.get(ended.id)
        if not view.final:
            raise WaitTimeout(view.id, view.status, timeout or 0.0)
        return view

    def result(self, task: Ref, *, timeout: float | None = None) -> Any:
        """What the handler returned. Time passes as in `wait`.

        Raises `TaskFailed` or `TaskCancelled`, from what the handler raised."""
        view = self.wait(task, timeout=timeout)
        cause = self._house.raised_by(view.id)
        if view.status is Status.FAILED:
            raise TaskFailed(view) from cause
        if view.status is Status.CANCELLED:
            raise TaskCancelled(view) from cause
        return view.result

    def cancel(self, task: Ref) -> Status:
        """As of a client. A handler that runs is told at once: an `async def` one by cancellation, a `def` one by its context."""
        status = super().cancel(task)
        self._call(self._house.pass_on_cancels())
        return status

    def logs(self, task: Ref, *, attempt: int | None = None, follow: bool = False) -> Iterator[LogLine]:
        """The lines that the handler wrote, oldest first; with `follow` until the task has ended: time passes as in `wait`."""
        if follow:
            self.wait(task)
        return super().logs(task, attempt=attempt)

    def events(
        self,
        task: Ref | None = None,
        *,
        after: int | str | Event | None = None,
        type: str | None = None,
        status: str | None = None,
        queue: str | None = None,
    ) -> Iterator[Event]:
        """What has happened so far, from the beginning: nothing is waited for."""
        filters = {"type": type, "status": status, "queue": queue}
        return self.each(streams.so_far(self.rules, None if task is None else id_of(task), after, filters))

    def _call(self, work: Coroutine[Any, Any, T], patience: float | None = None) -> T:
        """What comes of it on the loop. Raises `TimeoutError` if a handler hangs."""
        if threading.get_ident() == self._thread.ident:
            work.close()
            raise RuntimeError("an `async def` handler runs on the loop of the service, and cannot wait for it: use its context")
        future = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return future.result(self._patience if patience is None else patience)
        except TimeoutError:
            if future.done():  # it raised that itself
                raise
            future.cancel()
            raise TimeoutError(f"A handler has run for more than {self._patience:g} s.") from None


def run(handler: Handler, /, **payload: Any) -> Any:
    """What a handler returns for this payload, run as a task: checked, retried, stored, as far as there is a task for it.

    Raises `InvalidPayload` as the door would, and `TaskFailed` from what the handler raised."""
    with Service([handler]) as service:
        return service.result(service.submit(handler, payload))


def registry_of(tasks: Iterable[Handler]) -> Registry:
    """The types of these handlers. Raises `BadTaskType`."""
    registry = Registry()
    registry.add(*(_type_of(handler) for handler in tasks))
    return registry


def name_of(handler: Handler) -> str:
    """What a handler's type is called. Raises `BadTaskType`."""
    return _marked(handler).options.name


def _name(type: Any) -> str:
    return type if isinstance(type, str) else name_of(type)


def _type_of(handler: Handler) -> TaskType:
    return TaskType(_marked(handler))


def _marked(handler: Handler) -> Mark:
    mark = mark_of(handler)
    if mark is None:
        raise BadTaskType(f"{handler!r} is no task type: mark it with @task, or let it inherit from dolgo.Task")
    return mark


class Ears:
    """Hears what handlers log, for the logs of their tasks, from `INFO` on as in a child."""

    def __init__(self) -> None:
        self._taker = Taker()
        self._logger = logging.getLogger("dolgo.task")
        self._level = self._logger.level
        logging.getLogger().addHandler(self._taker)
        self._logger.setLevel(self._level or logging.INFO)

    def close(self) -> None:
        """Everything is as before."""
        logging.getLogger().removeHandler(self._taker)
        self._logger.setLevel(self._level)


class _Inward(httpx.BaseTransport):
    """Requests go to the application itself."""

    def __init__(self, app: App, call: Callable[[Coroutine[Any, Any, httpx.Response]], httpx.Response]) -> None:
        self._asgi = httpx.ASGITransport(app)
        self._call = call

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        body = request.read()
        inner = httpx.Request(request.method, request.url, headers=request.headers, content=body, extensions=request.extensions)
        return self._call(self._answer(inner))

    async def _answer(self, request: httpx.Request) -> httpx.Response:
        response = await self._asgi.handle_async_request(request)
        return httpx.Response(response.status_code, headers=response.headers, content=await response.aread())
