"""Some pages are one session of a shell: each command is given to it in turn, and answers as printed. What only looks is
repeated until it does."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Self

import pytest

from tests.blackbox.server import DOLGO
from tests.docs.pages import DOCS, blocks, name
from tests.docs.test_console import ID, SHELLS, Shown, compare, parted
from tests.missing import need

CODE = (DOCS / "reference/callbacks.md", DOCS / "how-to/be-called-back.md")  # whose programs are there
PORTS = ("6379", "8080", "8081", "9000")  # on the pages
READY = re.compile(r"Ready to accept connections|ready on http|worker \S+ ready|^ready$", re.MULTILINE)
LOOKS = ("cat ", "dolgo get ", "dolgo list ")
END = "that was the answer"
WITHIN = 60.0  # seconds for one command; the machine may be busy with other tests


def commands(page: Path) -> Iterator[Shown]:
    for block in blocks(page, "console"):
        for part in re.split(r"^\$ ", block.text, flags=re.MULTILINE)[1:]:
            command, answer = parted(part)
            yield Shown(command, answer.rstrip("\n"))


def free_ports() -> dict[str, str]:
    """For each port on the page one that nobody listens on."""
    found = [socket.create_server(("127.0.0.1", 0)) for _ in PORTS]
    ports = {port: str(listening.getsockname()[1]) for port, listening in zip(PORTS, found, strict=True)}
    for listening in found:
        listening.close()
    return ports


class Shell:
    """A shell with job control. What programs in the background say goes to a file."""

    def __init__(self, folder: Path, environ: dict[str, str]) -> None:
        self.log = folder / "shell.log"
        with self.log.open("wb") as log:
            self._process = subprocess.Popen(
                ["bash", "--norc"], cwd=folder, env=environ, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True
            )
        self._tell("set -m")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate("kill -9 $(jobs -p); exit\n", timeout=WITHIN)

    def start(self, command: str) -> None:
        """Put a program into the background, and return when it says that it is ready."""
        ready = self._ready()
        self._tell(f"{command.removesuffix('&')} >&2 &")
        wait_until(lambda: self._ready() > ready, self.log)

    def run(self, command: str) -> str:
        """What a command prints."""
        self._tell(f"timeout {WITHIN:g} {command} 2>&1; echo {END}" if command.startswith("dolgo") else f"{command}; echo {END}")
        assert self._process.stdout is not None
        lines = iter(self._process.stdout.readline, "")
        said = []
        for line in lines:
            if line == f"{END}\n":
                return "".join(said).rstrip("\n")
            said.append(line)
        raise AssertionError(f"the shell has ended: {self.log.read_text()}")

    def _ready(self) -> int:
        return len(READY.findall(self.log.read_text()))

    def _tell(self, line: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(f"{line}\n")
        self._process.stdin.flush()


def wait_until(true: Callable[[], bool], log: Path) -> None:
    deadline = time.monotonic() + WITHIN
    while not true():
        assert time.monotonic() < deadline, log.read_text()
        time.sleep(0.02)


def write_programs(folder: Path) -> None:
    """The programs of the pages, each under the name in its first line."""
    for block in (block for page in CODE for block in blocks(page, "py")):
        (folder / block.text.splitlines()[0].removeprefix("# ")).write_text(block.text)


def answered(shell: Shell, command: str, answer: str) -> list[tuple[str, str]]:
    """The ids printed, and those in their place."""
    deadline = time.monotonic() + WITHIN
    while True:
        try:
            return list(compare(shell.run(command), answer, command))
        except AssertionError:
            if not command.startswith(LOOKS) or time.monotonic() > deadline:
                raise
        time.sleep(0.1)


@pytest.mark.timeout(240)  # it starts many processes, and waits for tasks that take seconds
@pytest.mark.parametrize("page", SHELLS, ids=name)
def test_the_session_goes_as_printed(page: Path, tmp_path: Path) -> None:
    need("bash")
    if any("redis-server" in command for command, _ in commands(page)):
        need("redis-server")
    ports = free_ports()
    write_programs(tmp_path)
    real: dict[str, str] = {}  # the ids of this run by those printed
    environ = {key: value for key, value in os.environ.items() if not key.startswith("DOLGO_")}
    environ |= {"PATH": f"{Path(DOLGO).parent}:{environ['PATH']}", "DOLGO_URL": f"http://localhost:{ports['8080']}"}
    with Shell(tmp_path, environ) as shell:
        for command, answer in commands(page):
            asked = re.sub("|".join(PORTS), lambda found: ports[found[0]], ID.sub(lambda found: real[found[0]], command))
            if asked.endswith("&"):
                shell.start(asked)
                continue
            wanted = re.sub("|".join(PORTS), lambda found: ports[found[0]], answer)
            for printed, got in answered(shell, asked, wanted):
                assert real.setdefault(printed, got) == got, f"{command}: another id than before"
