"""Every wrong member is reported, where it is."""

from __future__ import annotations

import dataclasses
from typing import Annotated, Any, Literal, NamedTuple, TypedDict

import msgspec
import pytest
from msgspec import Meta

from dolgo.errors import Problem
from dolgo.shape import describe, problems


class Cat(msgspec.Struct, tag="cat"):
    lives: Annotated[int, Meta(ge=1, le=9)] = 9


class Dog(msgspec.Struct, tag="dog", forbid_unknown_fields=True):
    friend: Cat | Dog | None = None


class Node(msgspec.Struct, forbid_unknown_fields=True):
    name: str
    children: list[Node] = []


@dataclasses.dataclass
class Address:
    street: str
    number: int


class Size(TypedDict):
    width: int


class Point(NamedTuple):
    x: int
    y: int


class Row(msgspec.Struct, array_like=True, tag="row"):
    a: int
    b: str = ""


class One(msgspec.Struct, tag=1):
    a: int = 0


class Two(msgspec.Struct, tag=2):
    a: int = 0


class Line(msgspec.Struct, array_like=True, tag=1):
    a: int = 0


class Order(msgspec.Struct, forbid_unknown_fields=True):
    to: Annotated[str, Meta(max_length=5)]
    pet: Cat | Dog
    tree: Node | None = None
    address: Address | None = None
    size: Size | None = None
    kind: Literal["a", "b"] = "a"
    numbers: Annotated[list[int], Meta(max_length=3)] = []
    by_name: dict[str, float] = {}
    by_number: dict[int, list[int]] = {}
    point: Point | None = None
    row: Row | None = None
    unique: set[int] = set()
    pair: tuple[int, str] | None = None


def test_every_wrong_member_of_a_payload_is_reported_where_it_is() -> None:
    value = {
        "to": "too long",
        "pet": {"type": "dog", "friend": {"type": "cat", "lives": 30}, "bone": 1},
        "tree": {"children": [{"name": 1}, 3, {"nmae": "a"}]},
        "address": {"number": "1"},
        "size": {},
        "kind": "c",
        "numbers": [1, 2.5, "s", 4],
        "by_name": {"a/b": "x", "m~n": "x", "": None},
        "by_number": {"one": [1], "2": ["x"]},
        "point": [1, "y"],
        "row": ["row", "x", 2],
        "unique": [1, "x"],
        "pair": [1],
        "extra": 1,
    }
    assert set(problems(describe(Order), value, at="/payload")) == {
        Problem("/payload/extra", "Object contains unknown field `extra`"),
        Problem("/payload/to", "Expected `str` of length <= 5"),
        Problem("/payload/pet/friend/lives", "Expected `int` <= 9"),
        Problem("/payload/pet/bone", "Object contains unknown field `bone`"),
        Problem("/payload/tree/name", "Object missing required field `name`"),
        Problem("/payload/tree/children/0/name", "Expected `str`, got `int`"),
        Problem("/payload/tree/children/1", "Expected `object`, got `int`"),
        Problem("/payload/tree/children/2/name", "Object missing required field `name`"),
        Problem("/payload/tree/children/2/nmae", "Object contains unknown field `nmae`"),
        Problem("/payload/address/street", "Object missing required field `street`"),
        Problem("/payload/address/number", "Expected `int`, got `str`"),
        Problem("/payload/size/width", "Object missing required field `width`"),
        Problem("/payload/kind", "Invalid enum value 'c'"),
        Problem("/payload/numbers", "Expected `array` of length <= 3"),
        Problem("/payload/numbers/1", "Expected `int`, got `float`"),
        Problem("/payload/numbers/2", "Expected `int`, got `str`"),
        Problem("/payload/by_name/a~1b", "Expected `float`, got `str`"),
        Problem("/payload/by_name/m~0n", "Expected `float`, got `str`"),
        Problem("/payload/by_name/", "Expected `float`, got `null`"),
        Problem("/payload/by_number/one", "Expected `int`, got `str`"),
        Problem("/payload/by_number/2/0", "Expected `int`, got `str`"),
        Problem("/payload/point/1", "Expected `int`, got `str`"),
        Problem("/payload/row/1", "Expected `int`, got `str`"),
        Problem("/payload/row/2", "Expected `str`, got `int`"),
        Problem("/payload/unique/1", "Expected `int`, got `str`"),
        Problem("/payload/pair", "Expected `array` of length 2"),
    }


@pytest.mark.parametrize(
    ("pet", "problem"),
    [
        ({}, Problem("/pet/type", "Object missing required field `type`")),
        ({"type": "cow"}, Problem("/pet/type", "Invalid value 'cow'")),
        ({"type": ["cat"]}, Problem("/pet/type", "Expected `str`")),
        ([], Problem("/pet", "Expected `object`, got `array`")),
        (None, Problem("/pet", "Expected `object`, got `null`")),
    ],
)
def test_a_wrong_tag_is_pointed_at(pet: Any, problem: Problem) -> None:
    assert problems(describe(Order), {"to": "me", "pet": pet}) == [problem]


def test_a_tag_is_not_taken_for_what_merely_equals_it() -> None:
    for tag in (True, 1.0):
        assert problems(describe(One | Two), {"type": tag}) == [Problem("/type", "Expected `int`")]
        assert problems(describe(Line), [tag, 1]) == [Problem("/0", "Expected `int`")]


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        ([], Problem("", "Expected `array` of at least length 2, got 0")),
        (["row"], Problem("", "Expected `array` of at least length 2, got 1")),
        (["col", 1], Problem("/0", "Invalid value 'col'")),
        ([1, 1], Problem("/0", "Expected `str`")),
        ({}, Problem("", "Expected `array`, got `object`")),
    ],
)
def test_arrays_with_a_tag_are_looked_at_by_place(row: Any, problem: Problem) -> None:
    assert problems(describe(Row), row) == [problem]


def test_numbers_are_judged_as_they_were_sent() -> None:
    assert problems(describe(int), 10**30) == []
    assert problems(describe(Annotated[int, Meta(lt=5)]), 10**30) != []
    assert problems(describe(float), 10**400) == [Problem("", "Number out of range")]
    assert problems(describe(int), True) == [Problem("", "Expected `int`, got `bool`")]


def test_a_set_is_measured_without_its_doubles() -> None:
    two = describe(Annotated[set[int], Meta(min_length=2)])
    assert problems(two, [1, 1]) == [Problem("", "Expected `array` of length >= 2")]
    assert problems(two, [1, 2, 2]) == []


def test_the_list_of_problems_is_bounded() -> None:
    assert len(problems(describe(list[str]), [1] * 5000)) == 1000
    assert len(problems(describe(list[str]), [1] * 5000, limit=3)) == 3


def test_a_value_nested_deeper_than_the_stack_is_walked() -> None:
    deepest: Any = {"name": 1}
    for _ in range(5000):
        deepest = {"name": "n", "children": [deepest]}
    found = problems(describe(Node), deepest)
    assert [problem.detail for problem in found] == ["Expected `str`, got `int`"]
    assert found[0].pointer.count("/children/0") == 5000
