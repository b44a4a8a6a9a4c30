"""The files of deploy/ say what the program understands, by its own tables and by the judgement of others' tools."""

from __future__ import annotations

import fnmatch
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from dolgo.api.app import PROBES
from dolgo.settings import TABLE, unknown_variables
from dolgo.version import __version__
from tests.blackbox.server import Server
from tests.deploy import plans
from tests.deploy.plans import COMPOSE, DEPLOY, DOCKERFILE, MANIFESTS, UNITS, Plan
from tests.docs.pages import ROOT
from tests.missing import need

PLANS = plans.plans()
SPARE = 10.0  # seconds after the drain timeout, for what is given back and for the goodbye
OWN = {name: service for name, service in plans.compose()["services"].items() if service["image"].startswith("dolgo:")}
PODS = {each["metadata"]["name"]: each["spec"]["template"] for each in plans.documents("Deployment")}


def ran(*argv: object, environ: dict[str, str] | None = None) -> str:
    """What a tool that was installed beside this Python prints. Fails if it finds a fault."""
    found = shutil.which(str(argv[0]), path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    assert found, f"there is no {argv[0]}"
    environ = {"PATH": os.environ["PATH"], "HOME": "/nonexistent"} | (environ or {})
    run = subprocess.run([found, *map(str, argv[1:])], cwd=ROOT, env=environ, capture_output=True, text=True, timeout=50)
    assert run.returncode == 0, run.stdout + run.stderr
    return run.stdout


def name(plan: Plan) -> str:
    return plan.name


def shown(document: dict[str, Any]) -> str:
    return " ".join([document["kind"], document.get("metadata", {}).get("name", "")])


def test_there_is_a_server_and_a_worker_of_each_kind() -> None:
    kinds = [(plan.name.split()[0], plan.argv[0]) for plan in PLANS]
    assert sorted(kinds) == [(kind, command) for kind in ("compose", "kubernetes", "systemd") for command in ("serve", "worker")]


@pytest.mark.parametrize("plan", PLANS, ids=name)
def test_every_flag_and_variable_is_a_setting_and_can_be_read(plan: Plan) -> None:
    assert not unknown_variables(plan.environ)
    assert "--store" not in plan.argv, "others can see its password"
    assert plan.settings.store == plan.environ["DOLGO_STORE"]
    assert plan.settings.origin["port"] in ("default", "--port"), "the health check goes to 8080"


@pytest.mark.parametrize("plan", PLANS, ids=name)
def test_nothing_is_killed_while_it_may_still_drain(plan: Plan) -> None:
    assert plan.grace >= plan.settings.drain_timeout + SPARE


@pytest.mark.parametrize("plan", PLANS, ids=name)
def test_a_server_beyond_this_machine_has_a_token_and_nobody_is_let_in_without(plan: Plan) -> None:
    assert not plan.settings.insecure
    if plan.argv[0] == "serve":
        assert plan.settings.host == "127.0.0.1" or plan.settings.admin_token


def test_the_image_is_what_a_linter_of_others_accepts() -> None:
    ran("hadolint", "--failure-threshold", "style", DOCKERFILE)


def test_signals_reach_the_program_of_the_image_which_is_not_root() -> None:
    assert plans.image_command("ENTRYPOINT") == ["dolgo"]
    assert plans.image_command("CMD") == ["serve"]
    assert [rest for instruction, rest in plans.dockerfile() if instruction == "USER"][-1] == "10001:10001"


def test_what_the_image_is_built_of_is_there_and_not_ignored() -> None:
    ignored = (ROOT / ".dockerignore").read_text("utf-8").splitlines()
    wanted = [re.sub("^!", "", line) for line in ignored if line.startswith("!")]
    copied = [rest.split()[:-1] for instruction, rest in plans.dockerfile() if instruction == "COPY" and "--from" not in rest]
    sources = [source.rstrip("/") for words in copied for source in words]
    assert sorted(sources) == sorted(wanted)
    assert all((ROOT / source).exists() for source in sources)
    assert not any(fnmatch.fnmatch(".env", line) for line in wanted)


def test_the_lock_of_the_image_has_the_drivers_of_every_store_and_broker() -> None:
    pinned = set(re.findall(r"^([a-z0-9-]+)(?:\[\S+\])?==", (ROOT / "requirements/run.lock").read_text("utf-8"), re.MULTILINE))
    assert {"asyncpg", "redis", "hiredis", "aio-pika", "pyjwt", "cryptography", "opentelemetry-api"} <= pinned


@pytest.mark.timeout(120)
def test_the_health_check_of_the_image_tells_a_server_that_turns_from_one_that_is_gone(tmp_path: Path) -> None:
    program, flag, code = plans.image_command("HEALTHCHECK")
    assert (program, flag) == ("python", "-c")

    def healthy(port: str) -> bool:
        argv = [sys.executable, "-c", code.replace("8080", port)]
        return subprocess.run(argv, capture_output=True, timeout=30).returncode == 0

    with Server(tmp_path, "--slots", "0").ready() as server:
        port = server.url.rpartition(":")[2]
        assert healthy(port)
    assert not healthy(port)


@pytest.mark.parametrize("plan", [plan for plan in PLANS if not plan.name.startswith("systemd")], ids=name)
def test_in_containers_probes_and_scrapes_find_the_port(plan: Plan) -> None:
    assert plan.port == 8080
    assert (plan.settings.host, plan.settings.health_host) == ("0.0.0.0", "0.0.0.0")
    assert ("EXPOSE", "8080") in plans.dockerfile()


def test_every_image_is_pinned_by_a_tag_and_ours_is_this_version() -> None:
    images = [service["image"] for service in plans.compose()["services"].values()]
    images += [container["image"] for pod in PODS.values() for container in pod["spec"]["containers"]]
    images += ["python:" + rest.partition("=")[2] for instruction, rest in plans.dockerfile() if instruction == "ARG"]
    for image in images:
        assert re.fullmatch(r"[a-z/]+:v?\d+\.\d+[\w.-]*|postgres:\d+-[a-z]+", image), image
        assert not image.startswith("dolgo:") or image == f"dolgo:{__version__}"
    kustomization = yaml.safe_load((DEPLOY / "kubernetes/kustomization.yaml").read_text("utf-8"))
    assert kustomization["images"] == [{"name": "dolgo", "newTag": __version__}]


@pytest.mark.parametrize("store", ["postgres", "redis"])
def test_compose_accepts_its_file_with_each_store(store: str, tmp_path: Path) -> None:
    example = (DEPLOY / ".env.example").read_text("utf-8").replace("STORE_PASSWORD=\n", "STORE_PASSWORD=secret\n")
    lines = [line.removeprefix("# ") if line.startswith(("# COMPOSE_P", "# DOLGO_")) else line for line in example.splitlines()]
    chosen = [line for line in lines if not re.match("COMPOSE_PROFILES|DOLGO_STORE", line) or store in line]
    (tmp_path / "env").write_text("\n".join(chosen))
    shown = ran("docker-compose", "--env-file", tmp_path / "env", "-f", COMPOSE, "config", "--format", "json")
    services: dict[str, Any] = json.loads(shown)["services"]
    assert services.keys() == {"api", "worker", store}
    assert all(f"secret@{store}:" in services[own]["environment"]["DOLGO_STORE"] for own in OWN)


def test_compose_begins_only_with_a_password_of_ones_own() -> None:
    with pytest.raises(AssertionError, match="STORE_PASSWORD"):
        ran("docker-compose", "--env-file", DEPLOY / ".env.example", "-f", COMPOSE, "config")


def test_what_is_secret_is_kept_out_of_the_repository() -> None:
    secrets = [entry["file"] for entry in plans.compose()["secrets"].values()]
    for path in ["deploy/.env", *(f"deploy/{secret.removeprefix('./')}" for secret in secrets)]:
        assert subprocess.run(["git", "check-ignore", "-q", path], cwd=ROOT).returncode == 0, path


def test_every_service_of_compose_is_checked_and_published_to_this_machine_alone() -> None:
    services = plans.compose()["services"]
    for service_name, service in services.items():
        assert service_name in OWN or "healthcheck" in service, service_name
        assert all(port.startswith("127.0.0.1:") for port in service.get("ports", ())), service_name
    for path in (
        volume.split(":")[0] for service in plans.compose()["services"].values() for volume in service.get("volumes", ())
    ):
        assert not path.startswith("./") or (DEPLOY / path).exists(), path


def test_prometheus_finds_the_services_and_grafana_finds_prometheus(tmp_path: Path) -> None:
    need("promtool")
    text = (DEPLOY / "prometheus/containers.yml").read_text("utf-8")
    ((sd,),) = ([each] for each in yaml.safe_load(text)["scrape_configs"][0]["dns_sd_configs"])
    assert (set(sd["names"]), sd["port"]) == (OWN.keys(), 8080)
    (tmp_path / "token").write_text("a token")
    (tmp_path / "prometheus.yml").write_text(text.replace("/run/secrets/metrics_token", "token"))
    shutil.copy(DEPLOY / "prometheus/alerts.yml", tmp_path)
    ran("promtool", "check", "config", tmp_path / "prometheus.yml")
    (source,) = yaml.safe_load((DEPLOY / "grafana/provisioning/datasources/prometheus.yml").read_text("utf-8"))["datasources"]
    assert source["url"] == "http://prometheus:9090"
    (provider,) = yaml.safe_load((DEPLOY / "grafana/provisioning/dashboards/dolgo.yml").read_text("utf-8"))["providers"]
    mounts = plans.compose()["services"]["grafana"]["volumes"]
    assert f"./grafana/dolgo.json:{provider['options']['path']}/dolgo.json:ro" in mounts


@pytest.mark.parametrize("document", [*plans.documents()], ids=shown)
def test_manifests_are_what_kubernetes_takes_and_name_no_namespace(document: dict[str, Any]) -> None:
    if document["kind"] != "Kustomization":
        kubernetes_validate.validate(document, "1.31", strict=True)
    assert "namespace" not in document.get("metadata", {})


def test_the_kustomization_has_every_manifest_but_the_example() -> None:
    listed = yaml.safe_load((DEPLOY / "kubernetes/kustomization.yaml").read_text("utf-8"))["resources"]
    assert sorted(listed) == [path.name for path in MANIFESTS if path.name not in ("kustomization.yaml", "secret.example.yaml")]


@pytest.mark.parametrize("pod", PODS.values(), ids=PODS)
def test_pods_are_probed_where_dolgo_answers(pod: dict[str, Any]) -> None:
    (container,) = pod["spec"]["containers"]
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    for probe, path in {"startupProbe": "/livez", "livenessProbe": "/livez", "readinessProbe": "/readyz"}.items():
        asked = container[probe]["httpGet"]
        assert (asked["path"], ports[asked["port"]]) == (path, 8080)
        assert path in {route.path for route in PROBES}
    annotated = pod["metadata"]["annotations"]
    assert (annotated["prometheus.io/port"], annotated["prometheus.io/path"]) == ("8080", "/metrics")


@pytest.mark.parametrize("pod", PODS.values(), ids=PODS)
def test_pods_may_do_nothing_that_they_need_not(pod: dict[str, Any]) -> None:
    (container,) = pod["spec"]["containers"]
    assert pod["spec"]["securityContext"]["runAsNonRoot"]
    assert not pod["spec"]["automountServiceAccountToken"]
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]}
    }  # fmt: skip
    assert {"name": "tmp", "mountPath": "/tmp"} in container["volumeMounts"], "large payloads go through files there"
    assert container["resources"].keys() == {"requests", "limits"}


