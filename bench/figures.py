"""What was measured, and what it should have been."""

from __future__ import annotations

from statistics import median

from msgspec import Struct, field


class Target(Struct, frozen=True):
    """A bound for a figure, or for its ratio to what it is compared with."""

    least: float | None = None
    most: float | None = None
    ratio: bool = False

    def met(self, figure: Figure) -> bool:
        """Whether the medians keep to it."""
        value = figure.ratio if self.ratio else figure.value
        return value is not None and (self.least is None or value >= self.least) and (self.most is None or value <= self.most)

    def text(self) -> str:
        """For a table: `≥ 10,000`, `≥ 70 %`."""
        sign, bound = ("≥", self.least) if self.least is not None else ("≤", self.most)
        assert bound is not None
        return f"{sign} {bound * 100:.0f} %" if self.ratio else f"{sign} {number(bound)}"


class Figure(Struct):
    """One line of the table: the values of all repeats, dolgo's and those it is compared with."""

    work: str
    unit: str
    dolgo: list[float]
    floor: list[float] = field(default_factory=list)
    floor_is: str = ""
    targets: list[Target] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)  # seconds a task took of dolgo's processes, where that was looked at

    @property
    def value(self) -> float:
        """The median."""
        return median(self.dolgo)

    @property
    def ratio(self) -> float | None:
        """dolgo ÷ floor, of the medians; None if there is nothing to compare with."""
        return self.value / median(self.floor) if self.floor and median(self.floor) else None

    @property
    def met(self) -> bool | None:
        """Whether every target is met; None if there is none."""
        return all(target.met(self) for target in self.targets) if self.targets else None


def number(value: float) -> str:
    """Three digits at least, no more than matter."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def beside(full: list[Figure], empty: list[Figure]) -> list[Figure]:
    """Figures taken with many tasks waiting, each compared with the same one without: rates and times may be 10 % worse."""
    before = {figure.work: figure for figure in empty}
    for figure in full:
        figure.floor, figure.floor_is = before[figure.work].dolgo, "nothing waits"
        figure.targets = [Target(least=0.9, ratio=True) if figure.unit == "tasks/s" else Target(most=1.1, ratio=True)]
    return full
