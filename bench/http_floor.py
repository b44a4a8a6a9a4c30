"""The floor of HTTP: a bare Starlette application that parses the JSON it is sent and answers 202. Stores nothing, runs nothing.

Laid out as `dolgo serve` is: one process, uvicorn with uvloop and httptools.
"""

from __future__ import annotations

import socket
import sys

import uvicorn
import uvloop
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

ID = "01997c2e-5d0b-7c4e-9f6a-0d2b4a3c1e55"


async def submit(request: Request) -> JSONResponse:
    """What an answer of dolgo looks like."""
    task = await request.json()
    assert task["type"]
    return JSONResponse({"id": ID, "status": "queued"}, 202)


async def serve() -> None:
    """Serve until a signal."""
    listener = socket.create_server(("127.0.0.1", 0), backlog=2048)
    app = Starlette(routes=[Route("/tasks", submit, methods=["POST"])])
    config = uvicorn.Config(
        app, http="httptools", loop="none", lifespan="off", log_config=None, access_log=False, server_header=False, ws="none"
    )
    print(f"floor ready on http://127.0.0.1:{listener.getsockname()[1]}", file=sys.stderr, flush=True)  # it listens already
    await uvicorn.Server(config).serve(sockets=[listener])


if __name__ == "__main__":
    uvloop.run(serve())
