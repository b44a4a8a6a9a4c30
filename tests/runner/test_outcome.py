from __future__ import annotations

import dataclasses
import decimal
import math
from typing import Any

import msgspec
import pytest

from dolgo.runner.frames import Fault
from dolgo.runner.outcome import MESSAGE, TRACEBACK, clip, encode_result, fault_of
from dolgo.task.types import ErrorCode


@dataclasses.dataclass
class Point:
    x: float
    y: float | None = None


class Pair(msgspec.Struct):
    a: Any
    b: Any = None


@pytest.mark.parametrize(
    ("value", "json"),
    [
        (None, b"null"),
        ({"a": None, "b": [1.5, "null"]}, b'{"a":null,"b":[1.5,"null"]}'),
        ([None, 2**70], b"[null,1180591620717411303424]"),
        ([None, b"\xcb\x7f\xf8"], b'[null,"y3/4"]'),  # looks like NaN in msgpack
        (Point(1.0), b'{"x":1.0,"y":null}'),
        (Pair((1, 2)), b'{"a":[1,2],"b":null}'),
        ([None, decimal.Decimal("1.10")], b'[null,"1.10"]'),
    ],
)
def test_what_json_can_hold_is_a_result(value: Any, json: bytes) -> None:
    assert encode_result(value, limit=100) == json


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
def test_numbers_that_json_has_not_are_found_wherever_they_are(number: float) -> None:
    for value in (number, [number], {"a": [{"b": (1, number)}]}, Point(number), Pair([Pair(number)]), {number}, [2**70, number]):
        fault = encode_result(value, limit=100)
        assert isinstance(fault, Fault)
        assert (fault.code, fault.type) == (ErrorCode.UNSERIALISABLE_RESULT, "ValueError")
        assert "NaN or Infinity" in fault.message


@pytest.mark.parametrize("value", [object(), {None: 1}, {(1, 2): 3}, "\ud800", [lambda: 0], 1j])
def test_what_json_cannot_hold_is_a_fault(value: Any) -> None:
    fault = encode_result(value, limit=100)
    assert isinstance(fault, Fault)
    assert fault.code == ErrorCode.UNSERIALISABLE_RESULT
    assert fault.message.startswith("the result is not JSON: ")


def test_a_result_over_the_limit_is_a_fault_that_names_both_sizes() -> None:
    assert encode_result("x" * 98, limit=100) == b'"' + b"x" * 98 + b'"'
    fault = encode_result("x" * 1_999, limit=100)
    assert fault == Fault(ErrorCode.RESULT_TOO_LARGE, "the result takes 2,001 bytes as JSON, 100 are allowed")


def test_an_exception_becomes_its_text_class_and_traceback() -> None:
    fault = fault_of(_raised(ValueError("a bad day")))
    assert (fault.code, fault.message, fault.type) == (ErrorCode.HANDLER_ERROR, "a bad day", "ValueError")
    assert fault.traceback is not None
    assert fault.traceback.endswith("ValueError: a bad day\n")


def test_an_exception_without_a_text_is_named_after_its_class() -> None:
    assert fault_of(_raised(KeyError())).message == "KeyError"
    assert fault_of(_raised(decimal.InvalidOperation())).type == "decimal.InvalidOperation"


def test_an_exception_that_cannot_be_printed_is_named_after_its_class() -> None:
    class Odd(Exception):
        def __str__(self) -> str:
            raise SystemExit

    fault = fault_of(_raised(Odd()))
    assert fault.message == "Odd"
    assert fault.traceback is not None


def test_a_long_text_keeps_its_head_and_tail_and_says_what_is_missing() -> None:
    fault = fault_of(_raised(ValueError("head" + "x" * 10**6 + "tail")))
    assert fault.message.startswith("head")
    assert fault.message.endswith("tail")
    assert f"{10**6 + 8 - MESSAGE} characters left out" in fault.message
    assert fault.traceback is not None
    assert len(fault.traceback) < TRACEBACK + 100
    assert fault.traceback.startswith("Traceback")
    assert fault.traceback.endswith("tail\n")


def test_text_that_utf_8_cannot_hold_is_escaped() -> None:
    assert clip("half a pair: \ud800, and ü", 100) == "half a pair: \\ud800, and ü"


def _raised(error: BaseException) -> BaseException:
    try:
        raise error
    except BaseException as raised:
        return raised
