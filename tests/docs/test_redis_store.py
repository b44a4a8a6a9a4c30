"""What the pages say of Redis: its settings and its user's rights are enough, and the keys are those that the functions use."""

from __future__ import annotations

import re
from pathlib import Path

import httpx

from dolgo.store.redis.library import library
from tests.blackbox.server import Server
from tests.docs.pages import DOCS, blocks, code, read, table
from tests.missing import need
from tests.redis_server import RedisServer

INSIDE = DOCS / "explanation/redis-store.md"
CHOICE = DOCS / "how-to/choose-a-store.md"
IN_LUA = re.compile(r"key\('([a-z:]+)'|'(few:\d)'")


def test_the_table_of_keys_is_that_of_the_functions() -> None:
    used = {(plain or few).removesuffix(":") for plain, few in IN_LUA.findall(library().code)}
    rows = table(read(INSIDE), "key", "kind", "holds")
    assert {re.sub(":[A-Z:]+$", "", key) for row in rows if row[1] != "channel" for key in code(row[0])} == used


def test_the_settings_shown_and_the_user_shown_are_enough(tmp_path: Path) -> None:
    need("redis-server")
    config = tmp_path / "shown.conf"
    config.write_text("".join(block.text for block in blocks(CHOICE, "conf")), "utf-8")
    with RedisServer(tmp_path, "--include", str(config)).ready() as redis:
        url = redis.url.replace("redis://", "redis://app:PASSWORD@")
        with Server(tmp_path, "--store", url).ready() as server:
            body = {"type": "long_task", "payload": {"seconds": 0}}
            answer = httpx.post(f"{server.url}/tasks", params={"wait": 20}, json=body, timeout=30)
            assert answer.json()["status"] == "done"
