"""Sends what jobs note, while they run."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from dolgo.runner.frames import pack_wrote
from dolgo.runner.notebook import Notebook
from dolgo.runner.outlet import Outlet

EVERY = 0.2  # seconds between two looks: at most five notes of progress a second for one job


class Notes:
    """What is new in the notebooks is sent by a thread, so that a handler that blocks its child is heard of, too."""

    def __init__(self, outlet: Outlet, *, on_full: Callable[[], None] = lambda: None) -> None:
        """`on_full` is called, by that thread, when the worker has to read before more can be sent."""
        self._outlet = outlet
        self._on_full = on_full
        self._changed: set[Notebook] = set()
        self._wake = threading.Event()
        self._thread: threading.Thread | None = None

    def changed(self, notebook: Notebook) -> None:
        """There is something in it to be sent. The caller holds the outlet's lock."""
        self._changed.add(notebook)
        self._wake.set()
        if self._thread is None:
            self._start()

    def close(self, notebook: Notebook) -> None:
        """Put what is left in it, before the report of its job is put."""
        with self._outlet.lock:
            self._changed.discard(notebook)
            if notes := notebook.take_last(time.time()):
                self._outlet.put(pack_wrote(notes))

    def _start(self) -> None:
        thread = threading.Thread(target=self._run, name="dolgo-notes", daemon=True)
        try:
            thread.start()
        except RuntimeError:  # there are no more threads to be had: what is noted is sent when its job ends
            return
        self._thread = thread

    def _run(self) -> None:
        while True:
            self._wake.wait()
            time.sleep(EVERY)
            if not self._send():
                self._on_full()

    def _send(self) -> bool:
        """Whether the worker has read all: if not, nothing is added, and the notebooks keep themselves small."""
        with self._outlet.lock:
            if not self._outlet.push():
                return False
            now = time.monotonic()
            notes = [note for notebook in self._changed for note in notebook.take(now)]
            self._changed = {notebook for notebook in self._changed if notebook.waits}
            if not self._changed:
                self._wake.clear()
            if notes:
                self._outlet.put(pack_wrote(notes))
            return self._outlet.push()
