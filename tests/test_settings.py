"""Settings: where a value comes from, what it may be, and what is said when it cannot be used."""

from __future__ import annotations

import re
from dataclasses import FrozenInstanceError
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dolgo.errors import BadSetting
from dolgo.setting_kinds import Seconds, Size, masked
from dolgo.settings import DEFAULT, TABLE, Settings, load, unknown_variables

NAMES = [setting.name for setting in TABLE]
PAGE = Path(__file__).parents[1] / "docs/reference/settings.md"


def loaded(
    folder: Path, *, flags: dict[str, object] | None = None, env: dict[str, str] | None = None, file: str = ""
) -> Settings:
    """Settings as they come out with this environment and this dolgo.toml."""
    if file:
        (folder / "dolgo.toml").write_text(file, "utf-8")
    return load(flags or {}, environ=env or {}, folder=folder)


def refusal(folder: Path, **sources: object) -> str:
    """What is said of settings that cannot be used."""
    with pytest.raises(BadSetting) as refused:
        loaded(folder, **sources)  # type: ignore[arg-type]
    return str(refused.value)


def test_the_defaults_are_what_the_design_says(tmp_path: Path) -> None:
    assert loaded(tmp_path) == Settings(
        store="sqlite:///dolgo.db",
        slots=5,
        tasks=(),
        queues=None,
        lease=30.0,
        drain_timeout=25.0,
        log_format="text",
        reload=False,
        host="127.0.0.1",
        port=8080,
        health_host="127.0.0.1",
        health_port=None,
        insecure=False,
        server="http://127.0.0.1:8080",
        keep=604_800.0,
        max_payload=1_048_576,
        max_batch=67_108_864,
        max_result=16_777_216,
        event_keep=86_400.0,
        event_limit=1_000_000,
        ageing=600.0,
        max_losses=3,
        http_request_allow="",
    )


def test_a_flag_beats_the_environment_beats_the_file_beats_the_default(tmp_path: Path) -> None:
    file = "slots = 2\nport = 2\nlease = 2"
    got = loaded(tmp_path, flags={"slots": "4"}, env={"DOLGO_SLOTS": "3", "DOLGO_PORT": "3"}, file=file)
    assert (got.slots, got.port, got.lease, got.max_losses) == (4, 3, 2.0, 3)
    names = ("slots", "port", "lease", "max_losses")
    assert [got.origin[name] for name in names] == ["--slots", "DOLGO_PORT", "dolgo.toml", DEFAULT]


@pytest.mark.parametrize("name", NAMES)
def test_every_setting_has_an_origin_and_a_field(name: str, tmp_path: Path) -> None:
    got = loaded(tmp_path)
    assert got.origin[name] == DEFAULT
    assert hasattr(got, name)


def test_settings_do_not_change(tmp_path: Path) -> None:
    with pytest.raises(FrozenInstanceError):
        loaded(tmp_path).slots = 6  # type: ignore[misc]
    with pytest.raises(TypeError):
        loaded(tmp_path).origin["slots"] = "me"  # type: ignore[index]


def test_the_server_is_named_by_dolgo_url(tmp_path: Path) -> None:
    got = loaded(tmp_path, env={"DOLGO_URL": "https://tasks.example/dolgo"})
    assert (got.server, got.origin["server"]) == ("https://tasks.example/dolgo", "DOLGO_URL")


def test_an_empty_variable_counts_as_not_set(tmp_path: Path) -> None:
    assert loaded(tmp_path, env={"DOLGO_SLOTS": ""}).slots == 5


def test_a_flag_gets_round_a_bad_variable(tmp_path: Path) -> None:
    assert loaded(tmp_path, flags={"port": "1234"}, env={"DOLGO_PORT": "tcp://10.0.0.1:80"}).port == 1234


def test_lists_are_separated_by_commas_repeated_or_written_as_lists(tmp_path: Path) -> None:
    assert loaded(tmp_path, env={"DOLGO_TASKS": "a, b/c.py,"}).tasks == ("a", "b/c.py")
    assert loaded(tmp_path, flags={"tasks": ("a,b", "c")}).tasks == ("a,b", "c")
    assert loaded(tmp_path, flags={"queues": "a,b"}).queues == ("a", "b")
    got = loaded(tmp_path, file='tasks = ["a"]\nqueues = ["x", "y"]')
    assert (got.tasks, got.queues) == (("a",), ("x", "y"))


def test_the_file_takes_numbers_text_and_truth_values(tmp_path: Path) -> None:
    got = loaded(
        tmp_path, file='reload = true\nlease = "5m"\nkeep = 0.5\nmax_payload = "64k"\nmax_batch = 100\nstore = "memory://"'
    )
    assert (got.reload, got.lease, got.keep, got.max_payload, got.max_batch, got.store) == (
        True,
        300,
        0.5,
        65_536,
        100,
        "memory://",
    )


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("30", 30), ("30s", 30), ("1.5", 1.5), ("500ms", 0.5), ("5m", 300), ("12h", 43_200), ("7d", 604_800), ("5 m", 300)],
)
def test_a_duration_may_have_a_unit(text: str, seconds: float, tmp_path: Path) -> None:
    assert loaded(tmp_path, env={"DOLGO_KEEP": text}).keep == seconds


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("1", 1),
        ("65536", 65_536),
        ("64k", 65_536),
        ("64K", 65_536),
        ("1MiB", 1 << 20),
        ("1.5KiB", 1536),
        ("10MB", 10**7),
        ("1g", 1 << 30),
    ],
)
def test_a_size_may_have_a_unit(text: str, size: int, tmp_path: Path) -> None:
    assert loaded(tmp_path, env={"DOLGO_MAX_PAYLOAD": text}).max_payload == size


