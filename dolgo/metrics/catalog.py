"""Every metric there is. `docs/reference/metrics.md` has the same table, and a test holds one to the other.

Names and units go by Prometheus's conventions: base units, `_total` on counters alone. Labels name few things only: a queue, a
type, an operation, an outcome. No id, host or text of a user is ever one."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

LONG = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0, 3600.0)  # seconds
SHORT = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)  # seconds
SIZES = (1.0, 2.0, 5.0, 10.0, 25.0, 50.0, 100.0, 250.0, 500.0, 1000.0, 2500.0, 10000.0)  # items


class Metric(Struct, frozen=True):
    """One name that is exposed."""

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    help: str
    labels: tuple[str, ...] = ()
    buckets: tuple[float, ...] = ()  # of a histogram: upper bounds, without infinity


KIND = ("queue", "type")

# Of this process, counted as it happens.
SUBMITTED = Metric("dolgo_tasks_submitted_total", "counter", "Tasks stored by this process.", KIND)
CLAIMED = Metric("dolgo_tasks_claimed_total", "counter", "Tasks claimed by the worker of this process.", KIND)
ENDED = Metric("dolgo_attempts_ended_total", "counter", "Attempts whose end was stored, by how they ended.", (*KIND, "outcome"))
SETTLED = Metric("dolgo_tasks_settled_total", "counter", "Tasks that an attempt made final, by status.", (*KIND, "outcome"))
RETRIED = Metric("dolgo_tasks_retried_total", "counter", "Attempts after which the task is tried again.", (*KIND, "outcome"))
FENCED = Metric("dolgo_settles_fenced_total", "counter", "Ends that came too late: their lease was lost.", KIND)
RECLAIMED = Metric("dolgo_tasks_reclaimed_total", "counter", "Tasks of dead workers queued again by this process.")
RUN = Metric("dolgo_task_run_seconds", "histogram", "How long handlers ran, by attempt.", KIND, LONG)
WAIT = Metric("dolgo_task_wait_seconds", "histogram", "From when a task could run to the claim, by attempt.", KIND, LONG)
BATCH = Metric("dolgo_batch_size", "histogram", "Tasks that one call of the store carried.", ("operation",), SIZES)
REQUESTS = Metric("dolgo_http_requests_total", "counter", "Requests answered.", ("method", "route", "status"))
LATENCY = Metric(
    "dolgo_http_request_duration_seconds", "histogram", "Time to answer; without requests that wait.", ("method", "route"), SHORT
)
CALLS = Metric("dolgo_store_call_duration_seconds", "histogram", "Time a call of the store took.", ("operation",), SHORT)
ERRORS = Metric("dolgo_store_errors_total", "counter", "Calls that the store did not answer.", ("operation",))
OUTAGES = Metric("dolgo_store_outages_total", "counter", "Times the store went from answering to not answering.")
CHILDREN = Metric("dolgo_worker_children_died_total", "counter", "Child processes that ended unasked.", ("kind",))
PUBLISHED = Metric("dolgo_broker_notices_published_total", "counter", "Notices of new tasks that the broker has confirmed.")
UNPUBLISHED = Metric("dolgo_broker_notices_unpublished_total", "counter", "Notices that the broker did not confirm.")
HEARD = Metric(
    "dolgo_broker_notices_heard_total", "counter", "Notices that came from the broker, by what became of them.", ("outcome",)
)
LAG = Metric("dolgo_event_loop_lag_seconds", "histogram", "How late the event loop came to a timer.", (), SHORT)

# Of this process, read when it is asked.
UP = Metric("dolgo_store_up", "gauge", "1 if the last call of the store was answered.")
BROKER_UP = Metric("dolgo_broker_up", "gauge", "1 if the broker can be used; not there without one.")
SLOTS = Metric("dolgo_worker_slots", "gauge", "Tasks the worker of this process may run at once.")
USED = Metric("dolgo_worker_slots_used", "gauge", "Tasks the worker of this process holds; more than slots with those ahead.")
TURNED = Metric("dolgo_worker_claim_age_seconds", "gauge", "Seconds since the claim loop last came round.")
CONNECTIONS = Metric("dolgo_http_connections", "gauge", "Open HTTP connections.")
STREAMS = Metric("dolgo_event_streams", "gauge", "Open streams of events, and open WebSockets.", ("kind",))
BUILD = Metric("dolgo_build_info", "gauge", "Always 1: the version is in the label.", ("version",))

# Of the whole service, read from the store by `serve` when it is asked.
TASKS = Metric("dolgo_tasks", "gauge", "Tasks in the store.", (*KIND, "status"))
OLDEST = Metric("dolgo_queue_oldest_age_seconds", "gauge", "How long the first in line has waited; 0 if none does.", ("queue",))
PAUSED = Metric("dolgo_queue_paused", "gauge", "1 while the queue is paused.", ("queue",))
LIMIT = Metric("dolgo_queue_max_running", "gauge", "How many of the queue may run at once, where that is limited.", ("queue",))
WORKERS = Metric("dolgo_workers", "gauge", "Live workers of the whole service.", ("state",))
FLEET_SLOTS = Metric("dolgo_fleet_slots", "gauge", "Slots of all workers that claim.")

METRICS = (
    SUBMITTED, CLAIMED, ENDED, SETTLED, RETRIED, FENCED, RECLAIMED, RUN, WAIT, BATCH, REQUESTS, LATENCY, CALLS, ERRORS, OUTAGES,
    PUBLISHED, UNPUBLISHED, HEARD, LAG, UP, BROKER_UP, SLOTS, USED, TURNED,
    CHILDREN, CONNECTIONS, STREAMS, BUILD, TASKS, OLDEST, PAUSED, LIMIT, WORKERS, FLEET_SLOTS,
)  # fmt: skip
