"""`python -m dolgo.runner loop|single LINK COUNTER LIFELINE PARENT`: one child process, started by `dolgo.runner.link`.

The first three numbers are descriptors: a socket to the worker, the shared counter, and the end of a pipe that nobody writes to.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import mmap
import os
import signal
import socket
import sys

import msgspec

from dolgo.errors import StartError
from dolgo.logs import configure
from dolgo.runner import capture, discover
from dolgo.runner.attempt import Types
from dolgo.runner.ending import Terminations, restore_signals
from dolgo.runner.frames import HEAD, LINK_LOST, Hello, Refused, Setup, pack
from dolgo.runner.loop import LoopChild
from dolgo.runner.single import SingleChild

KINDS: dict[str, type[LoopChild | SingleChild]] = {"loop": LoopChild, "single": SingleChild}
SIGNALS = (signal.SIGINT, signal.SIGTERM)  # that are not for this process alone
PR_SET_PDEATHSIG = 1  # linux/prctl.h


def main() -> None:
    """Greets the worker, runs its jobs, and returns when it says stop."""
    kind = sys.argv[1]
    link_fd, counter_fd, lifeline_fd, parent = map(int, sys.argv[2:])
    _end_with(parent, lifeline_fd)
    terminations = Terminations()
    _keep_from_others(link_fd, counter_fd, lifeline_fd)
    link = socket.socket(fileno=link_fd)
    setup = _receive_setup(link)
    configure(setup.log_format)
    capture.install()
    sys.dont_write_bytecode = setup.reload  # a file changed twice within a second would be taken from its stale bytecode
    sys.setrecursionlimit(2 * sys.getrecursionlimit())  # what the web could read is nested no deeper than can be read here
    types = _load(link, setup)
    if types is not None:
        begun = memoryview(mmap.mmap(counter_fd, 8)).cast("Q")
        child = KINDS[kind](types, setup, link=link, begun=begun, terminations=terminations)
        os.register_at_fork(after_in_child=child.outlet.renew)
        child.run()
    link.detach()  # stays open: its end is to tell of the end of the process, not of the beginning of that


def _load(link: socket.socket, setup: Setup) -> Types | None:
    try:
        loaded = discover.load(setup.paths, duplicates="broken" if setup.reload else "raise")
    except StartError as error:
        link.sendall(pack(Refused(str(error))))
        return None
    types = dict(loaded.registry)
    blocking = frozenset(name for name, task_type in types.items() if task_type.alone)
    hello = Hello([task_type.info for task_type in types.values()], loaded.broken, blocking, loaded.built_in)
    link.sendall(pack(hello))
    return types


def _receive_setup(link: socket.socket) -> Setup:
    """The first frame, and not a byte of the next."""
    size = int.from_bytes(link.recv(HEAD, socket.MSG_WAITALL), "big")
    body = link.recv(size, socket.MSG_WAITALL)
    if len(body) < size or not size:
        sys.exit(LINK_LOST)
    return msgspec.msgpack.decode(body, type=Setup)


def _end_with(parent: int, lifeline_fd: int) -> None:
    """Have the kernel kill this process when the worker ends, however it ends and whatever runs here then.

    The lifeline does so for the whole group, with all that handlers started: the worker holds its only other end, and the kernel
    sends the group a signal when that is closed. The parent-death signal reaches this process alone, but cannot be closed by a
    handler. Neither is there on other systems than Linux: the end of the link does it, unless a handler blocks."""
    if sys.platform != "linux":
        return
    with contextlib.suppress(OSError):  # an emulated kernel may not know it
        fcntl.fcntl(lifeline_fd, fcntl.F_SETOWN, -os.getpgrp())
        fcntl.fcntl(lifeline_fd, fcntl.F_SETSIG, signal.SIGKILL)
        fcntl.fcntl(lifeline_fd, fcntl.F_SETFL, os.O_ASYNC)
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it ended before it could be watched
        sys.exit(LINK_LOST)


def _keep_from_others(*descriptors: int) -> None:
    """Processes that handlers start, or fork, get neither our descriptors nor our signal handlers."""
    for descriptor in descriptors:
        os.set_inheritable(descriptor, False)
    os.register_at_fork(
        # A copy that is terminated at once must not lose the signal to a handler that is no longer meant for it.
        before=lambda: signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS),
        after_in_parent=lambda: signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS),
        after_in_child=lambda: _become_another(descriptors[0]),
    )


def _become_another(link_fd: int) -> None:
    """A copy of this process must not speak for it: its link leads nowhere."""
    nowhere = os.open(os.devnull, os.O_RDWR)
    os.dup2(nowhere, link_fd, inheritable=False)
    os.close(nowhere)
    restore_signals()
    signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)


if __name__ == "__main__":
    main()
