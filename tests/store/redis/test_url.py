"""What a URL of a Redis says."""

import pytest

from dolgo.errors import BadSetting
from dolgo.store.redis.url import parse


def test_a_url_names_a_server_and_a_database() -> None:
    address = parse("redis://example:7000/3")
    assert (address.host, address.port, address.db, address.username, address.password) == ("example", 7000, 3, None, None)
    assert address.tls is None


def test_port_and_database_may_be_left_out() -> None:
    address = parse("redis://example")
    assert (address.port, address.db) == (6379, 0)


def test_user_and_password_may_hold_any_character_if_it_is_escaped() -> None:
    address = parse("redis://a%40b:p%2Fw%3A%23@example")
    assert (address.username, address.password) == ("a@b", "p/w:#")
    assert parse("redis://:secret@example").username is None


def test_the_keys_of_a_deployment_are_in_one_slot_of_a_cluster() -> None:
    assert parse("redis://example").prefix == "{dolgo}:"
    assert parse("redis://example?prefix=shop-1").prefix == "{shop-1}:"


def test_rediss_is_encrypted_and_takes_what_that_needs() -> None:
    address = parse("rediss://example?ssl_ca_certs=/ca.pem&ssl_check_hostname=false&ssl_cert_reqs=none&prefix=x")
    assert address.tls == {"ssl_ca_certs": "/ca.pem", "ssl_check_hostname": False, "ssl_cert_reqs": "none"}


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("redis://", "names no host"),
        ("redis://example:port", "Port could not be cast"),
        ("redis://example:99999", "out of range"),
        ("redis://example/zero", "number of a database"),
        ("redis://example?prefixx=a", "did you mean prefix?"),
        ("redis://example?ssl_ca_certs=/a", "it takes no parameter ssl_ca_certs"),
        ("rediss://example?ssl_cert_reqs=maybe", "one of required, optional, none"),
        ("redis://example?prefix=a{b}", "prefix takes letters"),
        ("redis://example?prefix=", "prefix takes letters"),
        ("redis://[::1", "Invalid IPv6"),
        ("redis://example:0", "nobody listens on port 0"),
        (f"redis://{'x' * 64}.example", "label"),
    ],
)
def test_a_url_that_cannot_be_used_is_refused_with_the_reason(url: str, said: str) -> None:
    with pytest.raises(BadSetting, match=said.replace("?", r"\?")):
        parse(url)


def test_no_message_shows_a_password() -> None:
    with pytest.raises(BadSetting) as refused:
        parse("redis://user:S3CR3T@example/zero")
    assert "S3CR3T" not in str(refused.value)
    assert "S3CR3T" not in parse("redis://user:S3CR3T@example").shown
