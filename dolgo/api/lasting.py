"""Answers that last: streams and sockets go on for as long as who asked for them may have them, and are counted meanwhile."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable

from dolgo.api.call import Gone, Receive, Scope, Send, Streamed, Upgraded, while_there
from dolgo.metrics.tally import Tally

LOOK_AGAIN = 5.0  # seconds between two looks whether who reads a stream may still do so

MayStay = Callable[[], Awaitable[bool]]


async def last(
    answer: Streamed | Upgraded, scope: Scope, receive: Receive, send: Send, *, may_stay: MayStay, tally: Tally
) -> None:
    """Give the answer to its end, or as far as `may_stay` says yes."""
    if isinstance(answer, Upgraded):
        with tally.one_more("websocket"):
            await _while_let_in(answer.run(scope["extensions"]["dolgo.upgrade"](answer.headers)), may_stay)
        return
    with tally.one_more("sse"), contextlib.closing(answer):
        await _stream(answer, scope, receive, send, may_stay)


async def _stream(streamed: Streamed, scope: Scope, receive: Receive, send: Send, may_stay: MayStay) -> None:
    """Send the pieces as they come, until there are no more or the client goes away or is not let in any more."""
    headers = [(b"content-type", streamed.media_type), (b"x-content-type-options", b"nosniff"), *streamed.headers]
    await send({"type": "http.response.start", "status": 200, "headers": headers})

    async def pieces() -> None:
        async for piece in streamed.pieces:
            await send({"type": "http.response.body", "body": piece, "more_body": True})

    async with contextlib.aclosing(streamed.pieces):
        try:
            if scope["method"] != "HEAD":
                await _while_let_in(while_there(receive, pieces()), may_stay)
        except Gone:
            return
    await send({"type": "http.response.body", "body": b""})


async def _while_let_in(work: Awaitable[None], may_stay: MayStay) -> None:
    """Do the work until it is over; it is cancelled if who asked for it is not let in any more."""
    working = asyncio.ensure_future(work)
    try:
        while not (await asyncio.wait({working}, timeout=LOOK_AGAIN))[0]:
            if not await may_stay():
                return
        await working
    finally:
        working.cancel()
        await asyncio.wait({working})
