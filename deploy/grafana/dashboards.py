"""Writes Grafana's dashboards, one for a person at three in the morning and one for each role:
``python deploy/grafana/dashboards.py``. What it writes is checked in, and a test fails where it is
stale.

A dashboard is rows of panels, a panel a few questions to Prometheus. The JSON is that of Grafana's
schema 39 (Grafana 10 and newer read it).
"""

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

FOLDER = Path(__file__).parent / "dashboards"
SOURCE = {"type": "prometheus", "uid": "${datasource}"}
WIDTH = 24
WINDOW = "$__rate_interval"

GREEN, AMBER, RED = "green", "orange", "red"
Json = dict[str, Any]


class Ask(NamedTuple):
    """A question to Prometheus, and what its answer is called."""

    query: str
    legend: str = ""


class Panel(NamedTuple):
    """``limits``: from where on it is amber, and red; they fall where the second is below the
    first. ``big``: one number, and no line."""

    title: str
    help: str
    asks: tuple[Ask, ...]
    unit: str = "short"
    limits: tuple[float, float] | None = None
    big: bool = False
    words: tuple[tuple[int, str, str], ...] = ()
    """Values that are said in words: value, word, colour."""

    none: str | None = None
    """What is said where there is no answer."""


Row = tuple[str, int, list[Panel]]
"""Its title, how high its panels are, the panels: they share the width."""


def rate(metric: str, *by: str, where: str = "") -> str:
    return f"sum by ({', '.join(by)}) (rate({metric}{{{where}}}[{WINDOW}]))"


def quantile(q: float, metric: str, *by: str, where: str = "") -> str:
    return f"histogram_quantile({q}, {rate(f'{metric}_bucket', 'le', *by, where=where)})"


def share(part: str, whole: str) -> str:
    """A share that is 0 where there is nothing of the part."""
    return f"({part} or 0 * {whole}) / {whole}"


# ---- panels that several dashboards have

RATED = 'method=~"POST|DELETE",route=~"/movies/[{]movieId[}]/(users/rate|ratings)"'
TEN = 'route="/movies/top10"'


def traffic(where: str) -> Panel:
    asks = (Ask(rate("marquee_requests_total", "route", where=where), "{{route}}"),)
    return Panel("Traffic", "Requests answered, a second, by route.", asks, "reqps")


def errors(where: str) -> Panel:
    failed = f'{where},status=~"5.."'
    return Panel(
        "Errors",
        "Answers that are our fault (5xx), a second. What callers do wrong is not among them.",
        (
            Ask(
                rate("marquee_requests_total", "route", "status", where=failed),
                "{{route}} {{status}}",
            ),
        ),
        "reqps",
    )


def latency(where: str) -> Panel:
    asks = tuple(
        Ask(
            quantile(q, "marquee_request_seconds", "route", where=where),
            f"{{{{route}}}} p{q * 100:g}",
        )
        for q in (0.5, 0.99)
    )
    text = "From a request to its answer. Precomputed answers (the ten) are only counted."
    return Panel("Latency", text, asks, "s")


def stores(where: str) -> list[Panel]:
    return [
        Panel(
            "Calls of stores",
            "A second, by what is asked.",
            (
                Ask(
                    rate("marquee_store_seconds_count", "store", "call", where=where),
                    "{{store}} {{call}}",
                ),
            ),
            "ops",
        ),
        Panel(
            "Failed calls of stores",
            "away: the store could not; cut: who asked had enough; failed: an error nobody foresaw.",
            (
                Ask(
                    rate("marquee_store_errors_total", "store", "call", "error", where=where),
                    "{{store}} {{call}} {{error}}",
                ),
            ),
            "ops",
        ),
        Panel(
            "How long stores take",
            "99 of 100 calls take less.",
            (
                Ask(
                    quantile(0.99, "marquee_store_seconds", "store", "call", where=where),
                    "{{store}} {{call}}",
                ),
            ),
            "s",
        ),
    ]


