"""Where a task comes from travels with it; with OpenTelemetry there are spans of its submit and of its run, joined by a link."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from dolgo import Context, SyncContext, task, tracing
from dolgo.runner.frames import Job
from dolgo.task.callbacks.wish import Callback, kept, wish_of
from dolgo.testing import Service
from dolgo.tracing import Trace

PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
TRACE_ID = 0x0AF7651916CD43DD8448EB211C80319C


def job(extras: bytes | None) -> Job:
    return Job(0, 0.0, "id", "echo", "h", "q", b"{}", 1, (), extras)


@pytest.fixture
def exporter(monkeypatch: pytest.MonkeyPatch) -> Iterator[InMemorySpanExporter]:
    """Where the spans of this test go."""
    exporter, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr(trace, "get_tracer", provider.get_tracer)
    monkeypatch.setattr(trace, "get_tracer_provider", lambda: provider)
    yield exporter
    provider.shutdown()


def spans(exporter: InMemorySpanExporter) -> dict[str, ReadableSpan]:
    return {span.name: span for span in exporter.get_finished_spans()}


def test_what_a_request_says_of_its_trace_is_read() -> None:
    assert tracing.read({b"traceparent": PARENT.encode(), b"tracestate": b"a=1 "}) == Trace(PARENT, "a=1")
    assert tracing.read({}) is None


@pytest.mark.parametrize(
    "sent",
    [b"", b"nonsense", PARENT.upper().encode(), b"ff" + PARENT[2:].encode(), b"00-" + b"0" * 32 + b"-b7ad6b7169203331-01",
     PARENT.encode() + b"\r\nx: y", "00-é".encode()],
)  # fmt: skip
def test_a_trace_that_cannot_be_used_is_as_if_it_were_not_sent(sent: bytes) -> None:
    assert tracing.read({b"traceparent": sent}) is None


@pytest.mark.parametrize("state", [b"", b" ", b"x" * 600, b"caf\xe9"])
def test_a_state_that_cannot_be_used_does_not_cost_the_trace(state: bytes) -> None:
    assert tracing.read({b"traceparent": PARENT.encode(), b"tracestate": state}) == Trace(PARENT)


def test_without_opentelemetry_what_was_sent_is_kept_as_it_is_and_nothing_is_made_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tracing, "INSTALLED", False)
    assert tracing.submitted(None, "echo") is None
    extras = tracing.submitted(Trace(PARENT, "a=1"), "echo")
    assert tracing.of(extras) == Trace(PARENT, "a=1")
    with tracing.running(job(extras)):
        pass


def test_what_else_is_among_the_extras_is_no_matter() -> None:
    extras = json.dumps({"callback": {"url": "https://a.example"}, "traceparent": PARENT}).encode()
    assert tracing.of(extras) == Trace(PARENT)
    assert json.loads(tracing.passed_on(extras) or b"") == {"traceparent": PARENT}
    assert tracing.passed_on(b'{"callback":1}') is None


def test_without_an_sdk_the_trace_goes_on_unchanged() -> None:
    assert tracing.of(tracing.submitted(Trace(PARENT), "echo")).traceparent == PARENT
    assert tracing.submitted(None, "echo") is None


def test_a_submit_and_a_run_are_spans_joined_by_a_link(exporter: InMemorySpanExporter) -> None:
    extras = tracing.submitted(Trace(PARENT), "echo")
    with tracing.running(job(extras)):
        assert trace.get_current_span().is_recording()
    sent, ran = spans(exporter)["submit echo"], spans(exporter)["run echo"]
    assert (sent.kind, ran.kind) == (trace.SpanKind.PRODUCER, trace.SpanKind.CONSUMER)
    assert sent.parent
    assert (sent.context.trace_id, sent.parent.span_id) == (TRACE_ID, 0xB7AD6B7169203331)
    assert [link.context.span_id for link in ran.links] == [sent.context.span_id]
    assert ran.parent is None
    assert ran.attributes
    assert (ran.attributes["messaging.destination.name"], ran.attributes["messaging.message.id"]) == ("q", "id")


def test_a_task_that_says_nothing_of_its_trace_begins_one(exporter: InMemorySpanExporter) -> None:
    extras = tracing.submitted(None, "echo")
    sent = spans(exporter)["submit echo"]
    assert sent.parent is None
    assert f"{sent.context.trace_id:032x}" in (tracing.of(extras).traceparent or "")
    with tracing.running(job(None)):
        pass
    assert not spans(exporter)["run echo"].links


def test_a_wish_to_be_told_and_a_trace_travel_together() -> None:
    extras = kept(Callback("https://a.example"), tracing.submitted(Trace(PARENT, "a=1"), "echo"))
    assert tracing.of(extras) == Trace(PARENT, "a=1")
    assert wish_of(extras) == Callback("https://a.example")


def test_telling_a_receiver_is_a_span_of_the_same_trace(exporter: InMemorySpanExporter) -> None:
    extras = kept(Callback("https://a.example"), tracing.submitted(Trace(PARENT, "a=1"), "echo"))
    with tracing.telling(extras, "echo") as headers:
        pass
    told = spans(exporter)["callback echo"]
    assert told.kind is trace.SpanKind.PRODUCER
    assert told.context.trace_id == TRACE_ID
    assert told.parent
    assert told.parent.span_id == spans(exporter)["submit echo"].context.span_id
    assert headers == {"traceparent": f"00-{TRACE_ID:032x}-{told.context.span_id:016x}-01", "tracestate": "a=1"}


def test_a_handler_that_fails_shows_in_its_span(exporter: InMemorySpanExporter) -> None:
    with pytest.raises(ValueError, match="broken"), tracing.running(job(None)):
        raise ValueError("broken")
    ran = spans(exporter)["run echo"]
    assert not ran.status.is_ok
    assert [event.name for event in ran.events] == ["exception"]


@task
async def part() -> None:
    """Does nothing."""


@task(retries=1, backoff=0)
async def whole(ctx: Context) -> str:
    """Fails, then submits."""
    if ctx.attempt == 1:
        raise ValueError("broken")
    return await ctx.submit("part")


@task(retries=1, backoff=0)
def whole_in_a_thread(ctx: SyncContext) -> str:
    """The same in a thread."""
    if ctx.attempt == 1:
        raise ValueError("broken")
    return ctx.submit("part")


@pytest.mark.parametrize("handler", [whole, whole_in_a_thread])
def test_each_attempt_leads_back_to_its_submit_and_a_task_of_a_handler_to_that_attempt(
    exporter: InMemorySpanExporter, handler: Any
) -> None:
    with Service([part, whole, whole_in_a_thread]) as service:
        service.result(service.result(service.submit(handler)))
    found = exporter.get_finished_spans()
    assert sorted(span.name for span in found) == sorted(
        [f"submit {handler.__name__}", *[f"run {handler.__name__}"] * 2, "submit part", "run part"]
    )
    sent, ran = spans(exporter)[f"submit {handler.__name__}"], [span for span in found if span.name == f"run {handler.__name__}"]
    assert [[link.context.span_id for link in span.links] for span in ran] == [[sent.context.span_id]] * 2
    assert [dict(span.attributes or {})["dolgo.task.attempt"] for span in ran] == [1, 2]
    child, its_run = spans(exporter)["submit part"], spans(exporter)["run part"]
    assert child.parent
    assert child.parent.span_id == ran[1].context.span_id
    assert [link.context.span_id for link in its_run.links] == [child.context.span_id]
