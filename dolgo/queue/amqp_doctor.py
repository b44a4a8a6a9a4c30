"""What can be wrong with a RabbitMQ that is to tell workers of tasks.

Only a try tells what a user may do and whether anything is confirmed: it makes a queue of its own, which it deletes, and
publishes one message that no queue takes.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Iterator
from typing import Any
from urllib.parse import urlsplit

import aio_pika
from aiormq.exceptions import (
    AuthenticationError,
    ChannelClosed,
    ChannelPreconditionFailed,
    InvalidFrameError,
    ProbableAuthenticationError,
)

from dolgo.queue.amqp import ANSWERS_WITHIN, EXCHANGE, FAULTS, TRIAL, UNUSED, closed, declared, describe, tried
from dolgo.queue.base import HERE, Gone
from dolgo.setting_kinds import masked
from dolgo.store.findings import Finding, Verdict, bad, ok, warn

OLDEST = (3, 10)  # before it, messages of quorum queues did not expire
Check = Callable[[Any], Awaitable[Verdict]]


def examine(url: str) -> list[Finding]:
    """What is found in the RabbitMQ at `url`."""
    return asyncio.run(_examine(url))


async def _examine(url: str) -> list[Finding]:
    shown = masked(url)
    try:
        connection = await aio_pika.connect(url, timeout=ANSWERS_WITHIN)
    except (*FAULTS, ValueError) as error:
        return [Finding("broker", *_no_connection(shown, error))]
    found = [Finding("broker", *ok(f"{shown} answers"))]
    try:
        for name, check in CHECKS.items():
            found.append(Finding(name, *await _checked(check, connection)))
    finally:
        await closed(connection)
    return [*found, *_network(url)]


async def _checked(check: Check, connection: Any) -> Verdict:
    try:
        async with asyncio.timeout(4 * ANSWERS_WITHIN):
            return await check(connection)
    except FAULTS as error:
        return bad(f"it cannot be tried: {describe(error)}", "See the log of RabbitMQ.")


def _no_connection(shown: str, error: BaseException) -> Verdict:
    text = f"{shown}: {describe(error)}"
    if isinstance(error, AuthenticationError | ProbableAuthenticationError):
        return bad(
            text, "Give user and password in the URL: amqp://USER:PASSWORD@HOST:PORT/VHOST; guest is let in from localhost alone."
        )
    if isinstance(error, InvalidFrameError):
        return bad(text, "Correct the virtual host behind the last slash, or make it: rabbitmqctl add_vhost NAME.")
    return bad(text, "Start RabbitMQ, or correct host, port or the scheme (amqps:// with TLS) in --queue.")


async def _server(connection: Any) -> Verdict:
    said = connection.transport.connection.server_properties or {}
    name, version = (str(said.get(key, "?")) for key in ("product", "version"))
    if tuple(int(part) for part in re.findall(r"\d+", version)[:2]) < OLDEST:
        return bad(f"{name} {version}: messages of quorum queues do not expire there", "Upgrade to RabbitMQ 3.10 or newer.")
    if not said.get("capabilities", {}).get("publisher_confirms"):
        return bad(f"{name} {version} does not confirm what is published", "Use RabbitMQ 3.10 or newer.")
    return ok(f"{name} {version}")


async def _rights(connection: Any) -> Verdict:
    """Whether the exchange and a quorum queue can be made."""
    channel = await connection.channel()
    try:
        exchange = await declared(channel)
        arguments = {"x-queue-type": "quorum", "x-expires": UNUSED}
        queue = await channel.declare_queue(TRIAL, durable=True, arguments=arguments, timeout=ANSWERS_WITHIN)
        await queue.bind(exchange, TRIAL)
        await queue.delete(if_unused=False, if_empty=False)
    except ChannelPreconditionFailed as error:
        return bad(
            f"there is another kind of queue or exchange under a name of dolgo's ({describe(error)})",
            "Delete it, and the policy or the program that made it: dolgo makes quorum queues and a direct exchange.",
        )
    except ChannelClosed as error:
        return bad(
            f"this user may not do what is needed ({describe(error)})",
            f"rabbitmqctl set_permissions -p VHOST NAME '^{EXCHANGE}' '^{EXCHANGE}' '^{EXCHANGE}'",
        )
    return ok("quorum queues can be made")


async def _confirms(connection: Any) -> Verdict:
    channel = await connection.channel(publisher_confirms=True)
    exchange = await declared(channel)
    try:
        await tried(exchange)
    except Gone:
        return bad(
            f"it has confirmed nothing for {ANSWERS_WITHIN:g} s: a memory or disk alarm blocks whoever publishes",
            "See rabbitmqctl status; give it memory (vm_memory_high_watermark) or disk, or find what fills its queues.",
        )
    return ok("what is published is confirmed")


def _network(url: str) -> Iterator[Finding]:
    parts = urlsplit(url)
    if parts.scheme == "amqps" or (parts.hostname or HERE[0]) in HERE:
        return
    verdict = warn(
        f"{parts.hostname} is reached without encryption: whoever is in between reads the password",
        "Use amqps://, or make sure that nobody else is in that network.",
    )
    yield Finding("broker's network", *verdict)


CHECKS: dict[str, Check] = {"broker's version": _server, "broker's queues": _rights, "broker's confirms": _confirms}
