"""Errors as RFC 9457 problem details: the one place where a refusal becomes a response."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec
from msgspec import UNSET, Struct, UnsetType

from dolgo.api.call import Answer, Header
from dolgo.errors import Refused

MEDIA_TYPE = b"application/problem+json"
MOST = 1000  # wrong members named: a longer list helps nobody and would let a small request have a large answer


class WrongMember(Struct, frozen=True):
    """One wrong member of a request."""

    pointer: str  # RFC 6901 into the body; `/query/NAME` and `/header/NAME` for what is not in it
    detail: str


class ProblemDetails(Struct, frozen=True):
    """Why a request was refused, as RFC 9457 has it."""

    type: str
    title: str
    status: int
    detail: str
    error: str
    errors: list[WrongMember] | UnsetType = UNSET
    checks: Mapping[str, str] | UnsetType = UNSET  # of a probe


def refusal(error: Refused, headers: tuple[Header, ...] = (), *, checks: Mapping[str, str] | UnsetType = UNSET) -> Answer:
    """The response for a refusal."""
    if error.retry_after is not None:
        headers = (*headers, (b"retry-after", b"%d" % error.retry_after))
    if error.challenge is not None:
        headers = (*headers, (b"www-authenticate", error.challenge.encode()))
    wrong = [WrongMember(pointer, detail) for pointer, detail in error.problems[:MOST]]
    kind, title = uri(error.slug), error.title()
    return _answer(ProblemDetails(kind, title, error.status, error.detail, error.detail, wrong or UNSET, checks), headers)


def broken() -> Answer:
    """The response when dolgo itself failed. It tells nothing of what happened: that is in the log."""
    sentence = "Something went wrong inside dolgo. Its log says what."
    return _answer(ProblemDetails(uri("internal-error"), "dolgo failed.", 500, sentence, sentence))


def uri(slug: str) -> str:
    """What names a kind of problem, and where it is explained."""
    return f"/docs#{slug}"


def _answer(details: ProblemDetails, headers: tuple[Header, ...] = ()) -> Answer:
    return Answer(details.status, msgspec.json.encode(details), headers, MEDIA_TYPE)
