"""A PostgreSQL of the tests' own: a private cluster on a free port of this machine, ended by whoever started it.

with PostgresServer(tmp_path, durable=True).ready() as postgres:
    Server(tmp_path, "--store", postgres.url)
    postgres.kill()
    postgres.start().wait_ready()  # again, on the same data and the same port
"""

from __future__ import annotations

import atexit
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from functools import cache
from pathlib import Path
from typing import Self

from tests.blackbox.server import Process
from tests.missing import missing
from tests.redis_server import free_port

USER = "postgres"  # who runs it where the tests run as root, whom PostgreSQL refuses
DEBIAN = Path("/usr/lib/postgresql")  # one folder for each version, and not on the path
MEMORY_DISK = Path("/dev/shm")
# Small, and nothing written outside its data. A cluster that need not survive a power cut does not flush either.
COMMON = (
    "listen_addresses=127.0.0.1", "unix_socket_directories=", "dynamic_shared_memory_type=mmap", "shared_buffers=32MB",
    "max_wal_size=256MB", "wal_level=logical", "autovacuum_naptime=5s", "lc_messages=C",
)  # fmt: skip
HURRIED = ("fsync=off", "full_page_writes=off")


class PostgresServer(Process):
    """`postgres` on a free port. With `durable` every commit is flushed before it is answered, as PostgreSQL does by itself."""

    def __init__(self, folder: Path, *settings: str, durable: bool = False, name: str = "postgres") -> None:
        self.port = free_port()
        self.data = _new_cluster(on_disk=durable)
        settings = (*COMMON, *(() if durable else HURRIED), f"port={self.port}", *settings)
        argv = [*as_user(), str(programs() / "postgres"), "-D", str(self.data), *(part for s in settings for part in ("-c", s))]
        super().__init__(argv, folder, ready="database system is ready to accept connections", name=name)

    @property
    def url(self) -> str:
        return f"postgresql://dolgo@127.0.0.1:{self.port}/postgres"

    def close(self) -> None:
        """End it, and forget its data. Whoever is connected is thrown out: a SIGTERM alone would wait for them to go."""
        self.kill(signal.SIGCONT)
        self.kill(signal.SIGINT)
        super().close()
        shutil.rmtree(self.data.parent, ignore_errors=True)

    def start(self) -> Self:
        """Started, once the last of a server that was killed is gone: until then its memory is in use."""
        assert all(child.gone() for child in self._below)
        return super().start()

    def kill(self, number: int = signal.SIGKILL, *, children: bool = False) -> None:
        """As a process is killed or frozen; a server all of it, because it is not one process but many."""
        super().kill(number, children=children or number in (signal.SIGKILL, signal.SIGSTOP, signal.SIGCONT))

    def crash(self) -> None:
        """All of it killed at once, and gone."""
        self.kill()
        self.wait()

    def sql(self, *statements: str, database: str = "postgres") -> str:
        """What psql answers, as an administrator; each statement by itself."""
        argv = [str(programs() / "psql"), "-XqAt", "-v", "ON_ERROR_STOP=1", "-h", "127.0.0.1", "-p", str(self.port)]
        argv += ["-U", "dolgo", "-d", database, *(part for statement in statements for part in ("-c", statement))]
        environ = {**os.environ, "PGOPTIONS": "-c default_transaction_read_only=off"}  # to be able to take that back
        ran = subprocess.run(argv, check=True, capture_output=True, text=True, timeout=30, env=environ)
        return ran.stdout.strip()


def need_postgres() -> None:
    """Skip the test at a desk that has no PostgreSQL; in CI everything has to be there."""
    if shutil.which("postgres") is None and not list(DEBIAN.glob("*/bin/postgres")):
        missing("there is no postgresql (apt-get install postgresql)")
    if os.getuid() == 0 and USER not in (entry.pw_name for entry in pwd.getpwall()):
        missing(f"there is no user {USER}, and PostgreSQL does not run as root")


@cache
def programs() -> Path:
    """The folder of the server's programs, of the newest version there is."""
    on_path = shutil.which("postgres")
    if on_path is not None:
        return Path(on_path).resolve().parent
    return max(DEBIAN.glob("*/bin/postgres"), key=lambda path: int(path.parts[-3])).parent


@cache
def postgres_url() -> str:
    """Of a PostgreSQL that all tests of this run share; it ends with them."""
    need_postgres()
    folder = tempfile.mkdtemp(prefix="dolgo-postgres-")
    server = PostgresServer(Path(folder), "max_connections=200").ready()
    atexit.register(shutil.rmtree, folder)
    atexit.register(server.close)
    return server.url


@cache
def _template() -> Path:
    """A cluster that is as it was made, to copy: that takes a tenth of the time."""
    folder = _folder(on_disk=False)
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    options = ("-U", "dolgo", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync", "--no-instructions")
    subprocess.run(
        [*as_user(), str(programs() / "initdb"), "-D", str(folder / "data"), *options],
        check=True, capture_output=True, cwd="/", timeout=60,
    )  # fmt: skip
    return folder / "data"


def _new_cluster(*, on_disk: bool) -> Path:
    folder = _folder(on_disk=on_disk)
    subprocess.run(["cp", "-a", str(_template()), str(folder / "data")], check=True, timeout=60)
    return folder / "data"


def _folder(*, on_disk: bool) -> Path:
    """A folder of the server's own: those of pytest let nobody else in."""
    in_memory = os.access(MEMORY_DISK, os.W_OK) and not on_disk
    folder = Path(tempfile.mkdtemp(prefix="dolgo-postgres-", dir=MEMORY_DISK if in_memory else None))
    if os.getuid() == 0:
        shutil.chown(folder, USER, USER)
    return folder


def as_user() -> list[str]:
    """What comes before a program of the server where the tests run as root."""
    if os.getuid() != 0:
        return []
    found = pwd.getpwnam(USER)
    return ["setpriv", f"--reuid={found.pw_uid}", f"--regid={found.pw_gid}", "--clear-groups"]