def saturation(where: str) -> list[Panel]:
    return [
        Panel(
            "CPU",
            "Cores; a process can use one.",
            (Ask(f"rate(marquee_process_cpu_seconds_total{{{where}}}[{WINDOW}])", "{{instance}}"),),
            limits=(0.8, 0.95),
        ),
        Panel(
            "How late the event loop is",
            "Nine of ten looks found it less late. Above 0.25 s everything is late.",
            (
                Ask(
                    quantile(0.9, "marquee_loop_late_seconds", "instance", where=where),
                    "{{instance}}",
                ),
            ),
            "s",
            (0.1, 0.25),
        ),
        Panel(
            "Memory",
            "Resident.",
            (Ask(f"marquee_process_resident_memory_bytes{{{where}}}", "{{instance}}"),),
            "bytes",
        ),
        Panel(
            "Open files",
            "Share of what the process may open.",
            (
                Ask(
                    f"marquee_process_open_fds{{{where}}} / marquee_process_max_fds{{{where}}}",
                    "{{instance}}",
                ),
            ),
            "percentunit",
            (0.6, 0.8),
        ),
    ]


def processes(role: str) -> list[Panel]:
    where = f'role="{role}"'
    return [
        Panel(
            "Up", "Processes that answer.", (Ask(f"sum(up{{{where}}})"),), limits=(1, 0.5), big=True
        ),
        Panel(
            "Ready",
            "Of those that are to be there, the share that can do its work.",
            (Ask(f"(sum(marquee_ready{{{where}}}) or vector(0)) / count(up{{{where}}})"),),
            "percentunit",
            (1, 0.01),
            big=True,
        ),
        Panel(
            "What they depend on",
            "Up or away, as the least lucky process sees it.",
            (Ask(f"min by (dependency) (marquee_dependency_up{{{where}}})", "{{dependency}}"),),
            big=True,
            words=((1, "up", GREEN), (0, "away", RED)),
        ),
    ]


def serving(role: str, *more: Row) -> list[Row]:
    """The dashboard of a role that answers requests."""
    where = f'role="{role}"'
    load = [
        Panel(
            "Connections",
            "Open ones, and requests under way.",
            (
                Ask(f"sum(marquee_connections{{{where}}})", "connections"),
                Ask(f"sum(marquee_requests_under_way{{{where}}})", "requests under way"),
            ),
        )
    ]
    return [
        ("Processes", 4, processes(role)),
        *more,
        ("Requests", 8, [traffic(where), errors(where), latency(where)]),
        ("Stores", 8, stores(where)),
        ("Room left", 7, load + saturation(where)),
    ]


def working(role: str, *more: Row) -> list[Row]:
    """The dashboard of a worker."""
    where = f'role="{role}"'
    return [
        ("Processes", 4, processes(role)),
        *more,
        ("Stores", 8, stores(where)),
        ("Room left", 7, saturation(where)),
    ]


# ---- the dashboards


