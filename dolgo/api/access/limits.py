"""What callers may see and do whose tokens are for some queues or types alone. What is not theirs is not there."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import product

from msgspec.structs import replace

from dolgo.api.access.caller import Caller
from dolgo.api.call import Call
from dolgo.api.guard import SAFE
from dolgo.api.parts import Api
from dolgo.api.route import Of, Route
from dolgo.errors import Forbidden, NotFound, Problem, UnknownType
from dolgo.task.batch import REF
from dolgo.task.intake import DEFAULT_QUEUE, unknown_parents
from dolgo.task.manager import Submission
from dolgo.task.types import Query, TypeInfo


async def check(api: Api, route: Route, call: Call) -> None:
    """Raises NotFound where the path names what is not the caller's, Forbidden where all of the service is meant."""
    caller, name = call.caller, call.name
    match route.of:
        case Of.SERVICE:
            raise Forbidden(f"{caller.who} is for some queues or types alone, and this is about the whole service.")
        case Of.TASK:
            task = await api.manager.get(name)
            if not caller.sees(task.type, task.queue):
                raise NotFound(f"There is no task {name}.")
        case Of.TYPE if not caller.sees_type(name):
            raise NotFound(f"No worker has announced a task type {name!r}. GET /types lists those there are.")
        case Of.QUEUE:
            _check_queue(route, caller, name)
        case Of.SCHEDULE:
            await _check_schedule(api, route, caller, name)


async def permitted(api: Api, caller: Caller, submission: Submission, at: str = "") -> Submission:
    """The submission, bound to a queue that is the caller's. Raises Forbidden, and UnknownType."""
    if not caller.limited:
        return submission
    if not caller.sees_type(submission.type):
        detail = f"{caller.who} is not for tasks of the type {submission.type!r}."
        raise Forbidden(detail, [Problem(f"{at}/type", detail)])
    try:
        info = await announced(api, caller, submission.type)
    except UnknownType as error:
        raise UnknownType(error.detail, [Problem(f"{at}/type", error.detail)]) from None
    queue = submission.queue or _queue_by(info)
    if not caller.sees_queue(queue):
        detail = f"{caller.who} is not for the queue {queue!r}."
        raise Forbidden(detail, [Problem(f"{at}/queue", detail)])
    return replace(submission, queue=queue)


async def check_parents(api: Api, caller: Caller, submissions: Sequence[Submission], *, pointed: bool) -> None:
    """Raises InvalidRequest for parents that are not this limited caller's, in the words for those that do not exist."""
    ids = list({id for submission in submissions for id in submission.depends_on if not id.startswith(REF)})
    found = await api.manager.tasks(ids)
    strange = [id for id, task in zip(ids, found, strict=True) if task is None or not caller.sees(task.type, task.queue)]
    if strange:
        raise unknown_parents(strange, [submission.depends_on for submission in submissions], pointed=pointed)


async def is_seen(api: Api, caller: Caller, submission: Submission) -> bool:
    """Whether its task would be any of the caller's business. Of a type that is not known any more it is not."""
    if not caller.limited:
        return True
    try:
        queue = submission.queue or _queue_by(await api.manager.types.find(submission.type))
    except UnknownType:
        return False
    return caller.sees(submission.type, queue)


async def announced(api: Api, caller: Caller, type: str) -> TypeInfo:
    """What is known of a type. Raises UnknownType, which names no others to who is for some types alone."""
    try:
        return await api.manager.types.find(type, since=api.manager.types.monotonic())
    except UnknownType:
        if caller.types is None:
            raise
        raise UnknownType(f"No worker has announced the task type {type!r}.") from None


def _queue_by(info: TypeInfo) -> str:
    """Where tasks of a type stand that name no queue."""
    queue: str = info.options.get("queue", DEFAULT_QUEUE)
    return queue


def narrowed(caller: Caller, query: Query) -> list[Query]:
    """Queries that together find what the query finds and is the caller's."""
    queues = _asked(query.queue, caller.queues)
    types = _asked(query.type, caller.types)
    return [replace(query, queue=queue, type=type) for queue, type in product(queues, types)]


def _asked(asked: str | None, allowed: Iterable[str] | None) -> list[str | None]:
    if allowed is None:
        return [asked]
    return [name for name in sorted(allowed) if asked in (None, name)]


def _check_queue(route: Route, caller: Caller, name: str) -> None:
    if not caller.sees_queue(name):
        raise NotFound(f"There is no queue {name!r}. GET /queues lists those there are.")
    if route.method not in SAFE and caller.types is not None:
        raise Forbidden(f"{caller.who} is for some types alone, and this would hold back all of a queue.")


async def _check_schedule(api: Api, route: Route, caller: Caller, name: str) -> None:
    try:
        submission = (await api.schedules.get(name)).schedule.submission
    except NotFound:
        if (route.method, route.path) == ("PUT", "/schedules/{name}"):
            return  # it is new: the handler looks at what is to be submitted
        raise
    if not await is_seen(api, caller, submission):
        raise NotFound(f"There is no schedule {name!r}. GET /schedules lists those there are.")
