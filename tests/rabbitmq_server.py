"""A RabbitMQ of the tests' own: a real server on free ports of this machine, ended by whoever started it.

with RabbitServer(tmp_path).ready() as rabbit:
    Server(tmp_path, "--queue", rabbit.url)
    rabbit.kill(signal.SIGKILL)
    rabbit.start().wait_ready()  # again, on the same data and the same port
"""

from __future__ import annotations

import atexit
import shutil
import signal
import subprocess
import tempfile
from functools import cache
from pathlib import Path
from typing import Self

from tests.blackbox.server import Process
from tests.missing import missing, need
from tests.redis_server import free_port

# Debian's command of that name runs as another user, in a folder of the system.
PROGRAM = Path("/usr/lib/rabbitmq/bin")
STARTS_WITHIN = 90.0  # seconds


class RabbitServer(Process):
    """`rabbitmq-server` without plugins, and the `epmd` that it cannot do without. Node, cookie and data are in `folder`."""

    def __init__(self, folder: Path, *, name: str = "rabbitmq") -> None:
        need_rabbitmq()
        self.port = free_port()
        home = folder / name
        home.mkdir()
        (home / "plugins").write_text("[].")
        epmd = free_port()
        self._environment = {
            "HOME": str(home),
            "ERL_EPMD_PORT": str(epmd),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODENAME": f"dolgo{self.port}@localhost",
            "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODE_PORT": str(self.port),
            "RABBITMQ_DIST_PORT": str(free_port()),
            "RABBITMQ_MNESIA_BASE": str(home / "data"),
            "RABBITMQ_LOG_BASE": str(home / "log"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(home / "plugins"),
            "RABBITMQ_PID_FILE": str(home / "pid"),
            "RABBITMQ_CONF_ENV_FILE": str(home / "none"),
            "RABBITMQ_LOGS": "-",
        }
        self._epmd = Process(
            ["epmd", "-d", "-port", str(epmd), "-address", "127.0.0.1"], folder, ready="epmd running", name=f"{name}-epmd"
        )
        super().__init__(
            [str(PROGRAM / "rabbitmq-server")],
            folder,
            ready="Server startup complete",
            name=name,
            environ=self._environment,
        )

    @property
    def url(self) -> str:
        return f"amqp://guest:guest@127.0.0.1:{self.port}/"

    def start(self) -> Self:
        if not self._epmd.running:
            self._epmd.ready()
        return super().start()

    def wait_ready(self, timeout: float = STARTS_WITHIN) -> Self:
        return super().wait_ready(timeout)

    def kill(self, number: int = signal.SIGKILL, *, children: bool = True) -> None:
        """The program is a script: what counts is below it."""
        super().kill(number, children=children)

    def close(self) -> None:
        super().close()
        self._epmd.close()

    def tell(self, *command: str) -> str:
        """What `rabbitmqctl` says to a command."""
        environ = {**self._environ, **self._environment}
        ran = subprocess.run([PROGRAM / "rabbitmqctl", *command], env=environ, capture_output=True, text=True, timeout=60)
        assert ran.returncode == 0, ran.stdout + ran.stderr
        return ran.stdout


def need_rabbitmq() -> None:
    """Skip the test at a desk without it; in CI it has to be there."""
    need("epmd")
    if not (PROGRAM / "rabbitmq-server").exists():
        missing("there is no rabbitmq-server (apt-get install rabbitmq-server)")


@cache
def shared() -> RabbitServer:
    """One that all tests of this run share; it ends with them."""
    need_rabbitmq()
    folder = tempfile.mkdtemp(prefix="dolgo-rabbitmq-")
    server = RabbitServer(Path(folder)).ready()
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    atexit.register(server.close)
    return server
