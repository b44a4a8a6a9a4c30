"""A type as plain JSON-able data: `{"root": node, "defs": {name: definition}}`.

A node is `{"kind": …}` with its constraints and parts; classes (and so recursion) stand in `defs` and are named by `ref` nodes.
`build.py` reads the same format back. It holds all that decides which JSON is accepted and what a JSON Schema shows, no more.
"""

from __future__ import annotations

import copy
import enum
import inspect
import json
import re
from collections.abc import Mapping
from typing import Any, get_type_hints

import msgspec
from msgspec import inspect as mi

from dolgo.errors import BadTaskType

Node = dict[str, Any]
Description = dict[str, Any]

CONSTRAINTS = ("gt", "ge", "lt", "le", "multiple_of", "pattern", "min_length", "max_length", "tz")

SCALARS: Mapping[type[mi.Type], str] = {
    mi.AnyType: "any",
    mi.NoneType: "none",
    mi.BoolType: "bool",
    mi.IntType: "int",
    mi.FloatType: "float",
    mi.StrType: "str",
    mi.BytesType: "bytes",
    mi.ByteArrayType: "bytes",
    mi.MemoryViewType: "bytes",
    mi.DateTimeType: "datetime",
    mi.DateType: "date",
    mi.TimeType: "time",
    mi.TimeDeltaType: "timedelta",
    mi.UUIDType: "uuid",
    mi.DecimalType: "decimal",
    mi.RawType: "raw",
}

LISTS: Mapping[type[mi.Type], str] = {
    mi.ListType: "list",
    mi.SetType: "set",
    mi.FrozenSetType: "frozenset",
    mi.VarTupleType: "vartuple",
}

UNHASHABLE = frozenset({"list", "set", "dict", "raw"})

# Hooks that refuse payloads by code. The door has no such code, so it would accept what the child refuses.
HOOKS = ("__post_init__", "__attrs_pre_init__", "__attrs_post_init__")


class Fresh:
    """A default factory that gives a new deep copy of a value each time; the value itself shows in the JSON Schema."""

    def __init__(self, value: Any) -> None:
        self.value = value

    def __call__(self) -> Any:
        return copy.deepcopy(self.value)


def warm(*names: str | int | None) -> None:
    """Make msgspec 0.22 find these names: it compares those of dataclasses, typed dictionaries and tag fields with the UTF-8 form
    that a non-ASCII string keeps inside, and does not make that form if nobody has yet. Encoding the string does."""
    for name in names:
        msgspec.json.encode(name)


def describe(tp: Any) -> Description:
    """The type as plain data that `build` turns back into one that takes exactly the same JSON.

    Raises `BadTaskType` with the member and the reason for a type whose answers cannot be had elsewhere."""
    describer = _Describer()
    try:
        # Not mi.type_info, which makes a decoder first: for what `_refuse_crash` refuses that would end the process.
        translator: Any = mi._Translator
        root = describer.node(translator((tp,)).translate(tp), ())
        msgspec.json.Decoder(tp)
    except BadTaskType:
        raise
    except Exception as error:  # annotations may be any expression, so evaluating them may raise anything
        path, reason = _blame(tp, error)
        raise _refusal(path, reason) from error
    return {"root": root, "defs": describer.defs}


def _refusal(path: tuple[str, ...], reason: str) -> BadTaskType:
    return BadTaskType(f"`{'.'.join(path)}`: {reason}" if path else reason)


def _blame(tp: Any, error: Exception) -> tuple[tuple[str, ...], str]:
    """The innermost member that cannot be decoded, and why."""
    annotations = getattr(tp, "__annotations__", {}) if isinstance(tp, type) else {}
    for name in annotations:
        try:
            hint = get_type_hints(tp, include_extras=True)[name]
            msgspec.json.Decoder(hint)
        except (NameError, KeyError):
            continue  # not evaluable on its own: the class's own error says more
        except Exception as inner:
            path, reason = _blame(hint, inner)
            return (name, *path), reason
    return (), str(error)


