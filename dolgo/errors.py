"""Every error dolgo raises on purpose, in one tree.

DolgoError
├── Refused                 a request that cannot be taken: becomes a 4xx or 5xx (status, slug)
│   ├── MalformedJson            400 malformed-json
│   ├── MalformedRequest         400 malformed-request
│   ├── Unauthorized             401 unauthorized
│   ├── Forbidden                403 forbidden
│   ├── NotFound                 404 not-found
│   ├── MethodNotAllowed         405 method-not-allowed
│   ├── RequestTimeout           408 request-timeout
│   ├── Conflict                 409 conflict
│   ├── TooLarge                 413 too-large
│   ├── TargetTooLong            414 target-too-long
│   ├── UnsupportedMediaType     415 unsupported-media-type
│   ├── UnknownType              422 unknown-type
│   ├── InvalidPayload           422 invalid-payload
│   ├── InvalidRequest           422 invalid-request
│   ├── IdempotencyKeyReused     422 idempotency-key-reused
│   ├── UpgradeRequired          426 upgrade-required
│   ├── RateLimited              429 rate-limited
│   ├── HeadTooLarge             431 head-too-large
│   ├── QueueFull                503 queue-full
│   ├── StoreUnavailable         503 store-unavailable
│   └── NotReady                 503 not-ready
├── ClientError             what a client of the service meets besides a refusal: drawn in `client/errors.py`
└── StartError              the service cannot start: one line on stderr and an exit code
    ├── BadSetting               a setting that cannot be used (exit code 2)
    ├── BadTaskType              a task type that cannot be announced
    └── StoreUnusable            a store that is corrupt, newer, locked away or not there
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, NamedTuple

REALM = 'Bearer realm="dolgo"'  # what a missing or bad credential is answered with (RFC 6750)


class Problem(NamedTuple):
    """One wrong member of a request."""

    pointer: str  # JSON pointer (RFC 6901) to the member, "" for the whole body
    detail: str  # what is wrong with it, for a person


def summary(problems: Sequence[Problem]) -> str:
    """Wrong members in one sentence."""
    first, more = problems[0], len(problems) - 1
    place = f"{first.pointer}: " if first.pointer else ""
    also = f" ({more} more)" if more else ""
    return f"{place}{first.detail.rstrip('.')}{also}."


class DolgoError(Exception):
    """Something dolgo refuses or cannot do."""


class Refused(DolgoError):
    """The request was refused."""

    status: int = 500  # of the class; a client that was told something else sets its own
    slug: str = ""
    retry_after: int | None = None  # seconds; sent as Retry-After
    challenge: str | None = None  # sent as WWW-Authenticate

    def __init__(self, detail: str = "", problems: Sequence[Problem] = ()) -> None:
        super().__init__(detail or self.title())
        self.detail = detail or self.title()
        self.problems = tuple(problems)

    @classmethod
    def title(cls) -> str:
        """The sentence that is the same for every error of this class: its docstring's first line."""
        return (cls.__doc__ or "").strip().splitlines()[0]


class MalformedJson(Refused):
    """The body is not valid JSON."""

    status, slug = 400, "malformed-json"


class MalformedRequest(Refused):
    """This is not HTTP/1.1 as it should be."""

    status, slug = 400, "malformed-request"


class Unauthorized(Refused):
    """Nobody is let in without a token that is good here."""

    status, slug, challenge = 401, "unauthorized", REALM

    def __init__(self, detail: str = "", problems: Sequence[Problem] = (), *, invalid: bool = False) -> None:
        super().__init__(detail, problems)
        if invalid:  # as opposed to none at all (RFC 6750)
            self.challenge = f'{REALM}, error="invalid_token"'


class Forbidden(Refused):
    """This is not allowed."""

    status, slug = 403, "forbidden"

    def __init__(self, detail: str = "", problems: Sequence[Problem] = (), *, scope: str | None = None) -> None:
        super().__init__(detail, problems)
        if scope is not None:
            self.challenge = f'{REALM}, error="insufficient_scope", scope="{scope}"'


class NotFound(Refused):
    """There is nothing under this address."""

    status, slug = 404, "not-found"


class MethodNotAllowed(Refused):
    """This address does not take this method."""

    status, slug = 405, "method-not-allowed"


class RequestTimeout(Refused):
    """The request came too slowly."""

    status, slug = 408, "request-timeout"


class Conflict(Refused):
    """How things stand does not allow this."""

    status, slug = 409, "conflict"


class TooLarge(Refused):
    """The body or the payload is too large."""

    status, slug = 413, "too-large"


class TargetTooLong(Refused):
    """The path and the query are too long."""

    status, slug = 414, "target-too-long"


class UnsupportedMediaType(Refused):
    """The body must be JSON."""

    status, slug = 415, "unsupported-media-type"


class UnknownType(Refused):
    """No worker has announced this task type."""

    status, slug = 422, "unknown-type"


class InvalidPayload(Refused):
    """The payload does not fit the task type."""

    status, slug = 422, "invalid-payload"


class InvalidRequest(Refused):
    """The request has members or parameters that cannot be used."""

    status, slug = 422, "invalid-request"

    @classmethod
    def of(cls, problems: Sequence[Problem], what: str = "request") -> InvalidRequest:
        """The error for wrong members: the first in words, all of them with their pointers."""
        return cls(f"The {what} cannot be used: {summary(problems)}", problems)


class IdempotencyKeyReused(Refused):
    """This Idempotency-Key was used for another request."""

    status, slug = 422, "idempotency-key-reused"


class RateLimited(Refused):
    """This token asks more often than it may."""

    status, slug, retry_after = 429, "rate-limited", 1

    def __init__(self, detail: str = "", problems: Sequence[Problem] = (), *, retry_after: int = 1) -> None:
        super().__init__(detail, problems)
        self.retry_after = retry_after


class UpgradeRequired(Refused):
    """This address speaks WebSocket."""

    status, slug = 426, "upgrade-required"


class HeadTooLarge(Refused):
    """The head of the request is too large."""

    status, slug = 431, "head-too-large"


class QueueFull(Refused):
    """More requests wait for the store than it can take."""

    status, slug, retry_after = 503, "queue-full", 1


class StoreUnavailable(Refused):
    """The store cannot be written or read right now."""

    status, slug, retry_after = 503, "store-unavailable", 1


class NotReady(Refused):
    """The service cannot take work right now."""

    status, slug, retry_after = 503, "not-ready", 1


class StartError(DolgoError):
    """The service cannot start."""

    exit_code: ClassVar[int] = 1


class BadSetting(StartError):
    """A setting cannot be used."""

    exit_code = 2


class BadTaskType(StartError):
    """A task type cannot be announced."""


class StoreUnusable(StartError):
    """The store cannot be opened."""
