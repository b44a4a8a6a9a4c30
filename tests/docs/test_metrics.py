"""The page on metrics lists those there are, as they are."""

from __future__ import annotations

from dolgo.metrics.catalog import METRICS
from tests.docs.pages import DOCS, code, read, table

HEADS = ("metric", "kind", "labels", "what it says")


def test_every_metric_stands_on_the_page_with_its_kind_labels_and_help() -> None:
    told = [
        (code(name)[0], kind, tuple(code(labels)), help)
        for part in read(DOCS / "reference/metrics.md").split("\n## ")
        if "| metric |" in part
        for name, kind, labels, help in table(part, *HEADS)
    ]
    assert sorted(told) == sorted((metric.name, metric.kind, metric.labels, metric.help) for metric in METRICS)
