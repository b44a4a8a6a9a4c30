"""Keeps out web pages of strangers that a browser on this machine has open: nobody else sends these headers."""

from __future__ import annotations

import re

from dolgo.api.call import Headers
from dolgo.errors import Forbidden

SAFE = frozenset({"GET", "HEAD", "OPTIONS"})

_THIS_MACHINE = re.compile(rb"(([a-z0-9-]+\.)*localhost|127(\.\d{1,3}){3}|\[::1\])(:\d+)?")


def check(method: str, headers: Headers, *, local: bool) -> None:
    """Raises Forbidden for what another site's page has a browser send.

    `local`: the service is for this machine alone, so a request for any other name was led here by somebody's DNS."""
    host = headers.get(b"host")
    if local and host is not None and not _THIS_MACHINE.fullmatch(host.lower()):
        raise Forbidden("This service answers under localhost, 127.0.0.1 and [::1] only: that is what Host must name.")
    if method not in SAFE and (b"origin" in headers or b"sec-fetch-site" in headers):
        check_site(headers)


def check_site(headers: Headers) -> None:
    """Raises Forbidden for what another site's page has a browser do."""
    site = headers.get(b"sec-fetch-site")
    if site is not None:
        if site not in (b"same-origin", b"none"):
            raise Forbidden("Pages of other sites may not change anything here (Sec-Fetch-Site).")
        return
    check_origin(headers)


def check_origin(headers: Headers) -> None:
    """Raises Forbidden if a browser asks for a page of another site."""
    origin, host = headers.get(b"origin"), headers.get(b"host")
    if origin is not None and (host is None or origin.partition(b"://")[2] != host):
        raise Forbidden("Pages of other sites may not change anything here (Origin).")
