"""What the pages say of PostgreSQL: what an administrator does is enough, and the tables are those of the migrations."""

from __future__ import annotations

import re
from pathlib import Path

import httpx

from dolgo.store.postgres.sql import MIGRATIONS
from tests.blackbox.server import Server
from tests.docs.pages import DOCS, blocks, code, read, table
from tests.postgres_server import PostgresServer, need_postgres

INSIDE = DOCS / "explanation/postgres-store.md"
CHOICE = DOCS / "how-to/choose-a-store.md"


def test_the_table_of_tables_is_that_of_the_migrations() -> None:
    made = {name for script in MIGRATIONS.values() for name in re.findall(r"^CREATE TABLE (\w+)", script, re.MULTILINE)}
    assert {name for row in table(read(INSIDE), "table", "holds") for name in code(row[0])} == made | {"migration"}


def test_what_an_administrator_does_is_enough(tmp_path: Path) -> None:
    need_postgres()
    with PostgresServer(tmp_path).ready() as postgres:
        (postgres.data / "pg_hba.conf").write_text("host all dolgo all trust\nhost all all all scram-sha-256\n")
        for block in blocks(CHOICE, "sql"):
            postgres.sql(*(part for part in block.text.replace("dolgo", "app").split(";") if part.strip()))
        postgres.sql("SELECT pg_reload_conf()")
        url = postgres.url.replace("dolgo@", "app:PASSWORD@") + "?schema=app"
        with Server(tmp_path, "--store", url).ready() as server:
            body = {"type": "long_task", "payload": {"seconds": 0}}
            answer = httpx.post(f"{server.url}/tasks", params={"wait": 20}, json=body, timeout=30)
            assert answer.json()["status"] == "done"
