"""``make bench``: how fast and how large Marquee is, each figure beside its ceiling.

Every benchmark measures Marquee and something bare by turns, in this run, on this machine, and
tells the ratio of the two medians: figures of two machines, or of two days, can't be compared,
ratios can. A figure that misses its goal fails nothing. docs/performance.md tells how to read them.
"""

import argparse
import json
import sys
from importlib import import_module
from pathlib import Path

from .measuring import HEAD, WIDTHS, Missing, Row, Size, line

NAMES = (
    "top10",
    "rate",
    "alone",
    "visible",
    "fold",
    "refresh",
    "imports",
    "memory",
    "ready",
    "suggestions",
    "aggregated",
    "followed",
    "postgres",
    "cassandra_rate",
    "always",
    "relayed",
    "published",
    "outbox",
)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(NAMES)}")
    parser.add_argument("--quick", action="store_true", help="smaller, shorter, less exact")
    parser.add_argument("--large", action="store_true", help="the fold also on 10,000,000 ratings")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures here, too")
    asked = parser.parse_args()
    if unknown := set(asked.names) - set(NAMES):
        parser.error(f"there is no {', '.join(sorted(unknown))}")
    size = Size(quick=asked.quick, large=asked.large)

    print(line(HEAD))
    print(line("-" * width for width in WIDTHS))
    found: list[Row] = []
    for name in asked.names or NAMES:
        try:
            for row in import_module(f".{name}", __package__).rows(size):
                print(line(row.cells), flush=True)
                found.append(row)
        except Missing as missing:
            print(f"{name} is left out: {missing}", file=sys.stderr)
    if asked.json:
        asked.json.write_text(json.dumps([row.json() for row in found], indent=2) + "\n")


if __name__ == "__main__":
    main()