@given(st.floats(0, 1e9))
def test_a_duration_can_be_read_as_it_is_shown(seconds: float) -> None:
    kind = Seconds(0)
    assert kind.parse(kind.show(round(seconds, 3))) == pytest.approx(round(seconds, 3), rel=1e-5, abs=1e-3)


@given(st.integers(1, 2**60))
def test_a_size_can_be_read_as_it_is_shown(size: int) -> None:
    kind = Size(1)
    assert kind.parse(kind.show(size)) == size


BAD = [
    ("slots", "many"), ("slots", "-1"), ("slots", "1.5"), ("slots", "9" * 40), ("slots", "٣"),
    ("port", "65536"), ("port", "http"),
    ("lease", "0"), ("lease", "soon"), ("lease", "5 weeks"), ("lease", "nan"), ("lease", "inf"), ("lease", "-1"),
    ("lease", "1" + "0" * 400),
    ("keep", "-1s"),
    ("max_payload", "0"), ("max_payload", "1TB5"), ("max_payload", "1.5"), ("max_payload", "9999999999g"),
    ("max_losses", "0"),
    ("log_format", "xml"),
    ("reload", "maybe"),
    ("store", "dolgo.db"), ("store", "://x"),
    ("server", "localhost:8080"), ("server", "ftp://x"), ("server", "http://"), ("server", "http://["), ("server", "http://x:99999"),
    ("server", "http://a b"),
    ("queues", ","), ("tasks", " , "),
]  # fmt: skip


@pytest.mark.parametrize(("name", "text"), BAD)
def test_a_value_that_cannot_be_used_is_refused_with_its_source_and_the_way_out(name: str, text: str, tmp_path: Path) -> None:
    variable = next(setting.env for setting in TABLE if setting.name == name)
    said = refusal(tmp_path, env={variable: text})
    assert said.startswith(f"{name} cannot be ")
    assert f"(from {variable})" in said
    assert ": give " in said or ": text or json" in said
    assert "\n" not in said


@pytest.mark.parametrize(
    "line", ["slots = true", "slots = [1]", "store = 5", "reload = 2", "tasks = 5", "tasks = [5]", "keep = nan"]
)
def test_the_file_must_hold_the_right_kind(line: str, tmp_path: Path) -> None:
    assert "(from dolgo.toml)" in refusal(tmp_path, file=line)


def test_an_unknown_key_in_the_file_is_refused_with_a_near_miss(tmp_path: Path) -> None:
    said = refusal(tmp_path, file="slot = 3")
    assert said == "dolgo.toml sets 'slot', which is no setting (did you mean slots?). `dolgo config` lists them all."
    assert "no setting. " in refusal(tmp_path, file="[server]\nhost = 1".replace("server", "zzz"))


def test_a_file_that_cannot_be_read_is_refused_in_one_line(tmp_path: Path) -> None:
    assert "dolgo.toml cannot be read: " in refusal(tmp_path, file="slots = ")
    (tmp_path / "dolgo.toml").write_bytes(b"\xff\xfe")
    assert "dolgo.toml cannot be read: " in refusal(tmp_path)
    (tmp_path / "dolgo.toml").unlink()
    (tmp_path / "dolgo.toml").mkdir()
    assert "Is a directory" in refusal(tmp_path)


def test_a_bad_setting_ends_with_the_code_for_usage() -> None:
    assert BadSetting.exit_code == 2


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("redis://host/0", "redis://host/0"),
        ("redis://user:secret@host/0", "redis://user:***@host/0"),
        ("redis://:secret@host/0", "redis://:***@host/0"),
        ("https://secret@host/", "https://***@host/"),
        ("postgresql://u:sec@re/t@host/db?sslpassword=secret&x=1", "postgresql://u:***@host/db?sslpassword=***&x=1"),
        ("u:secret@host", "u:***@host"),
        ("sqlite:///home/me@work/dolgo.db", "sqlite:///home/me@work/dolgo.db"),
    ],
)
def test_credentials_are_masked(url: str, shown: str) -> None:
    assert masked(url) == shown


def test_a_url_is_masked_where_it_is_shown_and_where_it_is_refused(tmp_path: Path) -> None:
    store = next(setting for setting in TABLE if setting.name == "store")
    assert "secret" not in store.show("redis://u:secret@host")
    assert "secret" not in refusal(tmp_path, env={"DOLGO_STORE": "u:secret@host"})
    assert "secret" not in refusal(tmp_path, env={"DOLGO_URL": "redis://u:secret@host"})


def test_variables_that_set_nothing_are_told_with_a_near_miss() -> None:
    environ = {"DOLGO_SLOT": "1", "DOLGO_SERVER": "x", "DOLGO_TOKEN": "t", "DOLGO_PORT": "1", "HOME": "/"}
    assert unknown_variables(environ) == ["DOLGO_SERVER (did you mean DOLGO_URL?)", "DOLGO_SLOT (did you mean DOLGO_SLOTS?)"]


def test_the_reference_page_says_what_the_table_says() -> None:
    rows = re.findall(r"^\| `(\w+)` \| `(DOLGO_\w+)` \| (.*?) \| (.*) \|$", PAGE.read_text("utf-8"), re.MULTILINE)
    expected = []
    for setting in TABLE:
        shown = setting.show(setting.default)
        expected.append((setting.name, setting.env, f"`{shown}`" if shown else "", setting.row.help))
    lines = "\n".join("| `{}` | `{}` | {} | {} |".format(*row) for row in expected)
    assert rows == expected, f"the table of {PAGE.name} should be:\n{lines}"
