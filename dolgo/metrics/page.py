"""The page that Prometheus reads."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import accumulate

from prometheus_client import CollectorRegistry, GCCollector, PlatformCollector, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import Metric as Family
from prometheus_client.registry import Collector

from dolgo.metrics.catalog import METRICS, Metric
from dolgo.metrics.tally import Labels, Spread, Tally

Readings = Mapping[str, Iterable[tuple[Labels, float]]]  # by name of the metric: what is not tallied but read when asked


class Page:
    """Renders what was tallied and read, and what the process is. Its registry is its own."""

    def __init__(self, tally: Tally) -> None:
        self._tallied = _Tallied(tally)
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(self._tallied)
        for collector in (ProcessCollector, PlatformCollector, GCCollector):
            collector(registry=self._registry)

    def render(self, readings: Readings, accept: str) -> tuple[bytes, str]:
        """The page and its media type, in the format that is accepted."""
        self._tallied.readings = readings
        encode, media_type = choose_encoder(accept)
        return encode(self._registry), media_type


class _Tallied(Collector):
    def __init__(self, tally: Tally) -> None:
        self._tally = tally
        self.readings: Readings = {}

    def collect(self) -> Iterator[Family]:
        for metric in METRICS:
            yield _FAMILIES[metric.kind](metric, self._tally, self.readings.get(metric.name, ()))


def _counter(metric: Metric, tally: Tally, readings: Iterable[tuple[Labels, float]]) -> Family:
    family = CounterMetricFamily(metric.name, metric.help, labels=metric.labels)
    for labels, value in (*tally.counted(metric).items(), *readings):
        family.add_metric(labels, value)
    return family


def _gauge(metric: Metric, tally: Tally, readings: Iterable[tuple[Labels, float]]) -> Family:
    family = GaugeMetricFamily(metric.name, metric.help, labels=metric.labels)
    for labels, value in readings:
        family.add_metric(labels, value)
    return family


def _histogram(metric: Metric, tally: Tally, readings: Iterable[tuple[Labels, float]]) -> Family:
    family = HistogramMetricFamily(metric.name, metric.help, labels=metric.labels)
    for labels, spread in tally.observed(metric).items():
        family.add_metric(labels, _cumulative(metric, spread), spread.sum)
    return family


def _cumulative(metric: Metric, spread: Spread) -> list[tuple[str, float]]:
    bounds = [*map(str, metric.buckets), "+Inf"]
    return list(zip(bounds, accumulate(spread.counts), strict=True))


_FAMILIES: Mapping[str, Callable[[Metric, Tally, Iterable[tuple[Labels, float]]], Family]] = {
    "counter": _counter, "gauge": _gauge, "histogram": _histogram,
}  # fmt: skip