def test_services_and_budgets_select_the_pods_of_their_name() -> None:
    (service,) = plans.documents("Service")
    assert service["spec"]["selector"] == PODS[service["metadata"]["name"]]["metadata"]["labels"]
    budgets = {each["metadata"]["name"]: each["spec"]["selector"] for each in plans.documents("PodDisruptionBudget")}
    assert budgets == {name: {"matchLabels": pod["metadata"]["labels"]} for name, pod in PODS.items()}


def test_the_variables_that_kubernetes_makes_of_a_service_are_no_settings() -> None:
    (service,) = plans.documents("Service")
    made = service["metadata"]["name"].upper().replace("-", "_")
    assert not {f"{made}_PORT", f"{made}_SERVICE_HOST", f"{made}_SERVICE_PORT"} & {setting.env for setting in TABLE}
    assert not any(pod["spec"]["enableServiceLinks"] for pod in PODS.values())


def test_every_key_of_the_secret_is_used_and_there() -> None:
    (secret,) = plans.documents("Secret")
    used = [each["valueFrom"]["secretKeyRef"] for pod in PODS.values() for each in pod["spec"]["containers"][0]["env"]]
    assert {(each["name"], each["key"]) for each in used} == {(secret["metadata"]["name"], key) for key in secret["stringData"]}


def test_systemd_understands_the_units(tmp_path: Path) -> None:
    need("systemd-analyze")
    for path in UNITS:  # it looks whether the program is there
        (tmp_path / path.name).write_text(
            re.sub(r"^ExecStart=\S+", "ExecStart=/bin/true", path.read_text("utf-8"), flags=re.MULTILINE)
        )
    run = subprocess.run(["systemd-analyze", "verify", *tmp_path.iterdir()], capture_output=True, text=True, timeout=50)
    assert (run.returncode, run.stderr) == (0, "")


@pytest.mark.parametrize("path", UNITS, ids=lambda path: path.name)
def test_systemd_tells_the_first_process_alone_to_stop_and_starts_it_again(path: Path) -> None:
    service = plans.unit(path)
    assert (service["KillMode"], service["Restart"], service["User"]) == ("mixed", "always", "dolgo")
