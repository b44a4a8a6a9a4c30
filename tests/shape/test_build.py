"""Rebuilt types: what the agreement test does not say."""

from __future__ import annotations

import gc
import json
import sys
import weakref
from typing import TypedDict

import msgspec
import pytest

from dolgo.shape import build, describe
from tests.shape.strategies import Branch, Colour, Tree


class Named(TypedDict):
    quote_and_more: int


class Many(msgspec.Struct):
    first: Colour
    second: Colour
    tree: Tree
    branch: Branch


def test_building_leaves_nothing_behind() -> None:
    description = describe(Many)
    build(description)
    modules = set(sys.modules)
    built = [build(description) for _ in range(20)]
    for tp in built:
        msgspec.json.Decoder(tp)
    seen = [weakref.ref(tp) for tp in built]
    del built, tp
    gc.collect()
    assert set(sys.modules) == modules
    assert sum(ref() is not None for ref in seen) <= 1  # msgspec remembers the last


def test_the_same_class_named_twice_is_built_once() -> None:
    built = build(describe(Many))
    first, second = built.__annotations__["f0"], built.__annotations__["f1"]
    assert first is second


def test_members_may_have_any_name() -> None:
    odd = TypedDict("odd", {'say "hi"\n': int, "back\\slash": int, "class": int, "имя": int})
    decoder = msgspec.json.Decoder(build(json.loads(json.dumps(describe(odd)))))
    decoder.decode(json.dumps({'say "hi"\n': 1, "back\\slash": 2, "class": 3, "имя": 4}))
    with pytest.raises(msgspec.ValidationError, match="missing required field"):
        decoder.decode(b"{}")
