"""What every broker must keep, whatever it is."""

from __future__ import annotations

import pytest

from dolgo.queue.base import Audience, Gone, Notice, Outcome, write
from tests.queue.conftest import Listener, Place, by_proxy, listening
from tests.queue.kinds import until

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(300)]  # the first test of a run may build or start the broker

MANY = 1_000  # slots


def notices(place: Place, count: int, queue: str = "default") -> list[Notice]:
    return [Notice(f"{number}", queue, place.name) for number in range(count)]


async def test_a_notice_reaches_one_of_those_who_run_the_same(place: Place) -> None:
    first, second = await listening(place, place.name, room=MANY), await listening(place, place.name, room=MANY)
    publisher = await place.opened()
    await publisher.publish(notices(place, 40))
    await until(lambda: first.rung + second.rung >= 40, "all are heard")
    await publisher.publish(notices(place, 1))
    await until(lambda: first.rung + second.rung >= 41, "one more is heard")
    assert first.rung + second.rung == 41


async def test_every_audience_hears_of_it(place: Place) -> None:
    """Workers that run different types may both be fit for it, and only one kind of them may be free."""
    narrow = await listening(place, place.name, room=MANY)
    broad = await listening(place, place.name, f"{place.name}-b", room=MANY)
    await (await place.opened()).publish(notices(place, 3))
    await until(lambda: (narrow.rung, broad.rung) == (3, 3), "both have heard of all")


async def test_what_is_in_a_line_of_others_does_not_ring(place: Place) -> None:
    mine = await listening(place, place.name, room=MANY, queues=frozenset({"mine"}))
    await (await place.opened()).publish([*notices(place, 3, "yours"), *notices(place, 1, "mine")])
    await until(lambda: mine.rung, "its own is heard")
    await until(lambda: mine.outcomes.count(Outcome.OTHERS) == 3, "the others are taken away")
    assert mine.rung == 1


async def test_who_has_no_room_leaves_them_to_others(place: Place) -> None:
    full = await listening(place, place.name)
    free = await listening(place, place.name, room=MANY)
    await (await place.opened()).publish(notices(place, 30))
    await until(lambda: free.rung == 30, "all are heard by who is free")
    assert full.rung == 0


async def test_no_more_is_taken_than_there_is_room_for_and_the_rest_goes_to_others(place: Place) -> None:
    one = await listening(place, place.name, room=1)
    await (await place.opened()).publish(notices(place, 12))
    await until(lambda: one.rung == 1, "one is taken")
    one.subscription.room(0)
    other = await listening(place, place.name, room=MANY)
    await until(lambda: other.rung == 11, "the others are heard elsewhere")
    assert one.rung == 1


async def test_who_had_no_room_hears_again_once_there_is_some(place: Place) -> None:
    listener = await listening(place, place.name, room=1)
    publisher = await place.opened()
    await publisher.publish(notices(place, 5))
    await until(lambda: listener.rung == 1, "one is taken")
    listener.subscription.room(0)
    await until(lambda: Outcome.GIVEN_BACK in listener.outcomes, "what came beyond is given back")
    listener.subscription.room(MANY)
    await until(lambda: listener.rung == 5, "the rest is heard")


async def test_what_is_no_notice_is_removed_and_harms_nobody(place: Place) -> None:
    listener = await listening(place, place.name, room=MANY)
    for body in (b" ", b"{", b"\xff\xfe", b"[]", b'{"id": 1}', b'{"id":"a"}', b"x" * 5000, b"[" * 4000):
        await place.put(body, place.name)
    await place.put(write(Notice("a", "default", place.name)), place.name)
    await until(lambda: listener.rung, "a notice behind them is heard")
    await until(lambda: listener.outcomes.count(Outcome.MALFORMED) == 8, "all of them are taken away")


async def test_more_members_than_are_known_are_none_the_worse(place: Place) -> None:
    """A later version may say more."""
    listener = await listening(place, place.name, room=MANY)
    await place.put(b'{"id":"a","queue":"q","type":"%s","more":[1]}' % place.name.encode(), place.name)
    await until(lambda: listener.rung, "it is heard")


async def test_another_subscription_takes_the_place_of_the_one_before(place: Place) -> None:
    before = await listening(place, place.name, room=MANY)
    queue = before.queue
    after = type(before)(queue, before.subscription.audience)
    queue.subscribe(after.subscription)
    after.subscription.room(MANY)
    await until(lambda: queue.trouble is None, "it listens")
    await (await place.opened()).publish(notices(place, 20))
    await until(lambda: after.rung == 20, "all are heard there")
    assert before.rung == 0


async def test_a_broker_that_is_not_there_is_told_at_once_and_used_once_it_is(place: Place) -> None:
    async with by_proxy(place.port) as proxy:
        proxy.refuse()
        queue = place.make(proxy.port)
        queue.open()
        with pytest.raises(Gone):
            await queue.publish(notices(place, 1))
        assert queue.trouble
        proxy.pass_()
        await until(lambda: queue.trouble is None, "it is connected")
        await queue.publish(notices(place, 1))


async def test_connections_that_are_cut_are_made_anew(place: Place) -> None:
    async with by_proxy(place.port) as proxy:
        queue = place.make(proxy.port)
        queue.open()
        listener = Listener(queue, Audience({place.name: "hash"}))
        queue.subscribe(listener.subscription)
        await until(lambda: queue.trouble is None, "it is connected")
        listener.subscription.room(MANY)
        proxy.reset()
        await until(lambda: queue.trouble is not None, "it is noticed")
        await until(lambda: queue.trouble is None, "it is connected again")
        before = listener.rung
        await queue.publish(notices(place, 3))
        await until(lambda: listener.rung >= before + 3, "it is heard")


async def test_a_broker_that_has_gone_silent_is_given_up(place: Place) -> None:
    async with by_proxy(place.port) as proxy:
        queue = place.make(proxy.port)
        queue.open()
        await until(lambda: queue.trouble is None, "it is connected")
        proxy.swallow()
        with pytest.raises(Gone):
            await queue.publish(notices(place, 1))
        await until(lambda: queue.trouble, "it says so")
        proxy.reset()
        await until(lambda: queue.trouble is None, "it is connected again")


async def test_closing_twice_is_harmless_and_nothing_is_published_after(place: Place) -> None:
    listener = await listening(place, place.name, room=MANY)
    await listener.queue.close()
    await listener.queue.close()
    with pytest.raises(Gone):
        await listener.queue.publish(notices(place, 1))
