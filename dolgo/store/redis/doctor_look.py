"""What the checks of a Redis look at, asked for once."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import redis

from dolgo.store.redis.url import Address

ASKED = (
    "appendfsync", "no-appendfsync-on-rewrite", "save", "stop-writes-on-bgsave-error", "min-replicas-to-write",
    "min-replicas-max-lag", "timeout", "client-output-buffer-limit", "dir",
)  # fmt: skip


@dataclass(frozen=True)
class Look:
    """What the checks look at. What this user may not ask for is empty."""

    client: Any  # redis.Redis, whose commands have no types
    address: Address
    node: tuple[str, int]  # host and port of who has the keys: in a cluster it may be another than the URL names
    hello: Mapping[str, Any]  # little, but whoever is let in may ask for it
    info: Mapping[str, Any]
    config: Mapping[str, str]
    refused: Mapping[str, str]  # the command that asks for them → why it was refused

    @property
    def key(self) -> str:
        """A key such as the store has them. There is none of this name."""
        return key_of(self.address)

    @property
    def loopback(self) -> bool:
        """Whether the way there does not leave this machine."""
        try:
            return ipaddress.ip_address(self.node[0]).is_loopback
        except ValueError:  # a name
            return self.node[0] == "localhost"

    @property
    def sentinel(self) -> bool:
        """Whether this is a Sentinel, which keeps no data and knows few commands."""
        return "sentinel" in (self.info.get("redis_mode"), self.hello.get("mode"))

    def command(self, *words: Any) -> Any:
        """The answer to a command. Raises `redis.RedisError`."""
        return self.client.execute_command(*words)


def key_of(address: Address) -> str:
    """A key with the prefix of the store, that the store does not use."""
    return address.prefix + "doctor"


def look(client: Any, address: Address, node: tuple[str, int]) -> Look:
    """Asks for what is known. Raises `redis.RedisError`, but not for what this user may not ask for."""
    refused: dict[str, str] = {}
    hello = _ask(client, refused, "HELLO")
    facts = hello if isinstance(hello, dict) else dict(zip(hello[::2], hello[1::2], strict=True))  # by protocol
    info = _ask(client, refused, "INFO")
    config: dict[str, str] = {}
    for name in ASKED:
        config |= _ask(client, refused, "CONFIG", "GET", name)
    return Look(client, address, node, facts, info, config, refused)


def _ask(client: Any, refused: dict[str, str], *command: str) -> Any:
    name = " ".join(command[:2])
    try:
        return {} if name in refused else client.execute_command(*command)
    except redis.ResponseError as error:  # no right to it, or it was renamed
        refused[name] = str(error)
        return {}
