"""The repository keeps to its own rules: what is declared is checked."""

from __future__ import annotations

import ast
import importlib
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import is_dataclass
from enum import Enum
from itertools import chain
from pathlib import Path

import msgspec
import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "dolgo"
MODULES = sorted(PACKAGE.rglob("*.py"))
LOCKS = sorted((ROOT / "requirements").glob("*.lock"))
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]

# The rooms in order: a module imports from rows above its own and from its own room, never from a neighbour in its row or from
# below. Of the names that fit a module the longest counts.
LAYERS = [
    {"dolgo.version", "dolgo.errors", "dolgo.task.types"},
    {"dolgo.setting_kinds", "dolgo.shape", "dolgo.logs", "dolgo.egress", "dolgo.finite", "dolgo.metrics", "dolgo.tracing"},
    {"dolgo.settings", "dolgo.client", "dolgo.garbage"},
    {"dolgo.runner", "dolgo.store"},
    {"dolgo.queue"},
    {"dolgo.task.feed", "dolgo.task.epoch", "dolgo.stores", "dolgo.queues"},
    {"dolgo", "dolgo.task.notify"},  # `dolgo` itself: the public names, for task types alone
    {"dolgo.tasks"},
    {"dolgo.task"},  # the manager and what it is made of
    {"dolgo.task.crew", "dolgo.task.lookahead"},  # parts of the worker
    {"dolgo.task.wants"},
    {"dolgo.task.worker", "dolgo.task.upkeep", "dolgo.api"},
    {"dolgo.task.health", "dolgo.task.figures", "dolgo.reloading"},
    {"dolgo.cli", "dolgo.testing"},
    {"dolgo.main"},
]
DOORS = {  # what may be imported of a room, and the rooms that may have more
    "dolgo.runner": ({"dolgo.runner.link"}, {"dolgo.runner", "dolgo", "dolgo.testing"}),
    "dolgo": (set(), {"dolgo.tasks", "dolgo.main"}),
}
# Imports inside a function: (module, imported, why).
LAZY = [
    ("dolgo.cli.serve", "dolgo.main", "brings in everything; only these two commands need it"),
    ("dolgo.cli.openapi", "dolgo.api.openapi", "brings in the web framework; only this command needs it"),
    ("dolgo.stores", "dolgo.store.memory", "a store is imported when its URL asks for it"),
    ("dolgo.stores", "dolgo.store.postgres", "a store is imported when its URL asks for it"),
    ("dolgo.stores", "dolgo.store.redis", "a store is imported when its URL asks for it"),
    ("dolgo.stores", "dolgo.store.sqlite", "a store is imported when its URL asks for it"),
    ("dolgo.stores", "dolgo.store.sqlite.doctor", "what is wrong with a store is looked for when its URL asks for it"),
    ("dolgo.stores", "dolgo.store.postgres.doctor", "as below, and it needs a driver that not everybody has"),
    ("dolgo.stores", "dolgo.store.redis.doctor", "as above, and it needs a driver that not everybody has"),
    ("dolgo.queues", "dolgo.queue.amqp", "a broker is spoken to when its URL asks for it, and needs a package more"),
    ("dolgo.queues", "dolgo.queue.nsq", "as above, without a package"),
    ("dolgo.queues", "dolgo.queue.amqp_doctor", "what is wrong with a broker is looked for when its URL asks for it"),
    ("dolgo.queues", "dolgo.queue.nsq_doctor", "as above"),
    ("dolgo", "dolgo.client", "brings in httpx; a task file has no use for it"),
    ("dolgo.main", "dolgo.api.access.jwts", "needs a package that not everybody has"),
    ("dolgo.tasks.http_request", "dolgo.egress.transport", "brings in httpx; only a child that makes a request needs it"),
    ("dolgo.main", "dolgo.task.callbacks.post", "brings in httpx; only a process that delivers needs it"),
    ("dolgo.reloading", "watchfiles", "only --reload needs it"),
]
OTHERWISE = {"jwt": "pyjwt", "opentelemetry": "opentelemetry_api"}  # packages by what they are imported as, where that differs
UPWARD = {("dolgo.cli.serve", "dolgo.main")}  # the composition root is started from there

MOST_LINES_OF_A_FUNCTION = 40
MOST_LINES_OF_A_MODULE = 400


