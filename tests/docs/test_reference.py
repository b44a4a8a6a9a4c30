"""The reference pages name what is there, all of it, and nothing else."""

from __future__ import annotations

import inspect
import re
from typing import get_type_hints

import click
import msgspec
import pytest

import dolgo
from dolgo.api.app import ROUTES
from dolgo.api.route import Route
from dolgo.api.schema import FullTask, NewLimits, NewPause, NewSchedule, TaskOptions
from dolgo.api.spec import ANYWHERE, BODIES, refusals
from dolgo.cli import COMMANDS, commands
from dolgo.cli.exits import Exit
from dolgo.errors import NotFound
from dolgo.queue import amqp_doctor
from dolgo.runner.options import OPTIONS
from dolgo.settings import TABLE
from dolgo.shape.describe import CONSTRAINTS
from dolgo.store.base import Store
from dolgo.store.findings import Level
from dolgo.store.postgres import doctor as postgres_doctor
from dolgo.store.redis import doctor as redis_doctor
from dolgo.store.sqlite import doctor as sqlite_doctor
from dolgo.task.allowed import NewTask
from dolgo.tasks.http_request import HttpRequest
from tests.docs.pages import DOCS, code, read, sections, table

HTTP = DOCS / "reference/http.md"
CLI = DOCS / "reference/cli.md"
DOCTOR = DOCS / "reference/doctor.md"
TYPES = DOCS / "reference/task-types.md"
SEAM = DOCS / "explanation/store-seam.md"
BROKEN = "internal-error"  # the problem that is no refusal


def title(route: Route) -> str:
    return f"{route.method} {route.path}"


def section(route: Route) -> str:
    """What the page says of a route."""
    return sections(HTTP)[title(route)]


def listed(text: str, mark: str) -> list[str]:
    """What stands as code behind a mark, to the end of its paragraph or point."""
    found = re.search(rf"^{mark}: (.*?)(?=\n\n|\n- |\Z)", text, re.MULTILINE | re.DOTALL)
    return code(re.sub(r"\([^)]*\)", "", found[1])) if found else []


def first_cells(text: str, *heads: str) -> list[str]:
    """The code at the beginning of each row of a table."""
    return [code(row[0])[0] for row in table(text, *heads)]


# -- HTTP


def test_every_route_has_a_section_and_every_section_a_route() -> None:
    told = [heading for heading in sections(HTTP) if re.match(r"[A-Z]+ /", heading)]
    assert told == [title(route) for route in ROUTES]


@pytest.mark.parametrize("route", ROUTES, ids=title)
def test_a_route_answers_with_the_statuses_and_headers_told(route: Route) -> None:
    told = {int(row[0]): set(code(row[2])) for row in table(section(route), "status", "body", "headers")}
    headers = {status: {header.name for header in reply.headers} for status, reply in route.replies.items()}
    assert {status: {name for name in names if "=" not in name} for status, names in told.items()} == headers


@pytest.mark.parametrize("route", ROUTES, ids=title)
def test_a_route_takes_the_parameters_and_headers_told(route: Route) -> None:
    text = section(route)
    told = listed(text, "- Query") or (first_cells(text, "parameter") if "| parameter |" in text else [])
    assert told == [param.name for param in route.query]
    assert listed(text, "- Headers") == [header.name for header in route.headers]


@pytest.mark.parametrize("route", ROUTES, ids=title)
def test_a_route_refuses_with_the_problems_told(route: Route) -> None:
    refuses = {*route.refuses, *(BODIES if route.takes is not None else ()), *([NotFound] if "{" in route.path else [])}
    told = listed(section(route), "Problems")
    assert len(told) == len(set(told))
    assert set(told) == {kind.slug for kind in refuses}


def test_every_problem_is_told_with_its_status() -> None:
    told = {code(row[1])[0]: int(row[0]) for row in table(read(HTTP), "status", "slug")}
    assert told == {kind.slug: kind.status for kind in refusals()} | {BROKEN: 500}


def test_problems_that_ask_to_come_again_say_so() -> None:
    told = {code(row[1])[0] for row in table(read(HTTP), "status", "slug") if "Retry-After" in row[2]}
    assert told == {kind.slug for kind in refusals() if kind.retry_after is not None}


def test_what_every_route_may_refuse_is_told_once() -> None:
    (sentence,) = re.findall(r"^Every address may also answer (.*?)\.$", read(HTTP), re.MULTILINE | re.DOTALL)
    assert set(code(sentence)) == {kind.slug for kind in ANYWHERE} | {BROKEN}


@pytest.mark.parametrize(
    ("route", "body"),
    [
        ("POST /tasks", NewTask),
        ("PATCH /queues/{queue}", NewLimits),
        ("PUT /queues/{queue}/pause", NewPause),
        ("PUT /schedules/{name}", NewSchedule),
    ],
)
def test_every_member_of_a_body_is_told(route: str, body: type[msgspec.Struct]) -> None:
    assert first_cells(sections(HTTP)[route], "member") == list(body.__struct_encode_fields__)


def test_every_option_of_a_schedule_is_told() -> None:
    (row,) = [row for row in table(sections(HTTP)["PUT /schedules/{name}"], "member") if row[0] == "`options`"]
    assert set(TaskOptions.__struct_fields__) <= set(code(row[2]))


