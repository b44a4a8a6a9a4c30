"""The page for Prometheus."""

from __future__ import annotations

from dolgo.api.call import Answer, Call
from dolgo.api.health import UNCACHED
from dolgo.api.parts import Api


async def get_metrics(api: Api, call: Call) -> Answer:
    """What is counted and measured, for Prometheus: of this process, and on a server of the whole service.

    It costs the store no more than a look at its queues and workers, however many tasks there are."""
    accept = call.headers.get(b"accept", b"").decode("latin-1")
    body, media_type = await api.metrics.page(accept)
    return Answer(200, body, UNCACHED, media_type.encode())
