"""What there is besides tasks: their types, the queues, the workers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

import msgspec

from dolgo.api.call import Answer, Call
from dolgo.api.parts import Api
from dolgo.api.schema import Queues, ShownBroken, ShownQueue, ShownType, ShownWorker, Types, Workers
from dolgo.api.views import moment
from dolgo.errors import NotFound
from dolgo.shape import Shape
from dolgo.task.fleet import Seen
from dolgo.task.manager import Manager
from dolgo.task.types import Query, Status, TypeInfo, WorkerInfo

AT_ONCE = 1000  # tasks of a worker fetched in one go


async def list_types(api: Api, call: Call) -> Answer:
    """What can be submitted, and the files that could not be loaded."""
    seen = await _workers(api)
    types = [_type(api.manager, info, seen) for info in await api.manager.types.all()]
    broken = [ShownBroken(broken.file, worker.id, broken.error) for worker in seen for broken in worker.broken]
    return _json(Types(types, broken))


async def get_type(api: Api, call: Call) -> Answer:
    """One task type with its schemas."""
    for info in await api.manager.types.all():
        if info.name == call.name:
            return _json(_type(api.manager, info, await _workers(api)))
    raise NotFound(f"No worker has announced a task type {call.name!r}. GET /types lists those there are.")


async def list_queues(api: Api, call: Call) -> Answer:
    """The queues and how many tasks stand in them."""
    return _json(Queues(await _queues(api)))


async def get_queue(api: Api, call: Call) -> Answer:
    """One queue."""
    for queue in await _queues(api):
        if queue.name == call.name:
            return _json(queue)
    raise NotFound(f"There is no queue {call.name!r}. GET /queues lists those there are.")


async def list_workers(api: Api, call: Call) -> Answer:
    """The workers and what they run."""
    now = await api.manager.now()
    return _json(Workers([await _worker(api.manager, seen, now) for seen in await api.fleet.all()]))


def _json(value: msgspec.Struct) -> Answer:
    return Answer(200, msgspec.json.encode(value))


async def _workers(api: Api) -> list[WorkerInfo]:
    return [seen.info for seen in await api.fleet.all()]


def _running(workers: Iterable[WorkerInfo]) -> list[WorkerInfo]:
    return [worker for worker in workers if worker.state == "running"]


def _type(manager: Manager, info: TypeInfo, workers: Sequence[WorkerInfo]) -> ShownType:
    able = sum(info.name in dict(worker.types) for worker in _running(workers))
    result = None if info.result is None else Shape(info.result).schema()
    return ShownType(info.name, info.description, manager.types.shape(info).schema(), result, info.options, able)


async def _queues(api: Api) -> list[ShownQueue]:
    """Those with tasks in them, those that types go to, and those that workers name."""
    counts: dict[str, Counter[Status]] = {}
    for line in await api.manager.counts():
        counts.setdefault(line.queue, Counter()).update(line.counts)
    for info in await api.manager.types.all():
        counts.setdefault(info.options.get("queue", "default"), Counter())
    workers = _running(await _workers(api))
    for name in {name for worker in workers for name in worker.queues or ()}:
        counts.setdefault(name, Counter())
    oldest = await api.manager.oldest()
    return [
        ShownQueue(
            name=name,
            counts={status: counts[name][status] for status in Status},
            oldest_age=oldest.get(name),
            paused=None,
            max_running=None,
            max_running_per_key=None,
            rate=None,
            workers=sum(worker.queues is None or name in worker.queues for worker in workers),
        )
        for name in sorted(counts)
    ]


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
