"""Checking payloads at the door, with the answers the child would give."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from itertools import islice
from typing import Any, NoReturn

import msgspec

from dolgo.errors import InvalidPayload, MalformedJson, Problem
from dolgo.shape.build import build
from dolgo.shape.describe import Description, Node
from dolgo.shape.walk import LIMIT, Walker

DIALECT = "https://json-schema.org/draft/2020-12/schema"
REFUSALS = (msgspec.MsgspecError, ValueError, TypeError, RecursionError)  # all that decoding raises for what was sent

_anything = msgspec.json.Decoder()


class Shape:
    """A described type, ready to check payloads."""

    def __init__(self, description: Description) -> None:
        self.description = description
        self.type = build(description)
        self._decode = msgspec.json.Decoder(self.type).decode
        self._is_open = any(map(_skips, _nodes(description)))

    def check(self, raw: bytes, at: str = "/payload") -> None:
        """Raises `InvalidPayload` with every wrong member, its pointer beginning with `at`, or `MalformedJson`."""
        try:
            self._decode(raw)
            if self._is_open:
                _anything.decode(raw)
        except REFUSALS as error:
            self._refuse(raw, at, error)

    def schema(self) -> dict[str, Any]:
        """The type as JSON Schema 2020-12, for people and tools."""
        made = msgspec.json.schema(self.type)
        for definition in made.get("$defs", {}).values():
            if not definition.get("prefixItems", True):
                del definition["prefixItems"]  # of an array without members; the dialect wants at least one here
        return {"$schema": DIALECT, **made}

    @cached_property
    def _walker(self) -> Walker:
        return Walker(self.description)

    def _refuse(self, raw: bytes, at: str, error: Exception) -> NoReturn:
        try:
            value = _anything.decode(raw)
        except REFUSALS as why:
            raise MalformedJson(f"The payload is not valid JSON: {_reason(why, raw)}.") from None
        if isinstance(error, RecursionError):
            raise MalformedJson(f"The payload is not valid JSON: {_reason(error, raw)}.") from None
        problems = list(islice(self._walker.walk(value, at), LIMIT + 1))
        if not problems:  # a member sent twice, once wrong: a value has only the last of them
            raise InvalidPayload(f"The payload does not fit the task type: {error}.", [Problem(at, str(error))])
        raise InvalidPayload(_summary(problems), problems[:LIMIT])


def _summary(problems: list[Problem]) -> str:
    first, more = problems[0], len(problems) - 1
    also = "" if not more else f" ({more} more)" if more < LIMIT else f" (more than {LIMIT - 1} more)"
    return f"The payload does not fit the task type: {first.pointer}: {first.detail}{also}."


def _reason(error: Exception, raw: bytes) -> str:
    if isinstance(error, RecursionError):
        return "it is nested too deeply"
    if isinstance(error, UnicodeDecodeError):
        return "it is not UTF-8" + _where(raw)
    if str(error) == "Input data was truncated" and b"\\u" in raw:  # msgspec says the same of both
        return "it ends too early, or half of a surrogate pair stands alone"
    return str(error).removeprefix("JSON is malformed: ").partition(" - at `")[0]


def _where(raw: bytes) -> str:
    try:
        raw.decode()
    except UnicodeDecodeError as error:
        return f" (byte {error.start})"
    return ""


def _nodes(description: Description) -> Iterator[Node]:
    """Every node and definition of a description."""
    todo: list[Any] = [description["root"], *description["defs"].values()]
    while todo:
        node = todo.pop()
        yield node
        inner = [node.get("keys"), node.get("values"), *node.get("of", ()), *(field["type"] for field in node.get("fields", ()))]
        items = node.get("items", [])
        inner += items if isinstance(items, list) else [items]
        todo += [part for part in inner if isinstance(part, dict)]


def _skips(node: Node) -> bool:
    """Whether msgspec passes over bytes here without reading them as strictly as it does elsewhere.

    It lets bad UTF-8 and 1e400 through where it skips; and a Decimal may be larger than any number that is read generically."""
    match node["kind"]:
        case "raw" | "decimal" | "dataclass" | "typeddict":
            return True
        case "struct":
            return not node["forbid"]
    return False
