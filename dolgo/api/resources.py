"""What there is besides tasks: their types and the workers."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

from dolgo.api.call import Answer, Call
from dolgo.api.parts import Api
from dolgo.api.schema import ShownBroken, ShownType, ShownWorker, Types, Workers
from dolgo.api.views import answer, moment
from dolgo.errors import NotFound
from dolgo.shape import Shape
from dolgo.task.fleet import Seen
from dolgo.task.manager import Manager
from dolgo.task.types import Query, Status, TypeInfo, WorkerInfo

AT_ONCE = 1000  # tasks of a worker fetched in one go


async def list_types(api: Api, call: Call) -> Answer:
    """What can be submitted, and the files that could not be loaded."""
    seen = await workers(api)
    types = [_type(api.manager, info, seen) for info in await api.manager.types.all()]
    broken = [ShownBroken(broken.file, worker.id, broken.error) for worker in seen for broken in worker.broken]
    return answer(Types(types, broken))


async def get_type(api: Api, call: Call) -> Answer:
    """One task type with its schemas."""
    for info in await api.manager.types.all():
        if info.name == call.name:
            return answer(_type(api.manager, info, await workers(api)))
    raise NotFound(f"No worker has announced a task type {call.name!r}. GET /types lists those there are.")


async def list_workers(api: Api, call: Call) -> Answer:
    """The workers and what they run."""
    now = await api.manager.now()
    return answer(Workers([await _worker(api.manager, seen, now) for seen in await api.fleet.all()]))


async def workers(api: Api) -> list[WorkerInfo]:
    """The workers that have been heard of lately."""
    return [seen.info for seen in await api.fleet.all()]


def running(workers: Iterable[WorkerInfo]) -> list[WorkerInfo]:
    """Those that are not about to stop."""
    return [worker for worker in workers if worker.state == "running"]


def _type(manager: Manager, info: TypeInfo, seen: Sequence[WorkerInfo]) -> ShownType:
    able = sum(info.name in dict(worker.types) for worker in running(seen))
    result = None if info.result is None else Shape(info.result).schema()
    return ShownType(info.name, info.description, manager.types.shape(info).schema(), result, info.options, able)


async def _worker(manager: Manager, seen: Seen, now: float) -> ShownWorker:
    info = seen.info
    return ShownWorker(
        id=info.id,
        host=info.host,
        pid=info.pid,
        version=info.version,
        state=info.state,
        queues=info.queues,
        types=[name for name, _ in info.types],
        slots=info.slots,
        running=await _held(manager, info.id),
        heartbeat_age=max(0.0, now - seen.heartbeat_at),
        started_at=moment(info.started_at),
    )


async def _held(manager: Manager, worker: str) -> list[str]:
    """Ids of the tasks a worker holds, those it claimed ahead among them."""
    query = Query(worker=worker, status=Status.IN_PROGRESS, limit=AT_ONCE)
    ids: list[str] = []
    while True:
        page = await manager.list(query)
        ids += [task.id for task in page.tasks]
        if page.after is None:
            return ids
        query = msgspec.structs.replace(query, after=page.after)
