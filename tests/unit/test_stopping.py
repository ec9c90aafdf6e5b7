"""What runs in the background ends when it is told to, at whatever moment that is; and a process
that can't end says why."""

import asyncio
import os
import subprocess
import sys
from contextlib import suppress
from itertools import count

import pytest

from marquee.adapters import sqlite
from marquee.adapters.memory import MemoryCache, MemoryNotices
from marquee.aggregation import Aggregator
from marquee.bestpictures import BestPictures
from marquee.toprated import Refresher, TopRated
from marquee.wiring.process import names_of
from tests.simulator import stores


def refresher(notices):
    charts = stores.MemoryCharts(stores.MovieDisk(), count(1).__next__)
    return Refresher(charts, MemoryCache(), notices, 0)


def toprated(notices):
    charts = stores.MemoryCharts(stores.MovieDisk(), count(1).__next__)
    return TopRated(charts, MemoryCache(), notices)


def bestpictures(notices):
    return BestPictures(stores.MemoryCatalogue(stores.MovieDisk()), notices)


@pytest.mark.parametrize(
    ("room", "topic"), [(refresher, "totals"), (toprated, "ten"), (bestpictures, "nominations")]
)
async def test_also_while_a_notice_comes_in(room, topic):
    """Each tick of the event loop is a moment: until Python 3.12 ``asyncio.wait_for`` took no
    notice of an end in the one at which what it waits for has come."""

    async def ended(ticks):
        notices = MemoryNotices()
        running = asyncio.create_task(room(notices).run())
        await asyncio.sleep(0.15)  # longer than any of them is busy
        notices.tell(topic)
        for _ in range(ticks):
            await asyncio.sleep(0)
        running.cancel()
        done, _ = await asyncio.wait([running], timeout=10)
        return bool(done)

    assert all(await asyncio.gather(*map(ended, range(8))))


@pytest.mark.parametrize("ticks", range(8))
async def test_also_while_an_event_comes_in(tmp_path, ticks):
    database = await sqlite.Database.open(tmp_path / "marquee.db")
    outbox = sqlite.SqliteOutbox(database)
    aggregator = Aggregator(outbox, sqlite.SqliteTotals(database), MemoryNotices())
    running = asyncio.create_task(aggregator.run())
    await database.write(lambda _: None)
    for _ in range(ticks):
        await asyncio.sleep(0)
    running.cancel()
    done, _ = await asyncio.wait([running], timeout=10)
    running.cancel()
    await database.close()
    assert done


HANGS = """
import asyncio, logging, os, signal
from marquee import ending, serving

serving.STOP_SECONDS = 1.0

async def main():
    with serving.stoppable():
        try:
            os.kill(os.getpid(), signal.SIGTERM)
            with ending.step("what was over"):
                await asyncio.sleep(60)
        finally:
            with ending.step("the connections to godot"):
                await asyncio.sleep(60)

logging.basicConfig()
asyncio.run(main())
"""


def test_a_process_that_cannot_end_says_what_it_waited_for():
    done = subprocess.run(
        [sys.executable, "-c", HANGS], check=True, capture_output=True, text=True, timeout=60
    )
    assert done.stderr.endswith("waiting any longer for: the connections to godot\n")


def test_a_log_that_nobody_reads_holds_up_no_end():
    unread, log = os.pipe()
    os.set_blocking(log, False)
    with suppress(BlockingIOError):
        while os.write(log, bytes(4096)):
            pass
    os.set_blocking(log, True)
    try:
        subprocess.run([sys.executable, "-c", HANGS], check=True, stderr=log, timeout=60)
    finally:
        os.close(unread)
        os.close(log)


async def test_tasks_that_are_not_done_are_named():
    tasks = [asyncio.create_task(asyncio.sleep(pause), name=str(pause)) for pause in (0, 60)]
    await tasks[0]
    assert names_of(tasks) == "60"
    tasks[1].cancel()
