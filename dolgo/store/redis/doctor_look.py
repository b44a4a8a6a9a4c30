"""What the checks of a Redis look at, asked for once."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

import redis

from dolgo.errors import BadSetting
from dolgo.setting_kinds import masked

PREFIX = "dolgo"  # what all keys begin with, in braces: so they are in one slot of a cluster
PARAMETERS = {"redis": {"prefix"}, "rediss": {"prefix", "ssl_cert_reqs", "ssl_ca_certs"}}
ASKED = (
    "appendfsync", "no-appendfsync-on-rewrite", "save", "stop-writes-on-bgsave-error", "min-replicas-to-write",
    "min-replicas-max-lag", "timeout", "client-output-buffer-limit", "dir",
)  # fmt: skip


@dataclass(frozen=True)
class Address:
    """What a URL says. `url` is as the driver wants it, without what is ours."""

    url: str
    prefix: str
    host: str
    encrypted: bool
    password: bool

    @property
    def loopback(self) -> bool:
        """Whether the way there does not leave this machine."""
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:  # a name
            return self.host == "localhost"


def read_address(url: str) -> Address:
    """The parts of `redis://[user:password@]host[:port][/db][?prefix=NAME]`. Raises `BadSetting`."""
    form = "give redis://HOST:PORT/0"
    try:
        parts = urlsplit(url)
        port = parts.port
        (parts.hostname or "").encode("idna")  # as the resolver will
        asked = dict(parse_qsl(parts.query, keep_blank_values=True, strict_parsing=bool(parts.query)))
    except ValueError:
        raise BadSetting(f"The store {masked(url)} cannot be used: {form}.") from None
    known = PARAMETERS[parts.scheme]
    strange = sorted(asked.keys() - known)
    if strange:
        raise BadSetting(f"The store {masked(url)} cannot be used: {strange[0]} is none of its parameters {sorted(known)}.")
    if not parts.hostname or port == 0 or not re.fullmatch(r"/?|/\d+", parts.path):
        raise BadSetting(f"The store {masked(url)} cannot be used: {form}.")
    prefix = asked.pop("prefix", PREFIX)
    plain = parts._replace(query=urlencode(asked)).geturl()
    return Address(plain, prefix, parts.hostname, parts.scheme == "rediss", bool(parts.password))


@dataclass(frozen=True)
class Look:
    """What the checks look at. What this user may not ask for is empty."""

    client: Any  # redis.Redis, whose commands have no types
    address: Address
    hello: Mapping[str, Any]  # little, but whoever is let in may ask for it
    info: Mapping[str, Any]
    config: Mapping[str, str]
    refused: Mapping[str, str]  # the command that asks for them → why it was refused

    @property
    def tag(self) -> str:
        """What the name of every key and channel of the store begins with."""
        return "{" + self.address.prefix + "}"

    @property
    def key(self) -> str:
        """A key such as the store has them. There is none of this name."""
        return self.tag + ":doctor"

    def command(self, *words: Any) -> Any:
        """The answer to a command. Raises `redis.RedisError`."""
        return self.client.execute_command(*words)


def look(client: Any, address: Address) -> Look:
    """Asks for what is known. Raises `redis.RedisError`, but not for what this user may not ask for."""
    refused: dict[str, str] = {}
    hello = _ask(client, refused, "HELLO")
    facts = hello if isinstance(hello, dict) else dict(zip(hello[::2], hello[1::2], strict=True))  # by protocol
    info = _ask(client, refused, "INFO")
    config: dict[str, str] = {}
    for name in ASKED:
        config |= _ask(client, refused, "CONFIG", "GET", name)
    return Look(client, address, facts, info, config, refused)


def _ask(client: Any, refused: dict[str, str], *command: str) -> Any:
    name = " ".join(command[:2])
    try:
        return {} if name in refused else client.execute_command(*command)
    except redis.ResponseError as error:  # no right to it, or it was renamed
        refused[name] = str(error)
        return {}
