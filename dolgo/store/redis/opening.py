"""The first meeting with a Redis: is it there, may we, can it do what is needed?"""

from __future__ import annotations

import logging
import ssl

from dolgo.errors import StoreUnavailable, StoreUnusable
from dolgo.store.redis.bell import Listener
from dolgo.store.redis.library import FAMILY, library
from dolgo.store.redis.server import PASSING, Server, describe
from dolgo.store.redis.wire import Cut, Reply, tls_context

log = logging.getLogger("dolgo.store")

OLDEST = (7, 0)  # the first version with functions that are not lost with a script cache
LAYOUT = 1  # version of the keys and of what they hold
REFUSED = {
    "WRONGPASS": "it knows no such user with this password. Correct them in the URL: redis://USER:PASSWORD@HOST",
    "NOAUTH": "it wants a password. Put it into the URL: redis://:PASSWORD@HOST",
    "NOPERM": "its user may not do what dolgo needs. `dolgo doctor` tells which commands and keys those are",
}


async def open_server(server: Server, bell: Listener) -> None:
    """Connect, look, put the library in, and listen.

    Raises StoreUnavailable while it is not there yet, StoreUnusable for good."""
    _check_certificates(server)
    try:
        await server.open()
        info = await _info(server)
        _check_version(server, info)
        _check_role(server, info)
        await _load(server)
        await bell.open()
        await _check_layout(server)
    except ssl.SSLCertVerificationError as error:
        await server.close()
        raise StoreUnusable(
            f"The store {server.address.shown} cannot be used: its certificate is not to be trusted ({error.verify_message}). "
            "Name who signed it: rediss://…?ssl_ca_certs=FILE."
        ) from None
    except (Cut, OSError) as error:
        await server.close()  # so that it may be tried again
        raise StoreUnavailable(f"The store {server.address.shown} cannot be reached: {describe(error)}.") from None
    except Reply as refused:
        await server.close()
        raise _unusable(server, refused) from None
    except BaseException:
        await server.close()
        raise


def _unusable(server: Server, refused: Reply) -> StoreUnusable | StoreUnavailable:
    reason = REFUSED.get(refused.code)
    if reason is None and refused.code in PASSING:
        return StoreUnavailable(f"The store {server.address.shown} cannot be used now: {PASSING[refused.code]}.")
    if "invalid password" in str(refused) or "without any password configured" in str(refused):
        reason = REFUSED["WRONGPASS"]
    return StoreUnusable(f"The store {server.address.shown} cannot be used: {reason or refused}.")


def _check_certificates(server: Server) -> None:
    try:
        tls_context(server.address)
    except OSError as error:  # an SSLError is one
        raise StoreUnusable(
            f"The store {server.address.shown} cannot be used: a file for TLS that it names cannot be used: {error}."
        ) from None


async def _check_layout(server: Server) -> None:
    """What is stored bears the version of its layout, so that older code leaves newer data alone."""
    place = (server.address.prefix + "meta", "version")
    version = await server.command("HGET", *place, again=True)
    if version is None:
        await server.command("HSETNX", *place, LAYOUT, again=True)
    elif int(version) > LAYOUT:
        raise StoreUnusable(
            f"The store {server.address.shown} cannot be used: its data is of a newer version. Upgrade dolgo on this machine."
        )


async def _info(server: Server) -> dict[str, str]:
    """What the server says of itself."""
    text: bytes = await server.greet("INFO")
    lines = (line.partition(":") for line in text.decode(errors="replace").splitlines())
    return {name: value for name, _, value in lines}


def _check_version(server: Server, info: dict[str, str]) -> None:
    version = info.get("redis_version", "0")  # Valkey tells the version of Redis it is like
    numbers = tuple(int(part) for part in version.split(".")[:2] if part.isdecimal())
    if numbers < OLDEST:
        raise StoreUnusable(
            f"The store {server.address.shown} cannot be used: it is Redis {version}, and dolgo needs 7.0 or newer, or Valkey."
        )


def _check_role(server: Server, info: dict[str, str]) -> None:
    if info.get("role") == "slave":
        master = f"{info.get('master_host')}:{info.get('master_port')}"
        raise StoreUnusable(f"The store {server.address.shown} cannot be used: it is a replica. Name its master, {master}.")
    if (policy := info.get("maxmemory_policy", "noeviction")) != "noeviction":
        log.warning(
            "The store %s may throw tasks away when its memory is full: its maxmemory-policy is %s. Set it to noeviction.",
            server.address.shown,
            policy,
        )


async def _load(server: Server) -> None:
    """Put the library in, and take out those of other versions: an older process that still runs puts its own in again."""
    answer = await server.greet("FUNCTION", "LIST", "LIBRARYNAME", FAMILY + "*")
    there = {dict(zip(entry[::2], entry[1::2], strict=True))[b"library_name"].decode() for entry in answer}
    mine = library()
    for name in there - {mine.name}:
        await server.greet("FUNCTION", "DELETE", name)
    if mine.name not in there:
        await server.load()
