"""`marquee import movielens`, the whole command: its rate, and its memory at ten times the rows."""

import random
import re
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

from tests.support.server import COMMAND, environment

from .measuring import Row, Size, folder

MOVIES = 5000
GOAL, GOAL_MEMORY = 20_000, 1.2


def rows(size: Size) -> Iterator[Row]:
    numbers = (20_000, 200_000) if size.quick else (100_000, 1_000_000)
    with folder() as here:
        (few_seconds, few_peak), (many_seconds, many_peak) = (run(here, n) for n in numbers)
    rate = numbers[1] / many_seconds
    yield Row(
        f"import, {numbers[1]:,} ratings of MovieLens",
        f"{rate:,.0f} ratings/s",
        f"{numbers[0] / few_seconds:,.0f}/s of {numbers[0]:,}",
        None,
        f"≥ {GOAL:,} ratings/s",
        rate >= GOAL,
        {"ratings/s": rate},
    )
    yield Row(
        "… its memory at the peak",
        f"{many_peak / 1e6:.0f} MB",
        f"{few_peak / 1e6:.0f} MB with {numbers[0]:,}",
        many_peak / few_peak,
        f"≤ {GOAL_MEMORY}: flat",
        many_peak <= GOAL_MEMORY * few_peak,
        {"few": few_peak, "many": many_peak},
    )


def run(here: Path, ratings: int) -> tuple[float, float]:
    """Seconds, and bytes at the peak, of an import."""
    source = here / f"movielens-{ratings}"
    write(source, ratings)
    start = time.perf_counter()
    process = subprocess.Popen(
        [COMMAND, "import", "movielens", source, "--data", here / f"data-{ratings}"],
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    peak = 0
    try:
        while process.poll() is None:
            peak = max(peak, peak_of(process.pid))
            time.sleep(0.02)
        seconds = time.perf_counter() - start
    finally:
        process.kill()
        said, _ = process.communicate()
    assert process.returncode == 0
    assert f"{ratings:,} added" in said, said
    return seconds, peak


def peak_of(pid: int) -> int:
    """Not of ``wait4``: there a process begins with the peak of the one that started it."""
    try:
        found = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    except OSError:  # it has just ended
        return 0
    return int(found[1]) * 1024 if found else 0


def write(source: Path, ratings: int) -> None:
    """A folder as MovieLens has it; the ratings by user, then by movie."""
    dice = random.Random(ratings)
    source.mkdir()
    with (source / "movies.csv").open("w") as file:
        file.write("movieId,title,genres\n")
        file.writelines(f"{n},Movie {n} ({1920 + n % 100}),Drama\n" for n in range(1, MOVIES + 1))
    with (source / "links.csv").open("w") as file:
        file.write("movieId,imdbId,tmdbId\n")
        file.writelines(f"{n},{9_000_000 + n},{n}\n" for n in range(1, MOVIES + 1))
    with (source / "ratings.csv").open("w") as file:
        file.write("userId,movieId,rating,timestamp\n")
        left, user = ratings, 0
        while left:
            user += 1
            seen = min(left, dice.randint(20, 300))
            left -= seen
            for movie in sorted(dice.sample(range(1, MOVIES + 1), seen)):
                at = 1_500_000_000 + dice.randrange(10**8)
                file.write(f"{user},{movie},{dice.randint(1, 10) / 2},{at}\n")
