"""What processes use, read from /proc."""

from __future__ import annotations

import os
from pathlib import Path

from tests.blackbox.server import Process

TICK = os.sysconf("SC_CLK_TCK")  # a second


def cpu(process: Process) -> float:
    """Seconds of CPU a process and those below it have used, with what those used that are gone and were waited for."""
    ticks = 0
    for pid in _pids(process):
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        ticks += sum(map(int, fields[11:15]))
    return ticks / TICK


def written(process: Process) -> int:
    """Bytes a process and those below it have written, files and pipes."""
    lines = [line for pid in _pids(process) for line in Path(f"/proc/{pid}/io").read_text().splitlines()]
    return sum(int(line.split()[1]) for line in lines if line.startswith("wchar:"))


def _pids(process: Process) -> list[int]:
    return [process.pid, *(child.pid for child in process.children())]
