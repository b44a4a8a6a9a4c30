"""What is counted on the hot path: plain numbers in dicts, made into metrics only when somebody asks."""

from __future__ import annotations

from bisect import bisect_left

from dolgo.metrics.catalog import METRICS, RUN, Metric

MOST = 500  # label sets of one metric; what comes after is counted under OTHER
OTHER = "other"

Labels = tuple[str, ...]


class Spread:
    """A histogram of one label set."""

    __slots__ = ("counts", "sum")

    def __init__(self, buckets: int) -> None:
        self.counts = [0] * (buckets + 1)  # the last one: above every bound
        self.sum = 0.0


class Tally:
    """Counters and histograms of one process. Use from one event loop."""

    def __init__(self) -> None:
        self._counts: dict[str, dict[Labels, float]] = {each.name: {} for each in METRICS if each.kind == "counter"}
        self._spreads: dict[str, dict[Labels, Spread]] = {each.name: {} for each in METRICS if each.kind == "histogram"}
        for each in METRICS:  # what has no labels is there from the start, as 0
            if each.kind == "counter" and not each.labels:
                self._counts[each.name][()] = 0
        self.store_up = True

    def count(self, metric: Metric, labels: Labels = (), by: float = 1) -> None:
        counts = self._counts[metric.name]
        try:
            counts[labels] += by
        except KeyError:
            if len(counts) >= MOST:
                labels = (OTHER,) * len(labels)
            counts[labels] = counts.get(labels, 0) + by

    def observe(self, metric: Metric, value: float, labels: Labels = ()) -> None:
        spreads = self._spreads[metric.name]
        spread = spreads.get(labels)
        if spread is None:
            if len(spreads) >= MOST:
                labels = (OTHER,) * len(labels)
            spread = spreads.setdefault(labels, Spread(len(metric.buckets)))
        spread.counts[bisect_left(metric.buckets, value)] += 1
        spread.sum += value

    def ran(self, queue: str, type: str, seconds: float) -> None:
        """A handler has run for so long."""
        self.observe(RUN, seconds, (queue, type))

    def counted(self, metric: Metric) -> dict[Labels, float]:
        return self._counts[metric.name]

    def observed(self, metric: Metric) -> dict[Labels, Spread]:
        return self._spreads[metric.name]
