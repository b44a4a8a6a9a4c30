"""What there is besides tasks: their types and the workers."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence

from dolgo.api.call import Answer, Call
from dolgo.api.intake import NOTHING, read
from dolgo.api.parts import Api
from dolgo.api.schema import Empty, ShownBroken, ShownType, ShownWorker, Types, Workers
from dolgo.api.tasks import SMALL_BODY
from dolgo.api.views import answer, moment
from dolgo.errors import NotFound
from dolgo.shape import Shape
from dolgo.task.fleet import Fleet, Seen
from dolgo.task.manager import Manager
from dolgo.task.types import TypeInfo, WorkerInfo


async def list_types(api: Api, call: Call) -> Answer:
    """What can be submitted, and the files that could not be loaded."""
    seen = await workers(api)
    types = [_type(api.manager, info, seen) for info in await api.manager.types.all() if call.caller.sees_type(info.name)]
    files = () if call.caller.limited else seen
    broken = [ShownBroken(broken.file, worker.id, broken.error) for worker in files for broken in worker.broken]
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
    seen = await api.fleet.all()
    return answer(Workers(await asyncio.gather(*(_worker(api.fleet, one, now) for one in seen))))


async def drain_worker(api: Api, call: Call) -> Answer:
    """Have a worker end what it runs, and take no more tasks.

    A worker that runs something hears of it within a second, one that is idle with its next heartbeat. What has not ended within
    its `drain_timeout` is given back. A process of `dolgo worker` then exits; in `dolgo serve` the worker is `drained` and the
    web goes on. It cannot be taken back: start a worker instead. Asking again changes nothing."""
    read(await call.body(SMALL_BODY) or NOTHING, Empty)
    seen = await api.manager.drain(call.name)
    return answer(await _worker(api.fleet, seen, await api.manager.now()), 202)


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


async def _worker(fleet: Fleet, seen: Seen, now: float) -> ShownWorker:
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
        running=list(await fleet.held_by(info.id)),
        heartbeat_age=max(0.0, now - seen.heartbeat_at),
        started_at=moment(info.started_at),
    )
