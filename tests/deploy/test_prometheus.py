"""The rules, the dashboard and the page hold together, by the judgement of Prometheus's own tool."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from dolgo.metrics.catalog import METRICS
from tests.blackbox.client import Client, until, write_type
from tests.blackbox.server import Process, Server, Worker
from tests.docs.pages import ROOT, sections, table
from tests.missing import need
from tests.redis_server import free_port

DEPLOY = ROOT / "deploy"
ALERTS = DEPLOY / "prometheus/alerts.yml"
DASHBOARD = DEPLOY / "grafana/dolgo.json"
HOW_TO = ROOT / "docs/how-to/prometheus.md"
TYPES = """
import os
from dolgo import task

@task(retries=1, backoff=0)
async def fails() -> None:
    raise ValueError

@task
def dies() -> None:
    os._exit(3)
"""


def promtool(*arguments: object, stdin: str = "") -> str:
    """What it says. Fails if it finds a fault."""
    need("promtool")
    ran = subprocess.run(["promtool", *map(str, arguments)], input=stdin, capture_output=True, text=True, timeout=60)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return ran.stdout + ran.stderr


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """Addresses of a server and of a worker beside it that have both seen something."""
    folder = tmp_path_factory.mktemp("metrics")
    write_type(folder, "handlers", TYPES)
    with Server(folder, "--slots", "0").ready() as server, Worker(folder, "--health-port", "0").ready() as worker:
        with Client(server.url) as client:
            for type in ("long_task", "fails", "dies"):
                id = client.submit(type, {"seconds": 0} if type == "long_task" else {})
                until(lambda id=id: client.get(f"/tasks/{id}")["status"] in ("done", "failed"), 50, "it ends")
        httpx.get(f"{server.url}/nowhere")
        health = re.search(r"health on (\S+)", worker.said())
        assert health
        yield {"server": server.url, "worker": health[1]}


@pytest.fixture(scope="module")
def pages(running: dict[str, str]) -> dict[str, str]:
    """Their pages."""
    return {name: httpx.get(f"{url}/metrics").text for name, url in running.items()}


class Prometheus(Process):
    """One that scrapes these once a second, with our rules."""

    def __init__(self, folder: Path, scraped: Iterable[str]) -> None:
        need("prometheus")
        targets = [url.removeprefix("http://") for url in scraped]
        config = {
            "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
            "rule_files": [str(ALERTS)],
            "scrape_configs": [{"job_name": "dolgo", "static_configs": [{"targets": targets}]}],
        }
        (folder / "prometheus.yml").write_text(json.dumps(config))
        address = f"127.0.0.1:{free_port()}"
        self.api = f"http://{address}/api/v1"
        argv = ["prometheus", "--config.file=prometheus.yml", "--storage.tsdb.path=data", f"--web.listen-address={address}"]
        super().__init__(argv, folder, ready="Server is ready", name="prometheus")

    def asked(self, path: str, **params: str) -> dict[str, list[dict[str, Any]]]:
        """The data of its answer."""
        answer = httpx.get(f"{self.api}/{path}", params=params)
        assert answer.status_code == 200, answer.text
        data: dict[str, list[dict[str, Any]]] = answer.json()["data"]
        return data


def shown_expressions() -> list[str]:
    """What the dashboard and the how-to page ask for."""
    panels = json.loads(DASHBOARD.read_text("utf-8"))["panels"]
    of_panels = [target["expr"].replace("$__rate_interval", "1m") for panel in panels for target in panel["targets"]]
    return of_panels + [row[1].strip("`") for row in table(sections(HOW_TO)["Some questions"], "question", "query")]


def named(text: str) -> set[str]:
    """The metrics that expressions name, without the endings of histograms."""
    found = set(re.findall(r"\b(dolgo_\w+|process_\w+)", text))
    return {re.sub(r"_(bucket|sum|count)$", "", name) for name in found}


def named_alerts() -> list[str]:
    return re.findall(r"alert: (\w+)", ALERTS.read_text("utf-8"))


def exposed(pages: dict[str, str]) -> set[str]:
    return {name for page in pages.values() for name in re.findall(r"^# TYPE (\S+)", page, re.MULTILINE)}


@pytest.mark.timeout(180)
def test_both_pages_are_what_prometheus_expects(pages: dict[str, str]) -> None:
    for page in pages.values():
        assert "no help" not in promtool("check", "metrics", stdin=page)


@pytest.mark.timeout(180)
def test_every_metric_is_exposed_and_nothing_else(pages: dict[str, str]) -> None:
    assert {name for name in exposed(pages) if name.startswith("dolgo_")} == {metric.name for metric in METRICS}


@pytest.mark.timeout(180)
def test_a_server_tells_of_the_service_and_a_worker_of_itself(pages: dict[str, str]) -> None:
    assert 'dolgo_workers{state="running"} 1.0' in pages["server"]
    assert "dolgo_fleet_slots 5.0" in pages["server"]
    assert 'dolgo_tasks_submitted_total{queue="default",type="fails"} 1.0' in pages["server"]
    assert 'dolgo_tasks_settled_total{outcome="failed",queue="default",type="fails"} 1.0' in pages["worker"]
    assert 'dolgo_tasks_retried_total{outcome="failed",queue="default",type="fails"} 1.0' in pages["worker"]
    assert 'dolgo_attempts_ended_total{outcome="lost",queue="default",type="dies"} 3.0' in pages["worker"]
    assert 'dolgo_worker_children_died_total{kind="single"} 3.0' in pages["worker"]
    assert "dolgo_worker_slots 5.0" in pages["worker"]
    assert "\ndolgo_tasks{" not in pages["worker"]


@pytest.mark.timeout(180)
@pytest.mark.parametrize("path", [ALERTS, DASHBOARD], ids=lambda path: path.name)
def test_what_rules_and_dashboard_ask_for_is_exposed(path: Path, pages: dict[str, str]) -> None:
    wanted = named(path.read_text("utf-8"))
    assert wanted
    assert wanted <= exposed(pages)


@pytest.mark.timeout(180)
def test_to_a_real_prometheus_every_panel_shows_something_and_no_rule_fails(running: dict[str, str], tmp_path: Path) -> None:
    with Prometheus(tmp_path, running.values()).ready() as prometheus, Client(running["server"]) as client:
        missing = set(shown_expressions())

        def all_shown() -> bool:
            client.submit("fails", {})  # a rate needs two scrapes that differ
            missing.difference_update([each for each in missing if prometheus.asked("query", query=each)["result"]])
            return not missing

        until(all_shown, 60, "every expression has a value")
        (group,) = prometheus.asked("rules")["groups"]
        assert {rule["name"]: rule["health"] for rule in group["rules"]} == dict.fromkeys(named_alerts(), "ok")


def test_rules_and_example_are_valid() -> None:
    assert "SUCCESS" in promtool("check", "rules", ALERTS)
    promtool("check", "config", DEPLOY / "prometheus/prometheus.yml")


def test_alerts_fire_when_they_should_and_only_then() -> None:
    promtool("test", "rules", Path(__file__).with_name("alerts_test.yml"))


def test_every_alert_is_tried() -> None:
    tried = Path(__file__).with_name("alerts_test.yml").read_text("utf-8")
    for name in named_alerts():
        assert tried.count(f"alertname: {name}") >= 2, f"{name}: once when it fires, once when it does not"


def test_every_expression_of_the_dashboard_is_one(tmp_path: Path) -> None:
    panels = json.loads(DASHBOARD.read_text("utf-8"))["panels"]
    expressions = [target["expr"].replace("$__rate_interval", "5m") for panel in panels for target in panel["targets"]]
    rules = [{"record": f"panel:{place}", "expr": expression} for place, expression in enumerate(expressions)]
    path = tmp_path / "rules.yml"
    path.write_text(json.dumps({"groups": [{"name": "panels", "rules": rules}]}))
    assert f"{len(expressions)} rules found" in promtool("check", "rules", path)
