"""The client and the command line follow streams of a real server that asks for tokens, over its deaths and restarts."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from dolgo import AsyncClient, Client
from dolgo.client import Event
from dolgo.errors import Forbidden, NotFound, Unauthorized
from tests.blackbox.client import write_type
from tests.blackbox.server import DOLGO, Process, Server

WITHIN = 60.0  # seconds in which what must come comes, on a busy machine
SAYS = """
import time
from dolgo import SyncContext, task

@task
def says(ctx: SyncContext, lines: int = 3, until: str = "") -> int:
    from pathlib import Path
    for number in range(lines):
        ctx.log.info("line %d", number)
        ctx.progress(number + 1, lines)
        time.sleep(0.05)
    while until and not Path(until).exists():
        time.sleep(0.02)
    ctx.log.info("the end")
    return lines
"""


class Service(Server):
    """A server that asks for tokens, and what is needed to speak to it."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, "--lease", "3", "--drain-timeout", "0.5")
        self.token = self.make_token("all", "admin")

    def make_token(self, name: str, *scopes: str) -> str:
        options = [word for scope in scopes for word in ("--scope", scope)]
        command = [DOLGO, "token", "create", name, *options]
        return subprocess.run(command, cwd=self.folder, capture_output=True, text=True, check=True).stdout.strip()

    def client(self, token: str | None = None) -> Client:
        return Client(self.url, token=self.token if token is None else token)

    def command(self, *arguments: str) -> Command:
        return Command(self, *arguments)


class Command(Process):
    """A command that speaks to the server; `out` is what it has printed so far."""

    def __init__(self, server: Service, *arguments: str) -> None:
        self.out_path = server.folder / f"{'-'.join(arguments[:1])}-{time.monotonic_ns()}.out"
        self.err_path = self.out_path.with_suffix(".err")
        environ = {"DOLGO_URL": server.url, "DOLGO_TOKEN": server.token, "PYTHONUNBUFFERED": "1"}
        shell = ["sh", "-c", f'exec "$@" >{self.out_path} 2>{self.err_path}', "sh", DOLGO, *arguments]
        super().__init__(shell, server.folder, ready="", name=self.out_path.stem, environ=environ)

    @property
    def out(self) -> str:
        return self.out_path.read_text() if self.out_path.exists() else ""

    @property
    def err(self) -> str:
        return self.err_path.read_text() if self.err_path.exists() else ""

    def until(self, text: str) -> None:
        """Return when it has printed this."""
        reach(lambda: text in self.out, f"no {text!r} in {self.out_path}")


def reach(there: Callable[[], bool], otherwise: str) -> None:
    """Return once it is so; fail if it never is."""
    deadline = time.monotonic() + WITHIN
    while not there():
        assert time.monotonic() < deadline, otherwise
        time.sleep(0.02)


@pytest.fixture
def service(tmp_path: Path, processes: list[Process]) -> Service:
    """A ready server with a token for everything."""
    write_type(tmp_path, "says", SAYS)
    service = Service(tmp_path)
    processes.append(service)
    service.ready()
    return service


@pytest.fixture
def command(service: Service, processes: list[Process]) -> Callable[..., Command]:
    """`command("watch")` runs against the server."""

    def begin(*arguments: str) -> Command:
        begun = service.command(*arguments)
        processes.append(begun)
        begun.start()
        return begun

    return begin


def restart(service: Service, number: int) -> None:
    service.kill(number)
    service.wait(WITHIN)
    service.start().wait_ready()


class Listener:
    """Listens in a thread, until its client is closed or refused."""

    def __init__(self, events: Iterator[Event]) -> None:
        self.heard: list[Event] = []
        self.ended_by: Exception | None = None
        self._events = events
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._thread.start()

    def _listen(self) -> None:
        try:
            self.heard.extend(self._events)
        except Exception as error:  # whatever it is, a test looks here
            self.ended_by = error

    def until(self, there: Callable[[Event], bool]) -> None:
        reach(lambda: any(there(event) for event in list(self.heard)), f"heard only {self.heard[-3:]}")


@pytest.mark.timeout(180)
def test_nothing_is_missed_or_repeated_over_a_kill_and_a_restart(service: Service) -> None:
    with service.client() as client:
        begins = client.submit("says", {"lines": 1})
        listener = Listener(client.events(after=0))
        listener.until(lambda event: event.id == begins.id and event.status == "done")
        for number in (signal.SIGKILL, signal.SIGTERM):
            during = [client.submit("says", {"lines": 2}) for _ in range(5)]
            restart(service, number)
            last = client.submit("says", {"lines": 1})
            for task in [*during, last]:
                assert client.wait(task, timeout=WITHIN).status == "done"
            listener.until(lambda event, id=last.id: event.id == id and event.status == "done")  # type: ignore[misc]
        heard = list(listener.heard)
        kept = [event["seq"] for event in client.request("GET", "events", params={"after": "0", "limit": "1000"})["events"]]
    assert [event.seq for event in heard] == kept[: len(heard)]
    assert {event.event for event in heard} == {"task.status", "task.progress", "task.log"}
    assert len({event.place.rpartition("-")[0] for event in heard}) == 1


