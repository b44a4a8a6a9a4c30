"""Which addresses are refused, however they are spelled, and what a setting can allow."""

from __future__ import annotations

import asyncio
import ipaddress
import socket

import pytest

from dolgo.egress.addresses import Allowed, is_public, resolve

NONE = Allowed("")


@pytest.mark.parametrize(
    "address", ["1.1.1.1", "8.8.8.8", "93.184.216.34", "2606:4700::1111", "64:ff9b::808:808", "2002:808:808::1"]
)
def test_the_internet_at_large_is_public(address: str) -> None:
    assert is_public(ipaddress.ip_address(address))


@pytest.mark.parametrize(
    "address",
    [
        *("127.0.0.1", "127.255.255.254", "0.0.0.0", "0.1.2.3", "10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.1.1"),
        *("169.254.169.254", "100.64.0.1", "100.100.100.200", "168.63.129.16", "192.0.0.192", "198.18.0.1", "192.88.99.1"),
        *("192.0.2.1", "198.51.100.1", "203.0.113.1", "224.0.0.1", "239.1.1.1", "240.0.0.1", "255.255.255.255"),
        *("::", "::1", "fe80::1", "fe80::1%eth0", "fec0::1", "fc00::1", "fd00:ec2::254", "ff02::1", "100::1", "2001:db8::1"),
        *("::ffff:127.0.0.1", "::ffff:10.0.0.1", "::127.0.0.1", "64:ff9b::7f00:1", "64:ff9b:1::1", "2002:7f00:1::1"),
        *("2001:0:4136:e378:8000:63bf:80ff:fffe", "4000::1"),
    ],
)
def test_everything_else_is_not(address: str) -> None:
    assert not is_public(ipaddress.ip_address(address))


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "127.1", "2130706433", "0x7f.0.0.1", "0x7f000001", "017700000001", "0", "::1", "localhost"]
)
def test_an_address_is_refused_in_every_notation(host: str) -> None:
    with pytest.raises(PermissionError, match="is not a public address"):
        asyncio.run(resolve(host, 80, NONE))


def test_a_listed_host_may_have_any_address() -> None:
    assert "127.0.0.1" in asyncio.run(resolve("LocalHost", 80, Allowed("intranet.example, localhost")))


@pytest.mark.parametrize("listed", ["127.0.0.0/8", " 127.0.0.1 ,10.0.0.0/8", "10.0.0.0/8,127.0.0.1/32", "127.0.0.99/8"])
def test_a_listed_network_may_be_reached(listed: str) -> None:
    assert asyncio.run(resolve("127.0.0.1", 80, Allowed(listed))) == ["127.0.0.1"]


def test_a_network_is_listed_for_its_mapped_form_as_well() -> None:
    assert asyncio.run(resolve("::ffff:10.0.0.1", 80, Allowed("10.0.0.0/8"))) == ["::ffff:10.0.0.1"]
    with pytest.raises(PermissionError):
        asyncio.run(resolve("::ffff:10.0.0.1", 80, Allowed("127.0.0.0/8")))


def test_listing_one_network_leaves_the_others_closed() -> None:
    with pytest.raises(PermissionError):
        asyncio.run(resolve("127.0.0.1", 80, Allowed("10.0.0.0/8,intranet.example")))


def test_a_network_that_is_none_is_an_error() -> None:
    with pytest.raises(ValueError, match=r"10\.0\.0\.0/33"):
        Allowed("10.0.0.0/33")


@pytest.mark.anyio
async def test_one_closed_address_closes_the_host(monkeypatch: pytest.MonkeyPatch) -> None:
    def two(*_: object, **__: object) -> list[object]:
        return [(0, 0, 0, "", ("8.8.8.8", 80)), (0, 0, 0, "", ("10.0.0.1", 80))]

    monkeypatch.setattr(socket, "getaddrinfo", two)
    with pytest.raises(PermissionError, match=r"mixed.example \(10.0.0.1\) is not a public address"):
        await resolve("mixed.example", 80, NONE)


def test_a_host_without_an_address_is_named() -> None:
    with pytest.raises(OSError, match=r"nowhere\.invalid has no address"):
        asyncio.run(resolve("nowhere.invalid", 80, NONE))
