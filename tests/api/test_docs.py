"""The page that explains the HTTP interface."""

from __future__ import annotations

import base64
import hashlib
import re
import shlex
from html.parser import HTMLParser

import msgspec
import pytest

from dolgo.api.app import ROUTES
from dolgo.api.docs import page
from dolgo.api.openapi import document
from dolgo.api.spec import refusals
from tests.api.web import Web

VOID = {"meta", "link", "br"}


class Reader(HTMLParser):
    """Notes what a page is made of, and fails where elements do not nest."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: list[str] = []
        self.targets: list[str] = []
        self.feed(page)
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in VOID:
            self.open.append(tag)
        for name, value in attrs:
            assert not name.startswith("on")
            assert name != "style"
            if name == "id":
                self.ids.append(value or "")
            if name in ("href", "src"):
                self.targets.append(value or "")

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


@pytest.mark.anyio
async def test_it_explains_every_route_and_every_problem(web: Web) -> None:
    answer = await web.http.get("/docs")
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    read = Reader(answer.text)
    assert len(read.ids) == len(set(read.ids))
    assert {kind.slug for kind in refusals()} < set(read.ids)
    for route in ROUTES:
        assert f'<span class="method">{route.method}</span>{route.path}</code></h2>' in answer.text


@pytest.mark.anyio
async def test_it_names_the_values_of_a_choice(web: Web) -> None:
    assert "<td>cancel, run or null</td>" in (await web.http.get("/docs")).text


@pytest.mark.anyio
async def test_it_asks_nobody_else_for_anything(web: Web) -> None:
    read = Reader((await web.http.get("/docs")).text)
    for target in read.targets:
        assert target in ("/openapi.json", "data:,") or target.removeprefix("#") in read.ids


@pytest.mark.anyio
async def test_it_lets_only_its_own_style_and_script_in(web: Web) -> None:
    answer = await web.http.get("/docs")
    policy = answer.headers["content-security-policy"]
    assert policy.startswith("default-src 'none';")
    for part in ("style", "script"):
        (text,) = re.findall(rf"<{part}>(.*?)</{part}>", answer.text, re.DOTALL)
        assert f"{part}-src 'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'" in policy


@pytest.mark.anyio
async def test_its_curl_lines_can_be_run(web: Web) -> None:
    text = (await web.http.get("/docs")).text
    lines = re.findall(r'class="copy"><pre><code>(curl .*?)</code>', text)
    assert len(lines) >= len(ROUTES)
    for line in lines:
        words = shlex.split(line.replace("&quot;", '"').replace("&#x27;", "'"))
        assert words[0] == "curl"
        if "-d" in words:
            msgspec.json.decode(words[words.index("-d") + 1])


def test_whatever_stands_in_the_document_is_shown_and_not_obeyed() -> None:
    hostile = msgspec.json.encode(document())
    for shown, instead in ((b"success", b"<b>"), (b"Submit a task.", b"<i>"), (b"nightly", b"<u>")):
        hostile = hostile.replace(shown, instead)
    text = page(msgspec.json.decode(hostile)).body.decode()
    Reader(text)
    for tag in ("b", "i", "u"):
        assert f"<{tag}>" not in text
        assert f"&lt;{tag}&gt;" in text
