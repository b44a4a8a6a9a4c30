"""What each writing verb does inside a transaction. One function a verb: (turn, arguments of all callers) → their answers.

Every transition is conditional on id, state and token. Within a transaction nobody else writes, so a look and a write are one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from dolgo.store.sqlite.by_hand import cancel, delete, retry
from dolgo.store.sqlite.claim import claim, renew
from dolgo.store.sqlite.edges import cascade
from dolgo.store.sqlite.gating import gate
from dolgo.store.sqlite.notes import note
from dolgo.store.sqlite.records import forget, put
from dolgo.store.sqlite.settle import reclaim, settle, settle_each
from dolgo.store.sqlite.submit import submit, submit_again
from dolgo.store.sqlite.turn import Turn
from dolgo.store.sqlite.upkeep import clamp, expire, prune, trim

Verb = Callable[[Turn, Sequence[Any]], Sequence[Any]]

# In the order they run within a commit: leases first, notes before the ends of their attempts, and claims last, so that a claim
# sees what its commit brings.
VERBS: dict[str, Verb] = {
    "renew": renew, "note": note, "put": put, "forget": forget, "gate": gate, "submit": submit, "settle": settle,
    "cancel": cancel, "retry": retry, "delete": delete, "reclaim": reclaim, "expire": expire, "clamp": clamp,
    "cascade": cascade, "prune": prune, "trim": trim, "claim": claim,
}  # fmt: skip

# The same for a batch that could not be written as one.
ONE_BY_ONE: dict[str, Verb] = {**VERBS, "submit": submit_again, "settle": settle_each}