def overview() -> list[Row]:
    bad_ten = share(
        f'sum(rate(marquee_requests_total{{{TEN},status=~"5.."}}[5m]))',
        f"sum(rate(marquee_requests_total{{{TEN}}}[5m]))",
    )
    bad_ratings = share(
        f'sum(rate(marquee_requests_total{{{RATED},status=~"5.."}}[5m]))',
        f"sum(rate(marquee_requests_total{{{RATED}}}[5m]))",
    )
    in_time = (
        'sum(rate(marquee_acknowledged_to_visible_seconds_bucket{le="5.0"}[5m])) / '
        "sum(rate(marquee_acknowledged_to_visible_seconds_count[5m]))"
    )
    return [
        (
            "Do people notice?",
            5,
            [
                Panel(
                    "The ten is served",
                    "Share of reads that are answered; promised are 99.99 %.",
                    (Ask(f"1 - {bad_ten}"),),
                    "percentunit",
                    (0.9999, 0.999),
                    big=True,
                ),
                Panel(
                    "Ratings are taken",
                    "Share of ratings that are not refused by our fault; promised are 99.95 %.",
                    (Ask(f"1 - {bad_ratings}"),),
                    "percentunit",
                    (0.9995, 0.99),
                    big=True,
                ),
                Panel(
                    "Ratings show in time",
                    "Share of ratings that the ten counts within 5 s; promised are 99 %.",
                    (Ask(in_time),),
                    "percentunit",
                    (0.99, 0.9),
                    big=True,
                ),
                Panel(
                    "Age of the ten",
                    "Of the freshest reader. Readers go on serving it, whatever its age.",
                    (Ask("min(marquee_ten_age_seconds)"),),
                    "s",
                    (5, 30),
                    big=True,
                ),
            ],
        ),
        (
            "Are the promises kept?",
            5,
            [
                Panel(
                    "Events behind",
                    "Acknowledged, not yet counted. None of them is lost.",
                    (Ask("max(marquee_events_behind)"),),
                    limits=(1000, 10000),
                    big=True,
                ),
                Panel(
                    "Stopped partitions",
                    "Above 0: `marquee rebuild`.",
                    (Ask("sum(marquee_partitions_stopped)"),),
                    limits=(1, 1),
                    big=True,
                ),
                Panel(
                    "Movies adrift",
                    "What `marquee verify` found last.",
                    (Ask("max(marquee_drifted_movies)"),),
                    limits=(1, 1),
                    big=True,
                ),
                Panel(
                    "Verified",
                    "How long ago.",
                    (
                        Ask(
                            "time() - (max(marquee_verified_timestamp_seconds) > 0)"
                            " or max(marquee_verified_timestamp_seconds) - 1"
                        ),
                    ),
                    "s",
                    (100_000, 172_800),
                    big=True,
                    words=((-1, "never", AMBER),),
                ),
                Panel(
                    "Dead letters",
                    "Events set aside.",
                    (Ask("max(marquee_dead_letters)"),),
                    limits=(1, 100),
                    big=True,
                ),
                Panel(
                    "Outbox unswept",
                    "Two minutes are normal; after three and a half days ratings are refused.",
                    (Ask("max(marquee_outbox_unswept_seconds)"),),
                    "s",
                    (600, 86_400),
                    big=True,
                ),
            ],
        ),
        (
            "What is broken?",
            6,
            [
                Panel(
                    "Roles",
                    "Processes that answer. None of a role: its runbook is role-missing.",
                    (Ask('sum by (role) (up{job="marquee"})', "{{role}}"),),
                    limits=(1, 0.5),
                    big=True,
                ),
                Panel(
                    "Stores",
                    "As the least lucky process of all sees them.",
                    (
                        Ask(
                            'min by (dependency) (marquee_dependency_up{dependency=~"ratings|events|movies|cache"})',
                            "{{dependency}}",
                        ),
                    ),
                    big=True,
                    words=((1, "up", GREEN), (0, "away", RED)),
                ),
                Panel(
                    "Alerts",
                    "Firing, by name; each has its page in docs/runbooks.",
                    (
                        Ask(
                            "count by (alertname, severity) "
                            '(ALERTS{alertstate="firing",alertname=~"Marquee.+"})',
                            "{{alertname}} ({{severity}})",
                        ),
                    ),
                    limits=(1, 1),
                    big=True,
                    none="none",
                ),
            ],
        ),
        (
            "The way of a rating: the first that stands still is it",
            8,
            [
                Panel(
                    "Taken, relayed, folded, refreshed",
                    "A second. They follow each other; the relays say each thing twice, once by the sweep.",
                    (
                        Ask(f"sum(rate(marquee_ratings_accepted_total[{WINDOW}]))", "taken"),
                        Ask(f"sum(rate(marquee_events_relayed_total[{WINDOW}]))", "relayed"),
                        Ask(f"sum(rate(marquee_events_folded_total[{WINDOW}]))", "folded"),
                        Ask(
                            rate("marquee_store_seconds_count", where='call="refresh"'), "refreshed"
                        ),
                    ),
                    "ops",
                ),
                Panel(
                    "How late ratings are",
                    "From the acknowledgement; 99 of 100 are earlier.",
                    (
                        Ask(
                            quantile(0.99, "marquee_acknowledged_to_total_seconds"), "in the totals"
                        ),
                        Ask(
                            quantile(0.99, "marquee_acknowledged_to_visible_seconds"), "in the ten"
                        ),
                    ),
                    "s",
                    (2.5, 5),
                ),
                errors('job="marquee"'),
            ],
        ),
        (
            "How fast the budgets go: above 14.4 wakes, above 1 is more than promised",
            7,
            [
                Panel(
                    title,
                    "Times as fast as allowed.",
                    tuple(
                        Ask(f"marquee:{name}_errors:ratio_rate{window} / {budget}", window)
                        for window in ("5m", "1h", "6h", "3d")
                    ),
                    limits=(1, 14.4),
                )
                for title, name, budget in (
                    ("The ten", "ten", 0.0001),
                    ("Ratings", "rating", 0.0005),
                    ("In time", "visible", 0.01),
                )
            ],
        ),
    ]


