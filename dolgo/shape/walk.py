"""Every wrong member of a value, where a decoder names the first and stops.

The walk finds the places; what is wrong at a place is asked of msgspec itself, by decoding that leaf, or a stand-in that has
the same kind, length and tag and nothing else in it. So the sentences are the decoder's own, and the time is linear in the size
of the value.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from typing import Any, Literal, NamedTuple

import msgspec

from dolgo.errors import Problem
from dolgo.shape.build import Builder
from dolgo.shape.describe import CONSTRAINTS, Description, Node

LIMIT = 1000  # problems; a longer list helps nobody and would let a small request have a large answer

ANY: Node = {"kind": "any"}
OBJECTS = frozenset({"dict", "struct", "dataclass", "typeddict"})
SETS = frozenset({"set", "frozenset"})
ARRAYS = frozenset({"list", "vartuple", "tuple", "namedtuple", "array", *SETS})
EXACT: Mapping[str, type] = {"str": str, "int": int, "bool": bool, "none": type(None)}  # right by their Python type alone

Part = Literal["whole", "hollow", "key"]


def problems(description: Description, value: Any, *, at: str = "", limit: int = LIMIT) -> list[Problem]:
    """What is wrong with a decoded JSON value, each with a pointer that begins with `at`; empty when it fits. At most `limit`."""
    return list(islice(Walker(description).walk(value, at), limit))


class Place(NamedTuple):
    """A value still to be looked at."""

    pointer: str
    node: Node
    value: Any


class Walker:
    """Walks values of one description. Decoders are made when first needed, then kept."""

    def __init__(self, description: Description) -> None:
        self._root: Node = description["root"]
        self._defs: dict[str, Node] = description["defs"]
        self._whole = Builder(description)
        self._hollow = Builder({"root": ANY, "defs": {name: _hollow_class(node) for name, node in self._defs.items()}})
        self._decoders: dict[tuple[int, Part], msgspec.json.Decoder[Any]] = {}

    def walk(self, value: Any, at: str) -> Iterator[Problem]:
        """Everything wrong with a decoded value, outer before inner, in the order it was sent."""
        return self._walk([Place(at, self._root, value)])

    def _walk(self, todo: list[Place]) -> Iterator[Problem]:
        # A stack of places instead of recursion: a value may be nested deeper than Python's own stack allows.
        while todo:
            inner: list[Place] = []
            yield from self._look(todo.pop(), inner)
            todo.extend(reversed(inner))

    def _look(self, place: Place, inner: list[Place]) -> Iterable[Problem]:
        """What is wrong at the place itself; the places within it are added to `inner`."""
        kind = self._kind(place.node)
        if kind in ("any", "raw") or (type(place.value) is EXACT.get(kind) and not _limited(place.node)):
            return ()
        if kind == "union":
            return self._look_union(place, inner)
        if isinstance(place.value, dict) and kind in OBJECTS:
            return self._look_dict(place, inner) if kind == "dict" else self._look_object(place, inner)
        if isinstance(place.value, list) and kind in ARRAYS:
            return self._look_set(place) if kind in SETS else self._look_array(place, inner)
        return _problem(place.pointer, self._says(place.node, "whole", _stand_in(place.value)))

    def _look_union(self, place: Place, inner: list[Place]) -> Iterator[Problem]:
        """The value can be one option only, by its kind or by its tag: msgspec allows no doubt."""
        options: list[Node] = place.node["of"]
        if any(option["kind"] == "any" for option in options):
            return
        kinds = OBJECTS if isinstance(place.value, dict) else ARRAYS if isinstance(place.value, list) else frozenset[str]()
        fitting = [option for option in options if self._kind(option) in kinds]
        if len(fitting) > 1:
            yield from self._look_tagged(place, fitting, inner)
        elif fitting:
            inner.append(place._replace(node=fitting[0]))
        else:
            yield from _problem(place.pointer, self._says(place.node, "whole", _stand_in(place.value)))

    def _look_tagged(self, place: Place, options: list[Node], inner: list[Place]) -> Iterator[Problem]:
        for option in options:
            if _has_tag(self._defs[option["to"]], place.value):
                inner.append(place._replace(node=option))
                return
        definition = self._defs[options[0]["to"]]
        says = self._says(place.node, "whole", _tag_alone(definition, place.value))
        yield from _problem(_tag_pointer(place, definition), says)

    def _look_dict(self, place: Place, inner: list[Place]) -> Iterator[Problem]:
        node, value = place.node, place.value
        if _limited(node):
            yield from _problem(place.pointer, self._says(node, "hollow", dict.fromkeys(map(str, range(len(value))))))
        check_keys = node["keys"] != {"kind": "str"}
        for key, inner_value in value.items():
            pointer = _point(place.pointer, key)
            if check_keys:
                yield from _problem(pointer, self._says(node, "key", {key: None}))
            inner.append(Place(pointer, node["values"], inner_value))

    def _look_object(self, place: Place, inner: list[Place]) -> Iterator[Problem]:
        definition, value = self._defs[place.node["to"]], place.value
        tag_field = definition.get("tag_field")
        if tag_field is not None and tag_field in value:
            says = self._says(place.node, "hollow", _tag_alone(definition, value))
            yield from _problem(_point(place.pointer, tag_field), says)
        fields = {field["name"]: field for field in definition["fields"]}
        for name, field in fields.items():
            if field["required"] and name not in value:
                yield Problem(_point(place.pointer, name), f"Object missing required field `{name}`")
        for name, inner_value in value.items():
            if name in fields:
                inner.append(Place(_point(place.pointer, name), fields[name]["type"], inner_value))
            elif definition.get("forbid") and name != tag_field:
                yield Problem(_point(place.pointer, name), f"Object contains unknown field `{name}`")

    def _look_array(self, place: Place, inner: list[Place]) -> Iterator[Problem]:
        node, value = place.node, place.value
        definition = self._defs[node["to"]] if node["kind"] == "ref" else {}
        if node["kind"] not in ("list", "vartuple") or _limited(node):
            stand_in = _tag_alone(definition, value) if definition.get("tag") is not None else []
            stand_in += [None] * (len(value) - len(stand_in))
            right = definition.get("tag") is None or _has_tag(definition, value)
            yield from _problem(place.pointer if right else _tag_pointer(place, definition), self._says(node, "hollow", stand_in))
        for index, inner_node in enumerate(_item_nodes(node, definition, len(value))):
            if inner_node is not None and index < len(value):
                inner.append(Place(_point(place.pointer, index), inner_node, value[index]))

    def _look_set(self, place: Place) -> Iterator[Problem]:
        """A set is looked at as a whole: its length is known only when it is without its doubles."""
        says = self._says(place.node, "whole", place.value)
        if says is None:
            return
        items = [Place(_point(place.pointer, i), place.node["items"], item) for i, item in enumerate(place.value)]
        found = False
        for problem in self._walk(items[::-1]):
            found = True
            yield problem
        if not found:
            yield Problem(place.pointer, says)

    def _kind(self, node: Node) -> str:
        if node["kind"] != "ref":
            return str(node["kind"])
        definition = self._defs[node["to"]]
        return "array" if definition.get("array") else str(definition["kind"])

    def _says(self, node: Node, part: Part, value: Any) -> str | None:
        """What msgspec has against the value, None if nothing."""
        try:
            self._decoder(node, part).decode(json.dumps(value))
        except msgspec.ValidationError as error:
            sentence = str(error)
            return sentence.rpartition(" - at `")[0] if sentence.endswith("`") and " - at `" in sentence else sentence
        except (TypeError, ValueError, RecursionError) as error:  # a set of what cannot be hashed
            return str(error)
        return None

    def _decoder(self, node: Node, part: Part) -> msgspec.json.Decoder[Any]:
        made = self._decoders.get((id(node), part))
        if made is None:
            builder = self._whole if part == "whole" else self._hollow
            made = msgspec.json.Decoder(builder.type(node if part == "whole" else _hollow_node(node, part)))
            self._decoders[id(node), part] = made
        return made


def _problem(pointer: str, says: str | None) -> Iterable[Problem]:
    return () if says is None else (Problem(pointer, says),)


def _point(pointer: str, key: str | int) -> str:
    """RFC 6901."""
    return f"{pointer}/{str(key).replace('~', '~0').replace('/', '~1')}"


def _limited(node: Node) -> bool:
    return any(name in node for name in CONSTRAINTS)


def _stand_in(value: Any) -> Any:
    """The value if it is a leaf, else an empty one of its kind."""
    return {} if isinstance(value, dict) else [] if isinstance(value, list) else value


def _tag_of(definition: Node, value: Any) -> tuple[Any, ...]:
    """The tag in a tuple of one, or an empty one if there is none."""
    if isinstance(value, list):
        return tuple(value[:1])
    return (value[definition["tag_field"]],) if definition["tag_field"] in value else ()


def _has_tag(definition: Node, value: Any) -> bool:
    tag = _tag_of(definition, value)
    return tag == (definition["tag"],) and type(tag[0]) is type(definition["tag"])  # True == 1, but is no tag


def _tag_alone(definition: Node, value: Any) -> Any:
    """A stand-in with the value's tag and nothing else."""
    tag = [_stand_in(tag) for tag in _tag_of(definition, value)]
    return tag if isinstance(value, list) else {definition["tag_field"]: tag[0]} if tag else {}


