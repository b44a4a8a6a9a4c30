"""What the machine may do to a store: the choices hypothesis has."""

from __future__ import annotations

from collections.abc import Callable

from hypothesis import strategies as st
from msgspec.structs import replace

from dolgo.task.types import EventKind, Lease, OnParentFailure, Settlement, Status
from tests.store.build import again, back, deferred, done, failed, stopped

WORKERS = ("w1", "w2", "w3")
LEASE = 30.0
ARROWS = {  # every arrow there is; None: not there, or deleted
    (None, Status.QUEUED),
    (Status.QUEUED, Status.IN_PROGRESS),
    (Status.QUEUED, Status.CANCELLED),
    (Status.IN_PROGRESS, Status.QUEUED),
    (Status.IN_PROGRESS, Status.DONE),
    (Status.IN_PROGRESS, Status.FAILED),
    (Status.IN_PROGRESS, Status.CANCELLED),
    (Status.FAILED, Status.QUEUED),
    (Status.CANCELLED, Status.QUEUED),
    (None, Status.WAITING),
    (None, Status.CANCELLED),  # a parent had ended without `done`
    (Status.WAITING, Status.QUEUED),
    (Status.WAITING, Status.CANCELLED),
    (Status.FAILED, Status.WAITING),
    (Status.CANCELLED, Status.WAITING),
}
WAYS: dict[str, Callable[[Lease], Settlement]] = {
    "done": done,
    "failed": failed,
    "stopped": stopped,
    "again": again,
    "again at once": lambda lease: again(lease, 0),
    "lost alone": lambda lease: replace(back(lease, started=True), losses=lease.losses + 1, suspect=True),
    "deferred": deferred,
    "given back": lambda lease: back(lease, started=True),
    "given back unstarted": lambda lease: back(lease, started=False),
}

# Numbers that pick from what there is, newest first, so that small ones are plain to read.
pick = st.integers(0, 12)
picks = st.lists(pick, min_size=1, max_size=3)
workers = st.sampled_from(WORKERS)
ways = st.sampled_from(sorted(WAYS))
some = st.frozensets
new_tasks = st.fixed_dictionaries(
    {
        "queue": st.sampled_from("ab"),
        "type": st.sampled_from("xy"),
        "hash": st.sampled_from("12"),
        "priority": st.sampled_from([5, 0, 6, 9]),
        "wait": st.sampled_from([0.0, 0.0, 0.0, 10.0, 700.0, -50.0]),
        "max_attempts": st.integers(1, 3),
        "kin": st.sampled_from(
            [
                {},
                {},
                {"parents": [0]},
                {"parents": [1]},
                {"parents": [0, 2]},
                {"parents": [0], "on_parent_failure": OnParentFailure.RUN},
                {"inside": True},  # depends on the task before it in the same call
                {"inside": True, "parents": [1], "on_parent_failure": OnParentFailure.RUN},
            ]
        ),
        "says": st.sampled_from(  # in one draw, because each has its price
            [
                {},
                {},
                {"unique_key": "u"},
                {"unique_key": "u", "limit_key": "k"},
                {"limit_key": "k"},
                {"limit_key": "l", "keep": 20.25},
                {"expires": 15.25},
                {"expires": 15.25, "unique_key": "u", "timeout": 1.5},
                {"needed": 777.25},
                {"keep": 20.25, "needed": 777.25},
            ]
        ),
    }
)
SCOPES = ("queue/a", "type/x", "queue/b")
KINDS_OF_NOTES = (EventKind.PROGRESS, EventKind.LOG)
FREE = {"max_running": None, "max_running_per_key": None, "rate": None, "paused": False, "paused_until": None, "reason": None}
gate_changes = st.sampled_from(
    [
        FREE,
        {"max_running": 1},
        {"max_running_per_key": 1},
        {"rate": 0.5},
        {"max_running": 2, "max_running_per_key": 2, "rate": 5.0},
        {"paused": True, "reason": "because"},
        {"paused": True, "paused_until": 12.75},
        {"max_running": None, "paused": False, "paused_until": None, "reason": None},
    ]
)
claims = st.fixed_dictionaries(
    {
        "worker": workers,
        "limit": st.sampled_from([3, 1, 0, 8]),
        "lease": st.sampled_from([LEASE, 10.0]),
        "types": st.sampled_from([frozenset("xy"), frozenset("x"), frozenset("yz"), frozenset()]),
        "queues": st.sampled_from([None, frozenset("a"), frozenset("bc")]),
        "ahead": st.sampled_from([False, False, True]),
        "avoid": st.sampled_from([frozenset(), frozenset({("x", "1")}), frozenset({("x", "2"), ("y", "2")})]),
    }
)
