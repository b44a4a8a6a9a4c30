"""Every statement finds its rows by an index, however many others there are."""

import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from dolgo.store.postgres import PostgresStore, pages, reads
from dolgo.store.postgres.link import Link
from dolgo.store.postgres.rows import TASK_COLUMNS
from dolgo.store.postgres.sql import QUERIES
from dolgo.task.types import Query, Status
from tests.postgres_server import postgres_url

pytestmark = pytest.mark.anyio

MANY = 2_000  # tasks of each kind
LATE = 1e9  # later than everything
LARGE = {"task", "final", "body", "edge", "note", "log", "keyed_line", "record"}


def filling(many: int) -> str:
    """SQL that makes so many tasks of each kind."""
    return f"""
    INSERT INTO line (n, queue, type, hash, ready) OVERRIDING SYSTEM VALUE VALUES (1, 'default', 'echo', 'h1', {many});
    INSERT INTO body (n, id, line, priority, max_attempts, created_at, payload, limit_key)
        SELECT n, lpad(n::text, 6, '0'), 1, 5, 1, n, '1', CASE WHEN n % 5 = 4 THEN 'key' || n ELSE '' END
        FROM generate_series(1, {5 * many}) AS n;
    INSERT INTO task (n, id, line, state, rank, run_at, created_at, expires_at, limit_key, token, worker, lease_until, unique_key)
        SELECT n, id, line, (ARRAY[1, 2, 3, 4, 3])[1 + n % 5], n, n, n, {LATE} + n, limit_key,
            CASE WHEN n % 5 = 3 THEN to_hex(n) || '.0' END,
            'w' || n, n, 'u' || n
        FROM body WHERE n <= {4 * many};
    INSERT INTO final (n, id, line, state, attempt, rank, run_at, created_at, finished_at, failures, losses, deferrals,
            generation, token)
        SELECT n, id, line, 5 + n % 3, 1, n, n, n, n, 0, 0, 0, 0, to_hex(n) || '.0' FROM body WHERE n > {4 * many};
    INSERT INTO keyed_line (line, key, head, first, running) SELECT line, limit_key, rank, id, 0 FROM task WHERE limit_key > '';
    INSERT INTO edge (child, place, parent, open) SELECT n, 0, lpad((n + 1)::text, 6, '0'), true FROM task WHERE state = 1;
    SELECT setval('body_n', {5 * many});
    INSERT INTO note (task, key, value) SELECT n, 'progress', '1' FROM body;
    INSERT INTO log (last, first, time, entries) SELECT n, n, n, '\\x90' FROM generate_series(1, {many}) AS n;
    UPDATE meta SET seq = {many};
    INSERT INTO record (key, value, version, first_at, written_at, expires_at)
        SELECT 'r' || n, '1', 1, 1, 1, n FROM generate_series(1, {many}) AS n;
    """


EMPTY = """
    DELETE FROM line; DELETE FROM body; DELETE FROM task; DELETE FROM final; DELETE FROM keyed_line; DELETE FROM edge;
    DELETE FROM note; DELETE FROM log; DELETE FROM record; ALTER SEQUENCE line_n_seq RESTART;
    """


class Filled(NamedTuple):
    """A store that holds many tasks, as far as the transaction goes that it is in."""

    writing: Link

    async def looks(self, sql: str, values: Sequence[Any]) -> int:
        """How many rows of the large tables a statement looks at. What it does is undone."""
        connection = await self.writing.ready()
        await connection.execute("SAVEPOINT before")
        rows = await connection.fetch(f"EXPLAIN (ANALYZE, FORMAT JSON, TIMING false) {sql}", *values, timeout=60)
        await connection.execute("ROLLBACK TO before")
        return _rows(json.loads(rows[0][0])[0]["Plan"])


@asynccontextmanager
async def filled(known: str, schema: str) -> AsyncIterator[Filled]:
    """A store with many tasks of each kind, in a transaction.

    PostgreSQL plans by what it knows of the tables, which are new in each schema: all that is in them, nothing yet, or how it was
    when there was little."""
    store = PostgresStore(f"{postgres_url()}?schema={schema}_{known}")
    await store.open()
    try:
        connection = await store._server.writing.ready()
        await connection.execute("BEGIN; SET LOCAL statement_timeout = 0")
        if known == "little":
            await connection.execute(filling(10) + "ANALYZE;" + EMPTY, timeout=60)
        await connection.execute(filling(MANY) + ("ANALYZE" if known == "all" else ""), timeout=60)

        yield Filled(store._server.writing)
        await connection.execute("ROLLBACK")
    finally:
        await store.close()


def _rows(node: dict[str, Any]) -> int:
    found = sum(map(_rows, node.get("Plans", ())))
    if node["Node Type"] == "Bitmap Index Scan" or (node.get("Relation Name") in LARGE and "Scan" in node["Node Type"]):
        looks = node["Actual Rows"] + node.get("Rows Removed by Filter", 0) + node.get("Rows Removed by Index Recheck", 0)
        found += looks * node["Actual Loops"]
    return found


