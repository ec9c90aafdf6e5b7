"""A consumer to be killed: ``python -m tests.support.taker URL GROUP`` takes its share of a topic,
says so at the first records, and never folds any."""

import asyncio
import sys

from marquee.adapters.kafka import KafkaLog
from tests.simulator.stores import MemoryTotals, MovieDisk


async def main(url: str, group: str) -> None:
    log = KafkaLog(url, MemoryTotals(MovieDisk(), lambda: 0), group)
    while await log.poll(100) is None:
        pass
    print("took some", flush=True)
    while True:
        await log.poll(100)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
