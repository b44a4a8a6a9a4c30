"""The benchmark runs, and does not believe a service that loses, doubles or changes a task."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, cast

import httpx
import pytest

from bench import load, store_floor
from bench.errors import Invalid
from bench.figures import Figure, Target, beside
from bench.service import Service, http_floor
from tests.blackbox.server import Server

ROOT = Path(__file__).parents[2]


def bench(out: Path, *options: str, **environ: str) -> dict[str, Any]:
    """What a quick run wrote, after it ended well."""
    ran = subprocess.run(
        [sys.executable, "-m", "bench", "--quick", "--out", str(out), *options],
        cwd=ROOT, env={**os.environ, **environ}, capture_output=True, text=True, timeout=110, check=False,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr
    assert "dolgo beside its floors" in ran.stdout
    written: dict[str, Any] = json.loads(out.read_bytes())
    return written


def values(written: dict[str, Any]) -> list[float]:
    return [figure["value"] for figures in written["figures"].values() for figure in figures]


@pytest.mark.timeout(120)
def test_a_quick_run_measures_rates_with_and_without_a_crowd(tmp_path: Path) -> None:
    written = bench(tmp_path / "bench.json", "--only", "submit", "--only", "drain", "--only", "waiting")
    alone, crowded = written["figures"].values()
    assert [figure["work"] for figure in alone] == ["submit, 32 connections", "submit while they are run", "drain of 1,000"]
    assert [figure["work"] for figure in crowded][2:] == [figure["work"] for figure in alone]
    assert all(figure["ratio"] for figure in crowded[2:])
    assert min(values(written)) > 0
    assert written["facts"]["cores"] >= 1


@pytest.mark.timeout(120)
def test_a_quick_run_measures_latency_and_idleness_without_wrk_too(tmp_path: Path) -> None:
    (tmp_path / "git").symlink_to(shutil.which("git") or "/bin/false")
    written = bench(tmp_path / "bench.json", "--only", "wait", "--only", "idle", PATH=str(tmp_path))
    assert "uvloop" in written["facts"]["load"]
    assert len(values(written)) == 11


@pytest.mark.timeout(120)
def test_a_quick_run_measures_schedules_limits_and_dependencies(tmp_path: Path) -> None:
    parts = [word for part in ("later", "keys", "chain", "fan") for word in ("--only", part)]
    written = bench(tmp_path / "bench.json", *parts)
    (figures,) = [figures for figures in written["figures"].values() if figures]
    assert [figure["work"] for figure in figures if figure["ratio"]] == [
        "drain of 1,000 beside 2,000 due tomorrow",
        "drain of 1,000 under a limit by key",
        "drain of 1,000 beside 500 of a saturated key",
        "chain of 50, a link",
        "1 → 700 → 1",
    ]
    assert min(figure["value"] for figure in figures if figure["ratio"]) > 0
    assert min(values(written)) >= 0  # the commit that ends a task may start the next


@pytest.mark.parametrize("with_wrk", [True, False])
def test_an_answer_that_does_not_say_done_makes_a_run_invalid(monkeypatch: pytest.MonkeyPatch, with_wrk: bool) -> None:
    if with_wrk and not shutil.which("wrk"):
        pytest.skip("wrk is not installed")
    if not with_wrk:
        monkeypatch.setenv("PATH", "")
    with http_floor() as url:
        assert load.submit(url, connections=2, seconds=1).answers > 0
        with pytest.raises(Invalid, match="answers were not"):
            load.submit_and_wait(url, connections=2, seconds=1)


class ClosesAfterEachAnswer(BaseHTTPRequestHandler):
    """HTTP/1.0: one request a connection."""

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["content-length"]))
        body = b'{"id": "a"}'
        self.send_response(202)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Nothing on stderr."""


def test_a_connection_the_server_closed_is_opened_anew() -> None:
    with ThreadingHTTPServer(("127.0.0.1", 0), ClosesAfterEachAnswer) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            seen = load.steady(f"http://127.0.0.1:{server.server_port}", rate=20, seconds=0.5, wait=False)
        finally:
            server.shutdown()
            thread.join()
    assert seen.answers == 10


def service(*pages: list[dict[str, Any]]) -> Service:
    """A service that lists these tasks."""

    def answer(request: httpx.Request) -> httpx.Response:
        number = int(request.url.params.get("cursor", 0))
        return httpx.Response(200, json={"tasks": pages[number], "next": str(number + 1) if number + 1 < len(pages) else None})

    server = cast(Server, type("Fake", (), {"url": "http://fake"})())
    return Service(server, httpx.Client(base_url="http://fake", transport=httpx.MockTransport(answer)))


def task(n: int, **other: Any) -> dict[str, Any]:
    times = {"started_at": f"2026-01-01T00:00:0{n}Z", "finished_at": f"2026-01-01T00:00:0{n + 1}Z"}
    return {"id": f"t{n}", "payload": {"n": n}, "result": n, "attempt": 1, **times, **other}


def test_tasks_that_ended_well_tell_how_long_they_took() -> None:
    began, ended = service([task(3), task(2)], [task(1)]).check(3)
    assert ended - began == 3


@pytest.mark.parametrize(
    "pages",
    [
        ([task(1)], [task(1)]),
        ([task(1), task(2, attempt=2)],),
        ([task(1), task(2, result=3)],),
        ([task(1)], []),
    ],
    ids=["doubled", "run twice", "wrong result", "missing"],
)
def test_a_task_that_did_not_end_well_makes_a_run_invalid(pages: tuple[list[dict[str, Any]], ...]) -> None:
    with pytest.raises(Invalid):
        service(*pages).check(2)


def test_the_raw_loop_looks_at_its_results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert store_floor.drain(tmp_path / "right.db", 250) > 0
    monkeypatch.setattr(store_floor, "SETTLE", store_floor.SETTLE.replace("result = ?", "result = ? || '1'"))
    with pytest.raises(Invalid, match="0 of 250"):
        store_floor.drain(tmp_path / "wrong.db", 250)


def test_targets_look_at_medians_and_ratios() -> None:
    figure = Figure("work", "tasks/s", [1.0, 9.0, 10.0], floor=[12.0, 12.0, 99.0])
    assert figure.met is None
    for target, met in [
        (Target(least=9), True),
        (Target(most=8), False),
        (Target(least=0.75, ratio=True), True),
        (Target(least=0.76, ratio=True), False),
    ]:
        figure.targets = [target]
        assert figure.met is met, target.text()


def test_a_crowd_may_cost_a_tenth() -> None:
    empty = [Figure("rate", "tasks/s", [100.0]), Figure("p99", "ms", [10.0])]
    assert [figure.met for figure in beside([Figure("rate", "tasks/s", [91.0]), Figure("p99", "ms", [10.9])], empty)] == [
        True,
        True,
    ]
    assert [figure.met for figure in beside([Figure("rate", "tasks/s", [89.0]), Figure("p99", "ms", [11.1])], empty)] == [
        False,
        False,
    ]
