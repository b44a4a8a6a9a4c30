"""What dolgo and its peers can be measured on."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from pathlib import Path

from msgspec import Struct

from bench.peers import on_postgres, on_redis
from bench.peers.broker import Broker


class Where(Struct, frozen=True):
    """A kind of server, and the words for it."""

    name: str
    shown: str
    lanes: tuple[str, ...]  # ways it may be set, by how it keeps what it is told
    lane_is: str  # what tells one lane from another
    running: Callable[[Path, str], AbstractContextManager[Broker]]
    least: int  # tasks of a drain: fewer could be over between two looks at the store
    floor: str  # the program that asks it what it could do at all
    floor_tasks: int
    floor_is: tuple[str, str]  # the loop, and the plainest write
    floor_is_one_by_one: bool  # the plainest write is answered one by one, as enqueues are; else many are sent at once
    asked: str  # what it is sent by an idle worker
    own: Mapping[str, str | None]  # dolgo's turns: with which broker of messages, if with one


PLACES = {
    where.name: where
    for where in [
        Where(
            name="redis", shown="Redis", lanes=tuple(on_redis.LANES), lane_is="AOF", running=on_redis.running,
            least=200,
            floor="bench.peers.lua_floor", floor_tasks=500_000,
            floor_is=("Lua alone", "SET"), floor_is_one_by_one=False, asked="commands",
            own={"dolgo": None},
        ),
        Where(
            name="postgres", shown="PostgreSQL", lanes=tuple(on_postgres.LANES), lane_is="synchronous_commit",
            running=on_postgres.running, least=2_000, floor="bench.peers.sql_floor", floor_tasks=100_000,
            floor_is=("SQL alone", "single INSERT"), floor_is_one_by_one=True, asked="statements",
            own={"dolgo": None, "dolgo-rabbitmq": "amqp", "dolgo-nsq": "nsq"},
        ),
    ]
}  # fmt: skip
OWN = {name: queue for where in PLACES.values() for name, queue in where.own.items()}