def name_of(path: Path) -> str:
    """The name under which a file of the package is imported."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


NAMES = {name_of(path): path for path in MODULES}


def tree(path: Path) -> ast.Module:
    """The file, parsed."""
    return ast.parse(path.read_text("utf-8"), str(path))


def imports(module: ast.AST, package: str) -> Iterator[tuple[str, ast.stmt]]:
    """What a piece of code imports of ours, as module names, each with its statement."""
    for node in ast.walk(module):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                base = ".".join([*package.split(".")[: len(package.split(".")) - node.level + 1], *([base] if base else [])])
            for alias in node.names:
                inner = f"{base}.{alias.name}"
                yield (inner if inner in NAMES else base), node


def room(module: str) -> tuple[int, str]:
    """The row and the room a module belongs to."""
    fitting = [
        (name, row) for row, rooms in enumerate(LAYERS) for name in rooms if module == name or module.startswith(f"{name}.")
    ]
    assert fitting, f"{module} has no place: give it one in LAYERS"
    name, row = max(fitting, key=lambda pair: len(pair[0]))
    assert name != "dolgo" or module == "dolgo", f"{module} has no place: give it one in LAYERS"
    return row, name


def package_of(name: str) -> str:
    return name if NAMES[name].name == "__init__.py" else name.rpartition(".")[0]


@pytest.mark.parametrize("name", NAMES)
def test_imports_point_one_way(name: str) -> None:
    row, own = room(name)
    for imported, node in imports(tree(NAMES[name]), package_of(name)):
        if imported.partition(".")[0] != "dolgo" or (name, imported) in UPWARD:
            continue
        where = f"{name}, line {node.lineno}: imports {imported}"
        other_row, other = room(imported)
        assert other == own or other_row < row, f"{where}, which is not above it"
        door, insiders = DOORS.get(other, ({imported}, set()))
        assert own in insiders or imported in door or own == other, f"{where}; others import of {other} only {door or 'nothing'}"


@pytest.mark.parametrize("name", NAMES)
def test_nothing_is_imported_inside_a_function_but_what_is_listed(name: str) -> None:
    allowed = {imported for module, imported, _ in LAZY if module == name}
    for function in ast.walk(tree(NAMES[name])):
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
            found = {imported for imported, _ in imports(function, package_of(name))}
            assert found <= allowed, f"{name}: {function.name} imports {found - allowed}"


def test_what_is_listed_as_an_exception_still_is_one() -> None:
    there = {(name, imported) for name, path in NAMES.items() for imported, _ in imports(tree(path), package_of(name))}
    assert {(module, imported) for module, imported, _ in LAZY} | UPWARD <= there


@pytest.mark.parametrize("name", NAMES)
def test_functions_and_modules_are_short(name: str) -> None:
    path = NAMES[name]
    assert len(path.read_text("utf-8").splitlines()) <= MOST_LINES_OF_A_MODULE
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            lines = (node.end_lineno or 0) - node.lineno + 1
            assert lines <= MOST_LINES_OF_A_FUNCTION, f"{name}: {node.name} has {lines} lines"


def changes(value: object) -> bool:
    """Whether a value is an instance of a class of ours that can be changed."""
    kind = type(value)
    if not kind.__module__.startswith("dolgo") or isinstance(value, type | Enum):
        return False
    if isinstance(value, msgspec.Struct):
        return not value.__struct_config__.frozen
    if is_dataclass(kind):
        return not kind.__dataclass_params__.frozen  # type: ignore[attr-defined]
    return not isinstance(value, tuple)


@pytest.mark.parametrize("name", NAMES)
def test_no_module_holds_an_instance_that_can_change(name: str) -> None:
    module = importlib.import_module(name)
    held = {key: value for key, value in vars(module).items() if changes(value) and not key.startswith("__")}
    assert not held, f"{name} holds {held}"


def test_every_folder_of_the_package_is_a_package() -> None:
    without = {path.parent for path in MODULES} - {path.parent for path in MODULES if path.name == "__init__.py"}
    assert not without


def test_every_module_says_what_it_is() -> None:
    silent = [name for name, path in NAMES.items() if path.read_text("utf-8").strip() and not ast.get_docstring(tree(path))]
    assert not silent


def test_what_is_imported_is_declared() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    lines = [*project["dependencies"], *chain.from_iterable(project["optional-dependencies"].values())]
    declared = {re.split(r"[\[<>=~! ;]", line)[0].lower().replace("-", "_") for line in lines}
    imported = {found.partition(".")[0] for name, path in NAMES.items() for found, _ in imports(tree(path), package_of(name))}
    assert {OTHERWISE.get(name, name) for name in imported} - set(sys.stdlib_module_names) - {"dolgo"} <= declared


def test_a_child_that_imports_dolgo_brings_in_neither_web_nor_store_nor_command_line() -> None:
    probe = "import sys, dolgo; print(*sys.modules)"
    ran = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True)
    assert not {"starlette", "uvicorn", "click", "rich", "httpx", "sqlite3", "watchfiles"} & set(ran.stdout.split())


def test_the_version_is_in_one_place() -> None:
    version = importlib.import_module("dolgo.version").__version__
    assert re.fullmatch(r"\d+\.\d+\.\d+(\.dev\d+|rc\d+)?", version)
    assert importlib.import_module("importlib.metadata").version("dolgo") == version


@pytest.mark.parametrize("path", LOCKS, ids=lambda path: path.name)
def test_lock_files_carry_hashes_and_no_addresses(path: Path) -> None:
    text = path.read_text("utf-8")
    assert "://" not in text
    assert not re.search(r"^\s*-", re.sub(r"^ +--hash=sha256:[0-9a-f]{64}( \\)?$", "", text, flags=re.MULTILINE), re.MULTILINE)
    assert not re.search(r"(index|find-links|trusted-host)", re.sub(r"^[a-z0-9_.-]+==", "", text, flags=re.MULTILINE))
    assert not re.search(r"[ (]/", text), "names a path of some machine"
    pins = re.split(r"^(?=[a-z0-9])", text, flags=re.MULTILINE)[1:]
    assert pins
    assert all(re.match(r"[a-z0-9._-]+(\[[a-z,]+\])?==[^ ]+ ", pin) and "--hash=sha256:" in pin for pin in pins)


def test_lock_files_pin_what_is_declared_alike() -> None:
    pins = [dict(re.findall(r"^([a-z0-9_.-]+)==(\S+)", path.read_text("utf-8"), re.MULTILINE)) for path in LOCKS]
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    wanted = {re.split(r"[\[<>=~! ;]", line)[0] for line in project["project"]["dependencies"]}
    build, dev, run = pins
    assert wanted <= run.keys()
    assert run.items() | build.items() <= dev.items()
    assert "hatchling" in build
    assert {re.split(r"[\[<>=~! ;]", line)[0] for line in project["dependency-groups"]["dev"]} <= dev.keys()


def test_every_make_target_is_in_the_help() -> None:
    makefile = (ROOT / "Makefile").read_text("utf-8")
    phony = re.search(r"^\.PHONY: (.*)$", makefile, re.MULTILINE)
    assert phony
    shown = subprocess.run(["make"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert sorted(re.findall(r"^  make ([\w-]+)", shown, re.MULTILINE)) == sorted(phony[1].split())


def console(page: Path) -> list[str]:
    """The commands a page shows, without what is said beside them."""
    return [line.partition("#")[0].strip() for line in re.findall(r"^\$ (.*)$", page.read_text("utf-8"), re.MULTILINE)]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_command_a_page_shows_is_one(page: Path) -> None:
    makefile = (ROOT / "Makefile").read_text("utf-8")
    commands = importlib.import_module("dolgo.cli").COMMANDS
    for command in console(page):
        words = [word for word in command.split() if "=" not in word or word.startswith("-")]
        if words[0] == "make":
            for target in words[1:]:
                assert re.search(rf"^{target}:", makefile, re.MULTILINE), command
        elif words[0].endswith("dolgo"):
            assert words[1] in commands or words[1].startswith("-"), command


@pytest.mark.parametrize("page", [*PAGES, ROOT / "CHANGELOG.md"], ids=lambda page: page.name)
def test_links_between_pages_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text("utf-8")):
        assert (page.parent / target).exists(), f"{page.name} links to {target}"


def test_the_first_screen_of_the_readme_says_how_to_begin() -> None:
    first = "\n".join((ROOT / "README.md").read_text("utf-8").splitlines()[:45])
    for needed in ("make run", "make test", "curl", "from dolgo import task"):
        assert needed in first


def test_the_changelog_has_a_place_for_what_is_unreleased() -> None:
    assert re.search(r"^## Unreleased$", (ROOT / "CHANGELOG.md").read_text("utf-8"), re.MULTILINE)
