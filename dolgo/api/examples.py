"""Examples for the OpenAPI document. A test holds that they are what is really sent and answered."""

from __future__ import annotations

from typing import Any

ID = "01976f2e-8c1a-7c3e-9b2d-5a4f0e6d7c81"
OTHER_ID = "01976f2e-8c1a-7c3f-8a11-0c9d3b5e7f42"
WORKER = "01976f2a-1f00-7000-a4d2-6f5e4d3c2b1a"

QUEUED = {"id": ID, "status": "queued"}
DONE = {"id": ID, "status": "done", "result": {"result": "success"}}
NEW_TASK = {"type": "long_task", "payload": {"seconds": 0.1}}

FULL: dict[str, Any] = {
    **DONE,
    "error": None,
    "type": "long_task",
    "queue": "default",
    "priority": 5,
    "payload": {"seconds": 0.1},
    "attempt": 1,
    "max_attempts": 1,
    "timeout": None,
    "keep": None,
    "created_at": "2026-01-31T12:00:00.000000Z",
    "run_at": "2026-01-31T12:00:00.000000Z",
    "started_at": "2026-01-31T12:00:00.001500Z",
    "finished_at": "2026-01-31T12:00:00.102000Z",
    "expires_at": None,
    "worker": WORKER,
    "progress": {"done": 3, "total": 3, "note": ""},
    "waiting_for": None,
    "attempts": [
        {
            "number": 1,
            "worker": WORKER,
            "started_at": "2026-01-31T12:00:00.001500Z",
            "finished_at": "2026-01-31T12:00:00.102000Z",
            "outcome": "done",
            "error": None,
        }
    ],
    "parents": [],
    "dependents": [],
    "submitted": [],
    "tags": [],
    "on_parent_failure": "cancel",
    "unique_key": None,
    "limit_key": None,
}

QUEUE: dict[str, Any] = {
    "name": "mail",
    "counts": {"waiting": 0, "queued": 12, "in_progress": 0, "done": 340, "failed": 1, "cancelled": 0},
    "oldest_age": 31.5,
    "paused": {"reason": "the mail server is being moved", "until": "2040-01-31T14:00:00.000000Z"},
    "max_running": 3,
    "max_running_per_key": None,
    "rate": 10.0,
    "workers": 2,
}

OPEN_QUEUE = {**QUEUE, "paused": None}

TYPE: dict[str, Any] = {
    "name": "shout",
    "description": "Say it louder.",
    "payload_schema": {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$ref": "#/$defs/shout",
        "$defs": {
            "shout": {
                "title": "shout",
                "type": "object",
                "properties": {"text": {"type": "string"}, "marks": {"default": 1, "type": "integer"}},
                "required": ["text"],
                "additionalProperties": False,
            }
        },
    },
    "result_schema": {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "type": "object",
        "additionalProperties": {"type": "string"},
    },
    "options": {"queue": "default", "priority": 5, "retries": 3},
    "workers": 1,
}
BROKEN = {"file": "tasks/whisper.py", "worker": WORKER, "error": "ModuleNotFoundError: No module named 'voice'"}

WORKING: dict[str, Any] = {
    "id": WORKER,
    "host": "mail-1",
    "pid": 4711,
    "version": "0.1.0",
    "state": "running",
    "queues": None,
    "types": ["long_task", "shout"],
    "slots": 5,
    "running": [ID],
    "heartbeat_age": 3.25,
    "started_at": "2026-01-31T11:58:00.000000Z",
}

NEW_SCHEDULE: dict[str, Any] = {"cron": "30 2 * * *", "timezone": "Europe/Berlin", **NEW_TASK, "options": {"retries": 3}}
SCHEDULE: dict[str, Any] = {
    "name": "nightly",
    "cron": "30 2 * * *",
    "every": None,
    "timezone": "Europe/Berlin",
    **NEW_TASK,
    "options": {
        "queue": None,
        "priority": None,
        "timeout": None,
        "retries": 3,
        "keep": None,
        "tags": None,
        "unique_key": None,
        "limit_key": None,
    },
    "missed": "skip",
    "overlap": "allow",
    "paused": False,
    "next": [f"2026-02-0{day}T01:30:00.000000Z" for day in range(1, 6)],
    "last_run": {"time": "2026-01-31T01:30:00.000000Z", "id": ID},
    "last_error": None,
}

# By method and path: what is sent, under its name.
SENT: dict[tuple[str, str], dict[str, Any]] = {
    ("POST", "/tasks"): {
        "plain": NEW_TASK,
        "with options": {**NEW_TASK, "priority": 9, "delay": 60, "retries": 3, "timeout": 30, "tags": ["nightly"]},
    },
    ("POST", "/tasks/batch"): {
        "two tasks": {"tasks": [NEW_TASK, NEW_TASK]},
        "one after the other": {"tasks": [{**NEW_TASK, "ref": "first"}, {**NEW_TASK, "depends_on": ["ref:first"]}]},
    },
    ("PATCH", "/queues/{queue}"): {"limits": {"max_running": 3, "rate": 10}},
    ("PUT", "/queues/{queue}/pause"): {
        "paused": {},
        "for a while": {"reason": "the mail server is being moved", "until": "2040-01-31T14:00:00Z"},
    },
    ("PUT", "/schedules/{name}"): {"every night": NEW_SCHEDULE, "every minute": {"every": 60, "type": "long_task"}},
}

