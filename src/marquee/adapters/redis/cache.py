"""The ten, and a bounded number of other charts, each in a key of its own."""

import zlib
from math import ceil
from typing import Any

import msgspec

from ...model import Chart, ChartQuery
from ...ports import Kept
from .client import Redis, Script

FORM = 1
"""Of the charts as they are kept. Who knows another one neither reads nor harms them."""

PLACES = 512
"""Each query has its place by a hash of it, and there takes that of any other: however many are
asked for, there are never more keys."""

OLD_SECONDS = 60
"""For so long a chart is held that is no longer fresh."""

MICROSECONDS = 1_000_000
PUT, LOOK, KEEP = Script("put"), Script("look"), Script("keep")

encode = msgspec.json.Encoder().encode
decode_chart = msgspec.json.Decoder(Chart).decode


class RedisCache:
    """``ports.Cache``. Charts are kept as JSON, their names those of the model."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self._ten = redis.name(f"ten:{FORM}")

    async def put(self, chart: Chart) -> None:
        await self._redis.run_script(PUT, self._ten, chart.refreshed_at, encode(chart))

    async def get(self) -> Chart | None:
        return decode(await self._redis.call(self._ten, "HGET", self._ten, "chart"))

    async def look(self, query: ChartQuery, turn: float) -> Kept:
        arguments = microseconds(turn), ceil(1000 * (turn + OLD_SECONDS))
        raw, fresh, given = await self._run(LOOK, query, *arguments)
        if raw is not None and decode(raw) is None:
            place = self._place(encode(query))
            await self._redis.call(place, "DEL", place)
            raw, fresh, given = await self._run(LOOK, query, *arguments)  # one gets the turn
        return Kept(decode(raw), fresh / MICROSECONDS, bool(given))

    async def keep(self, query: ChartQuery, chart: Chart | None, fresh: float = 0) -> None:
        held = ceil(1000 * (max(fresh, 0) + OLD_SECONDS))
        given = () if chart is None else (chart.refreshed_at, encode(chart))
        await self._run(KEEP, query, microseconds(fresh), held, *given)

    async def _run(self, script: Script, query: ChartQuery, *arguments: float | bytes) -> Any:
        asked = encode(query)
        return await self._redis.run_script(script, self._place(asked), asked, *arguments)

    def _place(self, asked: bytes) -> str:
        return self._redis.name(f"chart:{FORM}:{zlib.crc32(asked) % PLACES}")


def microseconds(seconds: float) -> int:
    return round(seconds * MICROSECONDS)


def decode(raw: bytes | None) -> Chart | None:
    """The chart that is kept so; one that can't be read is as good as none."""
    try:
        return None if raw is None else decode_chart(raw)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return None
