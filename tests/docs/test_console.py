"""Commands on the pages answer as printed. Ids and times differ from run to run; that the same id is the same does not."""

from __future__ import annotations

import re
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import httpx
import pytest

from tests.blackbox.server import DOLGO, Server
from tests.docs.pages import PAGES, README, RUSSIAN, blocks, name, write_task_files

ADDRESS = "localhost:8080"
ID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+Z")
LONG_RUNNING = {"serve", "worker"}
CURLS_OWN_TYPE = "application/x-www-form-urlencoded"


class Shown(NamedTuple):
    """A command and what a page prints under it."""

    command: str
    answer: str


def shown(page: Path) -> Iterator[Shown]:
    """The commands of a page that can be run against a server."""
    for block in blocks(page, "console", "sh"):
        for part in re.split(r"^\$ ", block.text, flags=re.MULTILINE)[1:]:
            command, _, answer = part.partition("\n")
            words = shlex.split(command, comments=True)
            if words[0] == "curl" or (words[0].endswith("dolgo") and words[1] not in LONG_RUNNING):
                yield Shown(command, answer.rstrip("\n"))


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
    """What a client command prints, on stdout and stderr."""
    ran = subprocess.run(
        [DOLGO, *shlex.split(command)[1:], "--server", server.url],
        cwd=server.folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=40, check=False,
    )  # fmt: skip
    return ran.stdout.rstrip("\n")


def masked(text: str) -> str:
    return TIME.sub("<time>", ID.sub("<id>", text))


RUNNABLE = [page for page in PAGES if page != RUSSIAN and any(shown(page))]  # the Russian blocks are the English ones


@pytest.mark.parametrize("page", RUNNABLE, ids=name)
def test_commands_answer_as_printed(page: Path, tmp_path: Path) -> None:
    write_task_files(page, tmp_path)
    real: dict[str, str] = {}  # the ids of this run by those printed
    with Server(tmp_path, "--drain-timeout", "0").ready() as server:
        for command, answer in shown(page):
            asked = ID.sub(lambda found: real[found[0]], command)
            said = curl(asked, server) if asked.startswith("curl") else dolgo(asked, server)
            assert masked(said) == masked(answer), command
            for printed, got in zip(ID.findall(answer), ID.findall(said), strict=True):
                assert real.setdefault(printed, got) == got, f"{command}: another id than before"


def test_the_pages_with_commands_are_among_them() -> None:
    assert {"README.md", "docs/quickstart.md", "docs/reference/cli.md", "docs/reference/http.md"} <= set(map(name, RUNNABLE))
    assert len(list(shown(README))) >= 4
