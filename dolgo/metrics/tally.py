"""What is counted on the hot path: plain numbers in dicts, made into metrics only when somebody asks."""

from __future__ import annotations

import contextlib
from bisect import bisect_left, bisect_right
from collections.abc import Iterator

from dolgo.metrics.catalog import METRICS, RUN, Metric

MOST = 500  # label sets of one metric; what comes after is counted under OTHER
OTHER = "other"

Labels = tuple[str, ...]


class Spread:
    """A histogram of one label set."""

    __slots__ = ("bounds", "counts", "sum")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)  # the last one: above every bound
        self.sum = 0.0

    def add(self, value: float) -> None:
        self.counts[bisect_left(self.bounds, value)] += 1
        self.sum += value

    def add_all(self, values: list[float]) -> None:
        """As `add` for each; of many, at a fraction of the price."""
        values.sort()
        before = 0
        for place, bound in enumerate(self.bounds):
            until = bisect_right(values, bound)
            self.counts[place] += until - before
            before = until
        self.counts[-1] += len(values) - before
        self.sum += sum(values)


class Tally:
    """Counters and histograms of one process. Use from one event loop."""

    def __init__(self) -> None:
        self._counts: dict[str, dict[Labels, float]] = {each.name: {} for each in METRICS if each.kind == "counter"}
        self._spreads: dict[str, dict[Labels, Spread]] = {each.name: {} for each in METRICS if each.kind == "histogram"}
        for each in METRICS:  # what has no labels is there from the start, as 0
            if each.kind == "counter" and not each.labels:
                self._counts[each.name][()] = 0
        self._runs = self._spreads[RUN.name]
        self.store_up = True
        self.lasting = {"sse": 0, "websocket": 0}  # answers under way that last, by kind

    @contextlib.contextmanager
    def one_more(self, kind: str) -> Iterator[None]:
        """Meanwhile an answer of this kind lasts."""
        self.lasting[kind] += 1
        try:
            yield
        finally:
            self.lasting[kind] -= 1

    def count(self, metric: Metric, labels: Labels = (), by: float = 1) -> None:
        counts = self._counts[metric.name]
        try:
            counts[labels] += by
        except KeyError:
            if len(counts) >= MOST:
                labels = (OTHER,) * len(labels)
            counts[labels] = counts.get(labels, 0) + by

    def spread(self, metric: Metric, labels: Labels = ()) -> Spread:
        """What to add values of these labels to. It may be kept, and then costs no look-up."""
        spreads = self._spreads[metric.name]
        found = spreads.get(labels)
        if found is None:
            if len(spreads) >= MOST:
                labels = (OTHER,) * len(labels)
            found = spreads.setdefault(labels, Spread(metric.buckets))
        return found

    def ran(self, queue: str, type: str, seconds: float) -> None:
        """A handler has run for so long."""
        (self._runs.get((queue, type)) or self.spread(RUN, (queue, type))).add(seconds)

    def counted(self, metric: Metric) -> dict[Labels, float]:
        return self._counts[metric.name]

    def observed(self, metric: Metric) -> dict[Labels, Spread]:
        return self._spreads[metric.name]
