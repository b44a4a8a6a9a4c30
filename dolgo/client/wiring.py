"""What both clients need of httpx: settings of a connection, and answers and errors as `core` knows them."""

from __future__ import annotations

import os
import random
import time
from typing import Any
from urllib.parse import urlsplit

import httpx
import msgspec

from dolgo.client.core import Cut, Reply, Rules, Send
from dolgo.client.verbs import get
from dolgo.setting_kinds import masked
from dolgo.version import __version__

URL = "http://127.0.0.1:8080"
EVENTS = "text/event-stream"
CONNECT = 5.0  # seconds
ANSWER = 15.0  # seconds for an answer, besides what the server was asked to wait
PATIENCE = 30.0  # seconds
LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
HOPELESS = (httpx.UnsupportedProtocol, httpx.LocalProtocolError, httpx.DecodingError)
NOT_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, *HOPELESS)


def address(url: str | None) -> str:
    """Where the server is: as given, by the environment, or on this machine. Raises `ValueError` for what is no address."""
    url = url or os.environ.get("DOLGO_URL") or URL
    try:
        parts = urlsplit(url)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:  # a port that is no number
        usable = False
    if not usable:
        raise ValueError(f"{masked(url)} is no address of a server: give one such as {URL}")
    return url


def options(url: str, token: str | None) -> dict[str, Any]:
    """What an httpx client is made with. Credentials are taken out of the address, which httpx writes to its log.

    Raises `ValueError` for what can be no token."""
    token = (os.environ.get("DOLGO_TOKEN", "") if token is None else token).strip()
    if not all("!" <= letter <= "~" for letter in token):  # httpx would refuse to send it, and quote it when it says so
        raise ValueError("the token is not one word of printable ASCII")
    headers = {"User-Agent": f"dolgo/{__version__}"} | ({"Authorization": f"Bearer {token}"} if token else {})
    place = httpx.URL(url)
    auth = httpx.BasicAuth(place.username, place.password) if place.userinfo else None
    # A proxy of the environment is for the world outside, not for this machine.
    proxied = place.host not in LOOPBACK
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=20)  # a stream holds a connection as long as it lasts
    base = place.copy_with(userinfo=b"")
    return {"base_url": base, "headers": headers, "auth": auth, "trust_env": proxied, "limits": limits}


def rules(url: str, patience: float) -> Rules:
    """How a client at this address tries again."""
    return Rules(masked(url), patience, time.monotonic, random.random)


def request(send: Send, answer: float) -> dict[str, Any]:
    """What httpx is asked for; `answer` is how many seconds each part of it may take."""
    timeout = httpx.Timeout(answer + send.wait, connect=min(CONNECT, answer))
    return {
        "method": send.method, "url": send.path, "params": dict(send.params), "headers": dict(send.headers),
        "content": send.body, "timeout": timeout,
    }  # fmt: skip


def is_stream(response: httpx.Response) -> bool:
    """Whether it is a stream of events that has begun."""
    return response.is_success and response.headers.get("content-type", "").startswith(EVENTS)


def reply(response: httpx.Response, source: Any = None) -> Reply:
    """An answer; with a source it is a stream, else it has been read."""
    headers = {name.lower(): value for name, value in response.headers.items()}
    return Reply(response.status_code, headers, response.content if source is None else b"", source)


def cut(error: httpx.RequestError) -> Cut:
    """Why there is none. Before a connection nothing was sent; after it the server may have done what was asked."""
    return Cut(str(error) or type(error).__name__, not isinstance(error, NOT_SENT), isinstance(error, HOPELESS))


def anything(method: str, path: str, params: Any, body: Any, *, wait: float, repeatable: bool | None) -> Send:
    """A request that no verb stands for."""
    if method == "GET":
        return get(path.lstrip("/"), params, wait=wait)
    raw = b"" if body is None else msgspec.json.encode(body)
    again = method in ("PUT", "PATCH") if repeatable is None else repeatable
    return Send(method, path.lstrip("/"), params, {"Content-Type": "application/json"}, raw, wait, again)
