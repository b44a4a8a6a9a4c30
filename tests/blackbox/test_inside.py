"""What a handler can have done while it runs: progress, log lines, steps that run once, tasks of its own."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from tests.blackbox.client import Client, lines, outcomes, until, write_type
from tests.blackbox.server import Server

OPTIONS = ("--slots", "4", "--drain-timeout", "0")

HANDLERS = """
import asyncio, logging, os, time
from dolgo import Context, SyncContext, task

def note(ledger, *words):
    with open(ledger, "a") as file:
        file.write(" ".join(map(str, words)) + "\\n")

@task(retries=1, backoff=0)
async def progresses(ctx: Context, gate: str) -> None:
    ctx.progress(1, total=4, note="one of four")
    while not os.path.exists(gate):
        await asyncio.sleep(0.01)
    for done in range(2, 5):
        ctx.progress(done, total=4)

@task(retries=1, backoff=0)
async def talks(ctx: Context) -> None:
    print("printed", ctx.attempt)
    ctx.log.warning("warned %d", ctx.attempt)
    logging.getLogger("some.library").error("from a library")
    if ctx.attempt == 1:
        raise ValueError

@task
def talks_alone(ctx: SyncContext) -> None:
    print("printed")
    ctx.log.info("told")

@task
def talks_much(ctx: SyncContext, count: int, size: int) -> None:
    for number in range(1, count + 1):
        ctx.log.info("%d %s", number, "x" * size)

@task(retries=3, backoff=0)
async def steps(ctx: Context, ledger: str, die: bool = False) -> list[object]:
    async def fetch(what):
        note(ledger, what, ctx.attempt)
        await asyncio.sleep(0.01)
        return {"what": what, "pair": (1, 2)}
    results = [await ctx.step("first", fetch, "first")]
    if ctx.attempt == 1:
        raise ValueError("between")
    results += await asyncio.gather(*(ctx.step(f"many-{n}", fetch, f"many-{n}") for n in range(5)))
    if ctx.attempt == 2:
        if die:
            os._exit(9)
        raise ValueError("after many")
    results.append(await ctx.step("last", lambda: note(ledger, "last", ctx.attempt) or 3))
    return results

@task(retries=3, backoff=0)
def steps_alone(ctx: SyncContext, ledger: str, die: bool = False) -> list[object]:
    def fetch(what):
        note(ledger, what, ctx.attempt)
        return what
    results = [ctx.step("first", fetch, "first")]
    if ctx.attempt == 1:
        raise ValueError("between")
    results.append(ctx.step("second", fetch, "second"))
    if ctx.attempt == 2:
        if die:
            os._exit(9)
        raise ValueError("again")
    return results

@task
def resumes(ctx: SyncContext, ledger: str) -> int:
    def work(n):
        note(ledger, n)
        time.sleep(0.1)
        return n
    return sum(ctx.step(f"part-{n}", work, n) for n in range(15))

@task(retries=2, backoff=0)
async def submits(ctx: Context) -> list[str]:
    ids = [await ctx.submit("counts", {"number": n}, tags=[ctx.id]) for n in range(3)]
    ids.append(await ctx.step("in a step", lambda: ctx.submit("counts", {"number": 3}, tags=[ctx.id])))
    if ctx.attempt <= 2:
        raise ValueError
    return ids

@task
def submits_alone(ctx: SyncContext, type: str = "counts", payload: object = None, options: object = None) -> str:
    return ctx.submit(type, payload or {"number": 1}, **(options or {}))

@task
async def counts(number: int) -> int:
    return number
