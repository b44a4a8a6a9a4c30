"""Every statement finds its rows by an index: a store with a million tasks is as fast as an empty one."""

from collections.abc import Callable
from pathlib import Path

import pytest

from dolgo.store.sqlite import pages
from dolgo.store.sqlite.database import connect, prepare
from dolgo.store.sqlite.sql import QUERIES, Connection, run
from dolgo.task.types import Query, Status

WIDE = 24  # columns of the widest {rows}
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


def steps_of(connection: Connection, read: Callable[[], object]) -> int:
    """About how many thousand steps SQLite takes for this."""
    counted = 0

    def count() -> int:
        nonlocal counted
        counted += 1
        return 0

    connection.set_progress_handler(count, 1_000)
    read()
    connection.set_progress_handler(None, 0)
    return counted


MANY = "WITH RECURSIVE many(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM many WHERE n < 20000) "


def test_trimming_looks_at_no_more_events_than_it_may_drop(connection: Connection) -> None:
    connection.execute("INSERT INTO event (time, id, line, state, attempt) " + MANY + "SELECT 5.0, n, 1, 3, 0 FROM many")
    assert steps_of(connection, lambda: run(connection, "log_old", 10, 1.0).fetchall()) == 0
    assert run(connection, "log_old", 10, 9.0).fetchone() == (10,)


@pytest.mark.parametrize("order", ["created_at", "-created_at", "finished_at", "-finished_at"])
def test_a_page_without_a_filter_looks_at_no_more_tasks_than_it_shows(order: str, connection: Connection) -> None:
    connection.execute("INSERT INTO line (n, queue, type, hash) VALUES (1, 'default', 'echo', 'h1')")
    connection.execute(
        "INSERT INTO task (id, line, state, rank, run_at, priority, max_attempts, created_at, finished_at, payload) "
        + MANY
        + "SELECT printf('%05d', n), 1, 5, 0, 0, 5, 1, n, n, '{}' FROM many"
    )
    assert steps_of(connection, lambda: pages.page(connection, Query(order=order, limit=10))) <= 2


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
