"""Redis is taken away in every way there is: no promise is broken meanwhile, and all goes on by itself when it is back."""

from __future__ import annotations

import contextlib
import signal
import time
from collections.abc import Callable, Iterator

import pytest

from tests.blackbox.client import outcomes, until
from tests.blackbox.server import Process
from tests.faults.outage import ANSWERED, LEASE, Load, Site

RECOVERED = 5.0  # seconds after its return in which a task submitted then has run
BUSY = 3.0  # seconds more on a machine that is busy with other tests
GIVEN_UP = 12.0  # seconds until connections that say nothing are made anew: 7 at most, on a quiet machine
SAID = 15  # log lines of a process about an outage besides one a second
HELD = 2.5  # seconds an outage lasts if nothing else is said

Outage = Callable[[Site], contextlib.AbstractContextManager[None]]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with Site(tmp_path_factory.mktemp("site")) as site:
        yield site


@pytest.fixture(autouse=True)
def shown(site: Site, request: pytest.FixtureRequest) -> Iterator[None]:
    failed = request.session.testsfailed
    yield
    if request.session.testsfailed > failed:
        site.show()


# -- outages in which the store is away: from the beginning of the block to its end


@contextlib.contextmanager
def killed(site: Site) -> Iterator[None]:
    site.redis.kill(signal.SIGKILL)
    site.redis.wait()
    try:
        yield
    finally:
        site.redis.start().wait_ready()


@contextlib.contextmanager
def frozen(site: Site) -> Iterator[None]:
    site.redis.kill(signal.SIGSTOP)
    try:
        yield
    finally:
        site.redis.kill(signal.SIGCONT)


@contextlib.contextmanager
def swallowed(site: Site) -> Iterator[None]:
    site.proxy.swallow()
    try:
        yield
    finally:
        site.proxy.pass_()


@contextlib.contextmanager
def refusing(site: Site) -> Iterator[None]:
    site.proxy.refuse()
    try:
        yield
    finally:
        site.proxy.pass_()


@contextlib.contextmanager
def out_of_memory(site: Site) -> Iterator[None]:
    site.tell("CONFIG", "SET", "maxmemory", "1")
    try:
        yield
    finally:
        site.tell("CONFIG", "SET", "maxmemory", "0")


@contextlib.contextmanager
def a_replica(site: Site) -> Iterator[None]:
    """Of a master that is not there: it keeps its data and takes no writes."""
    site.tell("REPLICAOF", "127.0.0.1", "1")
    try:
        yield
    finally:
        site.tell("REPLICAOF", "NO", "ONE")


AWAY: dict[str, tuple[Outage, float]] = {
    "killed": (killed, HELD),
    "frozen for 5 s": (frozen, 5.0),
    "frozen for 12 s": (frozen, 12.0),
    "swallowed by the network": (swallowed, 8.0),
    "not listening": (refusing, HELD),
    "out of memory": (out_of_memory, HELD),
    "a read-only replica": (a_replica, HELD),
}


@pytest.mark.timeout(120)
@pytest.mark.parametrize("name", AWAY)
def test_while_redis_is_away_nothing_is_promised_and_all_goes_on_when_it_is_back(
    name: str, site: Site, record_property: Callable[[str, object], None]
) -> None:
    outage, seconds = AWAY[name]
    running = site.submit(seconds=1.5)
    site.client.begun(running)
    said = {process: process.said().count("\n") for process in (site.server, site.worker)}
    with site.load() as load:
        with outage(site):
            begun = time.monotonic()
            until(site.refused, ANSWERED, "a task is refused")
            assert site.probe("/readyz") == 503
            assert site.probe("/livez") == 200
            time.sleep(max(0.0, begun + seconds - time.monotonic()))
            assert site.probe("/livez") == 200
        back = time.monotonic()
        until(lambda: not site.refused(), RECOVERED + BUSY, "a task is taken up")
        assert site.client.end(site.submit(), RECOVERED + BUSY)["status"] == "done"
        recovered = time.monotonic() - back
        until(lambda: site.probe("/readyz") == 200, RECOVERED, "it is ready")
    record_property("recovered", recovered)
    print(f"{name}: recovered in {recovered:.2f} s, {load.refused} refused, slowest answer {load.slowest:.2f} s")  # noqa: T201
    check(site, load, running, said, begun)
    assert recovered < RECOVERED + BUSY


