"""Types of every supported kind, nested, and JSON values that fit them, nearly fit them, or have nothing to do with them."""

from __future__ import annotations

import dataclasses
import datetime
import decimal
import enum
import uuid
from collections.abc import Callable
from typing import Annotated, Any, Literal, NamedTuple, NotRequired, TypedDict, Union

import msgspec
from hypothesis import strategies as st
from msgspec import Meta

from dolgo.errors import BadTaskType
from dolgo.shape import describe

NAMES = ("a", "b_2", "type", "kind", "long name", "sl/ash", "ti~lde", "поле")
WORDS = ("", "a", "ab", "A1", "длинно", "x" * 12)


class Colour(enum.Enum):
    """What it looks like."""

    RED = "red"
    BLUE = "blue"
    ALIAS = "red"


class Level(enum.IntEnum):
    LOW = 1
    HIGH = 10


class Tree(msgspec.Struct, forbid_unknown_fields=True):
    name: str
    children: list[Tree] = []
    by_name: dict[str, Tree | None] = {}


class Leaf(msgspec.Struct, tag="leaf", frozen=True):
    size: Annotated[int, Meta(ge=1, le=9)] = 1


class Branch(msgspec.Struct, tag="branch", forbid_unknown_fields=True):
    left: Leaf | Branch | None = None
    right: Leaf | Branch = msgspec.field(default_factory=Leaf, name="Right")


class Point(NamedTuple):
    x: int
    y: Annotated[float, Meta(gt=0)] = 1.0


