"""The bench measures on PostgreSQL as on Redis, with a broker of messages beside it, and believes no run that loses a task."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import asyncpg
import pytest

from bench import soak
from bench.errors import Invalid
from bench.peers import on_postgres, page, session, sql_floor
from bench.peers.__main__ import chosen, names_on
from bench.peers.on_postgres import OnPostgres
from bench.peers.outcome import Delivery, Run
from bench.peers.own_run import Own, Web
from bench.peers.places import PLACES
from bench.peers.scale import QUICK
from bench.place import place
from tests.missing import need
from tests.postgres_server import need_postgres

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.timeout(240)  # servers and interpreters are started, on a machine that may be busy


@pytest.fixture
def server(tmp_path: Path) -> Iterator[OnPostgres]:
    need_postgres()
    with on_postgres.running(tmp_path, "on") as found:
        yield found


def test_an_emptied_database_has_nothing_left_and_commits_are_flushed(server: OnPostgres) -> None:
    server.inside("CREATE TABLE left_over (n int)")
    server.empty()
    assert server.inside("SELECT count(*) FROM pg_class WHERE relname = 'left_over'") == "0"
    assert server.inside("SHOW synchronous_commit") == "on"
    assert server.inside("SHOW fsync") == "on"
    assert server.versions["postgres"].split(".")[0].isdigit()


def test_statements_of_others_are_counted_and_those_of_the_looks_are_not(server: OnPostgres) -> None:
    assert server.asked(0.1) == 0

    async def ask() -> float:
        connection = await asyncpg.connect(server.url)
        looking = asyncio.create_task(asyncio.to_thread(server.asked, 2))
        while not looking.done():
            await connection.execute("SELECT 1")
            await asyncio.sleep(0.1)
        await connection.close()
        return await looking

    assert 1 <= asyncio.run(ask()) <= 11


def test_the_statements_of_the_floor_end_each_task_once_with_its_result(server: OnPostgres) -> None:
    async def drained(token: str) -> int:
        connection = await asyncpg.connect(server.url)
        loop = sql_floor.Loop(connection)
        await loop.prepare()
        await loop.submit(250)
        await loop.drain(token)
        right = await loop.right()
        await connection.close()
        return right

    assert asyncio.run(drained(sql_floor.TOKEN)) == 250
    server.empty()
    assert asyncio.run(drained("another's token.")) == 150  # the first hundred are held under another token and are not settled


def test_a_quick_run_writes_what_it_measured(tmp_path: Path) -> None:
    need_postgres()
    out = tmp_path / "peers.json"
    argv = [sys.executable, "-m", "bench.peers", "--on", "postgres", "--quick", "--only", "floor", "--out", str(out)]
    ran = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    assert ran.returncode == 0, ran.stderr
    assert "SQL alone" in ran.stdout
    written = json.loads(out.read_bytes())
    assert written["on"] == "postgres"
    ((line,),) = written["lanes"].values()
    assert [floor["right"] for floor in line["floors"]] == [QUICK.tasks]


def test_dolgo_is_drained_and_killed_on_postgres(server: OnPostgres, tmp_path: Path) -> None:
    own = Own(server, tmp_path)
    run = own.run(1_000, QUICK)
    assert run.delivery == Delivery(1_000, never=0, twice=0, without_result=0)
    assert min(run.enqueue, run.bulk or 0, run.drain, run.cpu) > 0
    crash = own.crash(600, patience=20)
    assert crash.delivery.without_result == crash.delivery.never == 0


def test_dolgo_is_measured_with_a_broker_of_messages(server: OnPostgres, tmp_path: Path) -> None:
    need("epmd")
    seen = Own(server, tmp_path, "amqp").web(QUICK)
    assert min(seen.submit, seen.done, seen.done_p50) > 0
    assert server.versions["rabbitmq"]
    server.empty()  # also the queue that the worker left


def test_only_what_can_be_measured_there_is_asked_for() -> None:
    with pytest.raises(Invalid, match="--only takes some of floor, dolgo, dolgo-rabbitmq"):
        chosen(["rq"], names_on(PLACES["postgres"]), "--only")
    assert chosen(None, PLACES["postgres"].lanes, "--lane") == ("on",)


def test_a_place_on_postgres_is_a_schema_of_its_own() -> None:
    with place("postgresql://dolgo@127.0.0.1:1/bench") as one, one.another() as other:
        assert one.store.startswith("postgresql://dolgo@127.0.0.1:1/bench?schema=bench_")
        assert one.store != other.store


def test_the_page_shows_postgres_beside_redis_and_touches_nothing_else() -> None:
    run = Run(900, 4_000, 2_000, 0.0005, 7, Delivery(900, 0, 0, 0), bulk=8_000)
    facts = {"versions": {"a": "1.2"}, "settings": {"--fast": "its manual"}, "bulk": "", "after_a_kill": "comes back"}
    own = session.Line("dolgo-nsq", facts, [run], web=[Web(5_000, 3_000, 0.002, 0.004)])
    floor = session.Line("floor", {}, floors=[session.Floor(9, 90_000, 80_000, 700, 9)])
    machine = {
        "cores": 2, "cpu": "c", "system": "s", "python": "3", "postgres": "15", "began": "now", "load_average_at_start": 0.1,
    }  # fmt: skip
    text = page.PAGE.read_text("utf-8")
    measured = session.Measured(machine, {"on": [floor, own]}, "postgres")
    shown = page.filled(text, measured)
    assert "| *SQL alone* |  | 90,000 | 80,000 |" in shown
    assert "| *single INSERT* | 700 |" in shown
    assert "| dolgo-nsq | 5,000 | 3,000 | 2 ms and 4 ms |" in shown
    assert "PostgreSQL 15, load" in shown
    assert shown.partition("## On PostgreSQL")[0] == text.partition("## On PostgreSQL")[0]
    assert page.filled(shown, measured) == shown


def test_a_quick_soak_tells_sizes_and_dead_rows_over_time(tmp_path: Path) -> None:
    need_postgres()
    out = tmp_path / "soak.json"
    argv = [sys.executable, "-m", "bench.soak", "--quick", "--rate", "200", "--keep", "2", "--out", str(out)]
    ran = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    assert ran.returncode == 0, ran.stderr
    assert "dead in all" in ran.stdout
    samples = json.loads(out.read_bytes())["samples"]
    assert len(samples) > 2
    assert samples[-1]["submitted"] == samples[-1]["begun"] > 0
    assert samples[-1]["tables"]["task"]["bytes"] > 0


def test_the_page_shows_a_soak() -> None:
    def sample(minute: int, begun: int) -> soak.Sample:
        return soak.Sample(minute * 60, begun + 5, begun, begun / 1_000, {"task": soak.Size(5, 70, 2**20, 2**20, minute)})

    machine = {
        "cores": 2, "cpu": "c", "system": "s", "python": "3", "postgres": "15", "began": "now", "load_average_at_start": 0.1,
    }  # fmt: skip
    samples = [sample(minute, minute * 60_000) for minute in range(1, 61)]
    shown = page.filled(page.PAGE.read_text("utf-8"), soak.Soaked(machine, samples))
    assert "| 60.0 | 1,000 | 5 | 1,000 µs | 2.0 | 70 | 60 | 2.0 | 70 |" in shown
    assert len(soak.lines(samples)) == soak.SHOWN


def test_a_soak_that_loses_a_task_is_invalid(server: OnPostgres, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(soak.Ledger, "lines", lambda self: 10**9)  # as if all had been begun at once
    monkeypatch.setattr(soak, "delivered", lambda *_, **__: Delivery(9, never=1, twice=0, without_result=0))
    with pytest.raises(Invalid, match="not begun once each"):
        soak.Soak(server, tmp_path, rate=100, keep=60).run(1, 1, soak.Console(quiet=True))


def test_lines_that_are_added_to_a_ledger_are_counted_as_it_grows(tmp_path: Path) -> None:
    ledger = soak.Ledger(tmp_path / "ledger")
    assert ledger.lines() == 0
    ledger.path.write_text("0\n1\n")
    assert ledger.lines() == 2
    with ledger.path.open("a") as file:
        file.write("2\n")
    assert ledger.lines() == 3
