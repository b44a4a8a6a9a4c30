"""The parts of a handler's work whose results are stored, and the numbers of the tasks it submits."""

from __future__ import annotations

import contextlib
import itertools
import re
from collections.abc import Iterator
from concurrent.futures import Future
from contextvars import ContextVar
from typing import Any

import msgspec

from dolgo.runner.desk import Desk
from dolgo.runner.frames import Fault, Verb
from dolgo.runner.outcome import encode_result

NAME = re.compile(r"[^\x00-\x1f\x7f-\x9f\ud800-\udfff]{1,200}")
MOST_RESULT = 2**20  # bytes of JSON

_within: ContextVar[str] = ContextVar("dolgo_step", default="")  # the step that runs and a slash, or nothing
_decode = msgspec.json.decode
_stored = msgspec.json.Decoder(dict[str, msgspec.Raw])


class Steps:
    """What one attempt knows of its steps. The same for both kinds of context, which fetch and store in their own ways."""

    def __init__(self, desk: Desk | None, *, attempt: int) -> None:
        self._desk = desk
        self._known: dict[str, bytes] = {}
        self._running: set[str] = set()
        self._numbers: dict[str, itertools.count[int]] = {}
        self._earlier: Future[bytes] | None = None
        self.fetched = desk is None or attempt == 1  # before the first attempt there were no steps

    @contextlib.contextmanager
    def running(self, name: Any) -> Iterator[None]:
        """While this step runs. Raises `ValueError` for what is no name, or the name of a step that runs already."""
        if not isinstance(name, str) or not NAME.fullmatch(name):
            raise ValueError(f"{name!r} is not the name of a step: 1 to 200 characters, no control characters")
        if name in self._running:
            raise ValueError(f"step `{name}` runs already; steps that run at once have names of their own")
        self._running.add(name)
        token = _within.set(f"{name}/")
        try:
            yield
        finally:
            _within.reset(token)
            self._running.discard(name)

    def fetch(self) -> Future[bytes]:
        """The steps of earlier attempts, asked for once."""
        assert self._desk is not None  # or there is nothing to fetch
        if self._earlier is None:
            self._earlier = self._desk.ask(Verb.STEPS)
        return self._earlier

    def take(self, earlier: bytes) -> None:
        """Know what was fetched."""
        if not self.fetched:
            self._known = {**{name: bytes(raw) for name, raw in _stored.decode(earlier).items()}, **self._known}
            self.fetched = True

    def is_known(self, name: str) -> bool:
        """Whether it has run, in this attempt or an earlier one."""
        return name in self._known

    def result(self, name: str) -> Any:
        """What it returned, as JSON gives it back."""
        return _decode(self._known[name])

    def encode(self, name: str, value: Any) -> bytes:
        """What it returned as JSON. Raises `ValueError` for what cannot be stored."""
        return encode(value, limit=MOST_RESULT, what=f"the result of step `{name}`")

    def store(self, name: str, raw: bytes) -> Future[bytes] | None:
        """Have it stored; the answer is there when it is."""
        return None if self._desk is None else self._desk.ask(Verb.STEP, name=name, body=raw)

    def keep(self, name: str, raw: bytes) -> None:
        """Know what has been stored."""
        self._known[name] = raw

    def number(self) -> str:
        """What the next task that is submitted goes by: the same when the handler runs again and does the same."""
        within = _within.get()
        return f"{within}{next(self._numbers.setdefault(within, itertools.count(1)))}"


def encode(value: Any, *, limit: int, what: str) -> bytes:
    """The value as JSON. Raises `ValueError` if it is not, or too long."""
    raw = encode_result(value, limit=limit, what=what)
    if isinstance(raw, Fault):
        raise ValueError(raw.message)
    return raw
