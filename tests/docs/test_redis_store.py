"""The page about the Redis store names the keys that its functions use, all of them."""

from __future__ import annotations

import re

from dolgo.store.redis.library import library
from tests.docs.pages import DOCS, code, read, table

PAGE = DOCS / "explanation/redis-store.md"
IN_LUA = re.compile(r"key\('([a-z:]+)'|'(few:\d)'")


def test_the_table_of_keys_is_that_of_the_functions() -> None:
    used = {(plain or few).removesuffix(":") for plain, few in IN_LUA.findall(library().code)}
    rows = table(read(PAGE), "key", "kind", "holds")
    assert {re.sub(":[A-Z:]+$", "", key) for row in rows for key in code(row[0])} == used
