"""The pages about states and words say what the code says."""

from __future__ import annotations

import re

import pytest

from dolgo.store.base import Store
from dolgo.task.types import FINAL, ErrorCode, Outcome, Status
from tests.docs.pages import DOCS, blocks, code, read, sections, table
from tests.store.moves import ARROWS

STATES = DOCS / "states.md"
GLOSSARY = DOCS / "glossary.md"
END = "[*]"
NOT_VERBS = {"give back", "release"}  # a settlement, and what the end of a parent does

Arrow = tuple[str, str, list[str]]


def drawn() -> list[Arrow]:
    """The arrows of the diagram: from, to, and the transitions written beside it."""
    (diagram,) = blocks(STATES, "mermaid")
    found = re.findall(r"^ +(\S+) --> (\S+): (.*)$", diagram.text, re.MULTILINE)
    return [(before, after, names.split(", ")) for before, after, names in found]


def test_the_diagram_has_every_status_and_no_other() -> None:
    (diagram,) = blocks(STATES, "mermaid")
    alone = re.findall(r"^ +(\w+)$", diagram.text, re.MULTILINE)
    states = {state for before, after, _ in drawn() for state in (before, after)} - {END}
    assert states | set(alone) == set(Status)
    assert not states & set(alone), "a status without arrows has some"


def test_the_diagram_has_every_arrow_and_no_other() -> None:
    arrows = [(before, after) for before, after, _ in drawn()]
    legal = {(before or END, after) for before, after in ARROWS} | {(status, END) for status in FINAL}
    assert len(arrows) == len(set(arrows))
    assert set(arrows) == legal


def test_the_table_of_statuses_says_which_are_final() -> None:
    rows = table(read(STATES), "status", "meaning", "final")
    assert [code(row[0])[0] for row in rows] == list(Status)
    assert {code(row[0])[0] for row in rows if row[2]} == FINAL


def test_the_transitions_are_those_of_the_diagram_and_of_the_glossary() -> None:
    told = [row[0] for row in table(read(STATES), "transition")]
    assert {name for _, _, names in drawn() for name in names} | {"renew"} == set(told)
    assert {row[0] for row in table(read(GLOSSARY), "word", "what it does")} == set(told) - {"delete"}


def test_transitions_are_verbs_of_the_store() -> None:
    told = {row[0] for row in table(read(STATES), "transition")}
    assert {name for name in told if not hasattr(Store, name)} == NOT_VERBS


def test_the_answers_by_status_name_every_status() -> None:
    lines = [line for line in read(STATES).splitlines() if line.startswith("| |")]
    assert [code(line) for line in lines] == [list(Status)]


@pytest.mark.parametrize(("section", "names"), [("How an attempt ended", Outcome), ("Why a task did not end `done`", ErrorCode)])
def test_outcomes_and_codes_are_all_explained(section: str, names: type[Outcome] | type[ErrorCode]) -> None:
    rows = [line for line in sections(STATES)[section].splitlines() if line.startswith("| `")]
    assert [code(row)[0] for row in rows] == list(names)
