"""Which broker a URL names: the one list of all brokers."""

from __future__ import annotations

from collections.abc import Sequence

from dolgo.errors import BadSetting
from dolgo.queue.base import Queue
from dolgo.setting_kinds import masked
from dolgo.store.findings import Finding

KNOWN = "amqp://HOST:PORT/VHOST or nsq://HOST:PORT/TOPIC"


def open_queue(url: str) -> Queue:
    """The broker of a URL, not connected yet. An optional driver is imported in the branch that needs it."""
    scheme = url.partition("://")[0]
    if scheme in ("amqp", "amqps"):
        try:
            from dolgo.queue.amqp import AmqpQueue
        except ModuleNotFoundError as error:
            raise _lacks(url, error) from None
        return AmqpQueue(url)
    if scheme == "nsq":
        from dolgo.queue.nsq import NsqQueue

        return NsqQueue(url)
    raise BadSetting(f"The queue {masked(url)} cannot be used: give {KNOWN}.")


def examine_queue(url: str) -> Sequence[Finding]:
    """What is right and wrong with the broker of a URL. Raises `BadSetting`."""
    scheme = url.partition("://")[0]
    if scheme in ("amqp", "amqps"):
        try:
            from dolgo.queue import amqp_doctor
        except ModuleNotFoundError as error:
            raise _lacks(url, error) from None
        return amqp_doctor.examine(url)
    if scheme == "nsq":
        from dolgo.queue import nsq_doctor

        return nsq_doctor.examine(url)
    raise BadSetting(f"The queue {masked(url)} cannot be used: give {KNOWN}.")


def _lacks(url: str, error: ModuleNotFoundError) -> BadSetting:
    return BadSetting(f"The queue {masked(url)} needs the package {error.name}: pip install 'dolgo[rabbitmq]'.")
