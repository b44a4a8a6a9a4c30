"""Load on a server: wrk where it is there, else a client of our own."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import msgspec

from bench import client
from bench.errors import Invalid

SCRIPTS = Path(__file__).with_name("wrk")
BOUND = 30.0  # seconds wrk may take beyond its time


class Load(msgspec.Struct):
    """What the clients saw, latencies in seconds."""

    answers: int
    seconds: float
    bad: int
    p50: float
    p99: float

    @property
    def rate(self) -> float:
        """Answers a second."""
        return self.answers / self.seconds


def generator() -> str:
    """The name of what makes the load of a closed loop."""
    return "wrk -t1" if shutil.which("wrk") else "bench.client (uvloop)"


def submit(url: str, *, connections: int, seconds: float) -> Load:
    """Tasks posted one a request, for `seconds`. Raises Invalid if an answer was no 2xx."""
    return _closed(f"{url}/tasks", connections=connections, seconds=seconds, wait=False)


def submit_and_wait(url: str, *, connections: int, seconds: float) -> Load:
    """Tasks posted one a request, each answered when it is done. Raises Invalid if an answer was anything else."""
    return _closed(f"{url}/tasks?wait=10", connections=connections, seconds=seconds, wait=True)


def steady(url: str, *, rate: float, seconds: float, wait: bool) -> Load:
    """Tasks posted at a steady rate, however long the answers take."""
    return _good(_load(client.open_loop(f"{url}/tasks" + "?wait=10" * wait, rate=rate, seconds=seconds, wait=wait)))


def _closed(address: str, *, connections: int, seconds: float, wait: bool) -> Load:
    if not shutil.which("wrk"):
        return _good(_load(client.closed(address, connections=connections, seconds=seconds, wait=wait)))
    script = SCRIPTS / ("wait.lua" if wait else "post.lua")
    argv = ["wrk", "-t1", f"-c{connections}", f"-d{round(seconds)}s", "--timeout", "15s", "-s", str(script), address]
    try:
        ran = subprocess.run(argv, capture_output=True, text=True, timeout=seconds + BOUND, check=True)
    except subprocess.TimeoutExpired as error:
        raise Invalid(f"wrk did not end within {error.timeout:g} s: answers are missing") from error
    return _good(msgspec.json.decode(ran.stdout.splitlines()[-1], type=Load))


def _load(sample: client.Sample) -> Load:
    if not sample.latencies:
        raise Invalid("nothing was answered at all")
    middle, late = (sample.latencies[int(len(sample.latencies) * part)] for part in (0.5, 0.99))
    return Load(sample.answers, sample.seconds, sample.bad, middle, late)


def _good(load: Load) -> Load:
    if load.bad or not load.answers:
        raise Invalid(f"{load.bad} of {load.answers} answers were not what they should be")
    return load
