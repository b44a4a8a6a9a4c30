"""The functions that run inside Redis, as one library.

Its name bears a hash of its code, and so do its functions: old and new versions of dolgo work side by side on one server.
"""

from __future__ import annotations

from functools import cache
from hashlib import sha256
from importlib.resources import files

from msgspec import Struct

FILES = (
    "base", "turn", "task", "place", "lines", "gates", "edges", "records",
    "submit", "claim", "settle", "hand", "upkeep", "look", "register",
)  # fmt: skip
FAMILY = "dolgo_"  # what the names of all versions begin with


class Library(Struct, frozen=True):
    """A library of Redis Functions."""

    name: str
    code: str


@cache
def library() -> Library:
    """The library of this version."""
    folder = files("dolgo.store.redis") / "lua"
    body = "\n".join((folder / f"{name}.lua").read_text("utf-8") for name in FILES)
    name = FAMILY + sha256(body.encode()).hexdigest()[:8]
    return Library(name, f"#!lua name={name}\n" + body.replace("@NAME@", name))
