"""The entrance: every request passes here before anything is done for it. Asks the store now and then, not for each request."""

from __future__ import annotations

import asyncio
import hmac
import logging
import math
import time
from collections.abc import Callable, Mapping
from typing import Protocol

from msgspec import Struct

from dolgo.api.access.caller import ANYBODY, Caller
from dolgo.api.access.pace import Pace
from dolgo.api.call import Headers
from dolgo.api.route import Route
from dolgo.errors import Forbidden, RateLimited, Refused, StoreUnavailable, Unauthorized
from dolgo.logs import SELDOM
from dolgo.task.tokens import Scope, Token, Tokens, digest, parsed

log = logging.getLogger("dolgo.access")

FRESH = 2.0  # seconds; what is known of the tokens is read anew if it is older, while requests go on
STALE = 4.0  # seconds; older than that nobody is let in by it, so what was revoked is refused within 5 s
MOMENT = 1.0  # seconds that a scrape waits for the tokens: it has little time, and has to be answered when the store is away
PAUSE = 0.2  # seconds at least between two reads: a flood of made up tokens must not become one of the store
LONGEST = 8_192  # bytes of a credential


class Verifier(Protocol):
    """Tells by a JWT who somebody is."""

    async def caller(self, token: str) -> Caller:
        """Who it names. Raises Unauthorized, and NotReady while its keys cannot be had."""
        ...


class House(Struct, frozen=True):
    """How strict the entrance is."""

    guarded: bool = False  # a credential is needed though there is no token yet
    public: frozenset[str] = frozenset()  # paths that need none all the same
    admin: str = ""  # a token of all scopes that is not in the store


