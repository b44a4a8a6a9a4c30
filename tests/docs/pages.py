"""The pages, and what stands in them: blocks of code, sections, tables."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
README = ROOT / "README.md"
RUSSIAN = ROOT / "README.ru.md"
PAGES = [README, RUSSIAN, ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", *sorted(DOCS.rglob("*.md"))]

BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


class Block(NamedTuple):
    """A fenced block of code."""

    language: str
    text: str


def name(page: Path) -> str:
    """What a page is called in the names of tests."""
    return str(page.relative_to(ROOT))


def read(page: Path) -> str:
    """The page."""
    return page.read_text("utf-8")


def blocks(page: Path, *languages: str) -> list[Block]:
    """The fenced blocks of a page, in order; of these languages if any are named."""
    found = [Block(language, text) for language, text in BLOCK.findall(read(page))]
    return [block for block in found if not languages or block.language in languages]


def prose(page: Path) -> str:
    """The page without its blocks of code."""
    return BLOCK.sub("", read(page))


def headings(page: Path) -> list[tuple[int, str]]:
    """Level and text of each heading."""
    return [(len(marks), text.strip()) for marks, text in re.findall(r"^(#+) (.*)$", prose(page), re.MULTILINE)]


def anchors(page: Path) -> set[str]:
    """What a link into the page may name, as GitHub makes it of the headings."""
    return {re.sub(r"[^\w\- ]", "", text.lower()).replace(" ", "-") for _, text in headings(page)}


def sections(page: Path) -> dict[str, str]:
    """The text under each heading of the second level, by heading."""
    parts = re.split(r"^## (.*)$", prose(page), flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def table(text: str, *heads: str) -> list[list[str]]:
    """The rows of the table that has these heads."""
    lines = text.splitlines()
    for place, line in enumerate(lines):
        if cells(line)[: len(heads)] == list(heads):
            body = lines[place + 2 :]
            return [cells(row) for row in body[: next((n for n, row in enumerate(body) if not row.startswith("|")), len(body))]]
    raise AssertionError(f"there is no table of {heads}")


def cells(line: str) -> list[str]:
    """The cells of a line of a table; none if it is no such line."""
    if not line.startswith("|"):
        return []
    return [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]


def code(text: str) -> list[str]:
    """What is written as code in a piece of text."""
    return re.findall(r"`([^`]+)`", text)


def task_files(page: Path) -> dict[str, str]:
    """The task files that a page shows, by path."""
    return {path: text for path, text in python_files(page).items() if path.startswith("tasks/")}


def python_files(page: Path) -> dict[str, str]:
    """The files that a page shows, by path: Python blocks begin with a comment that names it. What is not in a folder is a
    program that asks a server."""
    files = {}
    for block in blocks(page, "python"):
        first = re.match(r"# ((?:tasks/|tests/)?\w+\.py)\n", block.text)
        assert first, f"{name(page)}: a Python block does not say which file it is:\n{block.text}"
        files[first[1]] = block.text
    return files


def write_task_files(page: Path, folder: Path) -> None:
    """Put the task files that a page shows where `dolgo serve` looks for them."""
    write_files(task_files(page), folder)


def write_files(files: Mapping[str, str], folder: Path) -> None:
    """Put files into a folder, by their paths."""
    for path, text in files.items():
        (folder / path).parent.mkdir(exist_ok=True)
        (folder / path).write_text(text, "utf-8")
