"""What can be wrong with the NSQ that is to tell workers of tasks. Nothing is published."""

from __future__ import annotations

import asyncio

import httpx

from dolgo.queue.base import HERE, Gone
from dolgo.queue.nsq import Place, looked_up, parse
from dolgo.queue.nsq_wire import ANSWERS_WITHIN, Address, connect
from dolgo.store.findings import Finding, Verdict, bad, ok, warn


def examine(url: str) -> list[Finding]:
    """What is found at `url`. Raises `BadSetting`."""
    return asyncio.run(_examine(parse(url)))


async def _examine(place: Place) -> list[Finding]:
    found = [Finding("nsqd", *await _nsqd(address)) for address in place.nsqds]
    async with httpx.AsyncClient(timeout=ANSWERS_WITHIN) as http:
        found += [Finding("nsqlookupd", *await _lookupd(http, each, place)) for each in place.lookupds]
    strangers = sorted({each.host for each in (*place.nsqds, *place.lookupds) if each.host not in HERE})
    if strangers:
        verdict = warn(
            f"{', '.join(strangers)}: whoever is in that network may listen, and wake workers",
            "Make sure that nobody else is: dolgo speaks to NSQ without encryption or password.",
        )
        found.append(Finding("broker's network", *verdict))
    return found


async def _nsqd(address: Address) -> Verdict:
    try:
        wire = await connect(address)
    except Gone as gone:
        return bad(f"{address}: {gone}", "Start nsqd, or correct host and port in --queue: it is the TCP port, 4150 as a rule.")
    await wire.close()
    if wire.server.get("tls_v1") or wire.server.get("auth_required"):
        return warn(f"{address} wants TLS or a password, and dolgo has neither", "Let dolgo in without, or it hears nothing.")
    return ok(f"{address} answers: nsqd {wire.server.get('version', '?')}")


async def _lookupd(http: httpx.AsyncClient, address: Address, place: Place) -> Verdict:
    found = await looked_up(http, address, place.topic)
    if found is None:
        return bad(f"{address} does not answer", "Start nsqlookupd, or correct the port: it is the HTTP port, 4161 as a rule.")
    known = ", ".join(map(str, found)) or "no nsqd yet"
    return ok(f"{address} knows {known} with the topic {place.topic}")
