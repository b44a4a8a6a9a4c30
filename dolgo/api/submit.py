"""Submitting: one task, or a batch of them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence

from msgspec import Raw
from msgspec.structs import replace

from dolgo import tracing
from dolgo.api import asked
from dolgo.api.access.caller import Caller
from dolgo.api.access.limits import announced, check_parents, permitted
from dolgo.api.call import Answer, Call, Header
from dolgo.api.intake import read_batch, read_task, typed_payload
from dolgo.api.parts import Api
from dolgo.api.problem import MOST
from dolgo.api.views import accepted, short
from dolgo.errors import InvalidPayload, InvalidRequest, Problem, UnknownType
from dolgo.task.manager import Accepted, Submission
from dolgo.task.tokens import Scope
from dolgo.task.types import End, Task

ENVELOPE = 1 << 20  # bytes that everything of a task but its payload may take: 10,000 ids are some 400,000
READ_AT_ONCE = 1 << 17  # bytes of a batch that are read before others get a turn of the loop
READING, EXPLAINING = 1 << 9, 1 << 12  # bytes that an item counts for besides its own, when it is read and when it is wrong

REPLAYED = (b"idempotency-replayed", b"true")
EXISTING = (b"dolgo-existing", b"true")


async def submit(api: Api, call: Call) -> Answer:
    """Submit a task.

    It is stored before the answer is sent. With `wait` the answer is held back until the task has ended, or the time is over."""
    body = await call.body(api.limits.max_payload + ENVELOPE)
    timeout, headers = asked.wait(call)
    once = await asked.once(call, body)
    try:
        submission = read_task(body)
    except InvalidRequest:
        raise InvalidRequest.of(await _problems(api, call.caller, body, "")) from None
    if api.spans or b"traceparent" in call.headers:
        submission = _traced(submission, tracing.read(call.headers))
    if call.caller.limited:
        submission = await permitted(api, call.caller, submission)
        await check_parents(api, call.caller, (submission,), pointed=False)
    task = None
    if timeout:
        answer, task = await call.while_there(api.manager.submit_and_wait(submission, once=once, timeout=timeout))
    else:
        answer = await api.manager.submit((submission,), once=once)
    ((id, status),) = answer.tasks
    headers = ((b"location", b"/tasks/" + id.encode()), *headers, *told(answer))
    if task is None or not _may_see(call.caller, task, existing=answer.existing):
        return Answer(202, accepted(id, status), headers)
    return Answer(200, short(task), headers)


def _may_see(caller: Caller, task: Task | End, *, existing: bool) -> bool:
    """Whether the caller may be told how it ended: if another's task stands for its own, it takes more than to submit."""
    if existing and not caller.may(Scope.READ):
        return False
    return isinstance(task, End) or caller.sees(task.type, task.queue)


async def submit_batch(api: Api, call: Call) -> Answer:
    """Submit up to 10,000 tasks: all of them, or none.

    What is wrong is named for every task, with pointers such as `/tasks/17/payload/url`."""
    body = await call.body(api.limits.max_batch)
    once = await asked.once(call, body)
    items, problems = await read_batch(body)
    submissions = None if problems else await _read_all(items)
    if submissions is None:
        raise await _all_wrong_in_batch(api, call.caller, items, problems)
    if api.spans or b"traceparent" in call.headers:
        sent = tracing.read(call.headers)
        submissions = [_traced(submission, sent) for submission in submissions]
    if call.caller.limited:
        submissions = [await permitted(api, call.caller, one, f"/tasks/{place}") for place, one in enumerate(submissions)]
        await check_parents(api, call.caller, submissions, pointed=True)
    answer = await api.manager.submit(submissions, batch=True, once=once)
    tasks = b",".join([accepted(id, status) for id, status in answer.tasks])
    return Answer(202, b'{"tasks":[%b]}' % tasks, told(answer))


def told(answer: Accepted) -> tuple[Header, ...]:
    """The headers that say why the tasks are not new."""
    return (*((REPLAYED,) if answer.replayed else ()), *((EXISTING,) if answer.existing else ()))


def _traced(submission: Submission, sent: tracing.Trace | None) -> Submission:
    """With where it comes from."""
    return replace(submission, extras=tracing.submitted(sent, submission.type))


async def _read_all(items: Sequence[Raw]) -> list[Submission] | None:
    """None if anything is wrong with one of them."""
    try:
        return [read_task(item, at) async for at, item in _in_turns(items, READING)]
    except InvalidRequest:
        return None


async def _in_turns(items: Sequence[Raw], each: int) -> AsyncIterator[tuple[str, Raw]]:
    """Each item with its pointer; others get their turns of the loop in between."""
    read = 0
    for place, item in enumerate(items):
        yield f"/tasks/{place}", item
        read += each + memoryview(item).nbytes
        if read > READ_AT_ONCE:
            read = 0
            await asyncio.sleep(0)


async def _all_wrong_in_batch(api: Api, caller: Caller, items: Sequence[Raw], problems: list[Problem]) -> InvalidRequest:
    async for at, item in _in_turns(items, EXPLAINING):
        problems += await _problems(api, caller, item, at)
        if len(problems) > MOST:
            break
    return InvalidRequest.of(problems)


async def _problems(api: Api, caller: Caller, raw: bytes | Raw, at: str) -> list[Problem]:
    """All that is wrong with a task, its payload included if its type is the caller's. Raises MalformedJson."""
    problems: list[Problem] = []
    try:
        read_task(raw, at)
    except InvalidRequest as error:
        problems += error.problems
    named = typed_payload(raw)
    if named is not None and caller.sees_type(named[0]):
        try:
            info = await announced(api, caller, named[0])
            api.manager.types.shape(info).check(named[1], f"{at}/payload")
        except UnknownType as error:
            problems.append(Problem(f"{at}/type", error.detail))
        except InvalidPayload as error:
            problems += error.problems
    return problems
