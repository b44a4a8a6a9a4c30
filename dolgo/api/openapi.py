"""The OpenAPI document of the web as it is, without a server."""

from __future__ import annotations

from typing import Any

from dolgo.api.app import ROUTES
from dolgo.api.spec import spec
from dolgo.version import __version__


def document() -> dict[str, Any]:
    """OpenAPI 3.1, as `GET /openapi.json` answers it."""
    return spec(ROUTES, __version__)