def test_every_member_of_the_full_view_is_told() -> None:
    text = sections(HTTP)["GET /tasks/{id}"]
    assert set(FullTask.__struct_encode_fields__) <= set(code(text))


# -- command line


def leaves() -> dict[str, click.Command]:
    """Every command by its words, those of groups among them."""
    group = commands()
    found: dict[str, click.Command] = {}
    for name in COMMANDS:
        command = group.get_command(click.Context(group), name)
        assert command is not None
        if isinstance(command, click.Group):
            found |= {f"{name} {verb}": inner for verb, inner in command.commands.items()}
        if not isinstance(command, click.Group) or command.invoke_without_command:
            found[name] = command
    return found


LEAVES = leaves()


def told_commands() -> dict[str, str]:
    """What the page says of each command."""
    rows = re.findall(
        r"^\| `dolgo ((?:(?:queue|schedule|token|workers|secret) )?\w+)([^`]*)` \| (.*) \|$", read(CLI), re.MULTILINE
    )
    assert len(rows) == len({name for name, _, _ in rows})
    return {name: arguments + " " + text for name, arguments, text in rows}


def test_every_command_is_told() -> None:
    assert sorted(told_commands()) == sorted(LEAVES)


@pytest.mark.parametrize("name", LEAVES)
def test_a_command_has_the_options_told(name: str) -> None:
    there = {flag for param in LEAVES[name].params for flag in param.opts}
    told = set(re.findall(r"--[a-z-]+", told_commands()[name]))
    assert told <= there
    shared = {"--server", "--token", "--json"} | {setting.flag for setting in TABLE}
    assert {flag for flag in there - shared if flag.startswith("--")} <= told, "an option is not told"


def test_every_command_but_the_service_takes_json() -> None:
    for name, command in LEAVES.items():
        there = {flag for param in command.params for flag in param.opts}
        assert ("--json" in there) is (name not in ("serve", "worker")), name


def test_every_exit_code_is_told() -> None:
    told = {code(row[1])[0]: int(row[0]) for row in table(read(CLI), "code", "name")}
    assert told == {exit.name: exit.value for exit in Exit}


@pytest.mark.parametrize(
    ("heading", "checks"),
    [
        ("Everywhere", ["program", "environment", "this clock"]),
        ("SQLite", [*sqlite_doctor.FILE, *sqlite_doctor.DATA]),
        ("Redis", ["connection", *redis_doctor.CHECKS]),
        ("PostgreSQL", ["connection", *postgres_doctor.CHECKS]),
        ("RabbitMQ", ["broker", *amqp_doctor.CHECKS, "broker's network"]),
    ],
)
def test_every_check_of_the_doctor_is_told(heading: str, checks: list[str]) -> None:
    assert first_cells(sections(DOCTOR)[heading], "check") == checks


def test_every_level_of_a_finding_is_told() -> None:
    assert first_cells(read(DOCTOR), "level") == list(Level)


# -- task types and the store


def test_every_option_of_a_type_is_told() -> None:
    assert first_cells(read(TYPES), "option") == list(OPTIONS)


@pytest.mark.parametrize("context", [dolgo.Context, dolgo.SyncContext])
def test_every_member_of_the_context_is_told(context: type) -> None:
    there = {
        name for cls in context.__mro__ for name in (*vars(cls).get("__slots__", ()), *vars(cls)) if not name.startswith("_")
    }
    told = [name for row in table(sections(TYPES)["The context"], "member") for name in code(row[0])]
    assert sorted(told) == sorted(there)


def test_every_limit_of_a_member_is_told() -> None:
    (row,) = [row for row in table(read(TYPES), "", "") if row[0] == "limits"]
    assert {name for name in CONSTRAINTS if name not in row[1]} - {"le", "ge"} == set()


def test_every_member_of_http_request_is_told() -> None:
    text = sections(TYPES)["Built in"]
    told = table(text, "member", "if not given")
    fields = get_type_hints(HttpRequest, include_extras=False)
    assert [code(row[0])[0] for row in told] == [name for name in fields if not name.startswith("_")]
    for row in told:
        name, default = code(row[0])[0], getattr(HttpRequest, code(row[0])[0], None)
        if row[1] != "required":
            assert msgspec.json.decode(code(row[1])[0]) == default, name


def test_every_verb_of_the_store_is_told() -> None:
    verbs = [name for name, member in inspect.getmembers(Store, inspect.iscoroutinefunction) if not name.startswith("_")]
    told = [name for row in table(read(SEAM), "verb", "answers") for name in code(row[0])]
    assert sorted(told) == sorted(verbs)


def test_settings_named_on_pages_are_settings() -> None:
    known = {setting.name for setting in TABLE} | {setting.env for setting in TABLE} | {"DOLGO_TOKEN"}
    for page in DOCS.rglob("*.md"):
        for name in re.findall(r"`(DOLGO_[A-Z_]+)(?:=[^`]*)?`|\((?:setting )?`([a-z_]+)`\)", read(page)):
            assert (name[0] or name[1]) in known or name[1] in ("default",), f"{page.name}: {name}"
