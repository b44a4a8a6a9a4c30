"""A description back into a type that takes exactly the same JSON, and refuses the rest with the same words."""

from __future__ import annotations

import collections
import dataclasses
import datetime
import decimal
import enum
import uuid
from collections.abc import Mapping
from typing import Annotated, Any, Literal, NotRequired, TypedDict, Union

import msgspec

from dolgo.shape.describe import CONSTRAINTS, Description, Node, warm

SCALARS: Mapping[str, Any] = {
    "any": Any,
    "none": None,
    "bool": bool,
    "int": int,
    "float": float,
    "str": str,
    "bytes": bytes,
    "datetime": datetime.datetime,
    "date": datetime.date,
    "time": datetime.time,
    "timedelta": datetime.timedelta,
    "uuid": uuid.UUID,
    "decimal": decimal.Decimal,
    "raw": msgspec.Raw,
}


class Builder:
    """Types for the nodes of one description. The same definition is the same class, however often it is named."""

    def __init__(self, description: Description) -> None:
        self._defs: dict[str, Node] = description["defs"]
        self._classes = {name: _bare_class(name, definition) for name, definition in self._defs.items()}
        for name, definition in self._defs.items():
            # Members come second, so that classes may name each other. msgspec reads them when a decoder is made.
            for member, field in _members(definition):
                self._classes[name].__annotations__[member] = self._member(definition, field)

    def type(self, node: Node) -> Any:
        """The type a node stands for."""
        meta = {name: node[name] for name in CONSTRAINTS if name in node}
        if "note" in node:
            meta["extra_json_schema"] = node["note"]
        bare = self._bare(node)
        return Annotated[bare, msgspec.Meta(**meta)] if meta else bare

    def _bare(self, node: Node) -> Any:
        match node["kind"]:
            case "ref":
                return self._classes[node["to"]]
            case "literal":
                return Literal[tuple(node["values"])]
            case "list":
                return list[self.type(node["items"])]  # type: ignore[misc]
            case "set":
                return set[self.type(node["items"])]  # type: ignore[misc]
            case "frozenset":
                return frozenset[self.type(node["items"])]  # type: ignore[misc]
            case "vartuple":
                return tuple[self.type(node["items"]), ...]  # type: ignore[misc]
            case "tuple":
                return tuple[tuple(map(self.type, node["items"]))]  # type: ignore[misc]
            case "dict":
                return dict[self.type(node["keys"]), self.type(node["values"])]  # type: ignore[misc]
            case "union":
                return Union[tuple(map(self.type, node["of"]))]  # noqa: UP007 - of a list
        return SCALARS[node["kind"]]

    def _member(self, definition: Node, field: Node) -> Any:
        tp = self.type(field["type"])
        if "default" in field:  # for the JSON Schema alone: nobody reads the values a rebuilt type decodes to
            tp = Annotated[tp, msgspec.Meta(extra_json_schema={"default": field["default"]})]
        return NotRequired[tp] if definition["kind"] == "typeddict" and not field["required"] else tp


def build(description: Description) -> Any:
    """A type that takes exactly the JSON that the described one takes, for as long as somebody holds it."""
    return Builder(description).type(description["root"])


def _members(definition: Node) -> list[tuple[str, Node]]:
    """Each field with the name it has in Python: a made up one where JSON names may be anything."""
    named = definition["kind"] in ("dataclass", "typeddict")
    return [(field["name"] if named else f"f{i}", field) for i, field in enumerate(definition.get("fields", ()))]


def _bare_class(name: str, definition: Node) -> Any:
    """The class with `Any` for its members' types."""
    warm(*(field["name"] for field in definition.get("fields", ())), definition.get("tag_field"))
    match definition["kind"]:
        case "enum":
            make: Any = enum.Enum  # Any: a type checker wants to read the names of what is made here
            cls = make(name, definition["members"])
        case "namedtuple":
            cls = _namedtuple(name, definition)
        case "typeddict":
            make = TypedDict
            cls = make(name, {field["name"]: Any if field["required"] else NotRequired[Any] for field in definition["fields"]})
        case "dataclass":
            cls = dataclasses.make_dataclass(name, _specs(definition), frozen=definition["frozen"], kw_only=True)
        case _:
            cls = _struct(name, definition)
    cls.__doc__ = definition["doc"] or None
    return cls


def _namedtuple(name: str, definition: Node) -> Any:
    members = [member for member, _ in _members(definition)]
    optional = sum(not field["required"] for field in definition["fields"])
    make: Any = collections.namedtuple
    cls = make(name, members, defaults=[None] * optional)
    cls.__annotations__ = dict.fromkeys(members, Any)
    return cls


def _specs(definition: Node) -> list[Any]:
    """Fields as struct and dataclass are made of them; a default is there only to say that the member need not be."""
    return [(member, Any) if field["required"] else (member, Any, msgspec.UNSET) for member, field in _members(definition)]


def _struct(name: str, definition: Node) -> Any:
    return msgspec.defstruct(
        name,
        _specs(definition),
        rename={member: field["name"] for member, field in _members(definition)},
        forbid_unknown_fields=definition["forbid"],
        tag=definition["tag"],
        tag_field=definition["tag_field"],
        array_like=definition["array"],
        frozen=definition["frozen"],
        kw_only=True,  # required members may follow optional ones
    )
