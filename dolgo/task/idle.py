"""Why a worker that starts may have nothing to do: said once, at once, because nobody asks a worker that is idle."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from dolgo.task.manager import Manager

SCOPE = "queue/"  # what the gate of a queue is called begins so
NAMED = 10  # queues that are named; of more there is only the number


def without_types(own: Collection[str], paths: Sequence[str]) -> str | None:
    """What to say of a worker without a task type of its own; None if it has one."""
    if own:
        return None
    places = " or ".join(["./tasks", *paths])
    return (
        f"No task types of your own were found in {places}: this worker runs the built-in ones alone. "
        "Put files into ./tasks, or name folders, files or modules with --tasks."
    )


async def unused_queues(manager: Manager, queues: Collection[str]) -> str | None:
    """What to say of queues that no task, type or limit uses; None if all of them are used."""
    used = {line.queue for line in await manager.counts()}
    used |= {str(info.options.get("queue", "default")) for info in await manager.types.all()}
    used |= {scope.removeprefix(SCOPE) for scope in await manager.gates() if scope.startswith(SCOPE)}
    unused = sorted(set(queues) - used)
    if not unused:
        return None
    which = "queue" if len(unused) == 1 else "queues"
    there = _named(sorted(used))
    return f"This worker serves the {which} {_named(unused)}, which no task, task type or limit uses. Used are {there}."


def _named(queues: Sequence[str]) -> str:
    more = f" and {len(queues) - NAMED} more" if len(queues) > NAMED else ""
    return ", ".join(map(repr, queues[:NAMED])) + more
