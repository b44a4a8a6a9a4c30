"""What tells programs and people how the web is used."""

from __future__ import annotations

from dolgo.api.call import Answer, Call
from dolgo.api.parts import Api


async def openapi(api: Api, call: Call) -> Answer:
    """This interface as an OpenAPI document."""
    return api.openapi


async def docs(api: Api, call: Call) -> Answer:
    """This page."""
    return api.docs
