"""Cancelling and retrying many tasks at once, in steps that hold nobody up."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Sequence

from msgspec import Struct
from msgspec.structs import replace

from dolgo.store.base import Store
from dolgo.task.types import Change, Query, Status

MOST = 10_000  # tasks a call looks at
NAMED = 100  # of those, how many are named
STEP = 500  # tasks a commit changes

CANCELLABLE = (Status.WAITING, Status.QUEUED, Status.IN_PROGRESS)  # last those that a second call finds again
RETRIABLE = (Status.FAILED, Status.CANCELLED)

Verb = Callable[[Sequence[str]], Awaitable[Sequence[Change]]]


class Bulk(Struct, frozen=True):
    """What became of many tasks."""

    matched: int  # that were found in a status that allows the change
    changed: int  # of those; others had moved on meanwhile, or something stood in the way
    more: bool  # there are others: ask again
    some: tuple[str, ...] = ()  # ids of the first that were found


async def cancel(store: Store, queries: Sequence[Query], *, dry_run: bool) -> Bulk:
    """Cancel what the queries find, none of which finds what another does; what runs is asked to stop."""
    return await _all(store, queries, CANCELLABLE, store.cancel, dry_run)


async def retry(store: Store, queries: Sequence[Query], *, dry_run: bool) -> Bulk:
    """Retry what they find, alike."""
    return await _all(store, queries, RETRIABLE, store.retry, dry_run)


async def _all(store: Store, queries: Sequence[Query], allowed: Collection[Status], verb: Verb, dry_run: bool) -> Bulk:
    done = Bulk(0, 0, False)
    for query in queries:
        for status in allowed if query.status is None else {query.status} & set(allowed):
            done = await _further(store, replace(query, status=status, order="created_at"), None if dry_run else verb, done)
            if done.more:
                return done
    return done


async def _further(store: Store, step: Query, verb: Verb | None, done: Bulk) -> Bulk:
    """What has become of the tasks so far, and of those of one status more."""
    matched, changed, some = done.matched, done.changed, done.some
    while True:
        if matched >= MOST:
            return Bulk(matched, changed, True, some)
        page = await store.find(replace(step, limit=min(STEP, MOST - matched)))
        matched += len(page.ids)
        some = (*some, *page.ids)[:NAMED]
        if page.ids and verb is not None:
            changed += sum(_changed(change) for change in await verb(page.ids))
        if page.after is None:
            return Bulk(matched, changed, False, some)
        step = replace(step, after=page.after)


def _changed(change: Change) -> bool:
    """Not one that is gone, that something stood in the way of, or that had been cancelled or asked to stop before."""
    return change.before is not None and change.refusal is None and (change.after is not change.before or change.asked)
