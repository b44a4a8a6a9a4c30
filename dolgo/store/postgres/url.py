"""Where a PostgreSQL is, as its URL says it: postgresql://[user[:password]@]host[:port]/database[?schema=NAME].

What the URL leaves out comes from where libpq takes it: PGUSER, PGPASSWORD, PGPASSFILE and ~/.pgpass.
"""

from __future__ import annotations

import difflib
import re
from typing import Any
from urllib.parse import parse_qsl, unquote, urlencode, urlsplit

from msgspec import Struct

from dolgo.errors import BadSetting
from dolgo.setting_kinds import masked

PORT = 5432
SCHEMA = "dolgo"
MODES = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")
LOOPBACK = ("127.0.0.1", "::1", "localhost")  # nobody listens in there, and a server that insists on TLS says so
TLS = ("sslmode", "sslrootcert", "sslcert", "sslkey")  # as libpq names them
KNOWN = ("schema", "host", *TLS)
_SCHEMA = re.compile(r"[a-z_][a-z0-9_]{0,39}")  # 40: the channel of the bell is named after it, and a name has 63 bytes at most


class Address(Struct, frozen=True):
    """A database, how to speak to its server, and whose tables are meant."""

    shown: str  # the URL, its password masked
    host: str  # or the folder of a Unix socket
    port: int
    database: str | None  # None: named as the user
    user: str | None  # None: PGUSER, or the user of the system
    password: str | None  # None: what PGPASSWORD or the password file says, if the server asks
    tls: str  # the parameters of TLS as a query, empty for the default
    schema: str

    @property
    def channel(self) -> str:
        """What tells of commits. A channel belongs to one database."""
        return f"{self.schema}_commits"

    @property
    def arguments(self) -> dict[str, Any]:
        """What asyncpg connects with."""
        named = {"user": self.user, "password": self.password, "database": self.database}
        there = {name: text for name, text in named.items() if text is not None}
        return {"dsn": f"postgresql://?{self.tls}", "host": self.host, "port": self.port, **there}


def parse(url: str) -> Address:
    """The address of a URL. Raises `BadSetting` that says what to write instead."""
    shown = masked(url)
    try:
        parts = urlsplit(url)
        port = PORT if parts.port is None else parts.port
        (parts.hostname or "").encode("idna")
    except ValueError as error:
        raise BadSetting(f"The store {shown} cannot be used: {error}. Write postgresql://HOST:PORT/DATABASE.") from None
    options = _options(shown, parts.query)
    host = options.pop("host", None) or unquote(parts.hostname or "")
    schema = options.pop("schema", SCHEMA)
    if not _SCHEMA.fullmatch(schema) or schema.startswith("pg_"):
        raise _bad(shown, "schema takes small letters, digits and _, at most 40 of them, and does not begin with pg_")
    if not host:
        raise _bad(shown, "it names no host. Write postgresql://HOST:PORT/DATABASE, or ?host=FOLDER for a Unix socket")
    if port == 0:
        raise _bad(shown, "nobody listens on port 0")
    return Address(
        shown=shown,
        host=host,
        port=port,
        database=_text(shown, parts.path.removeprefix("/")),
        user=_text(shown, parts.username),
        password=_text(shown, parts.password),
        tls=urlencode({"sslmode": "disable", **options} if host in LOOPBACK else options),
        schema=schema,
    )


def _text(shown: str, part: str | None) -> str | None:
    """What part of a URL says. An empty one says nothing."""
    text = unquote(part) if part else None
    if text and "\0" in text:
        raise _bad(shown, "it holds a NUL")
    return text


def _options(shown: str, query: str) -> dict[str, str]:
    options = dict(parse_qsl(query, keep_blank_values=True))
    for name in options:
        if name not in KNOWN:
            near = difflib.get_close_matches(name, KNOWN, n=1)
            hint = f" (did you mean {near[0]}?)" if near else f"; it takes {', '.join(KNOWN)}"
            raise _bad(shown, f"it takes no parameter {name}{hint}")
    if options.get("sslmode", MODES[0]) not in MODES:
        raise _bad(shown, f"sslmode is one of {', '.join(MODES)}")
    return options


def _bad(shown: str, reason: str) -> BadSetting:
    return BadSetting(f"The store {shown} cannot be used: {reason}.")
