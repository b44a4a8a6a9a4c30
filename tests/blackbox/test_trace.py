"""Where a task comes from reaches its handler, and the tasks that the handler submits."""

from __future__ import annotations

import httpx
import pytest

from tests.blackbox.client import Client, until
from tests.blackbox.server import Server

PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
OPTIONS = ("--slots", "2")
HANDLERS = """
from dolgo import Context, SyncContext, task

@task
def tells(ctx: SyncContext) -> str | None:
    return ctx.traceparent

@task(retries=1, backoff=0)
async def hands_on(ctx: Context) -> str:
    if ctx.attempt == 1:
        raise ValueError
    return await ctx.submit("tells")
"""


def trace_id(parent: object) -> str:
    """It stays the same on all the way, whatever spans there are in between."""
    assert isinstance(parent, str)
    return parent.split("-")[1]


def ended(client: Client, id: str) -> object:
    return until(lambda: (found := client.get(f"/tasks/{id}"))["status"] == "done" and found, 30, "it is done")["result"]


@pytest.mark.parametrize("batch", [False, True], ids=["one", "batch"])
def test_a_trace_reaches_the_handler_and_what_it_submits(client: Client, shared: Server, batch: bool) -> None:
    body: dict[str, object] = {"type": "hands_on"}
    path, sent = ("/tasks/batch", {"tasks": [body]}) if batch else ("/tasks", body)
    answer = httpx.post(f"{shared.url}{path}", json=sent, headers={"traceparent": PARENT, "tracestate": "a=1"}).json()
    id = (answer["tasks"][0] if batch else answer)["id"]
    child = ended(client, id)
    assert isinstance(child, str)
    assert trace_id(ended(client, child)) == trace_id(PARENT)


def test_a_trace_that_is_none_stops_no_submit(client: Client, shared: Server) -> None:
    answer = httpx.post(f"{shared.url}/tasks?wait=20", json={"type": "tells"}, headers={"traceparent": "nonsense"})
    assert answer.json() == {"id": answer.json()["id"], "status": "done", "result": None}
