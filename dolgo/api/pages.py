"""What tells programs and people how the web is used: the OpenAPI document, and a page made of it."""

from __future__ import annotations

from typing import Any

from dolgo.api.call import Answer, Call
from dolgo.api.parts import Api


async def openapi(api: Api, call: Call) -> Answer:
    """The OpenAPI document."""
    return Answer(200, api.document)


async def docs(api: Api, call: Call) -> Answer:
    """The same for people."""
    return Answer(200, api.page, (), b"text/html; charset=utf-8")


def render(document: dict[str, Any]) -> bytes:
    return b""
