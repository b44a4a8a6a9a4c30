"""Every setting, in one table, and where its value comes from: flag > environment > dolgo.toml > default.

`Settings` is that table: one field a setting, and beside its default the kind of value, the help and the commands that use it.
Flags, `dolgo config` and `docs/reference/settings.md` follow from it.
"""

from __future__ import annotations

import difflib
import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from types import MappingProxyType
from typing import Any

from dolgo.errors import BadSetting
from dolgo.setting_kinds import Choice, Flag, Kind, Names, Networks, Paths, Seconds, Secret, Size, Text, Url, Whole

FILE = "dolgo.toml"  # read from the working directory
DEFAULT = "default"  # the origin of a value that nobody set
DAY = 86_400.0  # seconds
SERVICE = ("serve", "worker")  # the commands that run tasks
IN_FILE = "_FILE"  # at the end of a variable: it names a file with the secret, as container systems put them
NOT_SETTINGS = frozenset({"DOLGO_TOKEN"})  # read by the client commands, never stored in a table that is printed


@dataclass(frozen=True)
class Row:
    """What is known of one setting besides its name and default."""

    kind: Kind
    help: str
    commands: tuple[str, ...]  # "client" stands for every command that talks to a server
    env: str | None  # the variable's name where it is not DOLGO_NAME


