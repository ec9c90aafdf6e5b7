"""Figures in Prometheus form, each with the prefix ``marquee_``."""

import time
from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import accumulate, pairwise
from typing import Any

from prometheus_client import (
    CollectorRegistry,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
)
from prometheus_client.core import (
    CounterMetricFamily,
    Exemplar,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

disable_created_metrics()  # type: ignore[no-untyped-call]

Figure = Callable[[], float | None]
"""None: it is not known at present, and no sample is shown."""

Figures = Callable[[], Mapping[str, float]]
"""By the value of its one label."""

Route = tuple[str, str, int]
"""Method, template of the route, status."""

Names = tuple[str, ...]
Bucket = tuple[str, float] | tuple[str, float, Exemplar]
Told = tuple[Callable[..., Metric], str, str | None, Callable[[], Any]]
"""What kind of figure it is, its text, its label, and how it stands."""

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
LATE = (0.1, 0.25, 0.5, 1, 1.5, 2, 3, 5, 10, 30, 60, 300, 3600)
"""What a rating may take until everybody sees it, in seconds: 5 of them are promised."""

SIZES = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)


class Metrics:
    """One process's figures."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.requests: defaultdict[Route, int] = defaultdict(int)
        self._durations = self._histogram(
            "request_seconds",
            "Seconds from a request to its answer, by route; precomputed answers left out.",
            ("method", "route"),
        )
        self.stores = self._histogram(
            "store_seconds", "Seconds that a call of a store took.", ("store", "call")
        )
        self.store_errors = self._counts(
            "store_errors", "Calls of a store that failed.", ("store", "call", "error")
        )
        self.to_total = self._histogram(
            "acknowledged_to_total_seconds",
            "Seconds from a rating's acknowledgement to its movie's totals.",
            bounds=LATE,
        )
        self.to_visible = self._histogram(
            "acknowledged_to_visible_seconds",
            "Seconds from a rating's acknowledgement to the ten that counts it.",
            bounds=LATE,
        )
        self.loop = self._histogram(
            "loop_late_seconds", "Seconds by which the event loop came late to what was due."
        )
        self.groups = Histogram(
            "marquee_commit_group_size",
            "Writes that shared one commit.",
            buckets=SIZES,
            registry=self.registry,
        )
        self._told: dict[str, Told] = {}
        self.registry.register(Tellers(self._told))
        self.registry.register(Requests(self.requests))
        ProcessCollector(namespace="marquee", registry=self.registry)

    def observe(
        self, method: str, route: str, status: int, seconds: float, trace_id: str = ""
    ) -> None:
        self.requests[method, route, status] += 1
        self._durations.observe((method, route), seconds, trace_id)

    def tell(self, name: str, text: str, figure: Figure) -> None:
        """Tell of a figure as it stands when asked."""
        self._told[name] = (GaugeMetricFamily, text, None, figure)

    def tell_each(self, name: str, text: str, label: str, figures: Figures) -> None:
        """The same, of one for each value of a label."""
        self._told[name] = (GaugeMetricFamily, text, label, figures)

    def count(self, name: str, text: str, figure: Figure) -> None:
        """The same as ``tell``, of one that only grows."""
        self._told[name] = (CounterMetricFamily, text, None, figure)

    def exposition(self, accept: str | None) -> tuple[bytes, str]:
        """All figures as text, and its media type."""
        encoder, content_type = choose_encoder(accept or "")
        return encoder(self.registry), content_type

    def _histogram(
        self, name: str, text: str, labels: Names = (), bounds: Sequence[float] = SECONDS
    ) -> "Durations":
        made = Durations(f"marquee_{name}", text, labels, bounds)
        self.registry.register(made)
        return made

    def _counts(self, name: str, text: str, labels: Names) -> "Counts":
        made = Counts(f"marquee_{name}", text, labels)
        self.registry.register(made)
        return made


class Tellers(Collector):
    def __init__(self, told: Mapping[str, Told]) -> None:
        self._told = told

    def collect(self) -> Iterable[Metric]:
        for name, (family, text, label, figure) in self._told.items():
            if label is None:
                yield family(f"marquee_{name}", text, value=figure())
                continue
            found: Any = family(f"marquee_{name}", text, labels=[label])
            for value, number in figure().items():
                found.add_metric([value], number)
            yield found


class Requests(Collector):
    """Counted in a dict: a counter with a lock would cost a precomputed answer a tenth."""

    def __init__(self, counts: Mapping[Route, int]) -> None:
        self._counts = counts

    def collect(self) -> Iterable[Metric]:
        family = CounterMetricFamily(
            "marquee_requests",
            "Requests answered, by method, route and status.",
            labels=["method", "route", "status"],
        )
        for (method, route, status), count in list(self._counts.items()):
            family.add_metric([method, route, str(status)], count)
        yield family


class Counts(Collector):
    """Kept in a plain dict, for the same reason. Belongs to the event loop, as all of these."""

    def __init__(self, name: str, text: str, labels: Names) -> None:
        self._described = name, text, labels
        self._counts: defaultdict[Names, int] = defaultdict(int)

    def add(self, *labels: str) -> None:
        self._counts[labels] += 1

    def collect(self) -> Iterable[Metric]:
        name, text, labels = self._described
        family = CounterMetricFamily(name, text, labels=labels)
        for key, count in self._counts.items():
            family.add_metric(key, count)
        yield family


class Durations(Collector):
    """Kept in plain lists, for the same reason.

    Of each bucket that a traced one fell into, the last such is shown beside it: its exemplar, to
    those who ask for OpenMetrics.
    """

    def __init__(self, name: str, text: str, labels: Names, bounds: Sequence[float]) -> None:
        self._described = name, text, labels
        self._bounds = bounds
        self._counts: defaultdict[Names, list[int]] = defaultdict(lambda: [0] * (len(bounds) + 1))
        self._sums: defaultdict[Names, float] = defaultdict(float)
        self._exemplars: dict[tuple[Names, int], Exemplar] = {}
        if not labels:
            self._counts[()]  # it is there before anything was seen

    def observe(self, labels: Names, seconds: float, trace_id: str = "") -> None:
        bucket = bisect_left(self._bounds, seconds)
        self._counts[labels][bucket] += 1
        self._sums[labels] += seconds
        if trace_id:
            self._exemplars[labels, bucket] = Exemplar({"trace_id": trace_id}, seconds, time.time())

    def observe_all(self, seconds: Sequence[float], traced: Mapping[str, float]) -> None:
        """Many at once, without labels: at the cost of one for each bucket. ``traced``: those of
        them that have a trace, by its id."""
        found = sorted(seconds)
        ends = [*(bisect_right(found, bound) for bound in self._bounds), len(found)]
        counts = self._counts[()]
        for bucket, (begin, end) in enumerate(pairwise([0, *ends])):
            counts[bucket] += end - begin
        self._sums[()] += sum(found)
        for trace_id, lasted in traced.items():
            bucket = bisect_left(self._bounds, lasted)
            self._exemplars[(), bucket] = Exemplar({"trace_id": trace_id}, lasted, time.time())

    def collect(self) -> Iterable[Metric]:
        name, text, names = self._described
        family = HistogramMetricFamily(name, text, labels=names)
        bounds = [*map(str, map(float, self._bounds)), "+Inf"]
        for labels, counts in list(self._counts.items()):
            buckets: list[Bucket] = []
            for number, (bound, count) in enumerate(zip(bounds, accumulate(counts), strict=True)):
                seen = self._exemplars.get((labels, number))
                buckets.append((bound, count) if seen is None else (bound, count, seen))
            family.add_metric(labels, buckets, self._sums[labels])
        yield family
