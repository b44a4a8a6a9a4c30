"""Tokens: who may ask for what. Each is a record of the store; of its secret there is only a hash in it."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Iterable
from enum import StrEnum

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from dolgo.errors import Conflict, NotFound
from dolgo.store.base import Store
from dolgo.task.types import Put

PREFIX = "token/"
MARK = "dolgo"  # what a token begins with, so that people and scanners know it for one
ID_BYTES = 6  # random, of an id: it tells tokens apart and is no secret
SECRET_BYTES = 24  # random, of a secret: too many to try, so its hash needs no salt and no slowness


class Scope(StrEnum):
    """What somebody may do."""

    SUBMIT = "submit"  # submit tasks
    READ = "read"  # look at tasks, types, queues, schedules and workers
    OPERATE = "operate"  # cancel, retry and delete tasks; pause and limit queues; schedules; drain workers
    ADMIN = "admin"  # all the others, and the audit log
    METRICS = "metrics"  # read the metrics


class Token(Struct, frozen=True, kw_only=True):
    """What is known of a token."""

    id: str
    name: str
    digest: str  # SHA-256 of its secret, in hex
    scopes: frozenset[Scope]
    queues: frozenset[str] | None = None  # None: all
    types: frozenset[str] | None = None  # None: all
    rate: float | None = None  # requests a second; None: as many as it likes
    created_at: float
    expires_at: float | None = None
    revoked_at: float | None = None

    def state(self, now: float) -> str:
        """`valid`, `expired` or `revoked`."""
        if self.revoked_at is not None:
            return "revoked"
        return "expired" if self.expires_at is not None and self.expires_at <= now else "valid"

    def fits(self, secret: str) -> bool:
        """Whether this is its secret; takes as long for every wrong one."""
        return hmac.compare_digest(self.digest, digest(secret))


_encode = msgspec.json.Encoder(order="sorted").encode
_decode = msgspec.json.Decoder(Token).decode


def digest(secret: str) -> str:
    """What is kept of a secret."""
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()


def parsed(text: str) -> tuple[str, str] | None:
    """Id and secret of a token as it is sent; None for what is none."""
    mark, _, rest = text.partition("_")
    id, _, secret = rest.partition("_")
    return (id, secret) if mark == MARK and id and secret else None


class Tokens:
    """The tokens of a store. One that was revoked or has expired stays known, so that its end cannot open a closed service."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def now(self) -> float:
        """The store's time, by which tokens expire."""
        return await self._store.now()

    async def all(self) -> list[Token]:
        """Every token that was not forgotten, the oldest first."""
        found = [_decode(record.value) for record in await self._store.records(PREFIX)]
        return sorted(found, key=lambda token: (token.created_at, token.id))

    async def create(
        self,
        name: str,
        *,
        scopes: Iterable[Scope],
        queues: Iterable[str] = (),
        types: Iterable[str] = (),
        rate: float | None = None,
        lasts: float | None = None,
    ) -> tuple[Token, str]:
        """A new token, and it as it is sent: only now, it is nowhere else. `lasts` is in seconds. Raises Conflict."""
        now = await self.now()
        if any(token.name == name and token.state(now) == "valid" for token in await self.all()):
            raise Conflict(f"There is a valid token of the name {name!r} already: revoke that one, or take another name.")
        id, secret = secrets.token_hex(ID_BYTES), secrets.token_hex(SECRET_BYTES)
        token = Token(
            id=id, name=name, digest=digest(secret), scopes=frozenset(scopes), queues=frozenset(queues) or None,
            types=frozenset(types) or None, rate=rate, created_at=now, expires_at=None if lasts is None else now + lasts,
        )  # fmt: skip
        await self._store.put([Put(PREFIX + id, _encode(token), 0)])
        return token, f"{MARK}_{id}_{secret}"

    async def revoke(self, named: str) -> Token:
        """The token of this id or name, refused from now on. One that is revoked already is no error. Raises NotFound."""
        token, now = await self._one(named), await self.now()
        if token.revoked_at is None:
            token = replace(token, revoked_at=now)
            await self._store.put([Put(PREFIX + token.id, _encode(token), None)])
        return token

    async def forget(self, named: str) -> Token:
        """The token of this id or name, known no more: without any, a service on loopback asks for none. Raises NotFound."""
        token = await self._one(named)
        await self._store.forget([PREFIX + token.id])
        return token

    async def _one(self, named: str) -> Token:
        """By id, or the newest of a name."""
        found = [token for token in await self.all() if named in (token.id, token.name)]
        if not found:
            raise NotFound(f"There is no token {named!r}. `dolgo token list` lists those there are.")
        return max(found, key=lambda token: (token.id == named, token.revoked_at is None, token.created_at))