"""


@pytest.fixture
def ledger(tmp_path: Path) -> Path:
    return tmp_path / "ledger"


def log(client: Client, id: str, **query: Any) -> list[dict[str, Any]]:
    """All lines of a task, page by page."""
    found: list[dict[str, Any]] = []
    cursor: dict[str, str] = {}
    while True:
        page = client.get(f"/tasks/{id}/logs", **query, **cursor)
        found += page["lines"]
        if page["next"] is None or not page["lines"]:
            return found
        cursor = {"after": page["next"]}


def test_progress_is_shown_while_it_runs_and_after(client: Client, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    id = client.submit("progresses", {"gate": str(gate)})
    task = until(lambda: task if (task := client.task(id))["progress"] else {}, 5, "it says how far it is")
    assert (task["status"], task["progress"]) == ("in_progress", {"done": 1, "total": 4, "note": "one of four"})
    gate.touch()
    assert client.end(id)["progress"] == {"done": 4, "total": 4, "note": ""}


def test_a_wait_for_a_change_notices_progress(client: Client, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    id = client.submit("progresses", {"gate": str(gate)})
    until(lambda: client.task(id)["progress"], 5, "it says how far it is")
    etag = client.http.get(f"/tasks/{id}", params={"view": "full"}).headers["etag"]
    assert client.http.get(f"/tasks/{id}", params={"view": "full"}, headers={"If-None-Match": etag}).status_code == 304
    gate.touch()
    answer = client.http.get(f"/tasks/{id}", params={"view": "full", "wait": 9}, headers={"If-None-Match": etag})
    assert (answer.status_code, answer.json()["progress"]["done"] > 1) == (200, True)


def test_what_a_handler_says_is_kept_by_attempt(client: Client) -> None:
    id = client.submit("talks")
    client.end(id)
    found = log(client, id)
    said = [(line["attempt"], line["level"].lower(), line["text"].strip()) for line in found]
    for attempt in (1, 2):
        texts = [text for number, _, text in said if number == attempt]
        assert texts[:3] == [f"printed {attempt}", f"warned {attempt}", "some.library: from a library"]
    assert (1, "warning", "warned 1") in said
    assert (2, "error", "some.library: from a library") in said
    assert [line["number"] for line in log(client, id, attempt=2)] == list(range(1, len(log(client, id, attempt=2)) + 1))
    assert {line["attempt"] for line in log(client, id, attempt=2)} == {2}
    assert all(line["time"].endswith("Z") for line in found)


def test_what_a_def_handler_prints_and_logs_is_kept(client: Client) -> None:
    id = client.submit("talks_alone")
    client.end(id)
    assert [line["text"].strip() for line in log(client, id)] == ["printed", "told"]


def test_of_a_log_that_is_too_long_head_and_tail_are_kept_and_it_says_so(client: Client) -> None:
    count = 6000
    id = client.submit("talks_much", {"count": count, "size": 100})
    assert client.end(id, within=30)["status"] == "done"
    found = log(client, id, limit=1000)
    texts = [line["text"] for line in found]
    assert texts[0].startswith("1 x")
    assert texts[-1].startswith(f"{count} x")
    (notice,) = [place for place, line in enumerate(found) if line["level"] == "notice"]
    left_out = count - (len(found) - 1)
    assert f"{left_out:,}" in texts[notice] or str(left_out) in texts[notice]
    assert 400 < notice < 1000, "the head is 64 KiB"
    assert 400 < len(found) - notice < 1000, "the tail is as long"
    numbers = [line["number"] for line in found]
    assert all(after > before for before, after in pairwise(numbers))
    assert numbers[-1] == count
    for line in (*found[:notice], *found[notice + 1 :]):
        assert line["text"].split()[0] == str(line["number"])


def test_a_very_long_line_is_clipped_in_the_middle_and_says_so(client: Client) -> None:
    id = client.submit("talks_much", {"count": 1, "size": 100_000})
    client.end(id)
    (line,) = log(client, id)
    assert len(line["text"]) < 9_000
    assert "left out" in line["text"] or "…" in line["text"]
    assert line["text"].startswith("1 xxx")
    assert line["text"].endswith("xxx")


def test_a_task_that_never_was_has_no_log(client: Client) -> None:
    assert client.http.get("/tasks/01890000-0000-7000-8000-000000000000/logs").status_code == 404


@pytest.mark.parametrize("type", ["steps", "steps_alone"])
@pytest.mark.parametrize("die", [False, True])
def test_a_step_that_was_stored_never_runs_again(type: str, die: bool, client: Client, ledger: Path) -> None:
    task = client.end(client.submit(type, {"ledger": str(ledger), "die": die}))
    assert (task["status"], outcomes(task)) == ("done", ["failed", "lost" if die else "failed", "done"])
    ran = [line.split()[0] for line in lines(ledger)]
    if type == "steps":
        assert sorted(ran) == sorted(["first", *(f"many-{n}" for n in range(5)), "last"])
        assert task["result"] == [*({"what": what, "pair": [1, 2]} for what in ["first", *(f"many-{n}" for n in range(5))]), 3]
    else:
        assert (ran, task["result"]) == (["first", "second"], ["first", "second"])


def test_a_step_is_stored_though_everything_is_killed(serve: Callable[..., Server], tmp_path: Path, ledger: Path) -> None:
    write_type(tmp_path, "handlers", HANDLERS)
    server = serve("--slots", "1", "--drain-timeout", "0")
    with Client(server.url) as client:
        id = client.submit("resumes", {"ledger": str(ledger)})
        for done in (3, 8):
            until(lambda done=done: len(lines(ledger)) >= done, 15, f"{done} parts")  # type: ignore[misc]
            server.kill(children=True)
            server.wait()
            server.start().wait_ready()
        task = client.end(id, within=20)
    assert (task["status"], task["result"], outcomes(task)) == ("done", sum(range(15)), ["lost", "lost", "done"])
    ran = lines(ledger)
    assert set(ran) == {str(n) for n in range(15)}
    assert len(ran) <= 15 + 2  # the one that was under way each time


def test_what_a_handler_submits_is_linked_and_never_doubled(client: Client) -> None:
    id = client.submit("submits")
    task = client.end(id)
    assert outcomes(task) == ["failed", "failed", "done"]
    assert len(set(task["result"])) == 4
    assert sorted(task["submitted"]) == sorted(task["result"])
    assert sorted(client.end(child)["result"] for child in task["submitted"]) == [0, 1, 2, 3]
    assert len(client.every(tag=id)) == 4


def test_a_retry_by_hand_submits_anew(client: Client) -> None:
    id = client.submit("submits", retries=0)
    assert client.end(id)["status"] == "failed"
    assert len(client.every(tag=id)) == 4
    client.http.post(f"/tasks/{id}/retry")
    client.end(id)
    assert len(client.every(tag=id)) == 7  # the step was stored: what it submitted, it does not submit again


def test_what_cannot_be_submitted_is_an_error_in_the_handler(client: Client) -> None:
    for payload, word in (
        ({"type": "nobody"}, "nobody"),
        ({"payload": {"number": "x"}}, "number"),
        ({"options": {"priority": 99}}, "priority"),
        ({"options": {"depends_on": ["01890000-0000-7000-8000-000000000000"]}}, "01890000"),
    ):
        task = client.end(client.submit("submits_alone", payload))
        assert task["status"] == "failed"
        assert word in task["error"]["message"]
    assert client.end(client.submit("submits_alone"))["status"] == "done"