class _Describer:
    def __init__(self) -> None:
        self.defs: dict[str, Any] = {}
        self._names: dict[Any, str] = {}

    def node(self, info: mi.Type, path: tuple[str, ...]) -> Node:
        kind = type(info)
        if isinstance(info, mi.Metadata):
            return self._noted(info, path)
        if kind in SCALARS:
            return {"kind": SCALARS[kind], **_constraints(info)}
        if isinstance(info, mi.CollectionType):
            return self._list(info, path)
        match info:
            case mi.LiteralType():
                return {"kind": "literal", "values": list(info.values)}
            case mi.TupleType():
                return {"kind": "tuple", "items": [self.node(item, (*path, str(i))) for i, item in enumerate(info.item_types)]}
            case mi.DictType():
                keys, values = self.node(info.key_type, (*path, "keys")), self.node(info.value_type, (*path, "values"))
                return {"kind": "dict", "keys": keys, "values": values, **_constraints(info)}
            case mi.UnionType():
                options = [self.node(option, path) for option in info.types]
                _refuse_crash(options, path)
                return {"kind": "union", "of": options}
            case mi.EnumType():
                return self._ref(info.cls, path, lambda: _enum(info.cls, path))
            case mi.StructType() | mi.DataclassType() | mi.TypedDictType() | mi.NamedTupleType():
                return self._ref(info.cls, path, lambda: self._members(info, path))
            case mi.CustomType() if info.cls is object:
                return {"kind": "any"}
        raise _refusal(path, f"`{_name(getattr(info, 'cls', kind))}` is not a type that JSON can be checked against elsewhere")

    def _noted(self, info: mi.Metadata, path: tuple[str, ...]) -> Node:
        node = self.node(info.type, path)
        note = _plain(info.extra_json_schema)
        return {**node, "note": {**node.get("note", {}), **note}} if note else node

    def _list(self, info: mi.CollectionType, path: tuple[str, ...]) -> Node:
        kind, items = LISTS[type(info)], self.node(info.item_type, (*path, "items"))
        if kind in ("set", "frozenset") and not self._hashable(items):
            raise _refusal(path, "a set can hold only what can be hashed, such as frozen classes and tuples")
        return {"kind": kind, "items": items, **_constraints(info)}

    def _ref(self, cls: Any, path: tuple[str, ...], define: Any) -> Node:
        if cls not in self._names:
            name = self._names[cls] = self._free_name(_name(cls))
            self.defs[name] = None  # taken, so that recursion finds it
            self.defs[name] = define()
        return {"kind": "ref", "to": self._names[cls]}

    def _free_name(self, name: str) -> str:
        number, free = 1, name
        while free in self.defs:
            number += 1
            free = f"{name}_{number}"
        return free

    def _members(self, info: Any, path: tuple[str, ...]) -> Node:
        cls = getattr(info.cls, "__origin__", info.cls)
        _refuse_hooks(cls, path)
        warm(*(field.encode_name for field in info.fields), getattr(info, "tag_field", None))
        definition: Node = {"kind": _CLASSES[type(info)], "doc": _doc(cls)}
        if isinstance(info, mi.StructType):
            definition |= {
                "forbid": info.forbid_unknown_fields,
                "tag": info.tag,
                "tag_field": info.tag_field,
                "array": info.array_like,
            }
        definition["frozen"] = _frozen(cls, info)
        is_struct = isinstance(info, mi.StructType)
        definition["fields"] = [self._field(field, path, by_struct=is_struct) for field in _ordered(cls, info)]
        return definition

    def _field(self, field: mi.Field, path: tuple[str, ...], *, by_struct: bool) -> Node:
        path = (*path, field.name)
        node = {"name": field.encode_name, "type": self.node(field.type, path), "required": field.required}
        if not by_struct and node["type"] == {"kind": "raw"}:
            raise _refusal(path, "msgspec decodes Raw only in a Struct")
        default = _default(field)
        return node if default is None else {**node, "default": default[0]}

    def _hashable(self, node: Node) -> bool:
        if node["kind"] in UNHASHABLE:
            return False
        match node["kind"]:
            case "ref":
                definition = self.defs[node["to"]]
                # None: a set of the class being described; a class that holds a set is not hashable anyway
                return definition is not None and self._hashable_class(definition)
            case "union":
                return all(map(self._hashable, node["of"]))
            case "tuple":
                return all(map(self._hashable, node["items"]))
            case "vartuple":
                return self._hashable(node["items"])
        return True

    def _hashable_class(self, definition: Node) -> bool:
        if definition["kind"] == "enum":
            return True
        return bool(definition["frozen"]) and all(self._hashable(field["type"]) for field in definition["fields"])


