"""A wall clock that a test sets for the processes it starts: their monotonic clocks go on as they do.

clock = WallClock(tmp_path)
Server(tmp_path, environ=clock.environ)
clock.set(86_400)  # it is tomorrow, for all processes that were given this clock
"""

from __future__ import annotations

import mmap
import struct
import subprocess
from pathlib import Path

from tests.missing import need

# Python asks `clock_gettime`, the C library's own functions ask the kernel: both ways in are replaced.
_SHIM = r"""
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static volatile long long *offset;  /* seconds, shared with the test */

__attribute__((constructor)) static void begin(void) {
    const char *path = getenv("WALL_CLOCK");
    int file = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    if (file < 0) return;
    void *shared = mmap(NULL, sizeof *offset, PROT_READ, MAP_SHARED, file, 0);
    close(file);
    if (shared != MAP_FAILED) offset = shared;
}

int clock_gettime(clockid_t clock, struct timespec *now) {
    int failed = syscall(SYS_clock_gettime, clock, now);
    if (!failed && offset && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE)) now->tv_sec += *offset;
    return failed;
}

int gettimeofday(struct timeval *now, void *zone) {
    struct timespec exact;
    (void)zone;
    if (clock_gettime(CLOCK_REALTIME, &exact)) return -1;
    now->tv_sec = exact.tv_sec;
    now->tv_usec = exact.tv_nsec / 1000;
    return 0;
}

time_t time(time_t *now) {
    struct timespec exact;
    clock_gettime(CLOCK_REALTIME, &exact);
    if (now) *now = exact.tv_sec;
    return exact.tv_sec;
}
"""


class WallClock:
    """What `time.time` says to processes that are started with `environ`. Files of its own in `folder`."""

    def __init__(self, folder: Path, name: str = "clock") -> None:
        """Skips the test where there is no C compiler."""
        need("cc")
        library, self._path = folder / f"{name}.so", folder / f"{name}.offset"
        source = folder / f"{name}.c"
        source.write_text(_SHIM)
        subprocess.run(["cc", "-shared", "-fPIC", "-O1", "-o", str(library), str(source)], check=True, timeout=60)
        self._path.write_bytes(bytes(8))
        self.environ = {"LD_PRELOAD": str(library), "WALL_CLOCK": str(self._path)}

    def set(self, offset: int) -> None:
        """Seconds by which it differs from the machine's, from now on."""
        with self._path.open("r+b") as file, mmap.mmap(file.fileno(), 8) as shared:
            shared[:] = struct.pack("q", offset)
