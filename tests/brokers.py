"""Brokers for tests that take them away: each a real server of its own, or the one that all tests share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.nsq_server import NsqServer
from tests.nsq_server import shared as shared_nsq
from tests.rabbitmq_server import RabbitServer
from tests.rabbitmq_server import shared as shared_rabbit

BROKERS = ("amqp", "nsq")
Broker = RabbitServer | NsqServer
SHARED: dict[str, Callable[[], Broker]] = {"amqp": shared_rabbit, "nsq": shared_nsq}
OWN: dict[str, Callable[[Path], Broker]] = {"amqp": RabbitServer, "nsq": NsqServer}


def by_way_of(broker: str, port: int, name: str = "") -> str:
    """The URL of a broker at this port; `name` keeps what is on one NSQ apart."""
    return f"amqp://guest:guest@127.0.0.1:{port}/" if broker == "amqp" else f"nsq://127.0.0.1:{port}/{name}"


def metrics(text: str) -> dict[str, float]:
    """The samples of a page of metrics, by name and labels as they stand there."""
    samples: dict[str, Any] = dict(line.rsplit(" ", 1) for line in text.splitlines() if line and not line.startswith("#"))
    return {name: float(value) for name, value in samples.items()}
