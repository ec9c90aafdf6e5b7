"""From the answer to a rating until every reader's ten shows it, on servers, at 200 ratings/s."""

import asyncio
import random
import time
from collections.abc import Iterator

import httpx

from tests.support.system import System, system

from .measuring import Row, Size, folder
from .servers import needed

RATE = 200
MOVIES = 500
GOAL_P50, GOAL_P99 = 1.0, 3.0
READERS = 2

Users = list[dict[str, str]]


def rows(size: Size) -> Iterator[Row]:
    needed("cassandra", "kafka", "postgres", "redis")
    with folder() as here, system(here, each={"top-rated": READERS}, rate_limit="off") as marquee:
        times = sorted(asyncio.run(measure(marquee, 10 if size.quick else 60)))
    p50, p99 = times[len(times) // 2], times[len(times) * 99 // 100]
    yield Row(
        f"a rating until all see it in the ten, {RATE}/s",
        f"p50 {p50:.2f} s, p99 {p99:.2f} s",
        "",
        None,
        f"p50 ≤ {GOAL_P50:g} s, p99 ≤ {GOAL_P99:g} s",
        p50 <= GOAL_P50 and p99 <= GOAL_P99,
        {"p50": p50, "p99": p99},
    )


async def measure(marquee: System, seconds: float) -> list[float]:
    """Seconds from each answer until all readers show its rating."""
    raters = marquee.of("ratings")[0]
    users = [raters.authorization(f"user-{number}") for number in range(500)]
    async with httpx.AsyncClient(timeout=30) as client:
        await put_movies(client, marquee)
        url = f"{raters.url}/movies/{{}}/users/rate"
        load = asyncio.create_task(keep_rating(client, url, users))
        fans = [raters.authorization(f"fan-{number}") for number in range(int(4 * seconds))]
        readers = [f"{reader.url}/movies/top10" for reader in marquee.of("top-rated")]
        try:
            return await seen(client, url.format("best"), fans, readers)
        finally:
            load.cancel()
            await asyncio.gather(load, return_exceptions=True)


async def put_movies(client: httpx.AsyncClient, marquee: System) -> None:
    movies = marquee.of("movies")[0]
    editor = movies.authorization("editor", "movies:write")
    for movie in ("best", *(f"m{number}" for number in range(MOVIES))):
        answer = await client.put(
            f"{movies.url}/movies/{movie}", json={"title": movie}, headers=editor
        )
        answer.raise_for_status()


async def keep_rating(client: httpx.AsyncClient, url: str, users: Users) -> None:
    """So many ratings a second, of anything but the best."""
    dice = random.Random(1)
    due = time.monotonic()
    async with asyncio.TaskGroup() as asking:
        while True:
            body = {"rate": dice.randint(1, 12) / 2}
            movie = url.format(f"m{dice.randrange(MOVIES)}")
            asking.create_task(client.post(movie, json=body, headers=dice.choice(users)))
            due += 1 / RATE
            await asyncio.sleep(due - time.monotonic())


async def seen(client: httpx.AsyncClient, url: str, fans: Users, readers: list[str]) -> list[float]:
    times = []
    for number, fan in enumerate(fans, 1):
        (await client.post(url, json={"rate": 10}, headers=fan)).raise_for_status()
        answered = time.monotonic()
        await asyncio.gather(*(shows(client, reader, number) for reader in readers))
        times.append(time.monotonic() - answered)
        await asyncio.sleep(random.uniform(0, 0.3))
    return times


async def shows(client: httpx.AsyncClient, reader: str, number: int) -> None:
    while True:
        result = (await client.get(reader)).json()["result"]
        if any(e["id"] == "best" and e["numberOfRatings"] >= number for e in result):
            return
        await asyncio.sleep(0.01)
