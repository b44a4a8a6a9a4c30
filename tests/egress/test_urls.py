"""What a URL itself shows to lead where it must not, before any name is looked up."""

from __future__ import annotations

import pytest

from dolgo.egress.addresses import Allowed
from dolgo.egress.urls import flaw_of, host_of

NONE = Allowed("")


@pytest.mark.parametrize(
    "url",
    [
        *("https://example.com", "https://example.com/", "HTTPS://EXAMPLE.COM/a?b=c", "https://example.com:443/"),
        *("https://example.com:8443/", "https://example.com./", "https://xn--bcher-kva.example/", "https://1.1.1.1/"),
        *("https://[2606:4700::1111]/", "https://[64:ff9b::101:101]/", "https://example.com/%20/a%0d%0a"),
        "https://" + "a" * 60 + ".example/",
    ],
)
def test_a_public_receiver_shows_no_flaw(url: str) -> None:
    assert flaw_of(url, NONE) is None


@pytest.mark.parametrize(
    "url",
    [
        *("", "/", "example.com", "//example.com/", "https:", "https:/", "https://", "https:///path", "https://:443/"),
        *("javascript:alert(1)", "file:///etc/passwd", "ftp://example.com/", "gopher://example.com/", "ws://example.com/"),
        *("http://example.com/", "https://example.com:99999/", "https://example.com:-1/", "https://example.com:0/"),
        *("https://example.com:22/", "https://example.com:6379x/", "https://[::1", "https://a]b/", "https://[nonsense]/"),
        *("https://u@example.com/", "https://u:p@example.com/", "https://@example.com/", "https://example.com/#x"),
        *("https://exa mple.com/", "https://example.com/\r\nx: y", "https://example.com/\t", "https://example.com\\@10.0.0.1/"),
        *("https://bücher.example/", "https://①②⑦.⓪.⓪.①/", "https://example。com/", "https://exam\u200bple.com/"),
        *("https://127.0.0.1/", "https://127.1/", "https://0177.0.0.1/", "https://0x7f.0.0.1/", "https://0x7f000001/"),
        *("https://2130706433/", "https://017700000001/", "https://127.0.0.1./", "https://0/", "https://0.0.0.0/"),
        *("https://10.1/", "https://192.168.0.1/", "https://172.16.1.1/", "https://100.64.0.1/", "https://169.254.169.254/"),
        *("https://0xa9fea9fe/", "https://2852039166/", "https://168.63.129.16/", "https://255.255.255.255/", "https://224.0.0.1/"),
        *("https://[::]/", "https://[::1]/", "https://[0:0:0:0:0:0:0:1]/", "https://[::127.0.0.1]/", "https://[fe80::1]/"),
        *("https://[fe80::1%25eth0]/", "https://[fc00::1]/", "https://[fd00:ec2::254]/", "https://[ff02::1]/"),
        *("https://[::ffff:127.0.0.1]/", "https://[::ffff:7f00:1]/", "https://[::ffff:0:127.0.0.1]/", "https://[::ffff:a9fe:a9fe]/"),
        *("https://[64:ff9b::127.0.0.1]/", "https://[64:ff9b::a9fe:a9fe]/", "https://[64:ff9b:1::1]/", "https://[2002:7f00:1::]/"),
        *("https://[2001:0:4136:e378:8000:63bf:80ff:fffe]/", "https://[2001:db8::1]/", "https://[fec0::1]/", "https://[4000::1]/"),
        *("https://localhost/", "https://LOCALHOST/", "https://localhost./", "https://a.localhost/", "https://printer.local/"),
        *("https://metadata.google.internal/", "https://metadata.google.internal./"),
    ],
)  # fmt: skip
def test_a_url_that_leads_nowhere_or_inwards_is_refused(url: str) -> None:
    assert flaw_of(url, NONE)


def test_what_is_listed_may_be_reached_without_tls_and_on_any_port() -> None:
    allowed = Allowed("hooks.intranet, 10.0.0.0/8, localhost, ::1")
    for url in ("http://hooks.intranet:81/", "http://10.2.3.4:22/", "http://localhost:9000/", "http://[::1]/", "http://10.1/"):
        assert flaw_of(url, allowed) is None
    for url in ("http://other.intranet/", "http://11.0.0.1/", "http://a.localhost/", "http://[::2]/", "http://hooks.intranet:0/"):
        assert flaw_of(url, allowed)


def test_a_host_is_counted_once_however_it_is_written() -> None:
    assert {host_of(url) for url in ("https://EXAMPLE.com", "https://example.com.:443/a", "http://example.com:80")} == {
        "example.com"
    }