AGE: Row = (
    "The ten",
    6,
    [
        Panel(
            "Age of the ten",
            "Since each reader last found it true.",
            (Ask('marquee_ten_age_seconds{role="top-rated"}', "{{instance}}"),),
            "s",
            (5, 30),
        )
    ],
)
TAKEN: Row = (
    "Ratings",
    6,
    [
        Panel(
            "Acknowledged",
            "A second.",
            (Ask(rate("marquee_ratings_accepted_total", "instance"), "{{instance}}"),),
            "ops",
        ),
        Panel(
            "Limited",
            "Answers 429, a second.",
            (
                Ask(
                    rate("marquee_requests_total", "route", where='role="ratings",status="429"'),
                    "{{route}}",
                ),
            ),
            "reqps",
        ),
        Panel(
            "Writes that share a commit",
            "Embedded only.",
            (Ask(quantile(0.9, "marquee_commit_group_size"), "p90"),),
        ),
    ],
)
RELAYED: Row = (
    "Relaying",
    7,
    [
        Panel(
            "Relayed",
            "Events brought to the log, a second.",
            (Ask(rate("marquee_events_relayed_total", "instance"), "{{instance}}"),),
            "ops",
        ),
        Panel(
            "Shards held",
            "All of them together are those that there are.",
            (Ask("marquee_shards_held", "{{instance}}"), Ask("sum(marquee_shards_held)", "all")),
        ),
        Panel(
            "Unswept",
            "Since the oldest bucket closed that nobody has swept.",
            (Ask("max(marquee_outbox_unswept_seconds)"),),
            "s",
            (600, 86_400),
        ),
    ],
)
FOLDED: Row = (
    "Folding",
    7,
    [
        Panel(
            "Folded",
            "Events taken from the log, a second.",
            (Ask(rate("marquee_events_folded_total", "instance"), "{{instance}}"),),
            "ops",
        ),
        Panel(
            "Behind",
            "Events that wait.",
            (Ask("max(marquee_events_behind)"),),
            limits=(1000, 10000),
        ),
        Panel(
            "Late in the totals",
            "Half, and 99 of 100, are earlier.",
            tuple(
                Ask(quantile(q, "marquee_acknowledged_to_total_seconds"), f"p{q * 100:g}")
                for q in (0.5, 0.99)
            ),
            "s",
            (2.5, 5),
        ),
        Panel(
            "Stopped, and set aside",
            "Partitions that stand still, and dead letters.",
            (
                Ask("sum(marquee_partitions_stopped)", "stopped partitions"),
                Ask("max(marquee_dead_letters)", "dead letters"),
            ),
            limits=(1, 1),
        ),
    ],
)
REFRESHED: Row = (
    "Refreshing",
    7,
    [
        Panel(
            "Refreshes",
            "A second; at least one in two.",
            (
                Ask(
                    rate(
                        "marquee_store_seconds_count",
                        "instance",
                        where='role="refresher",call="refresh"',
                    ),
                    "{{instance}}",
                ),
            ),
            "ops",
        ),
        Panel(
            "How long one takes",
            "99 of 100 take less.",
            (
                Ask(
                    quantile(
                        0.99, "marquee_store_seconds", where='role="refresher",call="refresh"'
                    ),
                    "p99",
                ),
            ),
            "s",
        ),
        Panel(
            "Late in the ten",
            "Half, and 99 of 100, are earlier.",
            tuple(
                Ask(quantile(q, "marquee_acknowledged_to_visible_seconds"), f"p{q * 100:g}")
                for q in (0.5, 0.99)
            ),
            "s",
            (2.5, 5),
        ),
        Panel(
            "Drift",
            "What `marquee verify` found last.",
            (Ask("max(marquee_drifted_movies)"),),
            limits=(1, 1),
        ),
    ],
)

CHOICE: Json = {
    "name": "datasource",
    "label": "Data source",
    "type": "datasource",
    "query": "prometheus",
    "current": {"text": "Prometheus", "value": "marquee-prometheus"},
    "hide": 0,
    "includeAll": False,
    "multi": False,
    "options": [],
    "refresh": 1,
    "regex": "",
}
"""Of Prometheus, for a Grafana that has another one than ours."""

QUIET: Json = {
    "type": "special",
    "options": {"match": "nan", "result": {"text": "quiet", "color": GREEN}},
}
"""A share of nothing: nobody asked, and nothing is wrong."""

DASHBOARDS = {
    "overview": ("Marquee", overview),
    "ratings": ("Marquee: ratings", lambda: serving("ratings", TAKEN)),
    "movies": ("Marquee: movies", lambda: serving("movies")),
    "top-rated": ("Marquee: top-rated", lambda: serving("top-rated", AGE)),
    "best-pictures": ("Marquee: best-pictures", lambda: serving("best-pictures")),
    "relay": ("Marquee: relay", lambda: working("relay", RELAYED)),
    "aggregator": ("Marquee: aggregator", lambda: working("aggregator", FOLDED)),
    "refresher": ("Marquee: refresher", lambda: working("refresher", REFRESHED)),
}


