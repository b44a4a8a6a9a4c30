"""The task that does nothing: what is left to measure is dolgo."""

from dolgo import task


@task
async def nothing(n: int) -> int:
    """Answer the number that was sent."""
    return n
