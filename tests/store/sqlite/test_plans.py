"""Every statement finds its rows by an index: a store with a million tasks is as fast as an empty one."""

from pathlib import Path

import pytest

from dolgo.store.sqlite import pages
from dolgo.store.sqlite.database import connect, prepare
from dolgo.store.sqlite.sql import QUERIES, Connection
from dolgo.task.types import Query, Status

WIDE = 20  # columns of the widest {rows}
# Small tables, or no more rows of a table than the statement is to give or change.
WHOLE = {"over", "clamp", "log_old", "keyed_reopen_all", "keyed_gone", "extras", "gates", "gating", "gating_changed", "cascades"}
LARGE = ("task", "event", "note", "edge", "keyed_line", "record", "child", "parent")


@pytest.fixture
def connection(tmp_path: Path) -> Connection:
    prepare(str(tmp_path / "dolgo.db"))
    return connect(str(tmp_path / "dolgo.db"))


def plan(connection: Connection, sql: str) -> list[str]:
    return [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {sql}", [None] * sql.count("?"))]


def filled(sql: str, connection: Connection) -> str:
    """The statement with one row of the width that it takes."""
    for width in range(1, WIDE):
        row = "(" + ", ".join("?" * width) + ")"
        try:
            plan(connection, sql.replace("{rows}", row))
        except connection.OperationalError:
            continue
        return sql.replace("{rows}", row)
    raise AssertionError(f"no number of columns fits {sql}")


def scans(steps: list[str]) -> list[str]:
    return [step for step in steps if step.startswith("SCAN ") and step.split()[1] in LARGE]


@pytest.mark.parametrize("name", sorted(set(QUERIES) - WHOLE))
def test_a_statement_looks_at_no_more_rows_than_it_must(name: str, connection: Connection) -> None:
    steps = plan(connection, filled(QUERIES[name], connection))
    assert scans(steps) == []
    assert not [step for step in steps if "(line=?)" in step and "keyed_line" in step]  # of one line there may be 100,000


@pytest.mark.parametrize("order", ["finished_at", "-finished_at"])
def test_a_page_of_what_has_ended_is_not_sorted(order: str, connection: Connection) -> None:
    window, _ = pages._window(Query(order=order), *pages._ordering(order))
    steps = plan(connection, window.format(10))
    assert not [step for step in steps if "TEMP B-TREE" in step]
    assert [step for step in steps if step.startswith("MERGE")]


@pytest.mark.parametrize("status", [Status.WAITING, Status.IN_PROGRESS, Status.FAILED, Status.CANCELLED])
def test_a_page_of_a_rare_status_looks_at_no_others(status: Status, connection: Connection) -> None:
    window, _ = pages._window(Query(status=status), *pages._ordering("-created_at"))
    assert [step for step in plan(connection, window.format(10)) if "task_few" in step or "task_held" in step]


def test_every_statement_is_used() -> None:
    sources = [path.read_text() for path in Path(pages.__file__).parent.glob("*.py")]
    assert [name for name in QUERIES if not any(f'"{name}"' in source for source in sources)] == []


@pytest.mark.parametrize("name", [name for name, sql in QUERIES.items() if "json_each(?)" in sql and "task" in sql])
def test_what_is_named_is_looked_up_not_searched_for_among_all_of_its_status(name: str, connection: Connection) -> None:
    steps = plan(connection, QUERIES[name])
    assert not [step for step in steps if "(state=?" in step]
