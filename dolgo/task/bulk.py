"""Cancelling and retrying many tasks at once, in steps that hold nobody up."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Sequence

from msgspec import Struct
from msgspec.structs import replace

from dolgo.store.base import Store
from dolgo.task.types import Change, Query, Status

MOST = 10_000  # tasks a call looks at
STEP = 500  # tasks a commit changes

CANCELLABLE = (Status.WAITING, Status.QUEUED, Status.IN_PROGRESS)  # last those that a second call finds again
RETRIABLE = (Status.FAILED, Status.CANCELLED)

Verb = Callable[[Sequence[str]], Awaitable[Sequence[Change]]]


class Bulk(Struct, frozen=True):
    """What became of many tasks."""

    matched: int  # that were found in a status that allows the change
    changed: int  # of those; others had moved on meanwhile, or something stood in the way
    more: bool  # there are others: ask again


async def cancel(store: Store, query: Query, *, dry_run: bool) -> Bulk:
    """Cancel what the query finds; what runs is asked to stop."""
    return await _all(store, query, CANCELLABLE, store.cancel, dry_run)


async def retry(store: Store, query: Query, *, dry_run: bool) -> Bulk:
    """Retry what the query finds."""
    return await _all(store, query, RETRIABLE, store.retry, dry_run)


async def _all(store: Store, query: Query, allowed: Collection[Status], verb: Verb, dry_run: bool) -> Bulk:
    matched = changed = 0
    for status in allowed if query.status is None else {query.status} & set(allowed):
        step = replace(query, status=status, order="created_at", limit=STEP)
        while True:
            if matched >= MOST:
                return Bulk(matched, changed, True)
            page = await store.find(replace(step, limit=min(STEP, MOST - matched)))
            matched += len(page.ids)
            if page.ids and not dry_run:
                changed += sum(_changed(change) for change in await verb(page.ids))
            if page.after is None:
                break
            step = replace(step, after=page.after)
    return Bulk(matched, changed, False)


def _changed(change: Change) -> bool:
    """Not one that is gone, that something stood in the way of, or that had been cancelled or asked to stop before."""
    return change.before is not None and change.refusal is None and (change.after is not change.before or change.asked)
