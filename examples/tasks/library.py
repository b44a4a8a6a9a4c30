"""Three task types that hand their results on: each reads those of the tasks it was submitted to depend on.

examples/library.py submits a batch of them; this is one measure by hand:

curl localhost:8080/tasks?wait=5 -d '{"type": "measure_package", "payload": {"path": "/usr/lib/python3.11/json"}}'
"""

from __future__ import annotations

import ast
import warnings
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import Meta

from dolgo import SyncContext, task

LARGEST = 10  # packages that a report names
MOST_IMPORTED = 10  # modules that it names


@dataclass
class Measured:
    """What a package is made of."""

    package: str
    files: int = 0
    lines: int = 0
    functions: int = 0
    classes: int = 0
    imports: int = 0  # statements
    imported: list[str] = field(default_factory=list)  # modules of the top level, its own left out
    unreadable: list[str] = field(default_factory=list)  # files that this Python cannot read: nothing of them is counted


@dataclass
class Collected:
    """What all packages are made of, and which of them stand out."""

    packages: int
    files: int
    lines: int
    functions: int
    classes: int
    imports: int
    unreadable: list[str]
    largest: dict[str, int]  # package → lines
    most_imported: dict[str, int]  # module → packages that import it


@task
def measure_package(
    ctx: SyncContext,
    path: Annotated[str, Meta(min_length=1, description="A package's folder, or one module, on the machine that runs the task.")],
) -> Measured:
    """Count the lines, functions, classes and imports of a Python package."""
    files = list(sources(Path(path)))
    if not files:
        raise FileNotFoundError(f"{path} has no Python files")
    measured, imported = Measured(Path(path).stem), set[str]()
    for number, file in enumerate(files):
        measure(file, measured, imported)
        ctx.progress(number + 1, len(files))
    if measured.unreadable:
        ctx.log.warning("%d files cannot be read: %s", len(measured.unreadable), ", ".join(measured.unreadable))
    measured.imported = sorted(imported - {measured.package})
    return measured


@task
def collect_packages(ctx: SyncContext) -> Collected:
    """Add up what the `measure_package` tasks found that this one depends on."""
    packages = [msgspec.convert(parent.result, Measured) for parent in ctx.parents]
    packages.sort(key=lambda measured: (-measured.lines, measured.package))
    imports = Counter(module for measured in packages for module in measured.imported)
    by_number = sorted(imports.items(), key=lambda item: (-item[1], item[0]))
    return Collected(
        packages=len(packages),
        files=sum(measured.files for measured in packages),
        lines=sum(measured.lines for measured in packages),
        functions=sum(measured.functions for measured in packages),
        classes=sum(measured.classes for measured in packages),
        imports=sum(measured.imports for measured in packages),
        unreadable=sorted(file for measured in packages for file in measured.unreadable),
        largest={measured.package: measured.lines for measured in packages[:LARGEST]},
        most_imported=dict(by_number[:MOST_IMPORTED]),
    )


@task
def report_packages(ctx: SyncContext, title: Annotated[str, Meta(description="The heading.")] = "The standard library") -> str:
    """Write what a `collect_packages` task found as Markdown."""
    (parent,) = ctx.parents
    found = msgspec.convert(parent.result, Collected)
    counted = ("packages", "files", "lines", "functions", "classes", "imports")
    lines = [f"# {title}", "", "| counted | number |", "|---|--:|"]
    lines += [f"| {name} | {getattr(found, name):,} |" for name in counted]
    lines += ["", "| largest packages | lines |", "|---|--:|"]
    lines += [f"| {name} | {number:,} |" for name, number in found.largest.items()]
    lines += ["", "| most imported | by packages |", "|---|--:|"]
    lines += [f"| {name} | {number:,} |" for name, number in found.most_imported.items()]
    if found.unreadable:
        lines += ["", f"{len(found.unreadable)} files cannot be read by this Python and are not counted."]
    return "\n".join(lines) + "\n"


def sources(path: Path) -> Iterator[Path]:
    """The Python files of a package, or the one that a module is."""
    yield from sorted(path.rglob("*.py")) if path.is_dir() else [path]


def measure(file: Path, measured: Measured, imported: set[str]) -> None:
    """Add what a file has."""
    source = file.read_bytes()
    try:
        with warnings.catch_warnings(action="ignore"):  # of doubtful escapes, which are its author's business
            tree = ast.parse(source)
    except (SyntaxError, ValueError):
        measured.unreadable.append(str(file))
        return
    measured.files += 1
    measured.lines += len(source.splitlines())
    for node in ast.walk(tree):
        match node:
            case ast.FunctionDef() | ast.AsyncFunctionDef():
                measured.functions += 1
            case ast.ClassDef():
                measured.classes += 1
            case ast.Import(names=names):
                measured.imports += 1
                imported.update(alias.name.partition(".")[0] for alias in names)
            case ast.ImportFrom(module=module, level=level):
                measured.imports += 1
                if level == 0 and module:
                    imported.add(module.partition(".")[0])
