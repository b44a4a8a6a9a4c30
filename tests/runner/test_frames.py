from __future__ import annotations

import math

import pytest

from dolgo.runner import frames
from dolgo.runner.frames import (
    Answer,
    Answers,
    Ask,
    Asks,
    BadFrame,
    Cancel,
    Ended,
    Fault,
    Hello,
    Job,
    Kind,
    Refused,
    Report,
    Run,
    Setup,
    Stop,
    Verb,
    Written,
    Wrote,
)
from dolgo.task.types import BrokenFile, ErrorCode, EventKind, TypeInfo

JOB = Job(7, math.inf, "id", "echo", "0123", "default", b'{"a": 1}', 2, ("x", "y"))
INFO = TypeInfo("echo", "0123", "Echoes.", {"root": {}}, None, {"queue": "default", "priority": 5})
TO_CHILD = [
    Setup(("tasks",), 5, 2**24),
    Run([JOB, JOB]),
    Run([]),
    Cancel([0, 2**40]),
    Stop(),
    Answers([Answer(0, b"null"), Answer(2, None, "no")]),
]
TO_PARENT = [
    Hello([INFO], [BrokenFile("a.py", "SyntaxError")], frozenset({"echo"})),
    Refused("two types are named `echo`"),
    Ended([Report(0, Kind.DONE, b"null", None, 0.25), Report(1, Kind.ERROR, error=Fault(ErrorCode.HANDLER_ERROR, "no"))]),
    Ended([Report(2, Kind.RETRY, error=Fault(ErrorCode.HANDLER_ERROR, "soon"), delay=0.0), Report(3, Kind.ABANDONED)]),
    Wrote([Written(0, "progress", b"{}", EventKind.PROGRESS), Written(1, "log/00000001/00000000", b"[]")]),
    Asks([Ask(0, 7, Verb.STEPS), Ask(1, 8, Verb.SUBMIT, "a/1", b"{}")]),
]


@pytest.mark.parametrize("size", [1, 2, 3, 5, 64, 10_000])
def test_frames_come_out_as_they_went_in_however_the_bytes_are_cut(size: int) -> None:
    for reader, sent in ((frames.from_parent(), TO_CHILD), (frames.from_child(2**24), TO_PARENT)):
        data = b"".join(map(frames.pack, sent))
        assert [frame for i in range(0, len(data), size) for frame in reader.feed(data[i : i + size])] == sent


def test_a_long_batch_of_jobs_is_sent_as_several_frames_in_order() -> None:
    jobs = [Job(key, 0.0, "id", "echo", "", "default", bytes(2**20), 1) for key in range(10)]
    received = list(frames.from_parent().feed(frames.pack_run(jobs)))
    assert len(received) > 1
    assert [job for frame in received if isinstance(frame, Run) for job in frame.jobs] == jobs


def test_a_long_batch_of_reports_fits_what_the_worker_is_ready_to_gather() -> None:
    reports = [Report(key, Kind.DONE, bytes(2**24)) for key in range(5)]
    received = list(frames.from_child(2**24).feed(frames.pack_ended(reports)))
    assert [report for frame in received if isinstance(frame, Ended) for report in frame.reports] == reports


def test_a_long_batch_of_answers_and_one_of_notes_are_sent_as_several_frames() -> None:
    answers = [Answer(number, bytes(2**20)) for number in range(10)]
    heard = list(frames.from_parent().feed(frames.pack_answers(answers)))
    assert [answer for frame in heard if isinstance(frame, Answers) for answer in frame.answers] == answers
    notes = [Written(key, "progress", bytes(2**20)) for key in range(10)]
    said = list(frames.from_child(0).feed(frames.pack_wrote(notes)))
    assert [note for frame in said if isinstance(frame, Wrote) for note in frame.notes] == notes
    assert min(len(heard), len(said)) > 1


def test_a_frame_over_the_limit_is_refused_before_it_is_gathered() -> None:
    with pytest.raises(BadFrame, match="limit"):
        list(frames.from_child(2**20).feed(b"\xff\xff\xff\xff"))


@pytest.mark.parametrize(
    "body", [b"", b"abc", b"\xc1", b"\x90", b"\x91\xa4stop", b"\x92\xa5ended\x91\x92\x00\xa3odd", b"\x91" * 5000]
)
def test_what_is_no_frame_is_refused(body: bytes) -> None:
    with pytest.raises(BadFrame):
        list(frames.from_child(2**20).feed(len(body).to_bytes(4, "big") + body))


def test_frames_before_a_bad_one_are_still_delivered() -> None:
    reading = frames.from_child(2**20).feed(frames.pack(TO_PARENT[2]) + b"\x00\x00\x00\x01\xc1")
    assert next(reading) == TO_PARENT[2]
    with pytest.raises(BadFrame):
        next(reading)