FINISHED = 4 * MANY + 1
ONE = f"{FINISHED:06}"
HELD = 8
CALLS: list[tuple[str, tuple[Any, ...]]] = [
    ("task_rows", (["000004", ONE],)),
    ("unique_holders", (["u7", "u8"],)),
    ("edge", ([1], [5], ["000002"], [None], [True])),
    ("parents", (5,)),
    ("edges_open", (5,)),
    ("end_unstarted", ([5, 10], ["{}", "{}"], 1.0)),
    ("begin_anew", (FINISHED, 2, 1.0, 1.0, 1.0)),
    ("ask_cancel", ([HELD, FINISHED],)),
    ("awaited", (["000006", ONE],)),
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
    ("asked", ("w3",)),
    ("oldest", (LATE,)),
    ("details", (["000004", ONE],)),
    ("standing", ("000004",)),
    ("ahead", ("default", LATE, "", 5, LATE)),
    ("extras", ()),
    ("submit", (["new"], [1], [3], [1.0], [1.0], [5], [1], [None], [b"1"], 1.0)),
    ("states", (["000004", ONE],)),
    ("due", (LATE, 5)),
    ("claim_first", ([1], 5, "w", 1.0, 2.0, LATE)),
    ("claim", ([2, 7], "w", 1.0, 2.0)),
    ("line_first", (1, "", 5, float("-inf"))),
    ("line_heads", ([1], LATE)),
    ("is_claimable", (1,)),
    ("keyed_changed", ([1, 1], ["key4", "key9"], [1, 1])),
    ("keyed_close", ([1, 1], ["key4", "key9"])),
    ("keyed_reopen", (["key4", "key9"],)),
    ("keyed_next", (1, float("-inf"), "", 5)),
    ("keyed_lines", ()),
    ("keyed_running", (["key4"],)),
    ("held", ([3, 8],)),
    ("tokens", ("w8",)),
    ("renew", ([3, 8], "w8", 2.0)),
    ("settle", ([HELD], [f"{HELD:06}"], [f"{HELD:x}.0"], [5], [b"1"], [None], [0], [0], [0], 1.0)),
    ("settled_as", ([FINISHED],)),
    ("rows_locked", ([HELD, HELD + 5],)),
    ("requeue", ([HELD], [3], [1.0], [1.0], [1], [0], [0], [0], [False])),
    ("call_off", ([HELD], [1], [None], [None], [None], [0], [0], [0], ["{}"], 1.0)),
    ("over", (LATE, 5)),
    ("held_by", (["w8"], 5)),
]
MOST = {"oldest": 1_100, "over": 2 * MANY}  # what they may look at; all others few


STATUSES = (Status.WAITING, Status.FAILED, Status.CANCELLED)
PAGES = [  # how many rows there are to look at, and the query
    *((10, Query(order=order, limit=10)) for order in ("created_at", "-created_at", "finished_at", "-finished_at")),
    *((10, Query(order=order, limit=10, after=(50.0, "000050"))) for order in ("created_at", "-created_at")),
    *((10, Query(order=order, limit=10, after=(LATE, "x"))) for order in ("finished_at", "-finished_at")),
    *((10, Query(status=status, limit=10)) for status in STATUSES),
    (pages.SCANNED, Query(created_after=100.0, created_before=120.0, limit=50)),
]


@pytest.mark.parametrize("known", ["all", "nothing", "little"])
async def test_no_statement_looks_at_more_rows_than_it_must(known: str) -> None:
    async with filled(known, "plans") as store:
        looks = store.looks
        found = {name: await looks(QUERIES[name], values) for name, values in CALLS}
        found["get"] = await looks(reads._TASKS, [["000004", ONE]])
        for scanned, query in PAGES:
            text, values = pages._statement(query, TASK_COLUMNS)
            found[str(query)] = await looks(text, [query.limit, scanned, *values])
    assert {name: rows for name, rows in found.items() if rows > MOST.get(name, 300)} == {}


ROWS_READ = (
    "SELECT relname, coalesce(seq_tup_read, 0) + coalesce(idx_tup_fetch, 0) FROM pg_stat_xact_user_tables "
    "WHERE schemaname = current_schema()"
)
BATCH: tuple[Any, ...] = (
    0.5,
    *(["new"], [1], [0.0], [None], [0.0], [5], [1], [None], [b"1"]),
    *([HELD], [f"{HELD:06}"], [f"{HELD:x}.0"], [1], [5], [b"1"], [None], [0], [0], [0]),
    *(["w"], [5], [30.0], ["{1}"], [1], 2, b"", "channel", None),
)


@pytest.mark.parametrize("known", ["all", "nothing", "little"])
async def test_a_plain_batch_looks_at_no_more_rows_than_it_must(known: str) -> None:
    async with filled(known, "batch") as store:
        connection = await store.writing.ready()
        await connection.execute("DELETE FROM keyed_line")
        before = dict(await connection.fetch(ROWS_READ))
        taken = await connection.fetch(QUERIES["quick"], *BATCH)
        assert [row["place"] for row in taken] == [1, 1, 1, 1, 1, 0]
        after = dict(await connection.fetch(ROWS_READ))
        assert {name: rows - before[name] for name, rows in after.items() if rows - before[name] > 50} == {}


def test_every_statement_is_used() -> None:
    sources = [path.read_text() for path in Path(pages.__file__).parent.glob("*.py")]
    assert [name for name in QUERIES if not any(f'"{name}"' in source for source in sources)] == []