def row(default: object, kind: Kind, help: str, *commands: str, env: str | None = None) -> Any:
    """A field of `Settings`: its default and, as metadata, its `Row`."""
    secret = isinstance(kind, Secret)
    return field(default=default, metadata={"row": Row(kind, help, commands or SERVICE, env)}, repr=not secret)


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The values in force, and the origin of each."""

    store: str = row(
        "sqlite:///dolgo.db", Url("sqlite:///dolgo.db"), "Where tasks are kept.", *SERVICE, "token", "secret", "prune", "doctor"
    )
    queue: str = row(
        "", Url("amqp://127.0.0.1:5672/"), "A broker that tells workers of tasks, beside the store.", *SERVICE, "doctor"
    )
    slots: int = row(5, Whole(0), "Tasks at most at once; 0 serves the web alone.")
    tasks: tuple[str, ...] = row((), Paths(), "Folders, files or modules with task types, besides ./tasks.")
    queues: tuple[str, ...] | None = row(None, Names(), "Queues to take tasks from, comma-separated; all if not given.")
    lease: float = row(30.0, Seconds(0.1), "How long a worker holds a task without renewing it.")
    drain_timeout: float = row(25.0, Seconds(0), "How long running tasks may go on after SIGTERM.")
    grace: float = row(5.0, Seconds(0), "How long a handler that was told to stop may go on before its process is killed.")
    log_format: str = row("text", Choice(("text", "json")), "Form of the log on stderr: text or json.")
    reload: bool = row(False, Flag(), "Take up new and changed task types while running.")
    host: str = row("127.0.0.1", Text("127.0.0.1"), "Address to listen on.", "serve")
    port: int = row(8080, Whole(0, 65_535), "Port to listen on; 0 picks a free one.", "serve")
    health_host: str = row("127.0.0.1", Text("127.0.0.1"), "Address of a worker's health port.", "worker")
    health_port: int | None = row(
        None,
        Whole(0, 65_535),
        "Port for a worker's /livez, /readyz, /healthz and /metrics; 0 picks a free one; none if not given.",
        "worker",
    )
    insecure: bool = row(False, Flag(), "Listen beyond this machine without asking for a token.")
    admin_token: str = row("", Secret(32), "A token that may do everything, besides those in the store.", "serve")
    jwt_key: str = row("", Secret(32), "The secret shared with whoever makes JWTs.", "serve")
    jwt_jwks_url: str = row(
        "", Url("https://id.example.org/jwks.json", ("http", "https")), "Where the public keys of makers of JWTs are.", "serve"
    )
    jwt_audience: str = row("", Text("dolgo"), "The `aud` that a JWT must have.", "serve")
    jwt_issuer: str = row("", Text("https://id.example.org"), "The `iss` that a JWT must have.", "serve")
    jwt_algorithms: tuple[str, ...] | None = row(
        None, Names(), "Algorithms of JWTs that are taken, comma-separated; all that fit the keys if not given.", "serve"
    )
    public_docs: bool = row(True, Flag(), "Show /docs and /openapi.json without a token.", "serve")
    audit_keep: float = row(90 * DAY, Seconds(0.1), "How long the audit log tells of what was done.", "serve")
    server: str = row(
        "http://127.0.0.1:8080",
        Url("http://127.0.0.1:8080", ("http", "https")),
        "The server that the client commands talk to.",
        "client",
        env="DOLGO_URL",
    )
    keep: float = row(7 * DAY, Seconds(0), "How long a finished task is kept.", *SERVICE, "prune")
    max_payload: int = row(1 << 20, Size(1), "Largest payload of a task.", "serve")
    max_batch: int = row(64 << 20, Size(1), "Largest body of a batch.", "serve")
    max_result: int = row(16 << 20, Size(1), "Largest result of a task.")
    event_keep: float = row(DAY, Seconds(0), "How long an event stays in the log.")
    event_limit: int = row(1_000_000, Whole(1), "Events at most in the log.")
    ageing: float = row(600.0, Seconds(0), "Seconds of waiting that one level of priority is worth.")
    max_losses: int = row(3, Whole(1), "A task that took this many children down with it has failed.")
    http_request_allow: str = row(
        "", Text("10.0.0.0/8,intranet.example"), "Hosts and networks that http_request may reach though they are private."
    )
    callback_allow: str = row(
        "", Networks("10.0.0.0/8,intranet.example"), "Hosts and networks that callbacks may go to though they are private."
    )
    callback_retry_for: float = row(DAY, Seconds(0), "How long a callback that does not arrive is tried again.")
    public_url: str = row("", Text("https://dolgo.example.org"), "Where receivers of callbacks reach this service, for links.")
    origin: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}), compare=False)


@dataclass(frozen=True)
class Setting:
    """One line of the table."""

    name: str
    default: Any
    row: Row

    @property
    def secret(self) -> bool:
        """Whether it must not be seen."""
        return isinstance(self.row.kind, Secret)

    @property
    def private(self) -> bool:
        """Whether it is, or may hold, a secret of the service, which task code has no use for."""
        return self.secret or (isinstance(self.row.kind, Url) and self.row.commands != ("client",))

    @property
    def flag(self) -> str:
        """Its flag on the command line."""
        return "--" + self.name.replace("_", "-")

    @property
    def env(self) -> str:
        """Its variable in the environment."""
        return self.row.env or "DOLGO_" + self.name.upper()

    def show(self, value: object) -> str:
        """The value as one would write it, credentials masked."""
        return self.row.kind.show(value)


TABLE = tuple(Setting(f.name, f.default, f.metadata["row"]) for f in fields(Settings) if f.name != "origin")


def load(flags: Mapping[str, object], *, environ: Mapping[str, str], folder: Path) -> Settings:
    """The settings in force. Only the winning source of each is parsed, so a flag gets round a bad variable.

    `flags` are values by setting name, None where a flag was not given. Raises `BadSetting`.
    """
    written = _read_file(folder / FILE)
    values: dict[str, Any] = {}
    origin: dict[str, str] = {}
    for setting in TABLE:
        origin[setting.name], given = _winner(setting, flags, environ, written)
        values[setting.name] = _parse(setting, given, origin[setting.name])
    return Settings(**values, origin=MappingProxyType(origin))


def unknown_variables(environ: Mapping[str, str]) -> list[str]:
    """The DOLGO_* variables that set nothing, each with a near miss. Worth a warning only: others may have put them there."""
    known = {setting.env for setting in TABLE} | NOT_SETTINGS
    known |= {setting.env + IN_FILE for setting in TABLE if setting.secret}
    meant = {"DOLGO_" + setting.name.upper(): setting.env for setting in TABLE}
    strays = sorted(name for name in environ if name.startswith("DOLGO_") and name not in known)
    return [name + _near(name, meant) for name in strays]


def for_tasks(environ: Mapping[str, str]) -> dict[str, str]:
    """The environment as task code has it: without the secrets of the service."""
    private = {setting.env for setting in TABLE if setting.private}
    return {name: value for name, value in environ.items() if name.removesuffix(IN_FILE) not in private}


def _winner(
    setting: Setting, flags: Mapping[str, object], environ: Mapping[str, str], written: Mapping[str, object]
) -> tuple[str, object]:
    if flags.get(setting.name) is not None:
        return setting.flag, flags[setting.name]
    if environ.get(setting.env):  # an empty variable counts as not set, as programs commonly do
        return setting.env, environ[setting.env]
    if setting.secret and environ.get(setting.env + IN_FILE):
        return setting.env + IN_FILE, _content(setting.env + IN_FILE, environ)
    if setting.name in written:
        return FILE, written[setting.name]
    return DEFAULT, setting.default


def _content(variable: str, environ: Mapping[str, str]) -> str:
    """The text of the file that a variable names."""
    try:
        return Path(environ[variable]).read_text("utf-8").strip()
    except (OSError, ValueError) as error:
        reason = os.strerror(error.errno) if isinstance(error, OSError) and error.errno else "it is no text"
        raise BadSetting(f"The file that {variable} names cannot be read: {reason}.") from None


def _parse(setting: Setting, given: object, origin: str) -> object:
    if origin == DEFAULT:
        return given
    kind = setting.row.kind
    try:
        return kind.read(given)
    except ValueError as error:
        raise BadSetting(f"{setting.name} cannot be {kind.quote(given)} (from {origin}): {error}.") from None


def _read_file(path: Path) -> dict[str, object]:
    try:
        written = tomllib.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        reason = os.strerror(error.errno) if isinstance(error, OSError) and error.errno else error
        raise BadSetting(f"{FILE} cannot be read: {reason}. Correct it, or move it out of {path.parent}.") from None
    known = {setting.name: setting.name for setting in TABLE}
    for name in written:
        if name not in known:
            raise BadSetting(f"{FILE} sets {name!r}, which is no setting{_near(name, known)}. `dolgo config` lists them all.")
    return written


def _near(name: str, meant: Mapping[str, str]) -> str:
    close = difflib.get_close_matches(name, meant, n=1)
    return f" (did you mean {meant[close[0]]}?)" if close else ""