# ---- as Grafana reads them


def steps(limits: tuple[float, float] | None) -> list[Json]:
    if limits is None:
        return [{"color": GREEN, "value": None}]
    amber, red = limits
    if red < amber:
        return [
            {"color": RED, "value": None},
            {"color": AMBER, "value": red},
            {"color": GREEN, "value": amber},
        ]
    colours = [(GREEN, None), (AMBER, amber), (RED, red)]
    if amber == red:
        del colours[1]
    return [{"color": colour, "value": value} for colour, value in colours]


def as_panel(panel: Panel, number: int, x: int, y: int, width: int, height: int) -> Json:
    shown: Json = {
        "unit": panel.unit,
        "min": 0,
        "thresholds": {"mode": "absolute", "steps": steps(panel.limits)},
    }
    if panel.words:
        words = {str(v): {"text": text, "color": colour} for v, text, colour in panel.words}
        shown["mappings"] = [{"type": "value", "options": words}]
    if panel.none:
        shown["noValue"] = panel.none
    if panel.big and panel.unit == "percentunit":
        shown["mappings"] = [QUIET]
    if panel.big:
        options: Json = {
            "colorMode": "background",
            "graphMode": "none",
            "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
            "textMode": "value_and_name" if any(ask.legend for ask in panel.asks) else "value",
        }
    else:
        shown["color"] = {"mode": "palette-classic"}
        shown["custom"] = {
            "lineWidth": 2,
            "fillOpacity": 10,
            "showPoints": "never",
            "thresholdsStyle": {"mode": "line" if panel.limits else "off"},
        }
        options = {
            "legend": {"displayMode": "list", "placement": "bottom", "showLegend": True},
            "tooltip": {"mode": "multi", "sort": "desc"},
        }
    return {
        "id": number,
        "type": "stat" if panel.big else "timeseries",
        "title": panel.title,
        "description": panel.help,
        "datasource": SOURCE,
        "gridPos": {"x": x, "y": y, "w": width, "h": height},
        "fieldConfig": {"defaults": shown, "overrides": []},
        "options": options,
        "targets": [
            {
                "refId": chr(ord("A") + n),
                "datasource": SOURCE,
                "expr": ask.query,
                "legendFormat": ask.legend or "__auto",
                "exemplar": "_bucket" in ask.query and not panel.big,
                "instant": panel.big,
                "range": not panel.big,
            }
            for n, ask in enumerate(panel.asks)
        ],
    }


def as_panels(rows: Iterable[Row]) -> Iterator[Json]:
    number = y = 0
    for title, height, panels in rows:
        number += 1
        yield {
            "id": number,
            "type": "row",
            "title": title,
            "collapsed": False,
            "gridPos": {"x": 0, "y": y, "w": WIDTH, "h": 1},
            "panels": [],
        }
        y += 1
        for place, panel in enumerate(panels):
            number += 1
            left, right = (WIDTH * n // len(panels) for n in (place, place + 1))
            yield as_panel(panel, number, left, y, right - left, height)
        y += height


def as_dashboard(name: str, title: str, rows: Iterable[Row]) -> Json:
    links = {
        "type": "dashboards",
        "title": "Marquee",
        "tags": ["marquee"],
        "asDropdown": False,
        "includeVars": True,
        "keepTime": True,
        "targetBlank": False,
        "icon": "external link",
        "tooltip": "",
        "url": "",
    }
    return {
        "uid": f"marquee-{name}",
        "title": title,
        "tags": ["marquee"],
        "schemaVersion": 39,
        "version": 1,
        "editable": False,
        "graphTooltip": 1,
        "refresh": "30s",
        "time": {"from": "now-3h", "to": "now"},
        "timezone": "utc",
        "timepicker": {},
        "templating": {"list": [CHOICE]},
        "annotations": {"list": []},
        "links": [links],
        "panels": list(as_panels(rows)),
    }


def written() -> dict[Path, str]:
    """Each file, and what is to stand in it."""
    return {
        FOLDER / f"{name}.json": json.dumps(as_dashboard(name, title, rows()), indent=1) + "\n"
        for name, (title, rows) in DASHBOARDS.items()
    }


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for file, text in written().items():
        file.write_text(text)
