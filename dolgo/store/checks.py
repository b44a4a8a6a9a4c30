"""Refuses what not every store could keep, before a commit is begun: so it costs only the caller that sent it."""

from __future__ import annotations

from math import isfinite

from dolgo.task.types import FINAL, Gate, NewTask, Note, Settlement, Status

INT64 = 2**63
ATTEMPTS = "attempt/"  # a store may keep earlier attempts under such keys


def check_task(task: NewTask) -> None:
    """Raises `ValueError` naming the member that cannot be kept."""
    for name in ("id", "type", "hash", "queue"):
        _text(name, getattr(task, name))
    for tag in task.tags:
        _text("tags", tag)
    _octets("payload", task.payload)
    if task.extras is not None:
        _octets("extras", task.extras)
    _number("priority", task.priority)
    _number("max_attempts", task.max_attempts)
    if not isfinite((task.run_at or 0.0) + task.delay - task.lead):
        raise ValueError("run_at, delay and lead of a task must be finite")
    for name in ("timeout", "keep", "needed", "expires_at"):
        _finite(name, getattr(task, name))
    for name in ("unique_key", "limit_key"):
        _text(name, getattr(task, name) or "")
    for parent in task.depends_on:
        _text("depends_on", parent.id)
        _text("depends_on", parent.ref or "")


def check_settlement(settlement: Settlement) -> None:
    """Raises `ValueError` naming the member that cannot be kept."""
    if settlement.status not in FINAL and settlement.status is not Status.QUEUED:
        raise ValueError(f"a task cannot be settled to {settlement.status}")
    if settlement.result is not None:
        _octets("result", settlement.result)
    _number("failures", settlement.failures)
    _number("losses", settlement.losses)
    _number("deferrals", settlement.deferrals)
    if not isfinite(settlement.delay):
        raise ValueError("delay of a settlement must be finite")
    if (error := settlement.error) is not None:
        for name in ("message", "type", "traceback"):
            _text(f"error.{name}", getattr(error, name) or "")


def check_note(note: Note) -> None:
    """Raises `ValueError` naming the member that cannot be kept."""
    _text("key", note.key)
    if note.key.startswith(ATTEMPTS):
        raise ValueError(f"key of a note must not start with {ATTEMPTS}")
    _octets("value", note.value)


def check_gate(gate: Gate) -> None:
    """Raises `ValueError` naming the member that cannot be kept."""
    _text("scope", gate.scope)
    _text("reason", gate.reason or "")
    for name in ("max_running", "max_running_per_key"):
        if (most := getattr(gate, name)) is not None:
            _number(name, most)
    _finite("paused_until", gate.paused_until)
    _finite("rate", gate.rate)
    if gate.rate is not None and gate.rate <= 0:
        raise ValueError("rate must be positive")


def _text(name: str, value: object) -> None:
    if not isinstance(value, str):
        raise ValueError(f"{name} must be text")
    if not value.isascii():
        value.encode()  # a lone surrogate raises UnicodeEncodeError, which is a ValueError
    if "\0" in value:
        raise ValueError(f"{name} must not hold NUL")


def _octets(name: str, value: object) -> None:
    if not isinstance(value, bytes):
        raise ValueError(f"{name} must be bytes")


def _number(name: str, value: object) -> None:
    if not isinstance(value, int) or not -INT64 <= value < INT64:
        raise ValueError(f"{name} must be a number of 64 bits")


def _finite(name: str, value: float | None) -> None:
    if value is not None and not isfinite(value):
        raise ValueError(f"{name} must be finite")
