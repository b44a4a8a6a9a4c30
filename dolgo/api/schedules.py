"""Schedules: tasks that are submitted again and again, by a clock."""

from __future__ import annotations

from msgspec import UNSET, Raw, structs
from msgspec.structs import replace

from dolgo.api import asked
from dolgo.api.access.limits import is_seen, permitted
from dolgo.api.call import Answer, Call, Did
from dolgo.api.intake import NOTHING, read
from dolgo.api.parts import Api
from dolgo.api.schema import Empty, LastRun, NewSchedule, Schedules, ShownSchedule, TaskOptions
from dolgo.api.submit import ENVELOPE, told
from dolgo.api.tasks import SMALL_BODY
from dolgo.api.views import accepted, answer, moment
from dolgo.errors import InvalidRequest, Problem
from dolgo.task.allowed import NAME_RULE, NewCallback, flaws, is_name, wished
from dolgo.task.manager import Submission
from dolgo.task.schedules import Planned, Schedule

UTC = "UTC"


async def list_schedules(api: Api, call: Call) -> Answer:
    """Every schedule, and when each runs next."""
    planned = [one for one in await api.schedules.all() if await is_seen(api, call.caller, one.schedule.submission)]
    return answer(Schedules([_shown(one) for one in planned]))


async def get_schedule(api: Api, call: Call) -> Answer:
    """One schedule, when it runs next, and what became of its last run."""
    return answer(_shown(await api.schedules.get(call.name)))


async def put_schedule(api: Api, call: Call) -> Answer:
    """Submit a task by a clock, again and again, until the schedule is deleted. A schedule of this name is replaced.

    Each time it is due one task is submitted, however many servers there are."""
    schedule = _read(await call.body(api.limits.max_payload + ENVELOPE), call.name)
    schedule = replace(schedule, submission=await permitted(api, call.caller, schedule.submission))
    planned, new = await api.schedules.put(call.name, schedule)
    return answer(_shown(planned), 201 if new else 200)


async def delete_schedule(api: Api, call: Call) -> Answer:
    """Forget a schedule. Tasks that it has submitted stay."""
    await api.schedules.delete(call.name)
    return Answer(204)


async def pause_schedule(api: Api, call: Call) -> Answer:
    """Let a schedule rest: no time makes a task until somebody resumes it. It can still be run by hand."""
    read(await call.body(SMALL_BODY) or NOTHING, Empty)
    return answer(_shown(await api.schedules.pause(call.name)))


async def resume_schedule(api: Api, call: Call) -> Answer:
    """Let a schedule go on, with its next time to come. If it did not rest, nothing changes."""
    return answer(_shown(await api.schedules.resume(call.name)))


async def run_schedule(api: Api, call: Call) -> Answer:
    """Submit the task of a schedule now, whether it is due, paused or neither."""
    body = await call.body(SMALL_BODY)
    read(body or NOTHING, Empty)
    found = await api.schedules.run(call.name, once=await asked.once(call, body))
    ((id, status),) = found.tasks
    call.did = Did((id,))
    return Answer(202, accepted(id, status), ((b"location", b"/tasks/" + id.encode()), *told(found)))


def _read(body: bytes, name: str) -> Schedule:
    """The schedule as it was sent. Raises InvalidRequest and MalformedJson."""
    sent = read(body, NewSchedule)
    options = sent.options or TaskOptions()
    problems = [] if is_name(name) else [Problem("/path/name", NAME_RULE)]
    if (sent.cron is None) == (sent.every is None):
        problems.append(Problem("/cron" if sent.every is None else "/every", "give either `cron` or `every`"))
    problems += flaws({"type": sent.type}, "")
    problems += flaws(structs.asdict(options), "/options")
    if problems:
        raise InvalidRequest.of(problems)
    return Schedule(
        cron=sent.cron,
        every=sent.every,
        timezone=sent.timezone or UTC,
        submission=_submission(sent, options),
        missed=sent.missed or "skip",
        overlap=sent.overlap or "allow",
        paused=bool(sent.paused),
    )


def _submission(sent: NewSchedule, options: TaskOptions) -> Submission:
    payload = NOTHING if sent.payload is UNSET else bytes(sent.payload)
    return Submission(
        type=sent.type,
        payload=payload,
        queue=options.queue,
        priority=options.priority,
        timeout=options.timeout,
        retries=options.retries,
        keep=options.keep,
        tags=options.tags or (),
        unique_key=options.unique_key,
        limit_key=options.limit_key,
        callback=None if options.callback is None else wished(options.callback),
    )


def _shown(planned: Planned) -> ShownSchedule:
    schedule, last = planned.schedule, planned.last
    return ShownSchedule(
        name=planned.name,
        cron=schedule.cron,
        every=schedule.every,
        timezone=schedule.timezone,
        type=schedule.submission.type,
        payload=Raw(schedule.submission.payload),
        options=_options(schedule.submission),
        missed=schedule.missed,
        overlap=schedule.overlap,
        paused=schedule.paused,
        next=[moment(at) for at in planned.next],
        last_run=None if last is None else LastRun(moment(last.at), last.id),
        last_error=planned.error,
    )


def _options(submission: Submission) -> TaskOptions:
    """What is null was not given."""
    values = {name: getattr(submission, name) for name in TaskOptions.__struct_fields__}
    wish = submission.callback
    callback = None if wish is None else NewCallback(wish.url, wish.on)
    return TaskOptions(**{**values, "tags": submission.tags or None, "callback": callback})
