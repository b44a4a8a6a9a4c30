"""Commands on the pages answer as printed. Ids and times differ from run to run; that the same id is the same does not.

In an answer `…` stands for what the page leaves out. `kill -9` kills the server, the next `dolgo serve` starts it again."""

from __future__ import annotations

import re
import shlex
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import httpx
import pytest

from tests.blackbox.server import DOLGO, Server
from tests.docs.pages import DOCS, PAGES, README, RUSSIAN, blocks, name, write_task_files

ADDRESS = "localhost:8080"
ID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}|dolgo_[0-9a-f]{12}_[0-9a-f]{48}")  # of a task; a token
TIME = re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:\.\d+)?Z?")
LEFT_OUT = "…"
VARIES = re.compile(f"({ID.pattern})|({TIME.pattern})|({LEFT_OUT})")
WITHOUT_SERVER = {"prune", "doctor", "token", "secret"}
SERVES, ELSEWHERE, KILLS = "dolgo serve", "dolgo worker ", "kill -9"
SHELLS = (DOCS / "how-to/run-several-machines.md", DOCS / "how-to/be-called-back.md")  # one session each: test_sessions.py
CURLS_OWN_TYPE = "application/x-www-form-urlencoded"


class Shown(NamedTuple):
    """A command and what a page prints under it."""

    command: str
    answer: str


def shown(page: Path) -> Iterator[Shown]:
    """The commands of a page that can be run against a server."""
    for block in blocks(page, "console", "sh"):
        for part in re.split(r"^\$ ", block.text, flags=re.MULTILINE)[1:]:
            command, answer = parted(part)
            if command.startswith(("curl ", "dolgo ", ".venv/bin/dolgo ", KILLS)) and not f"{command} ".startswith(ELSEWHERE):
                yield Shown(command, answer.rstrip("\n"))


def parted(text: str) -> tuple[str, str]:
    """A command, which goes on behind a line that ends within quotes, and its answer."""
    lines = text.splitlines(keepends=True)
    for end in range(1, len(lines) + 1):
        command = "".join(lines[:end])
        try:
            shlex.split(command)
        except ValueError:
            continue
        return command.rstrip("\n"), "".join(lines[end:])
    raise AssertionError(f"this command does not end: {text}")


def curl(command: str, server: Server) -> str:
    """What curl would print. Only the options that the pages use are known."""
    words = iter(shlex.split(command)[1:])
    method, url, body = "", "", None
    headers: dict[str, str] = {}
    for word in words:
        match word:
            case "-s":
                pass
            case "-X":
                method = next(words)
            case "-d":
                body = next(words).encode()
                headers.setdefault("Content-Type", CURLS_OWN_TYPE)
            case "-H":
                key, _, value = next(words).partition(":")
                headers[key] = value.strip()
            case _:
                assert not word.startswith("-"), f"{command}: this test does not know {word}"
                assert word.startswith(ADDRESS), command
                url = server.url + word.removeprefix(ADDRESS)
    method = method or ("GET" if body is None else "POST")
    return httpx.request(method, url, content=body, headers=headers, timeout=30).text


def dolgo(command: str, server: Server) -> str:
    """What a command prints, on stdout and stderr."""
    words = shlex.split(command)[1:]
    there = [] if words[0] in WITHOUT_SERVER else ["--server", server.url]
    ran = subprocess.run(
        [DOLGO, *words, *there],
        cwd=server.folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=40, check=False,
    )  # fmt: skip
    return ran.stdout.rstrip("\n")


def masked(text: str) -> str:
    return TIME.sub("<time>", ID.sub("<id>", text))


def pattern(answer: str) -> str:
    """What an answer has to look like, with a group for each id."""
    parts, place = [], 0
    for found in VARIES.finditer(answer):
        parts.append(re.escape(answer[place : found.start()]))
        id, time, _ = found.groups()
        parts.append(f"({ID.pattern})" if id else TIME.pattern if time else ".*?")
        place = found.end()
    return "".join([*parts, re.escape(answer[place:])])


def compare(said: str, answer: str, command: str) -> Iterator[tuple[str, str]]:
    """Each id that is printed, and the one in its place."""
    found = re.fullmatch(pattern(answer), said, re.DOTALL)
    if found is None:
        assert masked(said) == masked(answer), command  # which shows where they part
        raise AssertionError(f"{command}: {said}")
    yield from zip(ID.findall(answer), found.groups(), strict=True)


ELSEWHERE_RUN = (RUSSIAN, *SHELLS)  # the Russian blocks are the English ones
RUNNABLE = [page for page in PAGES if page not in ELSEWHERE_RUN and any(shown(page))]


@pytest.mark.timeout(180)  # a page starts many processes, one after the other
@pytest.mark.parametrize("page", RUNNABLE, ids=name)
def test_commands_answer_as_printed(page: Path, tmp_path: Path) -> None:
    write_task_files(page, tmp_path)
    real: dict[str, str] = {}  # the ids of this run by those printed
    with Server(tmp_path, "--drain-timeout", "0").ready() as server:
        for command, answer in shown(page):
            if command.startswith((SERVES, KILLS)):
                restart(server, command)
                continue
            asked = ID.sub(lambda found: real[found[0]], command)
            said = curl(asked, server) if asked.startswith("curl") else dolgo(asked, server)
            for printed, got in compare(said, answer, command):
                assert real.setdefault(printed, got) == got, f"{command}: another id than before"


def restart(server: Server, command: str) -> None:
    """Kill the server, or start it again if it was killed."""
    if command.startswith(KILLS):
        server.kill(signal.SIGKILL)
        server.wait()
    elif not server.running:
        server.start().wait_ready()


def test_the_pages_with_commands_are_among_them() -> None:
    told = {"README.md", "docs/quickstart.md", "docs/reference/cli.md", "docs/reference/http.md"}
    elsewhere = (*SHELLS, DOCS / "how-to/deploy.md")  # the latter needs Docker or a cluster; tests/deploy looks at what it uses
    assert told | {name(page) for page in (DOCS / "how-to").glob("*.md") if page not in elsewhere} <= set(map(name, RUNNABLE))
    assert len(list(shown(README))) >= 4
