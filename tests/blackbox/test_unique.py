"""One unfinished task of a key, however many ask for it at once."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx

from tests.blackbox.client import Client, write_type
from tests.blackbox.server import Server

OPTIONS = ("--slots", "4", "--drain-timeout", "0")

HANDLERS = """
import asyncio
from dolgo import task

@task
async def waits(seconds: float = 60) -> None:
    await asyncio.sleep(seconds)

@task(unique=True)
async def once(url: str, depth: int = 1) -> None:
    pass

@task
async def fails() -> None:
    raise ValueError
"""


def post(http: httpx.Client, body: dict[str, object]) -> tuple[str, bool]:
    """The task's id, and whether it was there before."""
    answer = http.post("/tasks", json=body)
    assert answer.status_code == 202, answer.text
    return answer.json()["id"], answer.headers.get("dolgo-existing") == "true"


def test_of_many_submits_at_once_to_two_servers_one_makes_a_task(serve: Callable[..., Server], tmp_path: Path) -> None:
    write_type(tmp_path, "handlers", HANDLERS)
    with Client(serve(*OPTIONS).url) as one, Client(serve(*OPTIONS).url) as two, ThreadPoolExecutor(16) as pool:
        for key in "abcde":
            body: dict[str, object] = {"type": "waits", "unique_key": key, "delay": 3600}
            answers = list(pool.map(lambda http, body=body: post(http, body), [one.http, two.http] * 16))
            assert len({id for id, _ in answers}) == 1
            assert [existing for _, existing in answers].count(False) == 1
        assert one.counts() == {"queued": 5}


def test_the_key_is_free_again_when_its_task_has_ended(client: Client) -> None:
    body = {"type": "waits", "payload": {"seconds": 0}, "unique_key": "free again"}
    first, _ = post(client.http, body)
    client.end(first)
    second, existing = post(client.http, body)
    assert (second != first, existing) == (True, False)


def test_the_same_key_of_another_type_is_another(client: Client) -> None:
    first, _ = post(client.http, {"type": "waits", "unique_key": "both", "delay": 3600})
    second, existing = post(client.http, {"type": "long_task", "unique_key": "both", "delay": 3600})
    assert (second != first, existing) == (True, False)


def test_a_type_can_take_the_key_from_the_payload_however_it_is_written(client: Client) -> None:
    def once(payload: dict[str, object]) -> tuple[str, bool]:
        return post(client.http, {"type": "once", "payload": payload, "delay": 3600})

    first = once({"url": "x", "depth": 2})
    assert once({"depth": 2, "url": "x"}) == (first[0], True)
    assert once({"url": "y", "depth": 2})[0] != first[0]


def test_twins_in_a_batch_are_one_task(client: Client) -> None:
    first, second, third = client.batch("waits", [{}, {}, {}], unique_key="twins", delay=3600)
    assert first == second == third


def test_a_retry_waits_until_the_key_is_free(client: Client) -> None:
    failed = client.submit("fails", unique_key="held")
    client.end(failed)
    holder = client.submit("fails", unique_key="held", delay=3600)
    answer = client.http.post(f"/tasks/{failed}/retry")
    assert answer.status_code == 409
    assert client.task(failed)["status"] == "failed"
    client.http.post(f"/tasks/{holder}/cancel")
    assert client.http.post(f"/tasks/{failed}/retry").status_code == 202