def limits(kind: type, **bounds: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """The type, bare or with some of its constraints."""

    def annotated(chosen: dict[str, Any]) -> Any:
        return Annotated[kind, Meta(**chosen)] if chosen else kind

    return st.fixed_dictionaries({}, optional=bounds).map(annotated)


small = st.integers(-3, 5)
lengths = {"min_length": st.integers(0, 2), "max_length": st.integers(1, 4)}
zones = {"tz": st.booleans()}

numbers = st.one_of(
    limits(int, ge=small, lt=small.map(lambda n: n + 6), multiple_of=st.integers(1, 3)),
    limits(int, gt=small, le=small.map(lambda n: n + 6)),
    limits(float, ge=small.map(float), lt=small.map(lambda n: n + 6.5), multiple_of=st.just(0.5)),
    limits(float, gt=small, le=small.map(lambda n: n + 6)),
)
strings = st.one_of(
    limits(str, pattern=st.sampled_from((r"^\w+$", "a", r"\d")), **lengths),
    limits(bytes, **lengths),
    limits(datetime.datetime, **zones),
    limits(datetime.time, **zones),
    st.sampled_from((datetime.date, datetime.timedelta, uuid.UUID, decimal.Decimal, Colour, Literal["a", "b"])),
)
hashables = st.one_of(numbers, strings, st.sampled_from((bool, Level, Literal[1, 2], Literal["a", 1, None], Leaf, Point)))
noted = st.sampled_from((int, str, list[int], Tree)).map(
    lambda tp: Annotated[tp, Meta(title="T", description="D", examples=[1], extra_json_schema={"deprecated": True})]
)
leaves = st.one_of(
    hashables, noted, st.sampled_from((Any, None, msgspec.Raw, Tree, Branch, Leaf | Branch, bytearray, dict, list))
)
keys = st.one_of(
    limits(str, pattern=st.just("^[a-z]"), **lengths),
    st.sampled_from((str, int, float, Any, Colour, Level, Literal["a", "b"], datetime.date, uuid.UUID, decimal.Decimal)),
)


def containers(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.one_of(
        lists(inner.map(lambda tp: list[tp])),  # type: ignore[valid-type]
        lists(hashables.map(lambda tp: set[tp])),  # type: ignore[valid-type]
        lists(hashables.map(lambda tp: frozenset[tp])),  # type: ignore[valid-type]
        lists(inner.map(lambda tp: tuple[tp, ...])),  # type: ignore[valid-type]
        lists(st.tuples(keys, inner).map(lambda pair: dict[pair])),  # type: ignore[valid-type]
        st.lists(inner, max_size=3).map(lambda items: tuple[tuple(items)]),  # type: ignore[valid-type]
        unions(inner),
        structs(inner),
        dataclass_types(inner),
        typed_dicts(inner),
        named_tuples(inner),
        tagged(inner),
    )


def lists(bare: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.tuples(bare, st.fixed_dictionaries({}, optional=lengths)).map(
        lambda pair: Annotated[pair[0], Meta(**pair[1])] if pair[1] else pair[0]
    )


def is_allowed(tp: Any) -> bool:
    """Not for msgspec to say: there are unions that end the process when a decoder for them is made."""
    try:
        describe(tp)
    except BadTaskType:
        return False
    return True


def unions(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.lists(inner, min_size=2, max_size=4).map(lambda options: Union[tuple(options)]).filter(is_allowed)  # noqa: UP007


@st.composite
def fields(draw: st.DrawFn, inner: st.SearchStrategy[Any]) -> list[tuple[str, Any, bool]]:
    """Names fit for JSON, types, and whether they must be there."""
    names = draw(st.lists(st.sampled_from(NAMES), max_size=4, unique=True))
    return [(name, draw(inner), draw(st.booleans())) for name in names]


@st.composite
def structs(draw: st.DrawFn, inner: st.SearchStrategy[Any], tag: Any = None, array: bool | None = None) -> Any:
    chosen = draw(fields(inner))
    default = draw(st.sampled_from((None, 1, "a", msgspec.UNSET)))
    members = [(f"m{i}", tp) if must else (f"m{i}", tp, default) for i, (_, tp, must) in enumerate(chosen)]
    tag_field = draw(st.sampled_from((None, "is"))) if tag is None else "is"
    return msgspec.defstruct(
        draw(st.sampled_from(("Same", "Other"))),
        members,
        rename={f"m{i}": name for i, (name, _, _) in enumerate(chosen)},
        forbid_unknown_fields=draw(st.booleans()),
        array_like=draw(st.booleans()) if array is None else array,
        kw_only=True,
        tag_field=tag_field,
        tag=tag if tag is not None else draw(st.sampled_from((None, "it"))) if tag_field else None,
    )


@st.composite
def tagged(draw: st.DrawFn, inner: st.SearchStrategy[Any]) -> Any:
    tags: list[Any] = draw(st.sampled_from(([1, 2, 3], ["x", "y", ""])))
    array = draw(st.booleans())
    return Union[tuple(draw(structs(inner, tag, array)) for tag in tags)]  # noqa: UP007


def identifiers(chosen: list[tuple[str, Any, bool]]) -> list[tuple[str, Any, bool]]:
    """The same with names that Python takes, the required ones first."""
    return sorted(((f"m{i}", tp, must) for i, (_, tp, must) in enumerate(chosen)), key=lambda field: not field[2])


def dataclass_types(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    def made(chosen: list[tuple[str, Any, bool]], frozen: bool) -> Any:
        members: list[Any] = [(n, tp) if must else (n, tp, None) for n, tp, must in identifiers(chosen)]
        return dataclasses.make_dataclass("Same", members, frozen=frozen)

    return st.builds(made, fields(inner), st.booleans())


def typed_dicts(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    make: Callable[..., Any] = TypedDict
    return fields(inner).map(lambda chosen: make("Same", {n: tp if must else NotRequired[tp] for n, tp, must in chosen}))


def named_tuples(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    def made(chosen: list[tuple[str, Any, bool]]) -> Any:
        make: Callable[..., Any] = NamedTuple
        cls = make("Same", [(n, tp) for n, tp, _ in identifiers(chosen)])
        optional = sum(not must for _, _, must in chosen)
        cls.__new__.__defaults__ = (None,) * optional
        cls._field_defaults = {n: None for n, _, must in identifiers(chosen) if not must}
        return cls

    return fields(inner).map(made)


types = st.recursive(leaves, containers, max_leaves=6).filter(is_allowed)

json_leaves = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-4, 12),
    st.sampled_from((2**63, 10**30, -(2**70))),
    st.floats(-4, 12, allow_nan=False).map(lambda x: round(x * 2) / 2),
    st.floats(allow_nan=False, allow_infinity=False),
    st.sampled_from(
        (*WORDS, "red", "leaf", "branch", "x", "it", "2020-01-02", "2020-01-02T03:04:05Z", "03:04:05", "P1D", "aGk=", "1.5")
    ),
    st.text(max_size=5),
)
json_values = st.recursive(
    json_leaves,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.dictionaries(st.one_of(st.sampled_from((*NAMES, "is", "m0")), st.text(max_size=3)), inner, max_size=4),
    ),
    max_leaves=8,
)


class Fitting:
    """Draws values that fit a description, but for what is wrong on purpose.

    `wrong` of 100 parts are replaced by any JSON; of every class with named members one is taken away or added, if `moved`."""

    def __init__(self, description: dict[str, Any], draw: st.DrawFn, wrong: int, moved: bool) -> None:
        self._root, self._defs, self._draw = description["root"], description["defs"], draw
        self._wrong, self._moved = wrong, moved

    def value(self) -> Any:
        return self._of(self._root, 5)

    def _of(self, node: dict[str, Any], depth: int) -> Any:
        if self._wrong and self._draw(st.integers(0, 99)) < self._wrong:
            return self._draw(json_values)
        kind = node["kind"]
        if kind == "ref":
            return self._of_class(self._defs[node["to"]], depth)
        if kind == "union":
            return self._of(self._draw(st.sampled_from(node["of"])), depth)
        if kind in ("list", "set", "frozenset", "vartuple"):
            return [self._of(node["items"], depth - 1) for _ in range(self._length(node, depth))]
        if kind == "tuple":
            return [self._of(item, depth - 1) for item in node["items"]]
        if kind == "dict":
            keyed = [(self._of(node["keys"], 0), self._of(node["values"], depth - 1)) for _ in range(self._length(node, depth))]
            return {str(key): value for key, value in keyed if not isinstance(key, (dict, list))}
        return self._leaf(kind, node)

    def _length(self, node: dict[str, Any], depth: int) -> int:
        least = node.get("min_length", 0)
        return self._draw(st.integers(least, max(least, min(node.get("max_length", 3), 3)))) if depth > 0 else least

    def _leaf(self, kind: str, node: dict[str, Any]) -> Any:
        step, low = node.get("multiple_of", 1), node.get("ge", node.get("gt", -2))
        exact: dict[str, st.SearchStrategy[Any]] = {
            "none": st.none(),
            "bool": st.booleans(),
            "int": st.integers(int(low) + 1, int(low) + 6).map(lambda n: n // step * step),
            "float": st.integers(int(low) + 1, int(low) + 5).map(float),
            "str": st.sampled_from(("a", "a1", "ab1", "abc1")),
            "bytes": st.sampled_from(("", "aA==", "aGk=")),
            "datetime": st.sampled_from(("2020-01-02T03:04:05Z", "2020-01-02T03:04:05")),
            "time": st.sampled_from(("03:04:05", "03:04:05Z")),
            "date": st.just("2020-01-02"),
            "timedelta": st.just("P1D"),
            "uuid": st.just("2f0e1f0e-7c54-4b2c-8f0a-3a2b1c0d9e8f"),
            "decimal": st.sampled_from(("1.5", 2, 2.5)),
            "literal": st.sampled_from(node.get("values", [None])),
        }
        return self._draw(exact.get(kind, json_values))

    def _of_class(self, definition: dict[str, Any], depth: int) -> Any:
        if definition["kind"] == "enum":
            return self._draw(st.sampled_from(list(definition["members"].values())))
        chosen = [f for f in definition["fields"] if f["required"] or (depth > 0 and self._draw(st.booleans()))]
        tag = definition.get("tag")
        if definition.get("array") or definition["kind"] == "namedtuple":
            count = max((i + 1 for i, f in enumerate(definition["fields"]) if f["required"]), default=len(chosen))
            return [*([] if tag is None else [tag]), *(self._of(f["type"], depth - 1) for f in definition["fields"][:count])]
        members = {f["name"]: self._of(f["type"], depth - 1) for f in chosen}
        if self._moved and self._draw(st.booleans()):
            members.pop(next(iter(members), ""), None)
        elif self._moved:
            members[self._draw(st.sampled_from(NAMES))] = self._draw(json_leaves)
        return members if tag is None else {definition["tag_field"]: tag, **members}


@st.composite
def values(draw: st.DrawFn, description: dict[str, Any]) -> Any:
    """A JSON value: fitting, nearly fitting, or any."""
    wrong, moved = draw(st.sampled_from(((0, False), (0, True), (10, False), (30, True), (100, False))))
    return Fitting(description, draw, wrong, moved).value()
