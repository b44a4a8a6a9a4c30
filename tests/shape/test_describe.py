"""What a description holds, and what cannot be described."""

from __future__ import annotations

import dataclasses
import datetime
import decimal
import enum
import json
import uuid
from pathlib import Path
from typing import Annotated, Any, Generic, Literal, NamedTuple, NewType, NotRequired, TypedDict, TypeVar

import msgspec
import pytest
from msgspec import Meta

from dolgo.errors import BadTaskType
from dolgo.shape import Fresh, describe, fingerprint

T = TypeVar("T")
UserId = NewType("UserId", int)
Long = Annotated[str, Meta(min_length=1, max_length=9, pattern="a", title="Long", description="d", examples=["a"])]


class Same(msgspec.Struct):
    one: int


First = Same


class Same(msgspec.Struct):  # type: ignore[no-redef]
    two: int


class Both(msgspec.Struct):
    first: First
    second: Same


class Box(msgspec.Struct, Generic[T]):
    held: T


class Node(msgspec.Struct, forbid_unknown_fields=True, rename="camel"):
    """A node."""

    full_name: Long
    next_node: Node | None = None
    tags: list[str] = []
    made: float = msgspec.field(default_factory=lambda: 1 / 0)
    shared: list[int] = msgspec.field(default_factory=Fresh([1, 2]))


class Colour(enum.Enum):
    RED = "red"


class Level(enum.IntEnum):
    LOW = 1


class Lenient(enum.Enum):
    A = "a"

    @classmethod
    def _missing_(cls, value: object) -> Lenient:
        return cls.A


class Flags(enum.Flag):
    A = 1


@dataclasses.dataclass
class Address:
    street: str
    number: int = 1


@dataclasses.dataclass
class Checked:
    street: str

    def __post_init__(self) -> None:
        raise ValueError


class Parts(TypedDict):
    zebra: int
    apple: NotRequired[str]


class Point(NamedTuple):
    x: int
    y: int = 0


class Frozen(msgspec.Struct, frozen=True):
    a: tuple[int, str]


class FrozenWithList(msgspec.Struct, frozen=True):
    a: list[int]


class Deep(msgspec.Struct):
    ok: int
    inner: dict[str, list[Holder]]


class Holder(msgspec.Struct):
    path: Path


class Bare:
    pass


SUPPORTED = [
    *(Any, None, bool, int, float, str, bytes, bytearray, memoryview, object, msgspec.Raw, list, dict, set, tuple, UserId, Long),
    *(datetime.datetime, datetime.date, datetime.time, datetime.timedelta, uuid.UUID, decimal.Decimal),
    *(Literal["a", 1, None], Colour, Level, Address, Parts, Point, Node, Both, Box[int], Box[Any], Frozen),
    *(
        list[int],
        set[str],
        frozenset[int],
        tuple[int, ...],
        tuple[int, str],
        dict[str, list[int]],
        int | None,
        int | str | None,
    ),
    *(set[Frozen], set[Point], frozenset[tuple[int, str]], dict[Colour, int], dict[int, int]),
    *(Annotated[datetime.datetime, Meta(tz=True)], Annotated[float, Meta(gt=0, lt=1.5, multiple_of=0.5)]),
]


@pytest.mark.parametrize("tp", SUPPORTED, ids=str)
def test_every_supported_kind_is_described_as_plain_json(tp: Any) -> None:
    description = describe(tp)
    assert json.loads(json.dumps(description, allow_nan=False)) == description


def test_constraints_notes_renames_and_plain_defaults_are_kept() -> None:
    description = describe(Node)
    node = description["defs"]["Node"]
    fields = {field["name"]: field for field in node["fields"]}
    assert node["doc"] == "A node."
    assert node["forbid"] is True
    assert fields["fullName"]["type"] == {
        "kind": "str",
        "min_length": 1,
        "max_length": 9,
        "pattern": "a",
        "note": {"title": "Long", "description": "d", "examples": ["a"]},
    }
    assert fields["nextNode"]["default"] is None
    assert fields["tags"]["default"] == []
    assert fields["shared"]["default"] == [1, 2]
    assert "default" not in fields["made"]  # code makes it: not called


def test_two_classes_of_one_name_stay_two() -> None:
    described = describe(Both)["defs"]
    assert [field["name"] for field in described["Same"]["fields"]] == ["one"]
    assert [field["name"] for field in described["Same_2"]["fields"]] == ["two"]


@pytest.mark.parametrize(
    ("tp", "reason"),
    [
        (Deep, "`inner.values.items.path`: `Path` is not a type"),
        (Bare, "`Bare` is not a type"),
        (Checked, "`Checked.__post_init__` could refuse"),
        (Lenient, "`Lenient._missing_` makes up members"),
        (Flags, "`Flags._missing_` makes up members"),
        (msgspec.msgpack.Ext, "not a type"),
        (complex, "`complex` is not a type"),
        (set[dict], "a set can hold only"),  # type: ignore[type-arg]
        (set[FrozenWithList], "a set can hold only"),
        (set[Same], "a set can hold only"),
        (Annotated[int, Meta(min_length=1)], "min_length"),
        (list[int] | set[int], "more than one array-like"),
        (Annotated[str, Meta(pattern="a")] | list[int], "msgspec crashes"),
        (Annotated[str, Meta(pattern="a")] | dict[str, int], "msgspec crashes"),
        (Annotated[int, Meta(ge=1)] | tuple[int, int], "msgspec crashes"),
    ],
)
def test_what_cannot_be_described_is_refused_with_its_place_and_the_reason(tp: Any, reason: str) -> None:
    with pytest.raises(BadTaskType) as refused:
        describe(tp)
    assert reason in str(refused.value)


def test_the_place_is_named_when_msgspec_itself_refuses() -> None:
    class Wrong(msgspec.Struct):
        fine: int
        bad: Annotated[int, Meta(pattern="a")]

    with pytest.raises(BadTaskType, match=r"^`bad`: Can only set `pattern`"):
        describe(Wrong)


def test_a_fingerprint_does_not_depend_on_the_order_of_keys() -> None:
    assert fingerprint({"a": 1, "b": 2}, None) == fingerprint({"b": 2, "a": 1}, None)
    assert fingerprint({"a": 1}, {"b": 2}) != fingerprint({"b": 2}, {"a": 1})
    assert len(fingerprint(describe(Node))) == 16


def test_fresh_gives_a_new_copy_each_time() -> None:
    make = Fresh([[1]])
    make()[0].append(2)
    assert make() == [[1]]
