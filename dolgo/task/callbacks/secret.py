"""What deliveries are signed with, by Standard Webhooks 1.0: https://www.standardwebhooks.com."""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets

import msgspec
from msgspec import Struct

from dolgo.store.base import Store
from dolgo.task.types import Put

KEY = "callbacks/secret"
PREFIX = "whsec_"
BYTES = 32  # of a secret; the standard has 24 to 64
BOTH = 86_400.0  # seconds after a rotation for which the one before signs as well


class Secrets(Struct, frozen=True):
    """The secret in force, and the one before it."""

    now: str
    before: str | None = None
    until: float = 0.0  # when the one before stops

    def valid(self, time: float) -> list[str]:
        return [self.now, self.before] if self.before is not None and time < self.until else [self.now]


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Secrets).decode


class Vault:
    """The secrets of a store."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def valid(self) -> list[str]:
        """Those to sign with, the newest first. The first one is made when there is none."""
        found, _ = await self._secrets()
        return found.valid(await self._store.now())

    async def rotate(self) -> str:
        """A new secret; the one before is valid for a day more."""
        while True:
            found, version = await self._secrets()
            fresh = Secrets(_new(), found.now, await self._store.now() + BOTH)
            if await self._store.put([Put(KEY, _encode(fresh), version)]) is None:
                return fresh.now

    async def _secrets(self) -> tuple[Secrets, int]:
        while True:
            for record in await self._store.records(KEY):
                if record.key == KEY:
                    return _decode(record.value), record.version
            await self._store.put([Put(KEY, _encode(Secrets(_new())), 0)])


def signatures(valid: list[str], id: str, time: int, body: bytes) -> str:
    """The header `webhook-signature`: one signature for each secret."""
    return " ".join(f"v1,{_signature(secret, id, time, body)}" for secret in valid)


def _signature(secret: str, id: str, time: int, body: bytes) -> str:
    key = base64.b64decode(secret.removeprefix(PREFIX))
    return base64.b64encode(hmac.digest(key, b"%b.%d.%b" % (id.encode(), time, body), hashlib.sha256)).decode()


def _new() -> str:
    return PREFIX + base64.b64encode(secrets.token_bytes(BYTES)).decode()
