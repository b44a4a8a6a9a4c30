"""Door and child agree: a rebuilt type answers as the original does, and the walk finds something exactly where they refuse."""

from __future__ import annotations

import json
from typing import Any

import jsonschema
import msgspec
import pytest
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from dolgo.errors import InvalidPayload
from dolgo.shape import Shape, build, describe, problems
from tests.shape.strategies import types, values

pytestmark = pytest.mark.timeout(180)  # thousands of types and decoders

SLOW = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much]


def answer(decoder: msgspec.json.Decoder[Any], raw: bytes) -> str | None:
    """What the decoder has against the JSON, None if nothing."""
    try:
        decoder.decode(raw)
    except (msgspec.MsgspecError, TypeError, ValueError) as error:
        return str(error)
    return None


def sentence(said: str) -> str:
    """Without its place."""
    return said.rpartition(" - at `")[0] if said.endswith("`") and " - at `" in said else said


@settings(max_examples=200, deadline=None, suppress_health_check=SLOW)
@given(st.data())
def test_a_rebuilt_type_gives_the_same_answers_and_the_walk_finds_what_is_wrong(data: st.DataObject) -> None:
    tp = data.draw(types)
    description = json.loads(json.dumps(describe(tp)))
    original, rebuilt = msgspec.json.Decoder(tp), msgspec.json.Decoder(build(description))
    for _ in range(5):
        value = data.draw(values(description))
        raw = json.dumps(value).encode()
        said = answer(original, raw)
        event("refused" if said else "accepted")
        assert answer(rebuilt, raw) == said
        found = problems(description, value)
        assert bool(found) == bool(said), (said, found)
        assert said is None or sentence(said) in [problem.detail for problem in found]


@settings(max_examples=60, deadline=None, suppress_health_check=SLOW)
@given(st.data())
def test_a_shape_refuses_what_the_type_refuses_and_its_schema_is_one(data: st.DataObject) -> None:
    tp = data.draw(types)
    description = describe(tp)
    shape = Shape(description)
    jsonschema.Draft202012Validator.check_schema(json.loads(json.dumps(shape.schema())))
    raw = json.dumps(data.draw(values(description))).encode()
    if answer(msgspec.json.Decoder(tp), raw) is None:
        shape.check(raw)
        return
    with pytest.raises(InvalidPayload) as refused:
        shape.check(raw)
    assert all(problem.pointer.startswith("/payload") for problem in refused.value.problems)
