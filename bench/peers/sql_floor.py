"""The floor of PostgreSQL: what it could do at all, asked by a plain loop. `python -m bench.peers.sql_floor URL TASKS`

One table, one partial index over what can be claimed, results kept, a hundred tasks a statement: submit by unnest; settle what is
held under its token and claim the next batch, in one statement and so in one commit. No workers, no types, no limits, no events,
one queue. Beside it, plain INSERT statements of one row each, one after the other over one connection.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import sys
import time
from collections.abc import Iterator

import asyncpg

BATCH = 100
SINGLE = 5_000  # rows inserted one by one, at most
TOKEN = "0123456789abcdef"

SCHEMA = """
CREATE TABLE task (n bigint PRIMARY KEY, state smallint NOT NULL DEFAULT 1, rank float8 NOT NULL, token text, lease_until float8,
    payload bytea NOT NULL, result bytea) WITH (fillfactor = 70);
CREATE INDEX ready ON task (rank, n) WHERE state = 1;
CREATE TABLE single (n bigint PRIMARY KEY, payload bytea NOT NULL);
"""
# $1: rank. $2, $3: numbers and payloads.
SUBMIT = "INSERT INTO task (n, rank, payload) SELECT n, $1, payload FROM unnest($2::bigint[], $3::bytea[]) AS new (n, payload)"
# $1: token. $2, $3: numbers and results of what is held. $4: how many to claim. Answers number and payload of each it leased.
TURN = """
WITH settled AS (
    UPDATE task SET state = 3, token = NULL, lease_until = NULL, result = held.result
    FROM unnest($2::bigint[], $3::bytea[]) AS held (n, result) WHERE task.n = held.n AND task.state = 2 AND task.token = $1
), next AS (
    SELECT n FROM task WHERE state = 1 ORDER BY rank, n LIMIT $4 FOR UPDATE SKIP LOCKED
)
UPDATE task SET state = 2, token = $1, lease_until = extract(epoch FROM now()) + 30 FROM next WHERE task.n = next.n
RETURNING task.n, task.payload
"""
INSERT = "INSERT INTO single (n, payload) VALUES ($1, $2)"
RIGHT = """
SELECT count(*) FROM task WHERE state = 3 AND convert_from(payload, 'UTF8') = format('{"n":%s}', convert_from(result, 'UTF8'))
"""


class Loop:
    """Sends the statements."""

    def __init__(self, connection: asyncpg.Connection) -> None:
        self._connection = connection

    async def prepare(self) -> None:
        """The tables."""
        await self._connection.execute(SCHEMA)

    async def submit(self, tasks: int) -> None:
        """Numbered tasks, all of one rank."""
        for batch in _batches(tasks):
            await self._connection.execute(SUBMIT, time.time(), list(batch), [b'{"n":%d}' % n for n in batch])

    async def drain(self, token: str = TOKEN) -> None:
        """Claim and settle until nothing is ready; all but the first batch under `token`."""
        held = await self._connection.fetch(TURN, TOKEN, [], [], BATCH)
        while held:
            ended = [row["n"] for row in held], [row["payload"][5:-1] for row in held]
            held = await self._connection.fetch(TURN, token, *ended, BATCH)

    async def right(self) -> int:
        """How many are done and have their number as the result."""
        return int(await self._connection.fetchval(RIGHT))

    async def single(self, rows: int) -> None:
        """As many plain INSERT statements."""
        for n in range(rows):
            await self._connection.execute(INSERT, n, b'{"n":%d}' % n)


def _batches(tasks: int) -> Iterator[range]:
    return (range(first, min(first + BATCH, tasks)) for first in range(0, tasks, BATCH))


async def main(url: str, tasks: int) -> None:
    """Print the rates a second as a line of JSON."""
    connection = await asyncpg.connect(url)
    loop, single = Loop(connection), min(tasks, SINGLE)
    await loop.prepare()
    marks = [time.perf_counter()]
    await loop.submit(tasks)
    marks.append(time.perf_counter())
    await loop.drain()
    marks.append(time.perf_counter())
    await loop.single(single)
    marks.append(time.perf_counter())
    right = await loop.right()
    await connection.close()
    submit, drain, plain = (end - begin for begin, end in itertools.pairwise(marks))
    print(json.dumps({"tasks": tasks, "submit": tasks / submit, "drain": tasks / drain, "set": single / plain, "right": right}))


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2])))