def check(site: Site, load: Load, running: str, said: dict[Process, int], begun: float) -> None:
    ended = site.client.end(running, 15)
    assert (ended["status"], outcomes(ended)) == ("done", ["done"]), "what ended meanwhile is settled under its first lease"
    load.all_ended(20)
    assert not load.judge()
    assert load.slowest < ANSWERED
    for process, before in said.items():
        assert process.running
        new = process.said().splitlines()[before:]
        assert len(new) < SAID + time.monotonic() - begun, new
        assert "Traceback" not in process.said()


# -- disturbances that need not show


def cut_all(site: Site) -> None:
    for _ in range(3):
        site.tell("CLIENT", "KILL", "TYPE", "normal")
        site.tell("CLIENT", "KILL", "TYPE", "pubsub")
        time.sleep(0.5)


def reset(site: Site) -> None:
    for _ in range(5):
        site.proxy.reset()
        time.sleep(0.3)


def cut_after_the_commit(site: Site) -> None:
    """What was asked is done, and the answer is lost."""
    for number in range(12):
        site.proxy.cut_after((0, 1, 5)[number % 3])
        until(lambda: not site.proxy.cutting, 5, "an answer is cut")
        time.sleep(0.2)


def delayed(site: Site) -> None:
    site.proxy.delay(0.2)
    time.sleep(3.0)
    site.proxy.pass_()


def flushed(site: Site) -> None:
    for _ in range(3):
        site.tell("FUNCTION", "FLUSH")
        site.tell("SCRIPT", "FLUSH")
        time.sleep(0.5)


def asleep(site: Site) -> None:
    site.tell("DEBUG", "SLEEP", "3")


def less_durable(site: Site) -> None:
    for policy in ("everysec", "no", "always"):
        site.tell("CONFIG", "SET", "appendfsync", policy)
        time.sleep(0.3)


DISTURBED = [cut_all, reset, cut_after_the_commit, delayed, flushed, asleep, less_durable]


@pytest.mark.timeout(90)
@pytest.mark.parametrize("disturb", DISTURBED, ids=lambda disturb: disturb.__name__)
def test_a_disturbance_loses_and_doubles_nothing(disturb: Callable[[Site], None], site: Site) -> None:
    running = site.submit(seconds=1.5)
    site.client.begun(running)
    said = {process: process.said().count("\n") for process in (site.server, site.worker)}
    begun = time.monotonic()
    with site.load() as load:
        disturb(site)
        back = time.monotonic()
        until(lambda: not site.refused(), RECOVERED + BUSY, "a task is taken up")
        assert site.client.end(site.submit(), RECOVERED + BUSY)["status"] == "done"
        recovered = time.monotonic() - back
    print(f"{disturb.__name__}: recovered in {recovered:.2f} s, {load.refused} refused, slowest {load.slowest:.2f} s")  # noqa: T201
    check(site, load, running, said, begun)


@pytest.mark.timeout(90)
def test_connections_that_are_dead_without_a_word_are_given_up_and_no_worker_idles(site: Site) -> None:
    """What is sent through them goes nowhere, for ever: only a deadline can tell."""
    with site.load() as load:
        time.sleep(0.3)
        site.proxy.swallow()
        time.sleep(0.3)
        site.proxy.pass_()
        dead = time.monotonic()
        until(lambda: not site.refused(), GIVEN_UP, "a task is taken up")
        assert site.client.end(site.submit(), GIVEN_UP)["status"] == "done"
        assert time.monotonic() - dead < GIVEN_UP
        print(f"dead connections: recovered in {time.monotonic() - dead:.2f} s")  # noqa: T201
    load.all_ended(20)
    assert not load.judge()


@pytest.mark.timeout(90)
def test_what_comes_while_a_worker_cannot_hear_does_not_wait_for_the_next_ring(site: Site) -> None:
    """One task at a time and nothing after it: an idle worker that missed its ring would look again after a lease."""
    for _ in range(8):
        site.tell("CLIENT", "KILL", "TYPE", "pubsub")
        assert site.client.end(site.submit(), RECOVERED + BUSY)["status"] == "done"


@pytest.mark.timeout(60)
def test_a_redis_that_comes_back_empty_is_of_use_again_by_the_next_heartbeat(site: Site) -> None:
    """What was in it is lost, but nobody has to restart anything. The last test here: it spares nothing."""
    site.tell("FLUSHALL")
    ask = {"type": "works", "payload": {"ledger": str(site.ledger)}}
    beat = LEASE / 3 + BUSY
    until(lambda: site.client.http.post("/tasks?wait=5", json=ask).status_code == 200, beat, "a task has run")
    until(lambda: len(site.client.get("/workers")["workers"]) == 1, beat, "the worker is seen")
