"""What handlers wrote while they ran."""

from __future__ import annotations

from dolgo.api.call import Answer, Call
from dolgo.api.parts import Api
from dolgo.api.query import MOST_LISTED
from dolgo.api.told import Lines, ShownLine
from dolgo.api.views import answer, moment


async def get_logs(api: Api, call: Call) -> Answer:
    """What a task's handler wrote, oldest first: its log, `logging`, and what it printed.

    Of a long log the beginning and the end are kept, and a line between them says how much was left out."""
    asked = call.query
    limit = asked.get("limit", MOST_LISTED)
    found = await api.manager.log(call.name, attempt=asked.get("attempt"), after=asked.get("after"), limit=limit)
    lines = [ShownLine(line.attempt, line.number, moment(line.time), line.level, line.text) for line in found.lines]
    return answer(Lines(lines, found.next))
