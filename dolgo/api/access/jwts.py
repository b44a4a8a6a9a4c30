"""JWTs of others: checked by a shared key, or by the public keys of a JWKS address. Needs the extra `jwt`."""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import urlsplit

import jwt
from msgspec import Struct

from dolgo.api.access.caller import Caller
from dolgo.api.access.keys import CURVES, FAMILIES, LOOPBACK, Keys
from dolgo.errors import BadSetting, Unauthorized
from dolgo.task.allowed import is_name, is_printable
from dolgo.task.tokens import Scope

SHARED = {"HS256": 32, "HS384": 48, "HS512": 64}  # bytes that a secret must have for it (RFC 7518, 3.2)
PUBLIC = tuple(name for names in (*FAMILIES.values(), *CURVES.values()) for name in names)
LEEWAY = 10.0  # seconds by which clocks may differ
REMEMBERED = 1_000  # tokens that need not be checked again for a while
SO_LONG = 60.0  # seconds
LONGEST_SUBJECT = 200

QUEUES, TYPES = "dolgo_queues", "dolgo_types"  # claims with the names that a token is for


class Trust(Struct, frozen=True):
    """Whose tokens are taken."""

    key: str = ""  # shared with whoever makes them
    jwks_url: str = ""
    audience: str = ""
    issuer: str = ""
    algorithms: tuple[str, ...] = ()  # all that fit the keys, if none is named

    def check(self) -> None:
        """Raises BadSetting for what cannot be used."""
        if self.key.startswith("-----BEGIN"):
            raise BadSetting("jwt_key cannot be a public or private key: it is a shared secret. Public ones go by jwt_jwks_url.")
        parts = urlsplit(self.jwks_url)
        if self.jwks_url and parts.scheme != "https" and parts.hostname not in LOOPBACK:
            raise BadSetting("jwt_jwks_url must begin with https://, or whoever is in between could put keys of their own there.")
        possible = (*(SHARED if self.key else ()), *(PUBLIC if self.jwks_url else ()))
        for name in self.algorithms:
            if name not in possible:
                raise BadSetting(f"jwt_algorithms cannot have {name!r}: give some of {', '.join(possible)}.")


class Jwts:
    """Tells by a JWT who somebody is."""

    def __init__(self, trust: Trust, *, clock: Callable[[], float] = time.time, monotonic: Callable[[], float] = time.monotonic):
        trust.check()
        self._trust = trust
        self._keys = Keys(trust.jwks_url, monotonic=monotonic) if trust.jwks_url else None
        self._clock = clock
        self._monotonic = monotonic
        self._seen: dict[bytes, tuple[Caller, float, float, int]] = {}  # by digest: until (wall, monotonic), count of fetches

    async def caller(self, token: str) -> Caller:
        """Who it names. Raises Unauthorized, and NotReady while the keys cannot be had."""
        digest = hashlib.sha256(token.encode()).digest()
        known = self._seen.get(digest)
        if known is not None and self._clock() < known[1] and self._monotonic() < known[2] and known[3] == self._fetches():
            return known[0]
        claims = await self._claims(token)
        caller, until = _caller(claims), _end(claims)
        if len(self._seen) >= REMEMBERED:
            self._seen.clear()
        self._seen[digest] = caller, until, self._monotonic() + SO_LONG, self._fetches()
        return caller

    def _fetches(self) -> int:
        return 0 if self._keys is None else self._keys.fetches

    async def _claims(self, token: str) -> Mapping[str, Any]:
        try:
            header = jwt.get_unverified_header(token)
            key, algorithm = await self._key(header)
            return jwt.decode(
                token,
                key,
                algorithms=[algorithm],
                audience=self._trust.audience or None,
                issuer=self._trust.issuer or None,
                leeway=LEEWAY,
                options={"require": ["exp", "sub"]},
            )
        except (jwt.PyJWTError, ValueError, TypeError, OverflowError, RecursionError) as error:
            why = "it has expired" if isinstance(error, jwt.ExpiredSignatureError) else type(error).__name__
            raise Unauthorized(f"This JWT is not taken: {why}.", invalid=True) from None

    async def _key(self, header: Mapping[str, Any]) -> tuple[Any, str]:
        """The key, and the one algorithm it is used with: never one that the token alone speaks for."""
        algorithm, kid = header.get("alg"), header.get("kid")
        if "crit" in header:
            raise Unauthorized("This JWT is not taken: it has `crit`, of which nothing is known here.", invalid=True)
        if not isinstance(algorithm, str) or (self._trust.algorithms and algorithm not in self._trust.algorithms):
            raise Unauthorized("This JWT is not taken: not by this algorithm.", invalid=True)
        if len(self._trust.key.encode()) >= SHARED.get(algorithm, math.inf):
            return self._trust.key, algorithm
        if algorithm in PUBLIC and self._keys is not None and isinstance(kid, str):
            key = await self._keys.find(kid)
            if key is not None and algorithm in key.algorithms:
                return key.key, algorithm
        raise Unauthorized("This JWT is not taken: there is no such key for this algorithm.", invalid=True)


def _end(claims: Mapping[str, Any]) -> float:
    """When it expires."""
    try:
        return float(claims["exp"])
    except OverflowError:  # a whole number of any length
        return math.inf


def _caller(claims: Mapping[str, Any]) -> Caller:
    """Raises Unauthorized for claims that do not say what they should."""
    subject, scope = claims["sub"], claims.get("scope", "")
    if not (isinstance(subject, str) and subject and is_printable(subject) and len(subject) <= LONGEST_SUBJECT):
        raise Unauthorized("This JWT is not taken: its `sub` is no short text.", invalid=True)
    if not isinstance(scope, str):
        raise Unauthorized("This JWT is not taken: its `scope` is no text.", invalid=True)
    scopes = frozenset(Scope(word) for word in scope.split() if word in set(Scope))
    return Caller(f"jwt/{subject}", subject, scopes, _names(claims, QUEUES), _names(claims, TYPES))


def _names(claims: Mapping[str, Any], claim: str) -> frozenset[str] | None:
    names = claims.get(claim)
    if names is None:
        return None
    if not isinstance(names, list) or not all(isinstance(name, str) and is_name(name) for name in names):
        raise Unauthorized(f"This JWT is not taken: its `{claim}` is no list of names.", invalid=True)
    return frozenset(names)
