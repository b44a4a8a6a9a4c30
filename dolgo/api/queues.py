"""The queues: what stands in them, and what holds it back there."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping

import msgspec
from msgspec import UNSET, structs

from dolgo.api.access.caller import Caller
from dolgo.api.call import Answer, Call, Did
from dolgo.api.intake import NOTHING, read
from dolgo.api.parts import Api
from dolgo.api.resources import running, workers
from dolgo.api.schema import NewLimits, NewPause, Paused, Queues, ShownQueue
from dolgo.api.views import answer, moment
from dolgo.errors import InvalidRequest, NotFound, Problem
from dolgo.task.allowed import LATEST, NAME_RULE, RESERVED, is_name, is_printable, seconds
from dolgo.task.callbacks.wish import QUEUE
from dolgo.task.types import Gate, Status

MOST = 1 << 14  # bytes of a body
SCOPE = "queue/"  # what the gate of a queue is called begins so

_OPEN = Gate(scope="")


async def list_queues(api: Api, call: Call) -> Answer:
    """The queues and how many tasks stand in them."""
    queues = await _queues(api, call.caller)
    return answer(Queues([queues[name] for name in sorted(queues) if call.caller.sees_queue(name)]))


async def get_queue(api: Api, call: Call) -> Answer:
    """One queue."""
    queue = (await _queues(api, call.caller, *(QUEUE,) if call.name == QUEUE else ())).get(call.name)
    if queue is None:
        raise NotFound(f"There is no queue {call.name!r}. GET /queues lists those there are.")
    return answer(queue)


async def pause_queue(api: Api, call: Call) -> Answer:
    """Start nothing of a queue any more. What runs goes on.

    Once answered, no worker starts a task of it until somebody resumes it, or the time `until` has come. Pausing it again
    replaces reason and time."""
    _check_name(call)
    asked = read(await call.body(MOST) or NOTHING, NewPause)
    until = seconds(asked.until)
    if until is not None and not await api.manager.now() < until <= LATEST:
        raise InvalidRequest.of([Problem("/until", "it must be a time to come, in the year 9999 at the latest")])
    if asked.reason and not is_printable(asked.reason):
        raise InvalidRequest.of([Problem("/reason", "it must have no control characters")])
    await api.manager.pause(call.name, reason=asked.reason or None, until=until)
    call.did = Did(detail=asked.reason or "")
    return await _answer(api, call)


async def resume_queue(api: Api, call: Call) -> Answer:
    """Start the tasks of a queue again. If it was not paused, nothing changes."""
    _check_name(call)
    await api.manager.resume(call.name)
    return await _answer(api, call)


async def limit_queue(api: Api, call: Call) -> Answer:
    """Change how many tasks of a queue run at once, or start in a second, over all workers together.

    A member that is not sent stays as it is; null lifts its limit."""
    _check_name(call)
    asked = read(await call.body(MOST) or NOTHING, NewLimits)
    changes = {name: value for name, value in structs.asdict(asked).items() if value is not UNSET}
    await api.manager.limit(call.name, changes)
    call.did = Did(detail=msgspec.json.encode(changes).decode())
    return await _answer(api, call)


def _check_name(call: Call) -> None:
    if not is_name(call.name):
        raise InvalidRequest.of([Problem("/path/queue", NAME_RULE)])


async def _answer(api: Api, call: Call) -> Answer:
    """The queue as it is now. It need not have a task, and there may be nothing left to know of it."""
    return answer((await _queues(api, call.caller, call.name))[call.name])


async def _queues(api: Api, caller: Caller, *wanted: str) -> dict[str, ShownQueue]:
    """Those wanted, those with tasks in them, that types go to, that workers name, and those that are held back."""
    counts: defaultdict[str, Counter[Status]] = defaultdict(Counter)
    for line in await api.manager.counts():
        if line.queue == QUEUE and line.queue not in wanted and line.type.startswith(RESERVED):
            continue  # dolgo's own
        if caller.sees_type(line.type):
            counts[line.queue].update(line.counts)
    serving = running(await workers(api))
    gates = await api.manager.gates()
    types = [info for info in await api.manager.types.all() if caller.sees_type(info.name)]
    named = [info.options.get("queue", "default") for info in types]
    named += [name for worker in serving for name in worker.queues or ()]
    named += [scope.removeprefix(SCOPE) for scope in gates if scope.startswith(SCOPE)]
    for name in (*wanted, *named):
        counts[name].update()
    oldest = await api.manager.oldest() if caller.types is None else {}  # the oldest may be of a type that is not the caller's
    now = await api.manager.now()
    return {
        name: _queue(
            name,
            counts=counts[name],
            oldest_age=oldest.get(name),
            gate=gates.get(f"{SCOPE}{name}", _OPEN),
            now=now,
            workers=sum(worker.queues is None or name in worker.queues for worker in serving),
        )
        for name in counts
    }


def _queue(
    name: str, *, counts: Mapping[Status, int], oldest_age: float | None, gate: Gate, now: float, workers: int
) -> ShownQueue:
    return ShownQueue(
        name=name,
        counts={status: counts[status] for status in Status},
        oldest_age=oldest_age,
        paused=_paused(gate, now),
        max_running=gate.max_running,
        max_running_per_key=gate.max_running_per_key,
        rate=gate.rate,
        workers=workers,
    )


def _paused(gate: Gate, now: float) -> Paused | None:
    until = gate.paused_until
    if not gate.paused or (until is not None and until <= now):
        return None
    return Paused(gate.reason, None if until is None else moment(until))
