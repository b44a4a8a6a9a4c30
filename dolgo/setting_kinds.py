"""The kinds of value a setting can have: how each is read, checked and shown. Raises `ValueError` with the way out."""

from __future__ import annotations

import math
import re
from abc import ABC, abstractmethod
from dataclasses import dataclass
from fractions import Fraction
from ipaddress import ip_network
from urllib.parse import urlsplit

SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3_600.0, "d": 86_400.0}
# A bare letter counts in 1024s, as in nginx and systemd; kB, MB and GB say 1000s.
BYTES = {"": 1, "b": 1, "kb": 1000, "mb": 1000**2, "gb": 1000**3}
BYTES |= {letter + i: 1024**power for power, letter in enumerate("kmg", 1) for i in ("", "ib")}
NUMBER = re.compile(r"([0-9]+(?:\.[0-9]+)?)\s*([A-Za-z]*)")
CREDENTIALS = re.compile(r"^([A-Za-z][A-Za-z0-9+.-]*://)?([^:@/]*)(:.*)?@", re.DOTALL)
SECRET_PARAMETER = re.compile(r"([?&][^=&]*(?:password|secret|token|key)[^=&]*=)[^&#]*", re.IGNORECASE)


def masked(url: str) -> str:
    """The URL without its credentials. Masks too much rather than too little: a password may hold any character."""
    if url.startswith(("sqlite:", "memory:")):
        return url
    found = CREDENTIALS.match(url)
    if found:
        scheme, user, password = found.groups()
        url = (scheme or "") + (f"{user}:***@" if password else "***@") + url[found.end() :]
    return SECRET_PARAMETER.sub(r"\1***", url)


class Kind(ABC):
    """What a setting's value must be."""

    metavar = "TEXT"
    unit = ""  # of the plain number, where there is one

    @abstractmethod
    def parse(self, text: str) -> object:
        """The value that a flag's or variable's text means."""

    def read(self, given: object) -> object:
        """The value of what a flag, the environment or dolgo.toml holds: text, or TOML's own kinds where they fit."""
        if isinstance(given, str):
            return self.parse(given.strip())
        if isinstance(given, int | float) and not isinstance(given, bool) and self.unit:
            return self.parse(str(given))
        raise ValueError(f"give {self.wants()}")

    @abstractmethod
    def wants(self) -> str:
        """What would be right, as the end of a sentence."""

    def show(self, value: object) -> str:
        """The value as one would write it."""
        return str(value)

    def quote(self, given: object) -> str:
        """What was given, for an error."""
        return repr(given)


@dataclass(frozen=True)
class Text(Kind):
    """Any text."""

    example: str

    def parse(self, text: str) -> str:
        return text

    def wants(self) -> str:
        return f"text such as {self.example!r}"


@dataclass(frozen=True)
class Secret(Kind):
    """Text that is never shown. It has no flag: every user of a machine can read the arguments of its processes."""

    shortest: int  # characters

    def parse(self, text: str) -> str:
        if len(text) < self.shortest:
            raise ValueError(f"give {self.wants()}")
        return text

    def wants(self) -> str:
        return f"at least {self.shortest} characters"

    def show(self, value: object) -> str:
        return "***" if value else ""

    def quote(self, given: object) -> str:
        return "what was given"


@dataclass(frozen=True)
class Networks(Text):
    """Hosts and networks, comma-separated."""

    def parse(self, text: str) -> str:
        for entry in text.split(","):
            if "/" in entry:
                ip_network(entry.strip().strip("[]"), strict=False)
        return text

    def wants(self) -> str:
        return f"hosts and networks such as {self.example!r}"


@dataclass(frozen=True)
class Url(Kind):
    """A URL; its credentials are never shown."""

    example: str
    schemes: tuple[str, ...] = ()  # empty: whoever opens it decides
    metavar = "URL"

    def parse(self, text: str) -> str:
        scheme, separator, _ = text.partition("://")
        if not separator or not scheme or (self.schemes and not (scheme in self.schemes and _names_host(text))):
            raise ValueError(f"give {self.wants()}")
        return text

    def wants(self) -> str:
        return f"a URL such as {self.example}"

    def show(self, value: object) -> str:
        return masked(str(value))

    def quote(self, given: object) -> str:
        return repr(masked(given)) if isinstance(given, str) else repr(given)


