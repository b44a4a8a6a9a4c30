"""What can be asked of a server, as operations (see `core`)."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from typing import Any

from msgspec import Struct

from dolgo.client.core import Emit, Op, Pause, Reply, Rules, Send, Stream, decode, path_of, request
from dolgo.client.errors import TaskCancelled, TaskFailed, WaitTimeout
from dolgo.client.options import encoded, query, task_body
from dolgo.client.records import Accepted, TaskView
from dolgo.task.types import FINAL, Status

HOLD = 30.0  # seconds the server holds one answer back; it takes up to 60, but proxies do not
OUTAGE = 60.0  # seconds a server that answered before may be away: a wait outlives a restart
SOON = 0.25  # seconds before a server is asked again that answered sooner than it was asked to, as one does that stops
PAGE = 1000  # tasks of one answer
JSON = {"Content-Type": "application/json"}
FULL = {"view": "full"}


class _Short(Struct):
    id: str
    status: Status
    result: Any = None


class _Batch(Struct):
    tasks: list[_Short]


class _Page(Struct):
    tasks: list[TaskView]
    next: str | None


def get(path: str, params: Mapping[str, str] = {}, *, wait: float = 0.0, headers: Mapping[str, str] = {}) -> Send:
    """A GET that asks the server to hold its answer back for `wait` seconds."""
    return Send("GET", path, {**params, "wait": f"{wait:.3f}"} if wait else params, headers, wait=wait)


def task_path(id: str, verb: str = "") -> str:
    """The path of a task, or of one of its verbs."""
    return path_of("tasks", id, verb)


def post_once(path: str, body: bytes, key: str | None) -> Send:
    """A submit under an `Idempotency-Key`, by default one of its own: repeated in doubt, it is still one."""
    return Send("POST", path, {}, JSON | {"Idempotency-Key": key or str(uuid.uuid4())}, body)


# -- submit


def submit(rules: Rules, task: Mapping[str, Any], key: str | None) -> Op[Accepted]:
    """One task."""
    reply = yield from request(rules, post_once("tasks", encoded(task_body(task)), key))
    return _accepted(reply, decode(reply, _Short))


def submit_many(rules: Rules, tasks: Sequence[Mapping[str, Any]], key: str | None) -> Op[Sequence[Accepted]]:
    """All of them, or none."""
    body = encoded({"tasks": [task_body(task) for task in tasks]})
    reply = yield from request(rules, post_once("tasks/batch", body, key))
    return [_accepted(reply, task) for task in decode(reply, _Batch).tasks]


def _accepted(reply: Reply, task: _Short) -> Accepted:
    return Accepted(task.id, task.status, "dolgo-existing" in reply.headers, "idempotency-replayed" in reply.headers)


# -- look


def task(rules: Rules, id: str) -> Op[TaskView]:
    """The task as it stands."""
    reply = yield from request(rules, get(task_path(id), FULL))
    return decode(reply, TaskView)


def ended(rules: Rules, path: str, params: Mapping[str, str], *, until: float | None) -> Op[Reply]:
    """What is said of a task once it is final, or when the clock says `until`. Outages between the rounds are borne."""
    patience = None
    while True:
        asked_at = rules.clock()
        hold = HOLD if until is None else min(HOLD, max(0.0, until - asked_at))
        reply = yield from request(rules, get(path, params, wait=hold), patience=patience)
        if hold == 0.0 or decode(reply, _Short).status in FINAL:
            return reply
        patience = max(rules.patience, OUTAGE)
        if rules.clock() - asked_at < hold / 2:
            yield Pause(min(SOON, hold))


def wait(rules: Rules, id: str, timeout: float | None) -> Op[TaskView]:
    """The task once it has ended. Raises `WaitTimeout`."""
    reply = yield from ended(rules, task_path(id), FULL, until=_until(rules, timeout))
    view = decode(reply, TaskView)
    if not view.final:
        raise WaitTimeout(view.id, view.status, timeout or 0.0)
    return view


def result(rules: Rules, id: str, timeout: float | None) -> Op[Any]:
    """What the handler returned. Raises `TaskFailed`, `TaskCancelled` and `WaitTimeout`."""
    until = _until(rules, timeout)
    while True:
        reply = yield from ended(rules, task_path(id), {}, until=until)
        short = decode(reply, _Short)
        if short.status is Status.DONE:
            return short.result
        if short.status not in FINAL:
            raise WaitTimeout(short.id, short.status, timeout or 0.0)
        view = yield from task(rules, id)
        if view.status is Status.FAILED:
            raise TaskFailed(view)
        if view.status is Status.CANCELLED:
            raise TaskCancelled(view)
        # else somebody has retried it since: the wait goes on


def listed(rules: Rules, filters: Mapping[str, Any]) -> Stream[TaskView]:
    """The tasks that the filters let through, page by page as they are asked for."""
    params = FULL | query(filters) | {"limit": str(PAGE)}
    while True:
        page = decode((yield from request(rules, get("tasks", params))), _Page)
        for found in page.tasks:
            yield Emit(found)
        if page.next is None:
            return
        params["cursor"] = page.next


# -- by hand


def cancel(rules: Rules, id: str) -> Op[Status]:
    """`cancelled`, or `in_progress` where the worker was asked."""
    reply = yield from request(rules, Send("POST", task_path(id, "cancel"), headers=JSON))
    return decode(reply, _Short).status


def retry(rules: Rules, id: str) -> Op[Status]:
    """`queued` again, or `waiting`."""
    # Repeated after it took, it would find the task queued and report a conflict.
    reply = yield from request(rules, Send("POST", task_path(id, "retry"), headers=JSON, repeatable=False))
    return decode(reply, _Short).status


def delete(rules: Rules, id: str) -> Op[None]:
    """The task is gone."""
    yield from request(rules, Send("DELETE", task_path(id), repeatable=False))


def _until(rules: Rules, timeout: float | None) -> float | None:
    return None if timeout is None else rules.clock() + timeout
