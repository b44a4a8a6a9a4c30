"""The floor of Redis: what it could do at all, asked by a plain loop. `python -m bench.peers.lua_floor URL TASKS`

A task is one packed string, and each call is a script over a hundred tasks: submit, claim with a lease, settle under a token with
the result kept. No workers, no types, no limits, no events, one queue. Beside it, plain SET commands in pipelines of a hundred.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator

import redis

BATCH = 100
LEASE = 30.0  # seconds
TOKEN = "0123456789abcdef"

# KEYS: ready. ARGV: rank, then id and payload of each task. A task is kept as state, token and payload.
SUBMIT = """
local set, add = {}, {}
for i = 2, #ARGV, 2 do
  set[#set + 1], set[#set + 2] = 'task:' .. ARGV[i], 'q' .. '................' .. ARGV[i + 1]
  add[#add + 1], add[#add + 2] = ARGV[1], ARGV[i]
end
redis.call('MSET', unpack(set))
return redis.call('ZADD', KEYS[1], unpack(add))
"""
# KEYS: ready, leases. ARGV: how many, token, when the lease ends. Answers id and payload of each task it leased.
CLAIM = """
local popped = redis.call('ZPOPMIN', KEYS[1], ARGV[1])
local keys, set, add, told = {}, {}, {}, {}
for i = 1, #popped, 2 do keys[#keys + 1] = 'task:' .. popped[i] end
if #keys == 0 then return told end
local kept = redis.call('MGET', unpack(keys))
for i, task in ipairs(kept) do
  local id, payload = popped[2 * i - 1], string.sub(task, 18)
  set[#set + 1], set[#set + 2] = keys[i], 'r' .. ARGV[2] .. payload
  add[#add + 1], add[#add + 2] = ARGV[3], id
  told[#told + 1], told[#told + 2] = id, payload
end
redis.call('MSET', unpack(set))
redis.call('ZADD', KEYS[2], unpack(add))
return told
"""
# KEYS: leases. ARGV: token, then id and result of each task. Answers for how many the token was current.
SETTLE = """
local keys, set, held = {}, {}, {}
for i = 2, #ARGV, 2 do keys[#keys + 1] = 'task:' .. ARGV[i] end
local kept = redis.call('MGET', unpack(keys))
for i, task in ipairs(kept) do
  if string.sub(task, 1, 17) == 'r' .. ARGV[1] then
    set[#set + 1], set[#set + 2] = keys[i], 'd' .. ARGV[1] .. ARGV[2 * i + 1]
    held[#held + 1] = ARGV[2 * i]
  end
end
if #held > 0 then
  redis.call('MSET', unpack(set))
  redis.call('ZREM', KEYS[1], unpack(held))
end
return #held
"""


class Loop:
    """Calls the three scripts."""

    def __init__(self, url: str) -> None:
        self._client = redis.Redis.from_url(url)
        self._submit, self._claim, self._settle = (self._client.register_script(text) for text in (SUBMIT, CLAIM, SETTLE))

    def submit(self, tasks: int) -> None:
        """Numbered tasks, all of one rank."""
        for batch in _batches(tasks):
            self._submit(["ready"], [time.time(), *(word for n in batch for word in (n, f'{{"n":{n}}}'))])

    def drain(self) -> int:
        """Claim and settle until nothing is ready; how many were settled."""
        settled = 0
        while claimed := self._claim(["ready", "leases"], [BATCH, TOKEN, time.time() + LEASE]):
            pairs = zip(claimed[::2], claimed[1::2], strict=True)
            settled += self._settle(["leases"], [TOKEN, *(word for id, payload in pairs for word in (id, payload[5:-1]))])
        return settled

    def right(self, tasks: int) -> int:
        """How many are done and have their number as the result."""
        found = (self._client.mget([f"task:{n}" for n in batch]) for batch in _batches(tasks))
        kept = [task for batch in found for task in batch]
        return sum(task == f"d{TOKEN}{n}".encode() for n, task in enumerate(kept))

    def set(self, tasks: int) -> None:
        """As many plain SET commands, pipelined."""
        for batch in _batches(tasks):
            pipe = self._client.pipeline(transaction=False)
            for n in batch:
                pipe.set(f"set:{n}", f'{{"n":{n}}}')
            pipe.execute()


def _batches(tasks: int) -> Iterator[range]:
    return (range(first, min(first + BATCH, tasks)) for first in range(0, tasks, BATCH))


def main(url: str, tasks: int) -> None:
    """Print the rates a second as a line of JSON."""
    loop, marks = Loop(url), [time.perf_counter()]
    loop.submit(tasks)
    marks.append(time.perf_counter())
    settled = loop.drain()
    marks.append(time.perf_counter())
    right = loop.right(tasks)
    began = time.perf_counter()
    loop.set(tasks)
    took = [marks[1] - marks[0], marks[2] - marks[1], time.perf_counter() - began]
    submit, drain, plain = (tasks / seconds for seconds in took)
    print(json.dumps({"tasks": tasks, "submit": submit, "drain": drain, "set": plain, "right": min(settled, right)}))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
