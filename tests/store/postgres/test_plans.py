"""Every statement finds its rows by an index, however many others there are."""

import json
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from dolgo.store.postgres import PostgresStore, pages, reads
from dolgo.store.postgres.rows import TASK_COLUMNS
from dolgo.store.postgres.sql import QUERIES
from dolgo.task.types import Query, Status
from tests.postgres_server import postgres_url

pytestmark = pytest.mark.anyio

MANY = 5_000  # tasks of each kind
LATE = 1e9  # later than everything
LARGE = {"task", "final", "body", "edge", "note", "log", "keyed_line", "record"}
FILL = f"""
INSERT INTO line (queue, type, hash, ready) VALUES ('default', 'echo', 'h1', {MANY});
INSERT INTO body (n, id, line, priority, max_attempts, created_at, payload, limit_key)
    SELECT n, lpad(n::text, 6, '0'), 1, 5, 1, n, '1', CASE WHEN n % 4 = 3 THEN 'key' || n ELSE '' END
    FROM generate_series(1, {5 * MANY}) AS n;
INSERT INTO task (n, id, line, state, rank, run_at, created_at, expires_at, limit_key, token, worker, lease_until, unique_key)
    SELECT n, id, line, 1 + n % 4, n, n, n, {LATE} + n, limit_key, CASE WHEN n % 4 = 3 THEN to_hex(n) || '.0' END,
        'w' || n, n, 'u' || n
    FROM body WHERE n <= {4 * MANY};
UPDATE task SET state = CASE limit_key WHEN '' THEN state ELSE 3 END;
INSERT INTO final (n, id, line, state, attempt, rank, run_at, created_at, finished_at, failures, losses, deferrals, generation, token)
    SELECT n, id, line, 5 + n % 3, 1, n, n, n, n, 0, 0, 0, 0, to_hex(n) || '.0' FROM body WHERE n > {4 * MANY};
INSERT INTO keyed_line (line, key, head, first, running) SELECT line, limit_key, rank, id, 0 FROM task WHERE limit_key > '';
INSERT INTO edge (child, place, parent, open) SELECT n, 0, lpad((n + 1)::text, 6, '0'), true FROM task WHERE state = 1;
INSERT INTO note (task, key, value) SELECT n, 'progress', '1' FROM body;
INSERT INTO log (last, first, time, entries) SELECT n, n, n, '\\x90' FROM generate_series(1, {MANY}) AS n;
UPDATE meta SET seq = {MANY};
INSERT INTO record (key, value, version, first_at, written_at, expires_at)
    SELECT 'r' || n, '1', 1, 1, 1, n FROM generate_series(1, {MANY}) AS n;
"""

Explain = Callable[..., Any]


@pytest.fixture(params=["known", "unknown"])
async def looked_at(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Explain]:
    """`await looked_at(sql, values)`: how many rows of the large tables a statement looks at, which PostgreSQL has counted and
    analysed, or not yet: then it plans by what it thinks of empty tables."""
    url = f"{postgres_url()}?schema=plans_{request.param}"
    store = PostgresStore(url)
    await store.open()
    connection = await store._server.writing.ready()
    await connection.execute("BEGIN")
    await connection.execute(FILL)
    if request.param == "known":
        await connection.execute("ANALYZE")

    async def count(sql: str, values: Sequence[Any]) -> int:
        ((text,),) = await connection.fetch(f"EXPLAIN (ANALYZE, FORMAT JSON, TIMING false) {sql}", *values)
        return _rows(json.loads(text)[0]["Plan"])

    yield count
    await connection.execute("ROLLBACK")
    await store.close()


def _rows(node: dict[str, Any]) -> int:
    found = sum(map(_rows, node.get("Plans", ())))
    if node["Node Type"] == "Bitmap Index Scan" or (node.get("Relation Name") in LARGE and "Scan" in node["Node Type"]):
        looks = node["Actual Rows"] + node.get("Rows Removed by Filter", 0) + node.get("Rows Removed by Index Recheck", 0)
        found += looks * node["Actual Loops"]
    return found


FINISHED = 4 * MANY + 1
ONE = f"{FINISHED:06}"
CALLS: list[tuple[str, tuple[Any, ...]]] = [
    ("task_rows", (["000004", ONE],)),
    ("unique_holders", (["u7", "u8"],)),
    ("edge", ([1], [5], ["000002"], [None], [True])),
    ("parents", (4,)),
    ("edges_open", (4,)),
    ("end_unstarted", ([4, 8], ["{}", "{}"], 1.0)),
    ("begin_anew", (FINISHED, 2, 1.0, 1.0, 1.0)),
    ("ask_cancel", ([4, FINISHED],)),
    ("awaited", (["000005", ONE],)),
    ("remove", ([FINISHED, FINISHED + 1],)),
    ("held_leases", ([3], ["000003"], ["3.0"])),
    ("note", ([3], ["progress"], [b"1"])),
    ("notes", ("000003", "a", "z")),
    ("records_named", (["r1", "r2"], 1.0)),
    ("records_forget", (["r1", "r2"],)),
    ("records_expired", (LATE, 5)),
    ("records", ("r11", "r12", 1.0)),
    ("unstarted", (2 * LATE, 5)),
    ("finished_before", (LATE, 5)),
    ("kept_long_enough", (LATE, 5)),
    ("needed_no_more", (LATE, 5)),
    ("log_old", (0, 5, LATE)),
    ("log_trim", (5,)),
    ("events", (0, 5)),
    ("asked", ("w4",)),
    ("oldest", (LATE,)),
    ("details", (["000004", ONE],)),
    ("standing", ("000004",)),
    ("ahead", ("default", LATE, "", 5, LATE)),
]
MOST = {"oldest": 1_010, "records": 150}  # what they may look at; all others few


@pytest.mark.parametrize(("name", "values"), CALLS, ids=[name for name, _ in CALLS])
async def test_a_statement_looks_at_no_more_rows_than_it_must(name: str, values: tuple[Any, ...], looked_at: Explain) -> None:
    assert await looked_at(QUERIES[name], values) <= MOST.get(name, 60)


async def test_tasks_are_looked_up_by_their_ids(looked_at: Explain) -> None:
    assert await looked_at(reads._TASKS, [["000004", ONE]]) <= 20


ORDERS = ["created_at", "-created_at", "finished_at", "-finished_at"]


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("after", [None, (5.0, "000005"), (2 * LATE, "x")])
async def test_a_page_without_a_filter_looks_at_no_more_tasks_than_it_shows(
    order: str, after: tuple[float, str] | None, looked_at: Explain
) -> None:
    assert await looks_of(Query(order=order, limit=10, after=after), 10, looked_at) <= 100


@pytest.mark.parametrize("status", [Status.WAITING, Status.FAILED, Status.CANCELLED])
async def test_a_page_of_a_rare_status_looks_at_no_others(status: Status, looked_at: Explain) -> None:
    assert await looks_of(Query(status=status, limit=10), 10, looked_at) <= 100


async def test_a_page_between_two_times_looks_at_no_others(looked_at: Explain) -> None:
    query = Query(created_after=100.0, created_before=120.0, limit=50)
    assert await looks_of(query, pages.SCANNED, looked_at) <= 200


async def looks_of(query: Query, scanned: int, looked_at: Explain) -> int:
    text, values = pages._statement(query, TASK_COLUMNS)
    looks: int = await looked_at(text, [query.limit, scanned, *values])
    return looks


def test_every_statement_is_used() -> None:
    sources = [path.read_text() for path in Path(pages.__file__).parent.glob("*.py")]
    assert [name for name in QUERIES if not any(f'"{name}"' in source for source in sources)] == []
