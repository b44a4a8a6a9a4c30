"""HTTP to addresses that were checked. Brings in httpx, so it is imported when the first request is made."""

from __future__ import annotations

import functools
import ssl

import httpx

from dolgo.egress.addresses import Allowed, resolve

PORTS = {"http": 80, "https": 443}


def client(allowed: Allowed) -> httpx.AsyncClient:
    """A client that reaches public and allowed addresses, follows no redirect, and leaves timeouts to the caller."""
    return httpx.AsyncClient(transport=CheckedTransport(allowed), timeout=None, trust_env=False, follow_redirects=False)


class CheckedTransport(httpx.AsyncBaseTransport):
    """Resolves a host once, checks every address, and connects to those, while `Host` and TLS still name the host.

    Raises `PermissionError` for an address that is neither public nor allowed. No proxy is used: it would resolve again."""

    def __init__(self, allowed: Allowed) -> None:
        self._allowed = allowed
        self._inner = httpx.AsyncHTTPTransport(verify=trust(), trust_env=False)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        host, port = place(request.url)
        addresses = await resolve(host, port, self._allowed)
        for address in addresses[:-1]:
            try:
                return await self._inner.handle_async_request(_to(address, host, request))
            except httpx.ConnectError:
                continue  # nothing was sent yet; a host with several addresses is there as long as one of them is
        return await self._inner.handle_async_request(_to(addresses[-1], host, request))

    async def aclose(self) -> None:
        await self._inner.aclose()


def place(url: httpx.URL) -> tuple[str, int]:
    """Host and port. Raises what httpx raises for a URL that has none."""
    host = url.raw_host.decode("ascii").strip("[]")
    if not host or url.scheme not in PORTS:
        raise httpx.UnsupportedProtocol("the URL names no scheme or no host")
    port = url.port or PORTS[url.scheme]
    if port > 0xFFFF:
        raise httpx.InvalidURL(f"there is no port {port}")
    return host, port


def _to(address: str, host: str, request: httpx.Request) -> httpx.Request:
    return httpx.Request(
        request.method,
        request.url.copy_with(host=address),
        headers=request.headers,  # `Host` included: the client has set it
        stream=request.stream,
        extensions={**request.extensions, "sni_hostname": host.rstrip(".")},
    )


@functools.cache
def trust() -> ssl.SSLContext:
    """Read once a process: it takes 20 ms, and handlers share a loop. `SSL_CERT_FILE` names another authority."""
    return httpx.create_ssl_context(trust_env=True)
