"""What a URL of a PostgreSQL says."""

import pytest

from dolgo.errors import BadSetting
from dolgo.store.postgres.url import parse


def test_a_url_names_a_server_a_database_and_a_schema() -> None:
    address = parse("postgresql://me@example:7000/tasks?schema=shop_1")
    assert (address.host, address.port, address.database, address.user, address.password) == (
        "example",
        7000,
        "tasks",
        "me",
        None,
    )
    assert address.schema == "shop_1"
    assert address.channel == "shop_1_commits"


def test_what_is_left_out_is_what_postgresql_would_take() -> None:
    address = parse("postgres://example")
    assert (address.port, address.database, address.user, address.schema) == (5432, None, None, "dolgo")
    assert address.arguments == {"dsn": "postgresql://?", "host": "example", "port": 5432}


def test_user_password_and_database_may_hold_any_character_if_it_is_escaped() -> None:
    address = parse("postgresql://a%40b:p%2Fw%3A%23@example/a%2Fb")
    assert (address.user, address.password, address.database) == ("a@b", "p/w:#", "a/b")


def test_a_unix_socket_is_named_by_its_folder() -> None:
    assert parse("postgresql:///tasks?host=/run/postgresql").host == "/run/postgresql"
    assert parse("postgresql://%2Frun%2Fpostgresql/tasks").host == "/run/postgresql"


def test_how_to_encrypt_is_said_as_to_libpq() -> None:
    arguments = parse("postgresql://example/x?sslmode=verify-full&sslrootcert=/ca.pem&schema=y").arguments
    assert arguments["dsn"] == "postgresql://?sslmode=verify-full&sslrootcert=%2Fca.pem"


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("postgresql://", "names no host"),
        ("postgresql:///tasks", "names no host"),
        ("postgresql://example:port", "Port could not be cast"),
        ("postgresql://example:99999", "out of range"),
        ("postgresql://example:0", "nobody listens on port 0"),
        ("postgresql://example?shema=a", "did you mean schema?"),
        ("postgresql://example?options=-c", "it takes no parameter options"),
        ("postgresql://example?sslmode=maybe", "sslmode is one of disable, allow, prefer"),
        ("postgresql://example?schema=", "schema takes small letters"),
        ("postgresql://example?schema=Shop", "schema takes small letters"),
        ("postgresql://example?schema=pg_x", "does not begin with pg_"),
        (f"postgresql://example?schema={'x' * 41}", "at most 40"),
        ("postgresql://[::1", "Invalid IPv6"),
        ("postgresql://example/a%00b", "holds a NUL"),
        (f"postgresql://{'x' * 64}.example", "label"),
    ],
)
def test_a_url_that_cannot_be_used_is_refused_with_the_reason(url: str, said: str) -> None:
    with pytest.raises(BadSetting, match=said.replace("?", r"\?")):
        parse(url)


def test_no_message_shows_a_password() -> None:
    with pytest.raises(BadSetting) as refused:
        parse("postgresql://user:S3CR3T@example?sslmode=no")
    assert "S3CR3T" not in str(refused.value)
    assert "S3CR3T" not in parse("postgresql://user:S3CR3T@example/x").shown
