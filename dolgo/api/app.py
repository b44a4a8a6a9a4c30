"""The web: every address there is, and the application made of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from dolgo import tracing
from dolgo.api import audit, bulk, events, listing, logs, metrics, pages, queues, resources, schedules, socket, submit, tasks
from dolgo.api import health as probes
from dolgo.api.access.entrance import Entrance
from dolgo.api.call import Answer
from dolgo.api.dispatch import App
from dolgo.api.docs import page
from dolgo.api.parts import Api, Health, Limits, Metrics
from dolgo.api.query import AUDIT, BULK, EVENTS, LINES, LIST, TASK_EVENTS, VIEW, WAIT
from dolgo.api.route import Header, Of, Reply, Route
from dolgo.api.schema import (
    Accepted,
    AcceptedBatch,
    Batch,
    Changed,
    Empty,
    FullTask,
    Healthy,
    NewLimits,
    NewPause,
    NewSchedule,
    Queues,
    Schedules,
    ShortTask,
    ShownQueue,
    ShownSchedule,
    ShownType,
    ShownWorker,
    TaskPage,
    Types,
    Workers,
)  # fmt: skip
from dolgo.api.spec import spec
from dolgo.api.told import AuditPage, Events, Lines
from dolgo.errors import Conflict, IdempotencyKeyReused, InvalidPayload, NotReady, QueueFull, UnknownType, UpgradeRequired
from dolgo.metrics.tally import Tally
from dolgo.task.allowed import NewTask
from dolgo.task.audit import Audit
from dolgo.task.fleet import Fleet
from dolgo.task.follow import Follow
from dolgo.task.manager import Manager
from dolgo.task.schedules import Schedules as Plans
from dolgo.task.tokens import Scope

__all__ = ["PROBES", "ROUTES", "Health", "Limits", "create"]

STREAM = "text/event-stream"
_TEXT = {"type": "string"}
_NUMBER = {"type": "integer"}

PREFER = Header("Prefer", _TEXT, "`wait=SECONDS`, as the parameter `wait`.")
ONCE = Header("Idempotency-Key", {**_TEXT, "minLength": 1, "maxLength": 255}, "Sent twice within a day, the tasks are still one.")
TRACE = (
    Header("traceparent", _TEXT, "W3C Trace Context: kept with the task and given to its handler."),
    Header("tracestate", _TEXT, "Goes with `traceparent`."),
)
UNLESS = Header("If-None-Match", _TEXT, "An ETag: answer only if the task is shown otherwise now.")

LOCATION = Header("Location", _TEXT, "Where the task is.")
APPLIED = Header("Preference-Applied", _TEXT, "`wait=SECONDS`, if `Prefer` asked for it.")
REPLAYED = Header("Idempotency-Replayed", {"const": "true"}, "These are the tasks that were submitted under this key before.")
EXISTING = Header(
    "Dolgo-Existing", {"const": "true"}, "A task of this `unique_key` has not ended: this is it, and nothing is new."
)
ETAG = Header("ETag", _TEXT, "The same for the same body.")
LAST = Header("Last-Event-ID", _TEXT, "Of a stream: the `id` of the last event that was seen.")
AGAIN = Header("Retry-After", _NUMBER, "Seconds until it is worth asking again; only while the task has not ended.")
LINK = Header("Link", _TEXT, "The next page, with `rel=next`.")

SUBMIT = (UnknownType, InvalidPayload, IdempotencyKeyReused, QueueFull)
CHANGE = (Conflict, QueueFull)

ROUTES = (
    Route(
        "POST", "/tasks", Scope.SUBMIT, submit.submit,
        {
            202: Reply("Stored.", Accepted, (LOCATION, APPLIED, REPLAYED, EXISTING)),
            200: Reply("Stored, and ended within the time to wait.", ShortTask, (LOCATION, APPLIED, REPLAYED, EXISTING)),
        },
        query=(WAIT,), headers=(PREFER, ONCE, *TRACE), takes=NewTask, refuses=SUBMIT, of=Of.OWN,
    ),
    Route(
        "POST", "/tasks/batch", Scope.SUBMIT, submit.submit_batch,
        {202: Reply("All of them are stored.", AcceptedBatch, (REPLAYED, EXISTING))},
        headers=(ONCE, *TRACE), takes=Batch, refuses=SUBMIT, of=Of.OWN,
    ),
    Route(
        "POST", "/tasks/cancel", Scope.OPERATE, bulk.cancel_tasks, {200: Reply("What was done.", Changed)},
        query=BULK, takes=Empty, refuses=(QueueFull,), of=Of.OWN,
    ),
    Route(
        "POST", "/tasks/retry", Scope.OPERATE, bulk.retry_tasks, {200: Reply("What was done.", Changed)},
        query=BULK, takes=Empty, refuses=(QueueFull,), of=Of.OWN,
    ),
    Route("GET", "/tasks", Scope.READ, listing.list_tasks, {200: Reply("A page.", TaskPage, (LINK,))}, query=LIST, of=Of.OWN),
    Route(
        "GET", "/tasks/{id}", Scope.READ, tasks.get_task,
        {
            200: Reply("How it stands.", (ShortTask, FullTask), (ETAG, AGAIN, APPLIED)),
            304: Reply("As the client has it already.", (), (ETAG, AGAIN, APPLIED)),
        },
        query=(WAIT, VIEW), headers=(PREFER, UNLESS), of=Of.TASK,
    ),
    Route("GET", "/tasks/{id}/logs", Scope.READ, logs.get_logs, {200: Reply("A part.", Lines)}, query=LINES, of=Of.TASK),
    Route("DELETE", "/tasks/{id}", Scope.OPERATE, tasks.delete_task, {204: Reply("It is gone.")}, refuses=CHANGE, of=Of.TASK),
    Route(
        "POST", "/tasks/{id}/cancel", Scope.OPERATE, tasks.cancel_task,
        {
            200: Reply("It is cancelled.", Accepted, (LOCATION,)),
            202: Reply("It runs, and its worker was asked to stop it.", Accepted, (LOCATION,)),
        },
        takes=Empty, refuses=CHANGE, of=Of.TASK,
    ),
    Route(
        "POST", "/tasks/{id}/retry", Scope.OPERATE, tasks.retry_task,
        {202: Reply("It will run again.", Accepted, (LOCATION,))},
        takes=Empty, refuses=CHANGE, of=Of.TASK,
    ),
    Route(
        "GET", "/tasks/{id}/events", Scope.READ, events.get_task_events,
        {
            200: Reply("A page, or a stream.", Events, streams=STREAM),
            204: Reply("To a stream: the task has ended, and everything was told."),
        },
        query=TASK_EVENTS, headers=(LAST,), of=Of.TASK,
    ),
    Route(
        "GET", "/events", Scope.READ, events.get_events, {200: Reply("A page, or a stream.", Events, streams=STREAM)},
        query=EVENTS, headers=(LAST,), of=Of.OWN,
    ),
    Route(
        "GET", "/ws", Scope.READ, socket.open_socket, {101: Reply("WebSocket is spoken from here on.")},
        refuses=(UpgradeRequired,), of=Of.OWN,
    ),
    Route("GET", "/types", Scope.READ, resources.list_types, {200: Reply("Every type.", Types)}, of=Of.OWN),
    Route("GET", "/types/{type}", Scope.READ, resources.get_type, {200: Reply("The type.", ShownType)}, of=Of.TYPE),
    Route("GET", "/queues", Scope.READ, queues.list_queues, {200: Reply("Every queue.", Queues)}, of=Of.OWN),
    Route("GET", "/queues/{queue}", Scope.READ, queues.get_queue, {200: Reply("The queue.", ShownQueue)}, of=Of.QUEUE),
    Route(
        "PATCH", "/queues/{queue}", Scope.OPERATE, queues.limit_queue, {200: Reply("The queue as it is now.", ShownQueue)},
        takes=NewLimits, refuses=(QueueFull,), of=Of.QUEUE,
    ),
    Route(
        "PUT", "/queues/{queue}/pause", Scope.OPERATE, queues.pause_queue, {200: Reply("The queue as it is now.", ShownQueue)},
        takes=NewPause, refuses=(QueueFull,), of=Of.QUEUE,
    ),
    Route(
        "DELETE", "/queues/{queue}/pause", Scope.OPERATE, queues.resume_queue,
        {200: Reply("The queue as it is now.", ShownQueue)},
        refuses=(QueueFull,), of=Of.QUEUE,
    ),
    Route("GET", "/schedules", Scope.READ, schedules.list_schedules, {200: Reply("Every schedule.", Schedules)}, of=Of.OWN),
    Route(
        "GET", "/schedules/{name}", Scope.READ, schedules.get_schedule, {200: Reply("The schedule.", ShownSchedule)},
        of=Of.SCHEDULE,
    ),
    Route(
        "PUT", "/schedules/{name}", Scope.OPERATE, schedules.put_schedule,
        {201: Reply("It is new.", ShownSchedule), 200: Reply("It was replaced.", ShownSchedule)},
        takes=NewSchedule, refuses=(UnknownType, InvalidPayload, QueueFull), of=Of.SCHEDULE,
    ),
    Route(
        "DELETE", "/schedules/{name}", Scope.OPERATE, schedules.delete_schedule, {204: Reply("It is gone.")},
        refuses=(QueueFull,), of=Of.SCHEDULE,
    ),
    Route(
        "PUT", "/schedules/{name}/pause", Scope.OPERATE, schedules.pause_schedule,
        {200: Reply("The schedule as it is now.", ShownSchedule)},
        takes=Empty, refuses=(QueueFull,), of=Of.SCHEDULE,
    ),
    Route(
        "DELETE", "/schedules/{name}/pause", Scope.OPERATE, schedules.resume_schedule,
        {200: Reply("The schedule as it is now.", ShownSchedule)},
        refuses=(QueueFull,), of=Of.SCHEDULE,
    ),
    Route(
        "POST", "/schedules/{name}/run", Scope.OPERATE, schedules.run_schedule,
        {202: Reply("Stored.", Accepted, (LOCATION, REPLAYED, EXISTING))},
        headers=(ONCE,), takes=Empty, refuses=SUBMIT, of=Of.SCHEDULE,
    ),
    Route("GET", "/workers", Scope.READ, resources.list_workers, {200: Reply("Every worker.", Workers)}),
    Route(
        "POST", "/workers/{worker}/drain", Scope.OPERATE, resources.drain_worker,
        {202: Reply("It was asked to, or drains already.", ShownWorker)},
        takes=Empty, refuses=(QueueFull,),
    ),
    Route("GET", "/audit", Scope.ADMIN, audit.list_audit, {200: Reply("A part.", AuditPage)}, query=AUDIT),
    Route("GET", "/livez", None, probes.livez, {200: Reply("It turns.", Healthy)}, refuses=(NotReady,)),
    Route("GET", "/readyz", None, probes.readyz, {200: Reply("It can take work.", Healthy)}, refuses=(NotReady,)),
    Route("GET", "/healthz", None, probes.healthz, {200: Reply("All is well.", Healthy)}, refuses=(NotReady,)),
    Route(
        "GET", "/metrics", Scope.METRICS, metrics.get_metrics,
        {200: Reply("The page.", str, media_type="text/plain")},
    ),
    Route("GET", "/openapi.json", Scope.READ, pages.openapi, {200: Reply("OpenAPI 3.1.", dict[str, Any])}, of=Of.OWN),
    Route("GET", "/docs", Scope.READ, pages.docs, {200: Reply("A page for people.", str, media_type="text/html")}, of=Of.OWN),
)  # fmt: skip


# What needs no token if the setting `public_docs` says so.
DOCS = frozenset({"/docs", "/openapi.json"})

# What a worker alone answers on its health port.
PROBES = tuple(route for route in ROUTES if route.path in ("/livez", "/readyz", "/healthz", "/metrics"))


def create(
    manager: Manager,
    fleet: Fleet,
    plans: Plans,
    *,
    follow: Follow,
    health: Health,
    figures: Metrics,
    tally: Tally,
    limits: Limits,
    version: str,
    entrance: Entrance,
    audit: Audit,
    local: bool = False,
    routes: Sequence[Route] = ROUTES,
) -> App:
    """The ASGI application. `local`: it listens on this machine alone, so it answers to no other name than this machine's."""
    document = spec(routes, version)
    described = Answer(200, msgspec.json.encode(document))
    api = Api(
        manager, fleet, plans, follow, health, limits, version, described, page(document), audit, figures, tally,
        spans=tracing.is_set_up(),
    )  # fmt: skip
    return App(api, routes, entrance, local=local)
