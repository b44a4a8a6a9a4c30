"""`dolgo config`: values, origins, and no secrets."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from dolgo.settings import TABLE
from tests.cli.conftest import Run


def test_it_prints_each_value_and_where_it_came_from(alone: Run, at: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOLGO_SLOTS", "7")
    (at / "dolgo.toml").write_text('lease = "1m"\nqueues = ["a", "b"]')
    ran = alone("config")
    lines = dict(line.split("\t", 1) for line in ran.out.splitlines())
    assert (ran.code, ran.err) == (0, "")
    assert list(lines) == [setting.name for setting in TABLE]
    assert lines["slots"] == "7\tDOLGO_SLOTS"
    assert lines["lease"] == "1m\tdolgo.toml"
    assert lines["queues"] == "a,b\tdolgo.toml"
    assert lines["keep"] == "7d\tdefault"


def test_json_has_the_plain_values(alone: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOLGO_KEEP", "1h")
    printed = json.loads(alone("config", "--json").out)
    assert printed["keep"] == {"value": 3600.0, "from": "DOLGO_KEEP"}
    assert printed["queues"] == {"value": None, "from": "default"}


def test_credentials_are_never_printed(alone: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOLGO_STORE", "redis://me:hunter2@host/0")
    monkeypatch.setenv("DOLGO_TOKEN", "hunter3")
    for arguments in (["config"], ["config", "--json"]):
        ran = alone(*arguments)
        assert "redis://me:***@host/0" in ran.out
        assert "hunter" not in ran.out + ran.err


def test_a_variable_that_sets_nothing_is_told(alone: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOLGO_SLOT", "7")
    ran = alone("config")
    assert ran.code == 0
    assert ran.err == "dolgo: the environment has DOLGO_SLOT (did you mean DOLGO_SLOTS?), which is no setting of dolgo\n"


def test_a_bad_setting_is_one_line(alone: Run, at: Path) -> None:
    (at / "dolgo.toml").write_text("slots = -1")
    ran = alone("config")
    assert (ran.code, ran.out) == (2, "")
    assert ran.err == "dolgo: slots cannot be -1 (from dolgo.toml): give a whole number from 0 up.\n"
