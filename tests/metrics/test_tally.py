"""What is counted is shown, and never grows without bound."""

from __future__ import annotations

import pytest
from prometheus_client.parser import text_string_to_metric_families

from dolgo.metrics.catalog import METRICS, RUN, SUBMITTED, UP
from dolgo.metrics.page import Page
from dolgo.metrics.tally import MOST, OTHER, Spread, Tally


def samples(tally: Tally, readings: object = None) -> dict[tuple[str, tuple[str, ...]], float]:
    body, _ = Page(tally).render(readings or {}, "")  # type: ignore[arg-type]
    families = text_string_to_metric_families(body.decode())
    return {(each.name, tuple(each.labels.values())): each.value for family in families for each in family.samples}


def test_label_sets_past_the_most_are_counted_together_and_none_is_lost() -> None:
    tally = Tally()
    for number in range(MOST + 50):
        tally.count(SUBMITTED, (f"q{number}", "t"))
        tally.ran(f"q{number}", "t", 1.0)
    counted = tally.counted(SUBMITTED)
    assert len(counted) == len(tally.observed(RUN)) == MOST + 1
    assert counted[OTHER, OTHER] == 50
    assert sum(counted.values()) == MOST + 50
    assert sum(tally.observed(RUN)[OTHER, OTHER].counts) == 50


def test_a_histogram_counts_what_is_at_its_bound_and_below() -> None:
    tally = Tally()
    for seconds in (0.005, 0.006, 0.01, 9_999.0):
        tally.ran("q", "t", seconds)
    found = samples(tally)
    bounds = {labels[0]: value for (name, labels), value in found.items() if name == "dolgo_task_run_seconds_bucket"}
    assert (bounds["0.005"], bounds["0.01"], bounds["3600.0"], bounds["+Inf"]) == (1, 3, 3, 4)
    assert found["dolgo_task_run_seconds_count", ("q", "t")] == 4


def test_every_metric_has_a_name_by_the_conventions() -> None:
    assert len({metric.name for metric in METRICS}) == len(METRICS)
    for metric in METRICS:
        assert metric.name.startswith("dolgo_")
        assert metric.name.endswith("_total") == (metric.kind == "counter"), metric.name
        assert bool(metric.buckets) == (metric.kind == "histogram"), metric.name
        assert set(metric.labels) <= {
            "queue",
            "type",
            "outcome",
            "status",
            "state",
            "operation",
            "method",
            "route",
            "kind",
            "version",
        }


def test_two_pages_of_one_process_have_nothing_to_do_with_each_other() -> None:
    one, other = Tally(), Tally()
    one.count(SUBMITTED, ("q", "t"))
    assert samples(one, {UP.name: [((), 1)]})["dolgo_tasks_submitted_total", ("q", "t")] == 1
    assert ("dolgo_tasks_submitted_total", ("q", "t")) not in samples(other)


def test_openmetrics_is_answered_to_those_who_ask_for_it() -> None:
    body, media_type = Page(Tally()).render({}, "application/openmetrics-text; version=1.0.0")
    assert media_type.startswith("application/openmetrics-text")
    assert body.endswith(b"# EOF\n")


def test_many_values_at_once_are_counted_as_one_by_one() -> None:
    values = [0.0, 0.005, 0.0051, 1.0, 1.0, 7.0, 3600.0, 3601.0]
    one, many = Spread(RUN.buckets), Spread(RUN.buckets)
    for value in values:
        one.add(value)
    many.add_all(values[::-1])
    assert (one.counts, one.sum) == (many.counts, pytest.approx(many.sum))
