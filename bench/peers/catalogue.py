"""Which peers there are, and in which of their ways they are measured."""

from __future__ import annotations

from msgspec import Struct, field


class Peer(Struct, frozen=True):
    """A task queue in one of its ways. What it is set to, and why, stands in its adapter."""

    name: str
    adapter: str  # bench/peers/adapters/NAME_peer.py, and the environment bench/peers/requirements/NAME.txt
    environ: dict[str, str] = field(default_factory=dict)
    on: str = "redis"  # what it keeps its tasks on: a name of places.py
    rabbit: bool = False  # it needs a RabbitMQ beside that


PEERS = {
    peer.name: peer
    for peer in [
        Peer("celery", "celery"),
        Peer("celery-late", "celery", {"BENCH_LATE": "1"}),
        Peer("rq", "rq"),
        Peer("rq-simple", "rq", {"BENCH_SIMPLE": "1"}),
        Peer("dramatiq", "dramatiq"),
        Peer("taskiq", "taskiq"),
        Peer("arq", "arq"),
        Peer("saq", "saq"),
        Peer("huey", "huey"),
        Peer("procrastinate", "procrastinate", on="postgres"),
        Peer("pgqueuer", "pgqueuer", on="postgres"),
        Peer("celery-rabbitmq", "celery_rabbit", on="postgres", rabbit=True),
        Peer("celery-rabbitmq-late", "celery_rabbit", {"BENCH_LATE": "1"}, on="postgres", rabbit=True),
    ]
}
