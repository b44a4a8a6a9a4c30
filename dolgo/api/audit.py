"""The audit log: what was done by hand is noted, and shown to those who may see it."""

from __future__ import annotations

import logging

from dolgo.api.call import Answer, Call
from dolgo.api.guard import SAFE
from dolgo.api.parts import Api
from dolgo.api.query import MOST_LISTED
from dolgo.api.route import Of, Route
from dolgo.api.told import AuditPage, ShownEntry
from dolgo.api.views import answer, moment
from dolgo.errors import Refused
from dolgo.task.audit import Entry
from dolgo.task.tokens import Scope

log = logging.getLogger("dolgo.audit")

NOTED = frozenset({Scope.OPERATE, Scope.ADMIN})  # changes that need one of these are noted


async def list_audit(api: Api, call: Call) -> Answer:
    """What was done by hand: who, when, to which tasks. The oldest first; `next` as `after` goes on from there.

    Entries are kept for 90 days, the newest 100,000 of them."""
    found, following = await api.audit.page(call.query.get("after", 0), call.query.get("limit", MOST_LISTED))
    return answer(AuditPage([_shown(entry) for entry in found], following))


def is_noted(route: Route) -> bool:
    """Whether what is done by this route belongs into the audit log."""
    return route.scope in NOTED and route.method not in SAFE


async def note(api: Api, route: Route, call: Call) -> None:
    """Put what was done into the audit log. It is done: a log that cannot be written does not undo it."""
    if call.query.get("dry_run"):
        return
    did, of_task = call.did, route.of is Of.TASK
    entry = Entry(
        who=call.caller.who,
        name=call.caller.name,
        action=route.handler.__name__,
        target="" if of_task else call.name,
        ids=(call.name,) if of_task else did.ids,
        changed=did.changed,
        detail=did.detail,
    )
    try:
        await api.audit.add(entry)
    except Refused as error:
        log.error("This could not be written to the audit log, it stands on this log alone: %s", error)


def _shown(entry: Entry) -> ShownEntry:
    return ShownEntry(
        seq=entry.seq,
        time=moment(entry.time),
        who=entry.who,
        name=entry.name,
        action=entry.action,
        target=entry.target,
        ids=entry.ids,
        changed=entry.changed,
        detail=entry.detail,
    )