def _tag_pointer(place: Place, definition: Node) -> str:
    """Where the tag is, or should be; an array without one is too short itself."""
    if isinstance(place.value, list):
        return _point(place.pointer, 0) if place.value else place.pointer
    return _point(place.pointer, definition["tag_field"])


def _item_nodes(node: Node, definition: Node, length: int) -> Iterable[Node | None]:
    """The node of each item of an array in turn; None for a tag."""
    match node["kind"]:
        case "tuple":
            return list(node["items"])
        case "ref":
            tag = [None] if definition.get("tag") is not None else []
            return [*tag, *(field["type"] for field in definition["fields"])]
    return [node["items"]] * length


def _hollow_node(node: Node, part: Part) -> Node:
    """The same kind and limits, and anything within; for `key`, anything but the key."""
    match node["kind"]:
        case "tuple":
            return {**node, "items": [ANY] * len(node["items"])}
        case "dict" if part == "key":
            return {"kind": "dict", "keys": node["keys"], "values": ANY}
        case "dict":
            return {**node, "keys": {"kind": "str"}, "values": ANY}
        case "ref":
            return node
    return {**node, "items": ANY}


def _hollow_class(definition: Node) -> Node:
    """The same tag and, as an array, the same length; anything within, and as an object nothing need be there."""
    if definition["kind"] == "enum":
        return definition
    by_place = definition["kind"] == "namedtuple" or definition.get("array")
    fields = [{"name": f["name"], "type": ANY, "required": by_place and f["required"]} for f in definition["fields"]]
    return {**definition, "fields": fields}
