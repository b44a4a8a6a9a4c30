"""One delivery: the request, and what its answer means."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

import httpx
import msgspec
from msgspec import UNSET, Raw, Struct, UnsetType

from dolgo import tracing
from dolgo.egress.addresses import Allowed
from dolgo.egress.sending import Head, NotHttp, post
from dolgo.egress.urls import host_of
from dolgo.runner.link import Fault, Kind, Report
from dolgo.store.base import Store
from dolgo.task.callbacks.hosts import Hosts
from dolgo.task.callbacks.secret import Vault, signatures
from dolgo.task.callbacks.wish import Delivery
from dolgo.task.types import ErrorCode, Lease

log = logging.getLogger("dolgo.callbacks")

TIMEOUT = 15.0  # seconds until the head of the answer must be here; its body is not read
PAUSES = (5.0, 15.0, 60.0, 300.0, 900.0, 1_800.0, 3_600.0, 7_200.0)  # seconds before the next try; the last repeats
GONE = 410  # the receiver wants no more
RESTS = "The receiver did not answer several times in a row: it is left alone for a while, and nothing was sent."


class Data(Struct, frozen=True):
    """The body of `GET /tasks/{id}`, and the type."""

    id: str
    status: str
    type: str
    result: Raw | UnsetType = UNSET
    result_url: str | UnsetType = UNSET
    error: str | UnsetType = UNSET


class Body(Struct, frozen=True):
    """What is sent."""

    type: str
    timestamp: str
    data: Data


class Policy(Struct, frozen=True):
    """The settings deliveries go by."""

    allowed: Allowed
    retry_for: float = 86_400.0  # seconds
    public_url: str = ""  # where receivers reach the service; results are linked to below it


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Delivery).decode


class Post:
    """Makes deliveries. `random` spreads the retries."""

    def __init__(
        self,
        store: Store,
        vault: Vault,
        policy: Policy,
        random: Callable[[], float],
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store = store
        self._vault = vault
        self._policy = policy
        self._random = random
        self._hosts = Hosts(monotonic)

    async def deliver(self, lease: Lease) -> Report:
        """How it went; never raises but when it is cancelled."""
        order = _decode(lease.payload)
        host = host_of(order.url)
        if self._hosts.rests(host):
            return await self._again(lease, order, RESTS)
        try:
            with tracing.telling(lease.extras, order.type) as traced:
                status, headers = await self._send(lease.id, order, traced)
        except PermissionError as error:
            return _refused(f"{error}, and the setting `callback_allow` does not list it.")
        except TimeoutError:
            self._hosts.timed_out(host)
            return await self._again(lease, order, f"The receiver did not answer within {TIMEOUT:g} s.")
        except NotHttp as error:
            return await self._again(lease, order, f"The receiver gave no answer: {error}.")
        except (httpx.HTTPError, httpx.InvalidURL, OSError) as error:  # without the URL, which may hold a secret
            return await self._again(lease, order, f"The receiver could not be reached: {type(error).__name__}: {error}")
        self._hosts.answered(host)
        if 200 <= status < 300:
            return Report(0, Kind.DONE, _encode({"status": status}))
        if status == GONE:
            return _refused("The receiver answered 410: it wants no more.")
        return await self._again(lease, order, f"The receiver answered {status}.", headers.get("retry-after"))

    async def _send(self, id: str, order: Delivery, traced: dict[str, str]) -> Head:
        body = _encode(self._body(order))
        now = int(await self._store.now())
        headers = {
            "content-type": "application/json", "user-agent": "dolgo", "accept-encoding": "identity", "webhook-id": id,
            "webhook-timestamp": str(now), "webhook-signature": signatures(await self._vault.valid(), id, now, body),
            **traced,
        }  # fmt: skip
        async with asyncio.timeout(TIMEOUT):
            return await post(order.url, body, headers, self._policy.allowed)

    def _body(self, order: Delivery) -> Body:
        link = f"{self._policy.public_url.rstrip('/')}/tasks/{order.task}" if order.linked else UNSET
        data = Data(order.task, order.status, order.type, order.result, link, order.error)
        return Body(f"task.{order.status}", _moment(order.time), data)

    async def _again(self, lease: Lease, order: Delivery, reason: str, after: str | None = None) -> Report:
        """Another try, unless it would come too late. Not before the receiver wants it; but it may want it later than ever."""
        now = await self._store.now()
        pause = PAUSES[min(lease.deferrals, len(PAUSES) - 1)] * (0.5 + self._random() / 2)
        left = order.time + self._policy.retry_for - now
        if pause > left:
            return _refused(f"It could not be delivered within {self._policy.retry_for:g} s. {reason}")
        pause = min(max(pause, _seconds(after, now)), left)
        return Report(0, Kind.RETRY, error=Fault(ErrorCode.HANDLER_ERROR, reason), delay=pause)


def _refused(reason: str) -> Report:
    return Report(0, Kind.FAIL, error=Fault(ErrorCode.HANDLER_ERROR, reason))


def _seconds(after: str | None, now: float) -> float:
    """What `Retry-After` says, as seconds or as a date (RFC 9110, 10.2.3); 0 if it says nothing."""
    if after is None:
        return 0.0
    if after.isascii() and after.isdecimal():
        return float(after[:9])
    try:
        return max(0.0, parsedate_to_datetime(after).timestamp() - now)
    except (ValueError, OverflowError):
        return 0.0


def _moment(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="microseconds")[:-6] + "Z"