class Entrance:
    """Lets requests in or refuses them."""

    def __init__(
        self,
        tokens: Tokens,
        house: House = House(),  # noqa: B008 - it is frozen
        *,
        verifier: Verifier | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._tokens = tokens
        self._public = house.public
        self._guarded = house.guarded or bool(house.admin) or verifier is not None
        self._admin = digest(house.admin.encode().decode("latin-1")) if house.admin else ""  # as headers are read
        self._verifier = verifier
        self._monotonic = monotonic
        self._pace = Pace(monotonic)
        self._known: Mapping[str, tuple[Token, Caller]] = {}
        self._read_at = -math.inf  # monotonic: when the newest read that came back was begun
        self._offset = 0.0  # the store's time less the monotonic clock
        self._reading: asyncio.Task[None] | None = None

    def lies_open(self, headers: Headers) -> bool:
        """Whether anybody may do anything here, as was known a moment ago. If not, or if that is not known, `caller` tells."""
        return not (self._known or self._guarded or b"authorization" in headers) and self._monotonic() - self._read_at < FRESH

    async def caller(self, route: Route, headers: Headers) -> Caller:
        """Who asks. Raises Unauthorized, Forbidden and RateLimited; StoreUnavailable while nothing is known of the tokens."""
        if route.scope is None or route.path in self._public:
            return ANYBODY
        try:
            caller = await self._named(headers.get(b"authorization"), outage=route.scope is Scope.METRICS)
            self._count(caller)
            if not caller.may(route.scope):
                raise Forbidden(f"This needs the scope `{route.scope}`, which {caller.who} does not have.", scope=route.scope)
        except (Unauthorized, Forbidden) as error:
            log.warning("Refused %s %s: %s", route.method, route.path, error.detail, extra=SELDOM)
            raise
        return caller

    async def lets_stay(self, route: Route, headers: Headers) -> bool:
        """Whether who was let in before still would be: what lasts ends with the token it was asked for by.

        While nothing can be known of the tokens, that ends nothing."""
        try:
            await self._named(headers.get(b"authorization"))
        except Unauthorized as error:
            log.warning("Ended %s %s: %s", route.method, route.path, error.detail, extra=SELDOM)
            return False
        except Refused:
            pass
        return True

    async def can_be_passed(self) -> bool:
        """Whether there is a credential that somebody could come in with."""
        table = await self._table()
        now = self._monotonic() + self._offset
        return bool(self._admin) or self._verifier is not None or any(token.state(now) == "valid" for token, _ in table.values())

    async def _named(self, sent: bytes | None, *, outage: bool = False) -> Caller:
        """Who sent it. With `outage` that is told while the store is away, too."""
        table = await (self._last_known() if outage else self._table())
        if not (self._guarded or table or _is_ours(sent)):
            return ANYBODY
        if sent is None:
            raise Unauthorized("This needs a token: send it as `Authorization: Bearer TOKEN`.")
        scheme, _, credential = sent.partition(b" ")
        if scheme.lower() != b"bearer" or len(sent) > LONGEST:
            raise Unauthorized("The header Authorization must be `Bearer TOKEN`.", invalid=True)
        text = credential.strip().decode("latin-1")
        found = parsed(text)
        if self._admin and hmac.compare_digest(self._admin, digest(text)):
            return Caller("admin_token", "admin_token", frozenset({Scope.ADMIN}))
        if found is not None:
            return await self._of_token(table, *found)
        if self._verifier is None:
            raise Unauthorized("This is no token of this service.", invalid=True)
        return await self._verifier.caller(text)

    async def _of_token(self, table: Mapping[str, tuple[Token, Caller]], id: str, secret: str) -> Caller:
        known = table.get(id) or (await self._newer()).get(id)
        if known is None or not known[0].fits(secret):
            raise Unauthorized("This is no token of this service.", invalid=True)
        token, caller = known
        if token.revoked_at is not None or token.expires_at is not None:
            state = token.state(self._monotonic() + self._offset)
            if state != "valid":
                raise Unauthorized(f"This token, {caller.who}, is {state}.", invalid=True)
        return caller

    def _count(self, caller: Caller) -> None:
        """Raises RateLimited for a request too many."""
        if caller.rate is not None and (pause := self._pace.take(caller.who, caller.rate)):
            raise RateLimited(f"This token may ask {caller.rate:g} times a second.", retry_after=max(1, math.ceil(pause)))

    # -- what is known of the tokens

    async def _table(self) -> Mapping[str, tuple[Token, Caller]]:
        """The tokens by id, as they were a few seconds ago at most."""
        age = self._monotonic() - self._read_at
        if age > FRESH:
            reading = self._read()
            if age > STALE:
                await _outlived(reading)
        return self._known

    async def _last_known(self) -> Mapping[str, tuple[Token, Caller]]:
        """The tokens, and while the store is away as they were when they could last be read: metrics are wanted just then."""
        try:
            async with asyncio.timeout(MOMENT):
                return await self._table()
        except (StoreUnavailable, TimeoutError):
            if self._read_at == -math.inf:
                raise StoreUnavailable("The store of the tokens cannot be used now.") from None
            return self._known

    async def _newer(self) -> Mapping[str, tuple[Token, Caller]]:
        """The tokens as they are now: one may have been made a moment ago."""
        now = self._monotonic()
        while self._read_at < now:
            await _outlived(self._read())
        return self._known

    def _read(self) -> asyncio.Task[None]:
        if self._reading is None or self._reading.done():
            self._reading = asyncio.create_task(self._read_again(), name="tokens")
            self._reading.add_done_callback(_heard)
        return self._reading

    async def _read_again(self) -> None:
        await asyncio.sleep(max(0.0, self._read_at + PAUSE - self._monotonic()))
        begun = self._monotonic()
        offset = await self._tokens.now() - begun
        tokens = await self._tokens.all()
        self._known = {token.id: (token, _caller(token)) for token in tokens}
        self._read_at, self._offset = begun, offset


def _is_ours(sent: bytes | None) -> bool:
    """Whether a token is sent that may be the first one, made a moment ago: it must not open more than it is for."""
    return sent is not None and sent[:13].lower() == b"bearer dolgo_"


async def _outlived(reading: asyncio.Task[None]) -> None:
    """Wait for it; others may wait for the same, so it outlives this request. Raises StoreUnavailable, which names no store:
    nobody knows yet who asks."""
    try:
        await asyncio.shield(reading)
    except StoreUnavailable:
        raise StoreUnavailable("The store of the tokens cannot be used now.") from None


def _heard(reading: asyncio.Task[None]) -> None:
    """Those who wait for it are told of its error; if nobody does, the next who comes waits for another."""
    if not reading.cancelled() and isinstance(error := reading.exception(), Refused):
        log.warning("The tokens cannot be read: %s", error, extra=SELDOM)


def _caller(token: Token) -> Caller:
    return Caller(f"token/{token.id}", token.name, token.scopes, token.queues, token.types, token.rate)
