"""Which addresses may be connected to because somebody who submits tasks says so."""

from __future__ import annotations

import asyncio
import socket
import threading
from concurrent.futures import Future
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import Any

Address = IPv4Address | IPv6Address

# Beside what `is_global` knows, which differs between releases of Python.
CLOSED_V4 = [
    ip_network(block)
    for block in (
        "168.63.129.16/32",  # the platform of Azure, metadata included, at a public address
        "192.0.0.0/24",  # protocol assignments; metadata at Oracle
        "192.88.99.0/24",  # relays into IPv6
        "198.18.0.0/15",  # benchmarks
    )
]
UNICAST_V6 = ip_network("2000::/3")  # all that was ever given out
NAT64 = ip_network("64:ff9b::/96")


class Allowed:
    """Hosts and networks that may be reached although they are not public: `"10.0.0.0/8,intranet.example"`."""

    def __init__(self, listed: str) -> None:
        """Raises `ValueError` for a network that is none."""
        entries = [entry.strip().strip("[]").lower() for entry in listed.split(",") if entry.strip()]
        self._networks = [ip_network(entry, strict=False) for entry in entries if _is_network(entry)]
        self._hosts = {entry.rstrip(".") for entry in entries if not _is_network(entry)}

    def host(self, host: str) -> bool:
        """Whether the host is listed by its name, so that its addresses do not matter."""
        return host.lower().rstrip(".") in self._hosts

    def address(self, address: Address) -> bool:
        return any(address in network for network in self._networks)


def _is_network(entry: str) -> bool:
    if "/" in entry:
        return True
    try:
        ip_address(entry)
    except ValueError:
        return False
    return True


def is_public(address: Address) -> bool:
    """Whether the address belongs to the internet at large: not to this machine, its network, or its cloud's control plane."""
    if isinstance(address, IPv4Address):
        return address.is_global and not address.is_multicast and not any(address in block for block in CLOSED_V4)
    inner = _within(address)
    if inner is not None:
        return is_public(inner)
    return address in UNICAST_V6 and address.is_global and address.teredo is None


def _within(address: IPv6Address) -> IPv4Address | None:
    """The IPv4 address that an IPv6 address stands for, which is where a packet would go."""
    if address in NAT64:
        return IPv4Address(int(address) & 0xFFFFFFFF)
    return address.ipv4_mapped or address.sixtofour


async def resolve(host: str, port: int, allowed: Allowed) -> list[str]:
    """The host's addresses, to be connected to as they are: a second look-up might answer otherwise.

    Raises `PermissionError` if one of them is neither public nor allowed, `OSError` if there is none. However an address is
    spelled (`127.1`, `0x7f.1`, `2130706433`), the system's resolver reads it here as it would when connecting."""
    try:
        found = await _looked_up(host, port)
    except (OSError, UnicodeError) as error:
        raise OSError(f"{host} has no address: {error}") from error
    addresses = list(dict.fromkeys(str(place[0]) for *_, place in found))
    for text in addresses:
        _check(host, ip_address(text), allowed)
    return addresses


async def _looked_up(host: str, port: int) -> list[tuple[Any, ...]]:
    """As `getaddrinfo`, in a thread of its own: a loop has few threads for all look-ups, and one name server that does not answer
    would keep all others waiting, the store's among them."""
    answer: Future[list[tuple[Any, ...]]] = Future()
    answer.set_running_or_notify_cancel()  # nobody can call it off

    def look_up() -> None:
        try:
            answer.set_result(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM))
        except Exception as error:  # whoever waits has to hear of it, whatever it is
            answer.set_exception(error)

    threading.Thread(target=look_up, name="dolgo-name", daemon=True).start()
    return await asyncio.wrap_future(answer)


def is_allowed(host: str, address: Address, allowed: Allowed) -> bool:
    """Whether the host may be connected to at this address."""
    inner = _within(address) if isinstance(address, IPv6Address) else None
    return is_public(address) or allowed.host(host) or allowed.address(address) or bool(inner and allowed.address(inner))


def _check(host: str, address: Address, allowed: Allowed) -> None:
    if is_allowed(host, address, allowed):
        return
    at = host if host == str(address) else f"{host} ({address})"
    raise PermissionError(f"{at} is not a public address")
