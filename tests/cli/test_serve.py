"""`dolgo serve` and `dolgo worker`: their flags reach the service, and its end reaches the shell."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from dolgo.errors import StoreUnusable
from dolgo.settings import TABLE, Settings
from tests.cli.conftest import Run


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, Settings]]:
    """What a service that ends at once was started with."""
    calls: list[tuple[str, Settings]] = []

    def end(kind: str, settings: Settings) -> int:
        calls.append((kind, settings))
        return 0

    service = SimpleNamespace(serve=lambda settings: end("serve", settings), work=lambda settings: end("work", settings))
    monkeypatch.setitem(sys.modules, "dolgo.main", service)
    return calls


def test_flags_reach_the_service(alone: Run, started: list[tuple[str, Settings]]) -> None:
    ran = alone("serve", "--slots", "0", "--tasks", "a,b", "--tasks", "c", "--reload", "--lease", "1m", "--port", "0")
    assert ran == (0, "", "")
    kind, settings = started[0]
    assert kind == "serve"
    assert (settings.slots, settings.tasks, settings.reload, settings.lease, settings.port) == (0, ("a,b", "c"), True, 60.0, 0)
    assert settings.origin["tasks"] == "--tasks"


def test_without_flags_file_and_environment_count(
    alone: Run, started: list[tuple[str, Settings]], at: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (at / "dolgo.toml").write_text('tasks = ["x"]\nreload = true\nslots = 9')
    monkeypatch.setenv("DOLGO_SLOTS", "2")
    alone("worker")
    alone("worker", "--no-reload")
    assert [(kind, settings.tasks, settings.reload, settings.slots) for kind, settings in started] == [
        ("work", ("x",), True, 2),
        ("work", ("x",), False, 2),
    ]


@pytest.mark.parametrize("command", ["serve", "worker"])
def test_every_setting_of_a_command_but_a_secret_is_a_flag_of_it(command: str, alone: Run) -> None:
    shown = alone(command, "--help").out
    for setting in TABLE:
        assert (f"{setting.flag} " in shown) == (command in setting.row.commands and not setting.secret)


def test_a_service_that_cannot_start_says_so_in_one_line(alone: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(settings: Settings) -> int:
        raise StoreUnusable("dolgo.db cannot be opened: it is a folder.")

    monkeypatch.setitem(sys.modules, "dolgo.main", SimpleNamespace(serve=fail, work=fail))
    for command in ("serve", "worker"):
        assert alone(command) == (1, "", "dolgo: dolgo.db cannot be opened: it is a folder.\n")


def test_the_code_the_service_ends_with_is_the_commands(alone: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "dolgo.main", SimpleNamespace(serve=lambda settings: 9))
    assert alone("serve").code == 9


def test_a_bad_flag_is_one_line_and_code_2(alone: Run, started: list[tuple[str, Settings]]) -> None:
    ran = alone("serve", "--port", "http")
    assert ran == (2, "", "dolgo: port cannot be 'http' (from --port): give a whole number from 0 to 65535.\n")
    assert started == []
