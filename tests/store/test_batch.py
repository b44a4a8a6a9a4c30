"""The queue before a writer: nobody waits in it longer than its patience."""

from __future__ import annotations

import asyncio

import pytest

from dolgo.errors import StoreUnavailable
from dolgo.store.batch import Batcher

pytestmark = pytest.mark.anyio


async def test_an_operation_that_was_taken_before_the_last_batch_was_answered_is_answered_in_time() -> None:
    """The writer takes the next batch at once; the answers to the one before come to the loop after that."""
    batcher = Batcher(patience=0.1)
    first = batcher.add("verb", 1)
    before = batcher.take()
    assert before is not None
    second = batcher.add("verb", 2)
    assert batcher.take()
    batcher.answer(before, ["done"])
    assert await first == "done"
    with pytest.raises(StoreUnavailable, match="did not answer in time"):
        await asyncio.wait_for(second, 10)
    batcher.close()
