"""What a request asks for in its headers: to wait, to be taken once, to be told only what is new."""

from __future__ import annotations

import asyncio
import hashlib
import re

from dolgo.api.call import Call, Header
from dolgo.api.query import seconds
from dolgo.errors import InvalidRequest, Problem
from dolgo.task.manager import Once

LONG_BODY = 1 << 20  # bytes; hashing more takes longer than going to a thread and back

_PREFERENCE = re.compile(r'\s*([^\s=;,]+)\s*(?:=\s*(?:"([^"]*)"|([^\s;,"]*)))?[^,]*(?:,|$)')
_KEY = re.compile(r'"([\x21-\x7e]{1,255})"|((?!")[\x21-\x7e]{1,255})')
_TAGS = re.compile(rb'(?:W/)?("[^"]*")')


def wait(call: Call) -> tuple[float, tuple[Header, ...]]:
    """How many seconds the answer may be held back, and the headers that say so. Raises InvalidRequest.

    The query wins over `Prefer` (RFC 7240), of whose preferences the others are left alone."""
    if "wait" in call.query:
        return call.query["wait"], ()
    sent = call.headers.get(b"prefer")
    if sent is None:
        return 0.0, ()
    for name, quoted, plain in _PREFERENCE.findall(sent.decode("latin-1")):
        if name.lower() == "wait":
            text = quoted or plain
            try:
                return seconds(text), ((b"preference-applied", b"wait=" + text.encode()),)
            except ValueError as error:
                raise _wrong("Prefer", f"wait: {error}") from None
    return 0.0, ()


async def once(call: Call, body: bytes) -> Once | None:
    """The Idempotency-Key, for this address and this body; None if there is none. Raises InvalidRequest."""
    sent = call.headers.get(b"idempotency-key")
    if sent is None:
        return None
    found = _KEY.fullmatch(sent.decode("latin-1"))
    if found is None:
        raise _wrong("Idempotency-Key", "it must be 1 to 255 visible ASCII characters")
    digest = await asyncio.to_thread(_digest, body) if len(body) > LONG_BODY else _digest(body)
    return Once(f"{call.caller.who} POST {call.path}", found[1] or found[2], digest)


def unless(call: Call, etag: bytes) -> bool:
    """Whether `If-None-Match` says that the client has this already."""
    sent = call.headers.get(b"if-none-match")
    return sent is not None and (sent.strip() == b"*" or etag in _TAGS.findall(sent))


def _digest(body: bytes) -> str:
    return hashlib.sha256(body).hexdigest()


def _wrong(header: str, detail: str) -> InvalidRequest:
    return InvalidRequest(f"The header {header} cannot be used: {detail}.", [Problem(f"/header/{header}", detail)])
