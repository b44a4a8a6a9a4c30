"""What the files of deploy/ would run, read from them: for the tests that hold it against the program."""

from __future__ import annotations

import configparser
import json
import re
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click
import yaml

from dolgo.cli import commands
from dolgo.setting_kinds import Seconds
from dolgo.settings import Settings, load
from tests.docs.pages import ROOT

DEPLOY = ROOT / "deploy"
DOCKERFILE = ROOT / "Dockerfile"
COMPOSE = DEPLOY / "compose.yml"
MANIFESTS = sorted((DEPLOY / "kubernetes").glob("*.yaml"))
UNITS = sorted((DEPLOY / "systemd").glob("*.service"))
HIDDEN = "x" * 32  # stands for a secret
STORE = "postgresql://dolgo:PASSWORD@postgres/dolgo"  # stands for what people choose


@dataclass(frozen=True)
class Plan:
    """One process of dolgo, as a file has it started."""

    name: str
    argv: list[str]  # without `dolgo`
    grace: float  # seconds between SIGTERM and SIGKILL
    environ: Mapping[str, str] = field(default_factory=dict)

    @property
    def settings(self) -> Settings:
        """The settings it has. Raises what `dolgo` would refuse to start with."""
        group = commands()
        command = group.get_command(click.Context(group), self.argv[0])
        assert command, self.argv
        given = command.make_context(self.argv[0], self.argv[1:]).params
        flags = {name: value if value != () else None for name, value in given.items()}
        return load(flags, environ=self.environ, folder=DEPLOY)

    @property
    def port(self) -> int | None:
        """Where it answers probes."""
        return self.settings.port if self.argv[0] == "serve" else self.settings.health_port


def dockerfile() -> list[tuple[str, str]]:
    """The instructions, each with what stands behind it."""
    text = re.sub(r"^#.*\n", "", DOCKERFILE.read_text("utf-8"), flags=re.MULTILINE).replace("\\\n", " ")
    return [(name, rest.strip()) for name, _, rest in (line.partition(" ") for line in text.splitlines()) if name]


def image_environ() -> dict[str, str]:
    """The variables of the image that are dolgo's."""
    named = (word.partition("=") for name, rest in dockerfile() if name == "ENV" for word in shlex.split(rest))
    return {name: value for name, _, value in named if name.startswith("DOLGO_")}


def image_command(instruction: str) -> list[str]:
    """What a `CMD`, `ENTRYPOINT` or `HEALTHCHECK` runs. Fails where a shell would stand in between."""
    (rest,) = (rest for name, rest in dockerfile() if name == instruction)
    words: list[str] = json.loads(rest[rest.index("[") :])
    return words


def compose() -> dict[str, Any]:
    """The compose file."""
    read: dict[str, Any] = yaml.safe_load(COMPOSE.read_text("utf-8"))
    return read


def documents(kind: str = "") -> Iterator[dict[str, Any]]:
    """The objects of the manifests, of one kind if it is named."""
    for path in MANIFESTS:
        yield from (each for each in yaml.safe_load_all(path.read_text("utf-8")) if kind in ("", each["kind"]))


def unit(path: Path) -> configparser.SectionProxy:
    """The section [Service] of a unit of systemd."""
    parser = configparser.ConfigParser(interpolation=None, strict=False)
    parser.optionxform = str  # type: ignore[assignment, method-assign]
    parser.read(path)
    return parser["Service"]


def plans() -> list[Plan]:
    """All of them."""
    return [*_of_compose(), *_of_kubernetes(), *_of_systemd()]


def _of_compose() -> Iterator[Plan]:
    for name, service in compose()["services"].items():
        if service["image"].startswith("dolgo:"):
            given = {name: HIDDEN if "TOKEN" in name else STORE for name in service["environment"]}
            environ = image_environ() | {name.removesuffix("_FILE"): value for name, value in given.items()}
            yield Plan(f"compose {name}", service["command"], Seconds(0).parse(service["stop_grace_period"]), environ)


def _of_kubernetes() -> Iterator[Plan]:
    for deployment in documents("Deployment"):
        spec = deployment["spec"]["template"]["spec"]
        (container,) = spec["containers"]
        given = {each["name"]: HIDDEN if "TOKEN" in each["name"] else STORE for each in container["env"]}
        before = container.get("lifecycle", {}).get("preStop", {}).get("exec", {}).get("command", ["sleep", "0"])
        grace = spec["terminationGracePeriodSeconds"] - float(before[1])
        yield Plan(f"kubernetes {deployment['metadata']['name']}", container["args"], grace, image_environ() | given)


def _of_systemd() -> Iterator[Plan]:
    for path in UNITS:
        service = unit(path)
        name, _, value = service["Environment"].partition("=")
        program, *argv = shlex.split(service["ExecStart"].replace("%i", "9001"))
        assert program.endswith("/dolgo")
        yield Plan(f"systemd {path.stem}", argv, float(service["TimeoutStopSec"]), {name: value})
