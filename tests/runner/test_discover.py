"""Where task types are found, and what a file that is broken does to the others: nothing."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from textwrap import dedent

import pytest

from dolgo.errors import BadSetting, BadTaskType
from dolgo.runner.discover import Loaded, load
from dolgo.runner.registry import TaskType

GOOD = """
    from dolgo import task

    @task
    def {name}(): return "{name}"
"""


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty working directory; whatever is imported from below it is forgotten afterwards."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    known = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - known:
        del sys.modules[name]


def write(files: Mapping[str, str]) -> None:
    for name, text in files.items():
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).write_text(dedent(text))


def good(*names: str) -> dict[str, str]:
    """Files with one good task type each, named like the file."""
    return {name: GOOD.format(name=Path(name).stem) for name in names}


def found(loaded: Loaded) -> dict[str, TaskType]:
    """What was found besides the built-in types."""
    return {name: tt for name, tt in loaded.registry.items() if not tt.info.name.startswith(("long_task", "http_request"))}


def call(loaded: Loaded, name: str) -> object:
    task_type = loaded.registry[name]
    return task_type.call(None, task_type.decode(b"{}"))


def test_the_built_in_types_are_always_there() -> None:
    loaded = load([])
    assert set(loaded.registry) == {"long_task", "http_request"}
    assert loaded.broken == []


def test_the_folder_tasks_is_searched_when_it_is_there() -> None:
    write(good("tasks/one.py", "tasks/_hidden.py", "tasks/below/two.py", "tasks/notes.txt"))
    loaded = load([])
    assert set(found(loaded)) == {"one"}
    assert call(loaded, "one") == "one"


def test_files_folders_and_modules_may_be_named() -> None:
    write(good("one.py", "jobs/two.py", "jobs/three.py", "app/work/four.py", "app/work/_no.py", "app/five.py"))
    write({"app/__init__.py": "", "app/work/__init__.py": ""})
    loaded = load(["one.py", "jobs", "app.work", "app.five"])
    assert set(found(loaded)) == {"one", "two", "three", "four", "five"}
    assert loaded.broken == []


def test_naming_the_same_place_twice_is_no_duplicate() -> None:
    write({"app/__init__.py": "", **good("app/one.py", "tasks/two.py")})
    loaded = load(["app", "app.one", "app/one.py", "tasks", "tasks/two.py", str(Path("tasks").resolve())])
    assert set(found(loaded)) == {"one", "two"}
    assert loaded.broken == []


def test_a_type_imported_from_elsewhere_is_found_once() -> None:
    write(
        {
            "tasks/all.py": "from ._one import one; from .two import two",
            "tasks/_one.py": GOOD.format(name="one"),
            **good("tasks/two.py"),
        }
    )
    loaded = load([])
    assert set(found(loaded)) == {"one", "two"}
    assert loaded.registry["one"].file.endswith("_one.py")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("import nowhere_to_be_found", "ModuleNotFoundError"),
        ("def f(:", "SyntaxError"),
        ("1 / 0", "line 1, in <module>"),
        ("import sys; sys.exit(3)", "SystemExit: 3"),
        ("raise KeyboardInterrupt", "KeyboardInterrupt"),
        ("raise BaseException('odd')", "BaseException: odd"),
        ("from dolgo import task\n@task(colour=1)\ndef f(): ...", "`f` has no option `colour`"),
        ("from dolgo import task\n@task\ndef f(a: complex): ...", "`a`: `complex` is not a type"),
        ("from dolgo import task\nimport functools\n@functools.cache\n@task\ndef f(): ...", "must be the outermost decorator"),
    ],
)
def test_a_broken_file_is_told_and_stops_nothing_else(text: str, reason: str) -> None:
    write({"tasks/a_broken.py": text, **good("tasks/b_good.py")})
    loaded = load([])
    assert set(found(loaded)) == {"b_good"}
    [broken] = loaded.broken
    assert broken.file == "tasks/a_broken.py"
    assert reason in broken.error
    assert "importlib" not in broken.error
    assert "discover.py" not in broken.error


def test_a_file_with_one_bad_type_gives_none_of_its_types() -> None:
    write({"tasks/mixed.py": dedent(GOOD.format(name="fine")) + "@task\ndef bad(a: complex): ..."})
    loaded = load([])
    assert not found(loaded)
    assert len(loaded.broken) == 1


def test_a_broken_init_harms_the_files_that_need_it_alone() -> None:
    write({"jobs/__init__.py": "VALUE = 1; 1 / 0", "jobs/needs.py": "from . import VALUE", **good("jobs/one.py")})
    loaded = load(["jobs"])
    assert set(found(loaded)) == {"one"}
    assert [broken.file for broken in loaded.broken] == [str(Path("jobs/__init__.py").resolve()), "jobs/needs.py"]


def test_two_types_of_one_name_stop_the_start_with_both_files() -> None:
    write({**good("tasks/one.py"), "tasks/two.py": GOOD.format(name="one")})
    with pytest.raises(BadTaskType) as refused:
        load([])
    assert "one.py" in str(refused.value)
    assert "two.py" in str(refused.value)


def test_under_reload_a_taken_name_makes_the_later_file_broken() -> None:
    write({**good("tasks/one.py"), "tasks/two.py": GOOD.format(name="one"), "tasks/own.py": GOOD.format(name="long_task")})
    loaded = load([], duplicates="broken")
    assert loaded.registry["one"].file.endswith("one.py")
    assert [broken.file for broken in loaded.broken] == ["tasks/own.py", "tasks/two.py"]
    assert all("two task types are named" in broken.error for broken in loaded.broken)


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("nowhere.py", "there is no file or folder nowhere.py"),
        ("no/where", "there is no file or folder no/where"),
        ("nowhere", "nowhere is neither a file, nor a folder, nor a module"),
        ("email.nowhere", "email.nowhere is neither"),
        ("no such thing", "neither"),
        (" ", "the path is empty"),
        ("", "the path is empty"),
        ("..", None),
        ("notes.txt", "notes.txt is not a Python file"),
    ],
)
def test_a_path_that_leads_nowhere_is_a_bad_setting(path: str, reason: str | None) -> None:
    write({"notes.txt": ""})
    if reason is None:
        assert not found(load([path]))
        return
    with pytest.raises(BadSetting, match=reason):
        load([path])


def test_a_module_that_does_not_import_is_broken_not_missing() -> None:
    write({"app/__init__.py": "", "app/work.py": "import nowhere_to_be_found"})
    loaded = load(["app.work"])
    assert "nowhere_to_be_found" in loaded.broken[0].error


def test_siblings_are_imported_as_from_a_package_of_the_folders_name() -> None:
    write(
        {
            "tasks/_shared.py": "count = []",
            "tasks/a.py": "from ._shared import count\nfrom dolgo import task\n@task\ndef a(): return count",
            "tasks/b.py": "from tasks._shared import count\nfrom dolgo import task\n@task\ndef b(): return count",
        }
    )
    loaded = load([])
    assert loaded.broken == []
    assert call(loaded, "a") is call(loaded, "b")


def test_a_folder_in_a_package_keeps_its_place_in_it() -> None:
    write({"src/app/__init__.py": "", "src/app/models.py": "NAME = 'model'", "src/app/jobs/__init__.py": ""})
    write({"src/app/jobs/one.py": "from ..models import NAME\nfrom dolgo import task\n@task\ndef one(): return NAME"})
    loaded = load(["src/app/jobs"])
    assert loaded.broken == []
    assert call(loaded, "one") == "model"


@pytest.mark.parametrize("name", ["json", "tasks", "my-tasks", "sqlite3"])
def test_a_folder_may_have_the_name_of_something_else(name: str) -> None:
    write(good("tasks/zero.py", f"other/{name}/one.py"))
    text = "import json\nfrom .one import one\nfrom dolgo import task\n@task\ndef two(): return json.dumps(1)"
    write({f"other/{name}/two.py": text})
    loaded = load([f"other/{name}"])
    assert loaded.broken == []
    assert set(found(loaded)) == {"zero", "one", "two"}
    assert call(loaded, "two") == "1"


def test_what_lies_in_the_working_directory_can_be_imported() -> None:
    write(
        {
            "models.py": "NAME = 'n'",
            "tasks/one.py": "from models import NAME\nfrom dolgo import task\n@task\ndef one(): return NAME",
        }
    )
    assert call(load([]), "one") == "n"
