"""The Russian README says what the English one says."""

from __future__ import annotations

import re

from tests.docs.pages import README, RUSSIAN, blocks, code, headings, prose


def test_it_has_the_same_headings() -> None:
    assert [level for level, _ in headings(RUSSIAN)] == [level for level, _ in headings(README)]


def test_it_has_the_same_blocks_of_code() -> None:
    assert blocks(RUSSIAN) == blocks(README)


def test_it_has_as_many_points_and_the_same_links() -> None:
    for pattern in (r"^- ", r"^\d+\. ", r"\]\([^)]+\)"):
        assert re.findall(pattern, prose(RUSSIAN), re.MULTILINE) == re.findall(pattern, prose(README), re.MULTILINE)


def test_it_names_the_same_code() -> None:
    assert sorted(set(code(prose(RUSSIAN)))) == sorted(set(code(prose(README))))


def test_it_is_russian() -> None:
    for _, heading in headings(RUSSIAN)[1:]:
        assert re.search("[\u0430-\u044f]", heading)  # a letter of the Russian alphabet
