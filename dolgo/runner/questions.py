"""What jobs ask their worker while they run."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from concurrent.futures import Future

from dolgo.errors import Refused
from dolgo.runner.frames import Answer, Ask, Asks, Verb, pack
from dolgo.runner.signals import Stopped


class Questions:
    """The questions of a child that have no answer yet. Any thread may ask."""

    def __init__(self, send: Callable[[bytes], None]) -> None:
        self._send = send
        self._numbers = itertools.count()
        self._open: dict[int, tuple[int, Future[bytes]]] = {}  # number → (key of the job, its answer)

    def ask(self, key: int, verb: Verb, *, name: str, body: bytes, extras: bytes | None) -> Future[bytes]:
        """The answer as JSON, once it is there; or `Refused`, with the worker's reason."""
        answer: Future[bytes] = Future()
        answer.set_running_or_notify_cancel()  # from now on it cannot be cancelled, only be ignored
        number = next(self._numbers)
        self._open[number] = (key, answer)
        self._send(pack(Asks([Ask(key, number, verb, name, body, extras)])))
        return answer

    def answered(self, answers: list[Answer]) -> None:
        """Hand out what the worker says."""
        for answer in answers:
            _, asked = self._open.pop(answer.number, (0, None))
            if asked is not None and answer.body is None:
                asked.set_exception(Refused(answer.refusal))
            elif asked is not None:
                asked.set_result(answer.body or b"")

    def stop(self, key: int) -> None:
        """Let the threads of a job that is to stop wait no longer: `Stopped` is raised where they asked."""
        for number in [number for number, (owner, _) in list(self._open.items()) if owner == key]:
            _, asked = self._open.pop(number, (0, None))
            if asked is not None:
                asked.set_exception(Stopped())
