"""What the machine may do to a store: the choices hypothesis has."""

from __future__ import annotations

from collections.abc import Callable

from hypothesis import strategies as st
from msgspec.structs import replace

from dolgo.task.types import Lease, Settlement, Status
from tests.store.build import again, back, done, failed, stopped

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
}
WAYS: dict[str, Callable[[Lease], Settlement]] = {
    "done": done,
    "failed": failed,
    "stopped": stopped,
    "again": again,
    "again at once": lambda lease: again(lease, 0),
    "lost alone": lambda lease: replace(back(lease, started=True), losses=lease.losses + 1, suspect=True),
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
    }
)
claims = st.fixed_dictionaries(
    {
        "worker": workers,
        "limit": st.sampled_from([3, 1, 0, 8]),
        "lease": st.sampled_from([LEASE, 10.0]),
        "types": st.sampled_from([frozenset("xy"), frozenset("x"), frozenset("yz"), frozenset()]),
        "queues": st.sampled_from([None, frozenset("a"), frozenset("bc")]),
        "avoid": st.sampled_from([frozenset(), frozenset({("x", "1")}), frozenset({("x", "2"), ("y", "2")})]),
    }
)
