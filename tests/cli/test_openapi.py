"""`dolgo openapi`: the document, as the web side makes it."""

from __future__ import annotations

import sys
from types import SimpleNamespace

import pytest

from tests.cli.conftest import Run

DOCUMENT = {"openapi": "3.1.0", "paths": {}}


def test_it_prints_the_document_without_a_server(alone: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "dolgo.api.openapi", SimpleNamespace(document=lambda: DOCUMENT))
    assert alone("openapi") == (0, '{\n  "openapi": "3.1.0",\n  "paths": {}\n}\n', "")
    assert alone("openapi", "--json").out == '{"openapi":"3.1.0","paths":{}}\n'
