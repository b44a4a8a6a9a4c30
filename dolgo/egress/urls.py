"""Where somebody who submits tasks may have us send something: what a URL itself shows, before any name is looked up."""

from __future__ import annotations

import socket
from ipaddress import IPv4Address, IPv6Address, ip_address
from urllib.parse import SplitResult, urlsplit

from dolgo.egress.addresses import Address, Allowed, is_allowed

LONGEST = 2_048  # characters of a URL
WELL_KNOWN = 1_024  # ports below it belong to services of other kinds, but for those of the web
WEB = frozenset({80, 443})
LOCAL = ("localhost", ".localhost", ".local", ".internal")  # names that only a network of one's own resolves


def flaw_of(url: str, allowed: Allowed) -> str | None:
    """What is wrong with the URL, as the end of a sentence; None if nothing shows. The address it leads to is checked when it is
    connected to: a name can be made to lead anywhere."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        return "it is no URL"
    if not host or not url.isascii() or not url.isprintable() or " " in url or "\\" in url:
        return "it must be an absolute URL in ASCII, without spaces"
    return _scheme(parts, host, allowed) or _parts(parts) or _port(port, host, allowed) or _host(host, allowed)


def _scheme(parts: SplitResult, host: str, allowed: Allowed) -> str | None:
    if parts.scheme == "https" or (parts.scheme == "http" and _listed(host, allowed)):
        return None
    return "it must begin with https://; http:// is for hosts that the setting `callback_allow` lists"


def _parts(parts: SplitResult) -> str | None:
    if "@" in parts.netloc:
        return "it must hold no user and no password"
    return "it must have no fragment" if parts.fragment else None


def _port(port: int | None, host: str, allowed: Allowed) -> str | None:
    if port is None or port in WEB or port >= WELL_KNOWN or (port > 0 and _listed(host, allowed)):
        return None
    return f"the port {port} is not one of the web"


def _host(host: str, allowed: Allowed) -> str | None:
    address = literal(host)
    inner = host.rstrip(".").lower()
    local = inner.endswith(LOCAL[1:]) or inner == LOCAL[0]
    if (local and not allowed.host(host)) or (address is not None and not is_allowed(host, address, allowed)):
        return f"{host} is not public, and the setting `callback_allow` does not list it"
    return None


def _listed(host: str, allowed: Allowed) -> bool:
    address = literal(host)
    return allowed.host(host) or (address is not None and allowed.address(address))


def literal(host: str) -> Address | None:
    """The address that a host is, in whatever notation the system would take (`127.1`, `0x7f.1`, `2130706433`); None: a name."""
    try:
        found: IPv4Address | IPv6Address = ip_address(host.partition("%")[0])
    except ValueError:
        try:
            return IPv4Address(socket.inet_aton(host.rstrip(".")))
        except (OSError, ValueError):
            return None
    return found


def host_of(url: str) -> str:
    """The host of a URL without flaws, as it is counted by: at most 255 characters."""
    return (urlsplit(url).hostname or "").rstrip(".")[:255]