_CLASSES: Mapping[type[mi.Type], str] = {
    mi.StructType: "struct",
    mi.DataclassType: "dataclass",
    mi.TypedDictType: "typeddict",
    mi.NamedTupleType: "namedtuple",
}


def _name(cls: Any) -> str:
    """The class's name as a person knows it, fit to be part of a URL: `Box[int]` → `Box_int_`."""
    if hasattr(cls, "__origin__"):
        name = f"{cls.__origin__.__name__}[{', '.join(getattr(arg, '__name__', repr(arg)) for arg in cls.__args__)}]"
    else:
        name = getattr(cls, "__name__", repr(cls))
    return re.sub(r"[^\w.-]", "_", name)


def _doc(cls: Any) -> str:
    doc = inspect.cleandoc(getattr(cls, "__doc__", None) or "")
    made = doc.startswith(f"{cls.__name__}(") and doc.endswith(")")  # dataclasses and named tuples write their own
    return "" if made or doc == "An enumeration." else doc


def _constraints(info: mi.Type) -> Node:
    return {name: value for name in CONSTRAINTS if (value := getattr(info, name, None)) is not None}


def _plain(value: Any) -> Any:
    """The value as JSON gives it back, None if JSON cannot hold it."""
    try:
        return json.loads(json.dumps(msgspec.to_builtins(value, str_keys=True), allow_nan=False))
    except (TypeError, ValueError, RecursionError, msgspec.MsgspecError):
        return None


def _default(field: mi.Field) -> tuple[Any] | None:
    """The default to show, in a tuple of one; None when there is none or it is made by code."""
    value: Any = field.default
    if isinstance(field.default_factory, Fresh):
        value = field.default_factory.value
    elif field.default_factory in (list, dict, set, frozenset, tuple, bytearray):
        value = field.default_factory()
    if field.required or value is msgspec.NODEFAULT:
        return None
    plain = _plain(value)
    return None if plain is None and value is not None else (plain,)


def _ordered(cls: Any, info: Any) -> tuple[mi.Field, ...]:
    if not isinstance(info, mi.TypedDictType):
        return tuple(info.fields)
    order = list(cls.__annotations__)  # inspect sorts them, the decoder does not: decides which missing one it names
    return tuple(sorted(info.fields, key=lambda field: order.index(field.name)))


def _frozen(cls: Any, info: Any) -> bool:
    match info:
        case mi.StructType():
            return bool(cls.__struct_config__.frozen)
        case mi.DataclassType():
            return getattr(cls, "__hash__", None) is not None
    return isinstance(info, mi.NamedTupleType)


def _refuse_hooks(cls: Any, path: tuple[str, ...]) -> None:
    for hook in HOOKS:
        if hasattr(cls, hook):
            raise _refusal(path, f"`{cls.__name__}.{hook}` could refuse a payload, but runs only where the class is")
    if any(field.validator is not None for field in getattr(cls, "__attrs_attrs__", ())):
        raise _refusal(path, f"`{cls.__name__}` has validators, which run only where the class is")


def _refuse_crash(options: list[Node], path: tuple[str, ...]) -> None:
    """Two unions that msgspec 0.22 takes, and then reads one option's limits as pointers to another's types."""
    kinds = {option["kind"] for option in options}
    if any("pattern" in option for option in options) and kinds & {"list", "set", "frozenset", "vartuple", "dict"}:
        raise _refusal(path, "msgspec crashes on a union of a str with a pattern and a list, set or dict")
    if "tuple" in kinds and any(limit in option for option in options for limit in CONSTRAINTS if limit not in ("pattern", "tz")):
        raise _refusal(path, "msgspec crashes on a union of a tuple of fixed length and anything with a limit")


def _enum(cls: type[enum.Enum], path: tuple[str, ...]) -> Node:
    own = getattr(cls._missing_, "__func__", None) is not getattr(enum.Enum._missing_, "__func__", None)
    if own:  # flags included: they make members up as well
        raise _refusal(path, f"`{cls.__name__}._missing_` makes up members, but runs only where the class is")
    return {"kind": "enum", "doc": _doc(cls), "members": {name: member.value for name, member in cls.__members__.items()}}
