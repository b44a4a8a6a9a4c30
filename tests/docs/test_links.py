"""Links lead somewhere, and every page can be found."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.docs.pages import DOCS, PAGES, README, RUSSIAN, anchors, name, prose

LINK = re.compile(r"\]\(([^)\s]+)\)")


def links(page: Path) -> list[str]:
    return LINK.findall(prose(page))


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_links_lead_to_a_page_and_a_heading_that_are_there(page: Path) -> None:
    for link in links(page):
        if "://" in link:
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), f"{name(page)} links to {link}"
        assert not anchor or anchor in anchors(target), f"{name(page)} links to {link}"


def test_the_index_links_every_page() -> None:
    index = DOCS / "index.md"
    linked = {(DOCS / link).resolve() for link in links(index)}
    assert linked == set(DOCS.rglob("*.md")) - {index}


@pytest.mark.parametrize("page", [README, RUSSIAN], ids=name)
def test_both_readmes_link_the_index(page: Path) -> None:
    assert "docs/index.md" in links(page)


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_no_page_names_a_place_on_some_machine(page: Path) -> None:
    assert not re.search(r"(?<![\w./])/(work|tmp|home|root|Users)/", page.read_text("utf-8"))