# By method, path and status: what is answered, under its name.
ANSWERED: dict[tuple[str, str, int], dict[str, Any]] = {
    ("POST", "/tasks", 202): {"accepted": QUEUED},
    ("POST", "/tasks", 200): {"done within the wait": DONE},
    ("POST", "/tasks/batch", 202): {"accepted": {"tasks": [QUEUED, {**QUEUED, "id": OTHER_ID}]}},
    ("GET", "/tasks/{id}", 200): {
        "queued": QUEUED,
        "in progress": {"id": ID, "status": "in_progress"},
        "done": DONE,
        "failed": {"id": ID, "status": "failed", "error": "ValueError: no such page"},
        "all there is": FULL,
    },
    ("GET", "/tasks", 200): {"last page": {"tasks": [DONE], "next": None}},
    ("POST", "/tasks/cancel", 200): {"cancelled": {"matched": 12, "changed": 12, "more": False}},
    ("POST", "/tasks/retry", 200): {"retried": {"matched": 12, "changed": 11, "more": False}},
    ("GET", "/tasks/{id}/logs", 200): {
        "all of it": {
            "lines": [
                {"attempt": 1, "number": 1, "time": "2026-01-31T12:00:00.002000Z", "level": "info", "text": "Fetching page 1."}
            ],
            "next": None,
        }
    },
    ("GET", "/types", 200): {"one type, and a broken file": {"types": [TYPE], "broken": [BROKEN]}},
    ("GET", "/types/{type}", 200): {"a type": TYPE},
    ("GET", "/queues", 200): {"one queue": {"queues": [QUEUE]}},
    ("GET", "/queues/{queue}", 200): {"paused": QUEUE},
    ("PATCH", "/queues/{queue}", 200): {"limited": OPEN_QUEUE},
    ("PUT", "/queues/{queue}/pause", 200): {"paused": QUEUE},
    ("DELETE", "/queues/{queue}/pause", 200): {"resumed": OPEN_QUEUE},
    ("GET", "/schedules", 200): {"one schedule": {"schedules": [SCHEDULE]}},
    ("GET", "/schedules/{name}", 200): {"every night": SCHEDULE},
    ("PUT", "/schedules/{name}", 201): {"new": {**SCHEDULE, "last_run": None}},
    ("PUT", "/schedules/{name}", 200): {"replaced": SCHEDULE},
    ("PUT", "/schedules/{name}/pause", 200): {"paused": {**SCHEDULE, "paused": True, "next": []}},
    ("DELETE", "/schedules/{name}/pause", 200): {"resumed": SCHEDULE},
    ("POST", "/schedules/{name}/run", 202): {"accepted": QUEUED},
    ("POST", "/tasks/{id}/cancel", 200): {"cancelled": {"id": ID, "status": "cancelled"}},
    ("POST", "/tasks/{id}/cancel", 202): {"asked": {"id": ID, "status": "in_progress"}},
    ("POST", "/tasks/{id}/retry", 202): {"accepted": QUEUED},
    ("GET", "/workers", 200): {"one worker": {"workers": [WORKING]}},
    ("POST", "/workers/{worker}/drain", 202): {"asked": {**WORKING, "state": "draining", "heartbeat_age": 0.0}},
}

# By slug: the sentence of an error, and the members it names.
REFUSED: dict[str, tuple[str, tuple[tuple[str, str], ...]]] = {
    "malformed-json": ("The body is not valid JSON: trailing characters (byte 14).", ()),
    "malformed-request": ("The head must have one Host.", ()),
    "unauthorized": ("This needs a token: send it as `Authorization: Bearer TOKEN`.", ()),
    "forbidden": ("Pages of other sites may not change anything here (Origin).", ()),
    "not-found": (f"There is no task {ID}.", ()),
    "method-not-allowed": ("/tasks/batch takes POST, not GET.", ()),
    "request-timeout": ("The head of the request did not come within 10 seconds.", ()),
    "conflict": ("The task is queued: only a failed or cancelled one can be retried.", ()),
    "too-large": ("The body has more than the 2097152 bytes that are allowed here.", ()),
    "target-too-long": ("The target has more than 16384 bytes.", ()),
    "unsupported-media-type": ("The body must be JSON: send it as application/json, not as 'text/xml'.", ()),
    "unknown-type": (
        "No worker has announced the task type 'long_tusk'. Did you mean 'long_task'?",
        (("/type", "No worker has announced the task type 'long_tusk'. Did you mean 'long_task'?"),),
    ),
    "invalid-payload": (
        "The payload does not fit the task type: /payload/seconds: Expected `float`, got `str`.",
        (("/payload/seconds", "Expected `float`, got `str`"),),
    ),
    "invalid-request": (
        "The request cannot be used: /priority: Expected `int` <= 9 (1 more).",
        (("/priority", "Expected `int` <= 9"), ("/colour", "Object contains unknown field `colour`")),
    ),
    "idempotency-key-reused": ("The Idempotency-Key 'order-17' was used within the last day with another body.", ()),
    "rate-limited": ("This token may ask 100 times a second.", ()),
    "upgrade-required": ("This address speaks WebSocket, version 13: connect with a WebSocket client.", ()),
    "head-too-large": ("The head has more than 100 headers.", ()),
    "queue-full": ("More requests wait for the store than it can take.", ()),
    "store-unavailable": ("The store cannot be written or read right now.", ()),
    "not-ready": ("Not ready: draining: the service is stopping.", ()),
}
