"""An HTTP request as a task."""

from __future__ import annotations

import asyncio
import base64
import binascii
import os
from typing import TYPE_CHECKING, Annotated, Literal, TypedDict

from msgspec import Meta

from dolgo import Task
from dolgo.egress.addresses import Allowed

if TYPE_CHECKING:
    import httpx

ALLOW = "DOLGO_HTTP_REQUEST_ALLOW"  # set for children from the setting `http_request_allow`
MOST_BODY = 8 * 1024 * 1024  # bytes of an answer; a result may be 16 MiB, and base64 or escapes make it longer

Method = Literal["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]


class Answer(TypedDict):
    """What came back, whatever its status."""

    status: int
    headers: dict[str, str]  # names in lower case; what was sent several times is joined by ", "
    body: str
    base64: bool  # whether `body` is base64, because what was sent is not UTF-8


class HttpRequest(Task):
    """Make an HTTP request and keep the answer.

    Redirects are not followed, and an error status is an answer like any other. Only public addresses are reached, unless the
    setting `http_request_allow` lists others. The body of the answer may be 8 MiB."""

    url: Annotated[str, Meta(pattern=r"^[Hh][Tt][Tt][Pp][Ss]?://", max_length=8192, examples=["https://example.com/"])]
    method: Method = "GET"
    headers: dict[str, str] = {}  # noqa: RUF012 - each task has its own
    body: str | None = None
    base64: Annotated[bool, Meta(description="Whether `body` is base64, for what is not text.")] = False
    timeout: Annotated[float, Meta(gt=0, le=3600, description="Seconds until the whole answer must be here.")] = 30.0

    async def run(self) -> Answer:
        try:
            async with asyncio.timeout(self.timeout):
                return await self._ask(Allowed(os.environ.get(ALLOW, "")))
        except TimeoutError:
            raise TimeoutError(f"no whole answer within {self.timeout:g} s") from None  # the URL may hold a password

    async def _ask(self, allowed: Allowed) -> Answer:
        from dolgo.egress.transport import client  # brings in httpx: 0.1 s that a child without requests does not spend

        # As it was sent: unpacking could make a small answer a very large one. So none packed is asked for.
        headers = {"Accept-Encoding": "identity", **self.headers}
        async with (
            client(allowed) as web,
            web.stream(self.method, self.url, headers=headers, content=self._content()) as response,
        ):
            body = await _read(response)
        return _answer(response, body)

    def _content(self) -> bytes | None:
        if self.body is None:
            return None
        try:
            return base64.b64decode(self.body, validate=True) if self.base64 else self.body.encode()
        except binascii.Error as error:
            raise ValueError(f"body: not base64: {error}") from error


async def _read(response: httpx.Response) -> bytes:
    body = bytearray()
    async for chunk in response.aiter_raw():
        body += chunk
        if len(body) > MOST_BODY:
            raise ValueError(f"the body of the answer is larger than {MOST_BODY} bytes")
    return bytes(body)


def _answer(response: httpx.Response, body: bytes) -> Answer:
    try:
        text, packed = body.decode(), False
    except UnicodeDecodeError:
        text, packed = base64.b64encode(body).decode(), True
    return {"status": response.status_code, "headers": dict(response.headers), "body": text, "base64": packed}
