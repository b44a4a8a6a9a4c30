"""Payloads at the door: refused with every wrong member, or as no JSON at all."""

from __future__ import annotations

import decimal
import json
from typing import Any

import msgspec
import pytest

from dolgo.errors import InvalidPayload, MalformedJson, Problem
from dolgo.shape import Shape, describe


class Closed(msgspec.Struct, forbid_unknown_fields=True):
    number: float = 0.0
    text: str = ""
    anything: Any = None
    price: decimal.Decimal | None = None
    words: dict[str, str] = {}


class Open(msgspec.Struct):
    number: float = 0.0


class WithRaw(msgspec.Struct, forbid_unknown_fields=True):
    raw: msgspec.Raw = msgspec.Raw(b"null")


closed, opened, raw = Shape(describe(Closed)), Shape(describe(Open)), Shape(describe(WithRaw))

NOT_JSON = [
    (b"", "truncated"),
    (b"{", "truncated"),
    (b'{"x":NaN}', "invalid character"),
    (b'{"x":Infinity}', "invalid character"),
    (b'{"x":"\xff"}', "not UTF-8"),
    (b'{"\xff":1}', "not UTF-8"),
    (b'{"x":["\xc3\x28"]}', "not UTF-8"),
    (b'{"x":1e400}', "out of range"),
    (b'{"x":' + b"9" * 5000 + b"}", "out of range"),
    (b'{"x":"\\ud800"}', "surrogate"),
    (b'{"x":' + b"[" * 100_000 + b"]" * 100_000 + b"}", "nested too deeply"),
    (b'{"x":1}}', "trailing"),
    (b'{"x":01}', "byte"),
    (b'{"x":"\x01"}', "byte"),
]


@pytest.mark.parametrize(("sent", "reason"), NOT_JSON)
@pytest.mark.parametrize(
    ("shape", "member"),
    [(closed, b"anything"), (closed, b"number"), (closed, b"text"), (closed, b"price"), (opened, b"x"), (raw, b"raw")],
)
def test_what_is_not_json_is_refused_as_that_wherever_it_stands(shape: Shape, member: bytes, sent: bytes, reason: str) -> None:
    with pytest.raises(MalformedJson, match=f"^The payload is not valid JSON: .*{reason}"):
        shape.check(sent.replace(b'{"x":', b'{"' + member + b'":'))


def test_the_byte_that_is_not_utf8_is_named() -> None:
    with pytest.raises(MalformedJson, match=r"not UTF-8 \(byte 14\)"):
        opened.check(b'{"x":{"why":["\xff"]}}')


@pytest.mark.parametrize("member", ["number", "text", "words", "price"])
@pytest.mark.parametrize("value", [[], {"a": []}, True, [10**400]])
def test_json_of_the_wrong_kind_is_not_called_malformed(member: str, value: Any) -> None:
    with pytest.raises(InvalidPayload):
        closed.check(json.dumps({member: value}).encode())


def test_pointers_begin_where_the_caller_says() -> None:
    with pytest.raises(InvalidPayload) as refused:
        closed.check(b'{"number":"1","txt":""}', at="/tasks/17/payload")
    assert set(refused.value.problems) == {
        Problem("/tasks/17/payload/number", "Expected `float`, got `str`"),
        Problem("/tasks/17/payload/txt", "Object contains unknown field `txt`"),
    }
    assert refused.value.detail.endswith("(1 more).")


def test_a_member_sent_twice_once_wrong_is_refused() -> None:
    with pytest.raises(InvalidPayload) as refused:
        closed.check(b'{"number":"1","number":1}')
    assert refused.value.problems == (Problem("/payload", "Expected `float`, got `str` - at `$.number`"),)


def test_a_fitting_payload_passes() -> None:
    closed.check(b'{"number":1e300,"text":"\\ud83d\\ude00","anything":{"a":[1]},"price":"1.5","words":{"a":"b"}}')
    opened.check('{"number":1,"привет":["мир"]}'.encode())


def test_the_schema_is_local_and_shows_defaults() -> None:
    schema = opened.schema()
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert schema["$ref"] == "#/$defs/Open"
    assert schema["$defs"]["Open"]["properties"] == {"number": {"type": "number", "default": 0.0}}
