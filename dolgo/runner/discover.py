"""Finding task types: files, folders and modules are imported and their marks collected.

What a file is called when it is imported: a folder is a package named after itself, whether or not it has an `__init__.py`.
So in `tasks/thumbnail.py` a sibling is `from ._shared import scale` or `from tasks._shared import scale`, and both are one
module. If that name already means something else, a number is added to it, and the first form still works. A folder inside a
package (one with an `__init__.py`) keeps its place there, so `from ..models import User` works. The working directory is on
`sys.path`, as under `python -m`.
"""

from __future__ import annotations

import importlib
import importlib.util
import itertools
import os
import pkgutil
import re
import sys
import traceback
from collections.abc import Sequence
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Literal, NamedTuple

from dolgo.errors import BadSetting, BadTaskType
from dolgo.runner.registry import Mark, Registry, TaskType, mark_of
from dolgo.task.types import BrokenFile

BUILT_IN = "dolgo.tasks"
FOLDER = Path("tasks")  # under the working directory; searched when it is there
INIT = "__init__.py"


class Loaded(NamedTuple):
    """What was found."""

    registry: Registry
    broken: list[BrokenFile]
    built_in: frozenset[str]  # names of the types that came with dolgo


def load(paths: Sequence[str], *, duplicates: Literal["raise", "broken"] = "raise") -> Loaded:
    """The built-in task types, those in `tasks/`, and those in each path: a file, a folder or a dotted module.

    A file that cannot be loaded is listed with its traceback and stops nothing else. Two types of one name raise `BadTaskType`,
    or with `duplicates="broken"` make the later file a broken one. Raises `BadSetting` for a path that leads nowhere."""
    importlib.invalidate_caches()  # files may be younger than the last look at their folder
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    loader = _Loader(duplicates)
    loader.module(BUILT_IN)
    built_in = frozenset(loader.registry)
    if FOLDER.is_dir():
        loader.folder(FOLDER)
    for path in paths:
        loader.path(path)
    return Loaded(loader.registry, loader.broken, built_in)


class _Loader:
    def __init__(self, duplicates: Literal["raise", "broken"]) -> None:
        self.registry = Registry()
        self.broken: list[BrokenFile] = []
        self._duplicates = duplicates
        self._seen: set[Mark] = set()

    def path(self, path: str) -> None:
        place = Path(path)
        if not path.strip():
            raise BadSetting("tasks: the path is empty")
        if place.is_dir():
            self.folder(place)
        elif place.is_file() and place.suffix == ".py":
            self._import(f"{self._package(place.resolve().parent)}.{place.stem}", place)
        elif place.is_file():
            raise BadSetting(f"tasks: {path} is not a Python file")
        elif place.suffix == ".py" or os.sep in path:
            raise BadSetting(f"tasks: there is no file or folder {path}")
        else:
            self.module(path)

    def folder(self, folder: Path) -> None:
        """Its Python files, by name; not those in folders below it, and besides `__init__.py` none that begins with `_`."""
        package = self._package(folder.resolve())
        if (folder / INIT).is_file():
            self._import(package, folder / INIT)
        for file in sorted(folder.glob("*.py")):
            if not file.name.startswith("_"):
                self._import(f"{package}.{file.stem}", file)

    def module(self, name: str) -> None:
        """A module by its dotted name and, if it is a package, the modules in it."""
        try:
            module = importlib.import_module(name)
        except BaseException as error:
            if isinstance(error, ModuleNotFoundError) and error.name and f"{name}.".startswith(f"{error.name}."):
                raise BadSetting(f"tasks: {name} is neither a file, nor a folder, nor a module that can be imported") from None
            return self._break(name, error)
        self._import(name, module.__file__ or name)
        for finder, inner, is_package in pkgutil.iter_modules(getattr(module, "__path__", ())):
            if not is_package and not inner.startswith("_"):
                self._import(f"{name}.{inner}", Path(getattr(finder, "path", "")) / f"{inner}.py")
        return None

    def _import(self, name: str, file: Path | str) -> None:
        try:
            types = self._collect(importlib.import_module(name))
        except BaseException as error:  # sys.exit() at the top of one file must not end the others
            return self._break(file, error)
        try:
            self.registry.add(*types)
        except BadTaskType as error:
            if self._duplicates == "raise":
                raise
            self.broken.append(BrokenFile(str(file), str(error)))
        return None

    def _collect(self, module: ModuleType) -> list[TaskType]:
        """What is new in a module. A type imported from elsewhere counts where it is met first."""
        marks = []
        for name, thing in list(vars(module).items()):
            mark = mark_of(thing)
            if mark is None or mark in self._seen or mark in marks:
                continue
            if mark.handler is not thing:
                raise BadTaskType(f"`{name}`: @task must be the outermost decorator, or the others would not run")
            marks.append(mark)
        types = [TaskType(mark) for mark in marks]
        self._seen.update(marks)
        return types

    def _package(self, folder: Path) -> str:
        """The name of the package that a folder is, ready for its files to be imported."""
        chain = [folder]
        while (chain[0] / INIT).is_file() and (chain[0].parent / INIT).is_file():
            chain.insert(0, chain[0].parent)
        name, is_open = _name_for(chain[0])
        if not is_open:
            try:
                _open(name, chain[0])
            except BaseException as error:
                self._break(chain[0] / INIT, error)
                sys.modules[name] = _bare(name, chain[0])  # the other files may do without it
        return ".".join([name, *(inner.name for inner in chain[1:])])

    def _break(self, file: Path | str, error: BaseException) -> None:
        self.broken.append(BrokenFile(str(file), _told(error)))


def _name_for(folder: Path) -> tuple[str, bool]:
    """A top-level name that means this folder and nothing else, and whether it is imported already."""
    wanted = re.sub(r"\W", "_", folder.name) or "tasks"
    for number in itertools.count(1):
        name = wanted if number == 1 else f"{wanted}_{number}"
        module = sys.modules.get(name)
        if module is not None and _is_at(getattr(module, "__path__", None), folder):
            return name, True
        if module is None:
            spec = importlib.util.find_spec(name)
            if spec is None or _is_at(spec.submodule_search_locations, folder):
                return name, False
    raise AssertionError  # count() has no end


def _is_at(places: Sequence[str] | None, folder: Path) -> bool:
    return bool(places) and Path(next(iter(places or ()))).resolve() == folder


def _bare(name: str, folder: Path) -> ModuleType:
    spec = ModuleSpec(name, None, is_package=True)
    spec.submodule_search_locations = [str(folder)]
    return importlib.util.module_from_spec(spec)


def _open(name: str, folder: Path) -> None:
    """Make a folder a package under that name, wherever it lies."""
    spec = importlib.util.spec_from_file_location(name, folder / INIT, submodule_search_locations=[str(folder)])
    if not (folder / INIT).is_file() or spec is None or spec.loader is None:
        sys.modules[name] = _bare(name, folder)
        return
    sys.modules[name] = module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)


def _told(error: BaseException) -> str:
    """The traceback from the broken file on; the way there is dolgo's."""
    if isinstance(error, BadTaskType):
        return str(error)
    trace = error.__traceback__
    while trace and (trace.tb_frame.f_code.co_filename == __file__ or "importlib" in trace.tb_frame.f_code.co_filename):
        trace = trace.tb_next
    return "".join(traceback.format_exception(type(error), error, trace)).rstrip()
