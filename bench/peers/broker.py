"""What is measured on, as the rest of the bench sees it: a server of its own, empty when asked to be."""

from __future__ import annotations

from typing import Protocol


class Broker(Protocol):
    """A running server, on which dolgo and its peers keep their tasks."""

    url: str
    versions: dict[str, str]  # of the servers that run for it

    def empty(self) -> None:
        """Nothing is left in it."""

    def asked(self, seconds: float) -> float:
        """What it is asked for by others from now on, in so many seconds: commands or statements a second."""

    def beside(self, name: str) -> str:
        """The URL of a broker of messages, `amqp` or `nsq`, that stands beside it; it is started when it is first asked for."""
