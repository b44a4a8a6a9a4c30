"""Every verb that writes, and the order they run in."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from dolgo.store.postgres.by_hand import cancel, delete, retry
from dolgo.store.postgres.claim import claim, renew
from dolgo.store.postgres.edges import cascade
from dolgo.store.postgres.gating import gate
from dolgo.store.postgres.notes import note
from dolgo.store.postgres.records import forget, put
from dolgo.store.postgres.settle import reclaim, settle
from dolgo.store.postgres.submit import submit, submit_again
from dolgo.store.postgres.turn import Turn
from dolgo.store.postgres.upkeep import clamp, expire, prune, trim

Verb = Callable[[Turn, Sequence[Any]], Awaitable[Sequence[Any]]]

# In the order they run within a commit: leases first, notes before the ends of their attempts, and claims last, so that a claim
# sees what its commit brings.
VERBS: dict[str, Verb] = {
    "renew": renew, "note": note, "put": put, "forget": forget, "gate": gate, "submit": submit, "settle": settle,
    "cancel": cancel, "retry": retry, "delete": delete, "reclaim": reclaim, "expire": expire, "clamp": clamp,
    "cascade": cascade, "prune": prune, "trim": trim, "claim": claim,
}  # fmt: skip

# The same once an id of a submit was found to exist already.
CAREFUL: dict[str, Verb] = {**VERBS, "submit": submit_again}