@pytest.mark.timeout(180)
def test_a_log_that_was_lost_is_told_as_a_reset(service: Service) -> None:
    with service.client() as client:
        for _ in range(3):
            client.wait(client.submit("says", {"lines": 1}), timeout=WITHIN)
        listener = Listener(client.events(after=0))
        listener.until(lambda event: event.status == "done")
        service.kill(signal.SIGTERM)
        service.wait(WITHIN)
        for file in service.folder.glob("dolgo.db*"):
            file.unlink()
        service.token = service.make_token("all", "admin")
        service.start().wait_ready()
        with pytest.raises(Unauthorized):  # the old token is lost as well
            next(client.events())
    known = listener.heard[-1]
    with service.client() as client:
        following = Listener(client.events(after=known))
        following.until(lambda event: event.event == "reset")
        task = client.submit("says", {"lines": 1})
        following.until(lambda event: event.id == task.id and event.status == "done")
        assert following.heard[0].event == "reset"
        assert following.heard[0].place.rpartition("-")[0] != known.place.rpartition("-")[0]


def test_one_task_is_told_from_how_it_stands_to_its_end(service: Service) -> None:
    async def follow() -> list[Event]:
        async with AsyncClient(service.url, token=service.token) as client:
            task = await client.submit("says", {"lines": 3})
            return [event async for event in client.events(task)]

    told = asyncio.run(follow())
    assert told[-1].status == "done"
    assert [event.seq for event in told] == sorted({event.seq for event in told})
    with service.client() as client:
        again = list(client.events(told[0].id))
        assert [event.status for event in again] == ["done"]
        assert list(client.events(told[0].id, after=told[-1])) == []
        with pytest.raises(NotFound):
            next(client.events("nothing"))


def test_a_log_is_followed_line_by_line_while_it_is_written(service: Service) -> None:
    go = service.folder / "go"
    with service.client() as client:
        lines = client.logs(client.submit("says", {"lines": 2, "until": str(go)}), follow=True)
        assert [next(lines).text, next(lines).text] == ["line 0", "line 1"]
        go.touch()
        assert [line.text for line in lines] == ["the end"]


def test_streams_ask_for_a_scope_and_end_when_their_token_is_revoked(service: Service) -> None:
    submits, reads = service.make_token("submits", "submit"), service.make_token("reads", "read")
    with service.client(submits) as client, pytest.raises(Forbidden, match="`read`"):
        next(client.events())
    with service.client(reads) as client:
        listener = Listener(client.events())
        subprocess.run([DOLGO, "token", "revoke", "reads"], cwd=service.folder, check=True, capture_output=True)
        reach(lambda: isinstance(listener.ended_by, Unauthorized), "it goes on")


@pytest.mark.timeout(180)
def test_watch_and_logs_go_on_over_a_restart_and_say_so(service: Service, command: Callable[..., Command]) -> None:
    go = service.folder / "go"
    with service.client() as client:
        task = client.submit("says", {"lines": 2, "until": str(go)})
        later = client.submit("says", {"lines": 1}, delay=1)
        watch, logs, everything = (
            command("watch", task.id, later.id),
            command("logs", "-f", task.id),
            command("watch", "--json", "--after", "0"),
        )
        watch.until(f"{task.id}  in_progress")
        watch.until(f"{later.id}  done")
        logs.until("line 1")
        everything.until('"event":"task.log"')
        restart(service, signal.SIGTERM)
        go.touch()
        assert client.wait(task, timeout=WITHIN).status == "done"
    assert watch.wait(WITHIN) == 0
    assert watch.out.splitlines()[-2:] == [f"{task.id}  done", "2"]
    assert logs.wait(WITHIN) == 0
    assert logs.out.splitlines()[-1].endswith("the end")
    assert everything.running
    for told in (watch, logs, everything):
        assert "broke off" in told.err
        assert "Traceback" not in told.err
    everything.until('"status":"done","attempt":2')
    everything.kill(signal.SIGINT)
    assert everything.wait(WITHIN) == 130


def test_a_failure_and_a_missing_scope_have_their_codes(service: Service, command: Callable[..., Command]) -> None:
    with service.client() as client:
        failed = client.submit("http_request", {"url": "http://127.0.0.1:9"})
    watch = command("watch", failed.id)
    assert watch.wait(WITHIN) == 3
    service.token = service.make_token("submits", "submit")
    for arguments in (["watch"], ["watch", failed.id], ["logs", "-f", failed.id]):
        refused = command(*arguments)
        assert refused.wait(WITHIN) == 6
        assert refused.err.startswith("dolgo: This needs the scope `read`")
        assert refused.err.count("\n") == 1
        assert "dolgo token create NAME --scope read" in refused.err
        assert service.token not in refused.err
