"""What was written by an earlier version is read by this one."""

from dolgo.store.redis.pack import body_of, decode, encode, to_lease
from tests.store.build import task

ROW = ["id", "token", 1, 0, 0, 0, 0, 0, "", 7.5]


def test_a_body_from_before_there_were_extras_is_read() -> None:
    lease = to_lease(ROW, encode(("echo", "h1", "q", 5, 1, ["a"], None, b"{}")))
    assert (lease.type, lease.payload, lease.tags, lease.extras) == ("echo", b"{}", ("a",), None)


def test_a_task_without_extras_is_written_as_before_there_were_any() -> None:
    assert decode(body_of(task())) == ["echo", "h1", "default", 5, 1, [], None, b"{}"]
    assert to_lease(ROW, body_of(task(extras=b"[1]"))).extras == b"[1]"
