"""A clock that is moved by hand."""


class Clock:
    """Seconds since the epoch, as long as nobody moves it."""

    def __init__(self, now: float = 1_700_000_000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now

    def advance(self, seconds: float) -> None:
        """Time passes."""
        assert seconds >= 0
        self.now += seconds

    def jump(self, seconds: float) -> None:
        """Somebody sets the clock, forward or back."""
        self.now += seconds
