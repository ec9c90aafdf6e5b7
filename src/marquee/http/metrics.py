"""Figures in Prometheus form, each with the prefix ``marquee_``."""

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from itertools import accumulate

from prometheus_client import CollectorRegistry, Counter, Histogram, disable_created_metrics
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

disable_created_metrics()  # type: ignore[no-untyped-call]

Figure = Callable[[], float]
Route = tuple[str, str, int]
"""Method, template of the route, status."""

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
SIZES = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)


class Metrics:
    """One process's figures."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.requests: defaultdict[Route, int] = defaultdict(int)
        self._durations = Durations()
        self.groups = Histogram(
            "marquee_commit_group_size",
            "Writes that shared one commit.",
            buckets=SIZES,
            registry=self.registry,
        )
        self.ratings = Counter(
            "marquee_ratings_accepted", "Ratings acknowledged.", registry=self.registry
        )
        self._told = Told()
        self.registry.register(self._told)
        self.registry.register(Requests(self.requests))
        self.registry.register(self._durations)

    def observe(self, method: str, route: str, status: int, seconds: float) -> None:
        self.requests[method, route, status] += 1
        self._durations.observe(method, route, seconds)

    def tell(self, name: str, text: str, figure: Figure) -> None:
        """Tell of a figure as it stands when asked."""
        self._told.figures[name] = (GaugeMetricFamily, text, figure)

    def count(self, name: str, text: str, figure: Figure) -> None:
        """The same, of one that only grows."""
        self._told.figures[name] = (CounterMetricFamily, text, figure)

    def exposition(self, accept: str | None) -> tuple[bytes, str]:
        """All figures as text, and its media type."""
        encoder, content_type = choose_encoder(accept or "")
        return encoder(self.registry), content_type


class Told(Collector):
    def __init__(self) -> None:
        self.figures: dict[str, tuple[Callable[..., Metric], str, Figure]] = {}

    def collect(self) -> Iterable[Metric]:
        for name, (family, text, figure) in self.figures.items():
            yield family(f"marquee_{name}", text, value=figure())


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


class Durations(Collector):
    """Kept in plain lists, for the same reason."""

    def __init__(self) -> None:
        self._counts: defaultdict[tuple[str, str], list[int]] = defaultdict(
            lambda: [0] * (len(SECONDS) + 1)
        )
        self._sums: defaultdict[tuple[str, str], float] = defaultdict(float)

    def observe(self, method: str, route: str, seconds: float) -> None:
        self._counts[method, route][bisect_left(SECONDS, seconds)] += 1
        self._sums[method, route] += seconds

    def collect(self) -> Iterable[Metric]:
        family = HistogramMetricFamily(
            "marquee_request_seconds",
            "Seconds from a request to its answer, by route; precomputed answers left out.",
            labels=["method", "route"],
        )
        bounds = [*map(str, map(float, SECONDS)), "+Inf"]
        for labels, counts in list(self._counts.items()):
            buckets = list(zip(bounds, accumulate(counts), strict=True))
            family.add_metric(labels, buckets, self._sums[labels])
        yield family
