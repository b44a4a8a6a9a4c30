"""The way of a task in OpenTelemetry: a span where it is submitted, one where it runs, and a link between them.

What is sent as `traceparent` goes with the task, whether OpenTelemetry is installed or not. Without it there are no spans. Who
sets up an SDK in the process, by `opentelemetry-instrument` or in a file of task types, decides where they go."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import msgspec
from msgspec import Struct

try:
    from opentelemetry import propagate, trace
except ModuleNotFoundError:
    INSTALLED = False
else:
    INSTALLED = True

_PARENT = re.compile(rb"(?!ff)[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")
_STATE = re.compile(rb"[\x20-\x7e]{1,512}")

_NOTHING = nullcontext()


class Trace(Struct, frozen=True, omit_defaults=True):
    """Where a task comes from, as W3C's Trace Context has it; among the extras of the task."""

    traceparent: str | None = None
    tracestate: str | None = None


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Trace).decode


def read(headers: Mapping[bytes, bytes]) -> Trace | None:
    """What a request says of its trace; None if nothing, or nothing that can be used: then, as W3C asks, it is as if not sent."""
    sent = headers.get(b"traceparent")
    if sent is None or not _PARENT.fullmatch(sent):
        return None
    state = headers.get(b"tracestate", b"").strip()
    return Trace(sent.decode(), state.decode() if _STATE.fullmatch(state) else None)


def of(extras: bytes | None) -> Trace:
    """What the extras of a task say."""
    return Trace() if extras is None else _decode(extras)


def passed_on(extras: bytes | None) -> bytes | None:
    """The extras of a task that one with these extras submits."""
    found = of(extras)
    return _encode(found) if found.traceparent else None


def is_set_up() -> bool:
    """Whether somebody takes spans. It costs a microsecond to ask: who is asked often keeps the answer."""
    return INSTALLED and not isinstance(trace.get_tracer_provider(), trace.ProxyTracerProvider)


def submitted(sent: Trace | None, type: str) -> bytes | None:
    """The extras of a task that is submitted now. With OpenTelemetry there is a producer's span of it."""
    if not INSTALLED:
        return None if sent is None else _encode(sent)
    carrier: dict[str, str] = {}
    context = propagate.extract(_carried(sent)) if sent is not None else None
    span = trace.get_tracer("dolgo").start_span(
        f"submit {type}", context, trace.SpanKind.PRODUCER, {"messaging.system": "dolgo", "messaging.operation.type": "send"}
    )
    propagate.inject(carrier, trace.set_span_in_context(span))
    span.end()
    return _encode(carrier) if "traceparent" in carrier else None


def running(job: Any) -> AbstractContextManager[object]:
    """A consumer's span around the run of a job, with a link to where it was submitted; it is the current one meanwhile."""
    if not INSTALLED:
        return _NOTHING
    origin = trace.get_current_span(propagate.extract(_carried(of(job.extras)))).get_span_context()
    return trace.get_tracer("dolgo").start_as_current_span(
        f"run {job.type}",
        kind=trace.SpanKind.CONSUMER,
        links=[trace.Link(origin)] if origin.is_valid else [],
        attributes={
            "messaging.system": "dolgo",
            "messaging.operation.type": "process",
            "messaging.destination.name": job.queue,
            "messaging.message.id": job.id,
            "dolgo.task.type": job.type,
            "dolgo.task.attempt": job.attempt,
        },
    )


def telling(extras: bytes | None, type: str) -> AbstractContextManager[dict[str, str]]:
    """The headers of a request that tells of a task with these extras. With OpenTelemetry it is in a producer's span."""
    return _span_of_telling(extras, type) if INSTALLED else nullcontext(_carried(of(extras)))


@contextmanager
def _span_of_telling(extras: bytes | None, type: str) -> Iterator[dict[str, str]]:
    headers: dict[str, str] = {}
    sent = _carried(of(extras))
    with trace.get_tracer("dolgo").start_as_current_span(
        f"callback {type}",
        propagate.extract(sent) if sent else None,
        trace.SpanKind.PRODUCER,
        {"messaging.system": "dolgo", "messaging.operation.type": "send", "dolgo.task.type": type},
    ):
        propagate.inject(headers)
        yield headers


def _carried(found: Trace) -> dict[str, str]:
    return {name: value for name, value in msgspec.structs.asdict(found).items() if value is not None}
