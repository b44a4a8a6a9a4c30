"""Where a Redis is, as its URL says it: redis://[user:password@]host[:port][/db][?prefix=NAME]."""

from __future__ import annotations

import difflib
import re
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from msgspec import Struct

from dolgo.errors import BadSetting
from dolgo.setting_kinds import masked

PORT = 6379
PREFIX = "dolgo"
TLS = {  # parameters of rediss://, as redis-py names them
    "ssl_cert_reqs": ("required", "optional", "none"),
    "ssl_ca_certs": (),
    "ssl_certfile": (),
    "ssl_keyfile": (),
    "ssl_check_hostname": ("true", "false"),
}
_PREFIX = re.compile(r"[A-Za-z0-9_.:-]{1,100}")


class Address(Struct, frozen=True):
    """A server, how to speak to it, and whose keys are meant."""

    shown: str  # the URL, its password masked
    host: str
    port: int
    db: int
    username: str | None
    password: str | None
    tls: dict[str, Any] | None  # arguments of redis-py; None: not encrypted
    prefix: str  # every key begins with it; in braces, so that all are in one slot of a cluster

    @property
    def bell(self) -> str:
        """The channel that tells of commits. It names the database, which channels otherwise know nothing of."""
        return f"{self.prefix}bell:{self.db}"


def parse(url: str) -> Address:
    """The address of a URL. Raises `BadSetting` that says what to write instead."""
    shown = masked(url)
    try:
        parts = urlsplit(url)
        port = PORT if parts.port is None else parts.port
        (parts.hostname or "").encode("idna")
    except ValueError as error:
        raise BadSetting(f"The store {shown} cannot be used: {error}. Write redis://HOST:PORT/DB.") from None
    options = dict(parse_qsl(parts.query, keep_blank_values=True))
    encrypted = parts.scheme == "rediss"
    name = options.pop("prefix", PREFIX)
    if not _PREFIX.fullmatch(name):
        raise BadSetting(f"The store {shown} cannot be used: prefix takes letters, digits and . _ : -, at most 100 of them.")
    tls = _tls(shown, options, encrypted=encrypted)
    if port == 0:
        raise BadSetting(f"The store {shown} cannot be used: nobody listens on port 0.")
    if not parts.hostname:
        raise BadSetting(f"The store {shown} cannot be used: it names no host. Write {parts.scheme}://HOST:PORT/DB.")
    return Address(
        shown=shown,
        host=parts.hostname,
        port=port,
        db=_database(shown, parts.path),
        username=unquote(parts.username) if parts.username else None,
        password=unquote(parts.password) if parts.password else None,
        tls=tls if encrypted else None,
        prefix=f"{{{name}}}:",
    )


def _database(shown: str, path: str) -> int:
    number = path.strip("/")
    if number and not number.isdecimal():
        raise BadSetting(f"The store {shown} cannot be used: after the host comes the number of a database, such as /0.")
    return int(number or 0)


def _tls(shown: str, options: dict[str, str], *, encrypted: bool) -> dict[str, Any]:
    known = ["prefix", *(TLS if encrypted else ())]
    tls: dict[str, Any] = {}
    for name, value in options.items():
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f" (did you mean {near[0]}?)" if near else f"; it takes {', '.join(known)}"
            raise BadSetting(f"The store {shown} cannot be used: it takes no parameter {name}{hint}.")
        if TLS[name] and value not in TLS[name]:
            raise BadSetting(f"The store {shown} cannot be used: {name} is one of {', '.join(TLS[name])}.")
        tls[name] = value == "true" if name == "ssl_check_hostname" else value
    return tls
