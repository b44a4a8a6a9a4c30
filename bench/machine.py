"""What a run was made on and with."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import sqlite3
import subprocess
import sys
from pathlib import Path

LIBRARIES = ("dolgo", "starlette", "uvicorn", "uvloop", "httptools", "msgspec", "redis", "hiredis", "asyncpg", "aio-pika")


def facts() -> dict[str, object]:
    """For the reader who wants to know what the figures are worth."""
    return {
        "cores": len(os.sched_getaffinity(0)),
        "cpu": _line("/proc/cpuinfo", "model name"),
        "memory": _line("/proc/meminfo", "MemTotal"),
        "system": f"{platform.system()} {platform.release()}",
        "python": sys.version.split()[0],
        "sqlite": sqlite3.sqlite_version,
        "libraries": {name: importlib.metadata.version(name) for name in LIBRARIES},
        "commit": _commit(),
        "load_average_at_start": os.getloadavg()[0],
    }


def _line(file: str, name: str) -> str:
    lines = Path(file).read_text().splitlines()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith(name)), "?")


def _commit() -> str:
    """Of the working tree, with a + if it was changed since."""
    try:
        said = subprocess.run(
            ["git", "describe", "--always", "--dirty=+"], cwd=Path(__file__).parent, capture_output=True, text=True, check=True
        )
        return said.stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "?"
