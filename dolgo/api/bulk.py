"""Many tasks at once: all that filters let through are cancelled, or retried."""

from __future__ import annotations

from dolgo.api.access.limits import narrowed
from dolgo.api.call import Answer, Call, Did
from dolgo.api.intake import NOTHING, read
from dolgo.api.parts import Api
from dolgo.api.query import FILTERS, own_unless_named
from dolgo.api.schema import Changed, Empty
from dolgo.api.tasks import SMALL_BODY
from dolgo.api.views import answer
from dolgo.errors import InvalidRequest, Problem
from dolgo.task.bulk import Bulk
from dolgo.task.types import Query


async def cancel_tasks(api: Api, call: Call) -> Answer:
    """Cancel all tasks that the filters let through, at most 10,000 a request. At least one filter is needed.

    Those that have ended are passed over. With `dry_run` nothing is changed, only counted."""
    queries, dry_run = await _asked(call)
    return _answer(call, await api.manager.cancel_all(queries, dry_run=dry_run))


async def retry_tasks(api: Api, call: Call) -> Answer:
    """Run all failed and cancelled tasks again that the filters let through, at most 10,000 a request. At least one is needed.

    With `dry_run` nothing is changed, only counted."""
    queries, dry_run = await _asked(call)
    return _answer(call, await api.manager.retry_all(queries, dry_run=dry_run))


async def _asked(call: Call) -> tuple[list[Query], bool]:
    """Which tasks, and whether to count alone. Raises InvalidRequest unless something says which."""
    read(await call.body(SMALL_BODY) or NOTHING, Empty)
    filters = {name: value for name, value in call.query.items() if name != "dry_run"}
    if not filters:
        detail = f"at least one of {', '.join(param.name for param in FILTERS)} must say which tasks are meant"
        raise InvalidRequest.of([Problem("/query", detail)], "query")
    query = Query(without=own_unless_named(call.query), **filters)
    return narrowed(call.caller, query), call.query.get("dry_run", False)


def _answer(call: Call, bulk: Bulk) -> Answer:
    call.did = Did(bulk.some, bulk.changed, call.query_string.decode("ascii"))
    return answer(Changed(bulk.matched, bulk.changed, bulk.more))
