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
    "created_at": "2026-01-31T12:00:00.000000Z",
    "run_at": "2026-01-31T12:00:00.000000Z",
    "started_at": "2026-01-31T12:00:00.001500Z",
    "finished_at": "2026-01-31T12:00:00.102000Z",
    "expires_at": None,
    "worker": WORKER,
    "progress": None,
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
    "unique_key": None,
    "limit_key": None,
}

# By method and path: what is sent, under its name.
SENT: dict[tuple[str, str], dict[str, Any]] = {
    ("POST", "/tasks"): {
        "plain": NEW_TASK,
        "with options": {**NEW_TASK, "priority": 9, "delay": 60, "tags": ["nightly"]},
    },
    ("POST", "/tasks/batch"): {"two tasks": {"tasks": [NEW_TASK, NEW_TASK]}},
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
    ("POST", "/tasks/{id}/cancel", 200): {"cancelled": {"id": ID, "status": "cancelled"}},
    ("POST", "/tasks/{id}/cancel", 202): {"asked": {"id": ID, "status": "in_progress"}},
    ("POST", "/tasks/{id}/retry", 202): {"accepted": QUEUED},
}

# By slug: the sentence of an error, and the members it names.
REFUSED: dict[str, tuple[str, tuple[tuple[str, str], ...]]] = {
    "malformed-json": ("The body is not valid JSON: trailing characters (byte 14).", ()),
    "forbidden": ("Pages of other sites may not change anything here (Origin).", ()),
    "not-found": (f"There is no task {ID}.", ()),
    "method-not-allowed": ("/tasks/batch takes POST, not GET.", ()),
    "conflict": ("The task is queued: only a failed or cancelled one can be retried.", ()),
    "too-large": ("The body has more than the 1114112 bytes that are allowed here.", ()),
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
    "queue-full": ("More requests wait for the store than it can take.", ()),
    "store-unavailable": ("The store cannot be written or read right now.", ()),
    "not-ready": ("Not ready: draining: the service is stopping.", ()),
}