def _names_host(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return bool(parts.hostname) and parts.port != 0 and url.isprintable() and " " not in url
    except ValueError:  # brackets that do not close, a port beyond 65535
        return False


@dataclass(frozen=True)
class Whole(Kind):
    """A whole number between two bounds."""

    low: int
    high: int | None = None
    metavar = "N"
    unit = "number"

    def parse(self, text: str) -> int:
        value = int(text) if re.fullmatch(r"-?[0-9]{1,18}", text) else None
        if value is None or value < self.low or (self.high is not None and value > self.high):
            raise ValueError(f"give {self.wants()}")
        return value

    def show(self, value: object) -> str:
        return "" if value is None else str(value)

    def wants(self) -> str:
        return f"a whole number from {self.low} {'up' if self.high is None else f'to {self.high}'}"


@dataclass(frozen=True)
class Seconds(Kind):
    """A duration, kept in seconds: `30`, `30s`, `500ms`, `5m`, `12h`, `7d`."""

    low: float
    metavar = "DURATION"
    unit = "s"

    def parse(self, text: str) -> float:
        found = NUMBER.fullmatch(text)
        factor = SECONDS.get(found[2] or "s") if found else None
        value = float(found[1]) * factor if found and factor else math.nan
        if not self.low <= value < math.inf:
            raise ValueError(f"give {self.wants()}")
        return value

    def wants(self) -> str:
        return f"a duration of {self.low:g} s or more, such as 30, 500ms, 30s, 5m, 12h or 7d"

    def show(self, value: object) -> str:
        assert isinstance(value, float)
        for unit in ("d", "h", "m"):
            if value and value % SECONDS[unit] == 0:
                return f"{value / SECONDS[unit]:.0f}{unit}"
        return f"{value:.6f}".rstrip("0").rstrip(".") + "s"


@dataclass(frozen=True)
class Size(Kind):
    """A number of bytes: `1048576`, `64k`, `1MiB`, `10MB`."""

    low: int
    metavar = "SIZE"
    unit = "bytes"

    def parse(self, text: str) -> int:
        found = NUMBER.fullmatch(text)
        factor = BYTES.get(found[2].lower()) if found else None
        value = Fraction(found[1]) * factor if found and factor else Fraction(-1)
        if not self.low <= value < 2**63 or value.denominator != 1:
            raise ValueError(f"give {self.wants()}")
        return int(value)

    def wants(self) -> str:
        return f"a size of {self.low} or more bytes, such as 65536, 64k or 1MiB"

    def show(self, value: object) -> str:
        assert isinstance(value, int)
        for power, unit in ((3, "GiB"), (2, "MiB"), (1, "KiB")):
            if value and value % 1024**power == 0:
                return f"{value // 1024**power}{unit}"
        return str(value)


@dataclass(frozen=True)
class Flag(Kind):
    """On or off."""

    def parse(self, text: str) -> bool:
        if text.lower() not in ("1", "true", "yes", "on", "0", "false", "no", "off"):
            raise ValueError(f"give {self.wants()}")
        return text.lower() in ("1", "true", "yes", "on")

    def read(self, given: object) -> bool:
        return given if isinstance(given, bool) else self.parse(str(given).strip())

    def wants(self) -> str:
        return "true or false"

    def show(self, value: object) -> str:
        return "true" if value else "false"


@dataclass(frozen=True)
class Choice(Kind):
    """One of a few words."""

    options: tuple[str, ...]
    metavar = "WORD"

    def parse(self, text: str) -> str:
        if text not in self.options:
            raise ValueError(f"give {self.wants()}")
        return text

    def wants(self) -> str:
        return " or ".join(self.options)


@dataclass(frozen=True)
class Paths(Kind):
    """Paths or module names. A flag is repeated, dolgo.toml holds a list, a variable is separated by commas."""

    metavar = "PATH_OR_MODULE"

    def parse(self, text: str) -> tuple[str, ...]:
        return self.read([part.strip() for part in text.split(",") if part.strip()])

    def read(self, given: object) -> tuple[str, ...]:
        if isinstance(given, str):
            return self.parse(given)
        if not isinstance(given, list | tuple) or not given or not all(isinstance(part, str) and part for part in given):
            raise ValueError(f"give {self.wants()}")
        return tuple(given)

    def wants(self) -> str:
        return "one or more folders, files or modules"

    def show(self, value: object) -> str:
        assert isinstance(value, tuple)
        return ",".join(value)


@dataclass(frozen=True)
class Names(Paths):
    """Names separated by commas, or none of them: everything."""

    metavar = "A,B"

    def wants(self) -> str:
        return "one or more names separated by commas"

    def show(self, value: object) -> str:
        return "" if value is None else super().show(value)
