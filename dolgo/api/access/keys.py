"""The keys of a JWKS address: fetched within bounds, kept for a while, and fetched anew when an unknown one is named."""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import urlsplit

import httpx
import jwt
import msgspec

from dolgo.errors import NotReady
from dolgo.logs import SELDOM
from dolgo.setting_kinds import masked

log = logging.getLogger("dolgo.access")

FETCH = 5.0  # seconds that all of a fetch may take
MOST_BYTES = 1 << 18
MOST_KEYS = 100
KEEP = 600.0  # seconds; older keys are fetched anew, so that one which was taken out is refused
DISTRUST = 86_400.0  # seconds; while the address does not answer, older keys are good for so long
PAUSE = 30.0  # seconds at least between two fetches, whoever names what key
SHORTEST_RSA = 2048  # bits
LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})

FAMILIES = {"RSA": ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512"), "OKP": ("EdDSA",)}
CURVES = {"P-256": ("ES256",), "P-384": ("ES384",), "P-521": ("ES512",)}


class Key:
    """A public key, and the algorithms it is for."""

    def __init__(self, jwk: Mapping[str, Any]) -> None:
        """Raises an error of PyJWT, and ValueError, for what is no public key to check signatures by."""
        kind = jwk.get("kty")
        fitting = CURVES.get(jwk.get("crv", ""), ()) if kind == "EC" else FAMILIES.get(str(kind), ())
        self.algorithms = frozenset(fitting) & ({jwk["alg"]} if "alg" in jwk else frozenset(fitting))
        if not self.algorithms or jwk.get("use", "sig") != "sig":
            raise ValueError("it is for something else")
        self.key = jwt.PyJWK(dict(jwk), algorithm=min(self.algorithms)).key
        if kind == "RSA" and self.key.key_size < SHORTEST_RSA:
            raise ValueError(f"it has less than {SHORTEST_RSA} bits")


class Keys:
    """The keys by id. `fetches` counts, for those who remember what a key told."""

    def __init__(self, url: str, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._url = url
        self._monotonic = monotonic
        self._keys: dict[str, Key] = {}
        self._fetched_at = self._tried_at = -math.inf
        self._fetching: asyncio.Task[None] | None = None
        self.fetches = 0

    async def find(self, kid: str) -> Key | None:
        """The key of this id; None if the address does not have it. Raises NotReady while nothing is known of its keys."""
        if self._age() > KEEP or kid not in self._keys:
            await self._fetch()
        if self._age() > DISTRUST:
            raise NotReady("The keys that tokens are checked by cannot be had at the moment.")
        return self._keys.get(kid)

    def _age(self) -> float:
        return self._monotonic() - self._fetched_at

    async def _fetch(self) -> None:
        """Fetch once for all who wait, and not again too soon, whatever comes of it."""
        if self._fetching is None or self._fetching.done():
            if self._monotonic() - self._tried_at < PAUSE:
                return
            self._tried_at = self._monotonic()
            self._fetching = asyncio.create_task(self._fetch_now(), name="jwks")
        await asyncio.shield(self._fetching)

    async def _fetch_now(self) -> None:
        try:
            keys = _read(await asyncio.wait_for(self._body(), FETCH))
        except (httpx.HTTPError, httpx.InvalidURL, TimeoutError, msgspec.MsgspecError, ValueError) as error:
            reason = str(error) or type(error).__name__
            log.warning("The keys of %s could not be fetched: %s", masked(self._url), reason, extra=SELDOM)
            return
        self._keys, self._fetched_at = keys, self._monotonic()
        self.fetches += 1

    async def _body(self) -> bytes:
        """What the address answers. Raises ValueError for a redirect, for no success, and past the bound."""
        proxied = urlsplit(self._url).hostname not in LOOPBACK
        async with (
            httpx.AsyncClient(trust_env=proxied, timeout=FETCH, follow_redirects=False) as http,
            http.stream("GET", self._url, headers={"Accept": "application/json"}) as response,
        ):
            if response.status_code != 200:
                raise ValueError(f"it answered {response.status_code}")
            body = b""
            async for chunk in response.aiter_bytes(1 << 14):
                body += chunk
                if len(body) > MOST_BYTES:
                    raise ValueError(f"it sent more than {MOST_BYTES} bytes")
            return body


class _Set(msgspec.Struct):
    keys: list[dict[str, Any]]


def _read(body: bytes) -> dict[str, Key]:
    """The keys that can be used; one that cannot does not spoil the others."""
    keys: dict[str, Key] = {}
    for jwk in msgspec.json.decode(body, type=_Set).keys[:MOST_KEYS]:
        try:
            keys[str(jwk["kid"])] = Key(jwk)
        except (jwt.PyJWTError, KeyError, TypeError, ValueError, AttributeError) as error:
            log.info("A key among those for tokens is passed over: %s", type(error).__name__)
    return keys
