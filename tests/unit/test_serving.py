"""A process from its start to its stop, and settings that change in between."""

import asyncio
import logging
import threading
from contextlib import AsyncExitStack
from types import SimpleNamespace

import pytest

from marquee import config, serving
from marquee.errors import Unusable
from marquee.http.server import Server


def exporters():
    return {thread for thread in threading.enumerate() if thread.name.startswith("Otel")}


def settings(folder, **more):
    return config.load({"data": folder} | more, {})


async def test_a_start_that_is_refused_leaves_no_thread_behind(tmp_path):
    found = settings(tmp_path, traces_url="http://127.0.0.1:9/v1/traces")
    before = exporters()
    async with serving.running(found, ["top-rated"], with_demo=False):
        one = exporters()
        assert len(one - before) == 1
        with pytest.raises(Unusable, match="runs on the data folder"):
            async with serving.running(found, ["top-rated"], with_demo=False):
                pass
        assert exporters() == one
    assert exporters() == before


@pytest.fixture
def log_as_it_was():
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield root
    root.handlers[:] = handlers
    root.setLevel(level)


async def test_changed_settings_are_taken_on_whatever_happened_before(
    tmp_path, monkeypatch, caplog, log_as_it_was
):
    """Here in another data folder: the one that is served from is taken."""
    monkeypatch.setattr(serving, "LOOK_SECONDS", 0)
    first = settings(tmp_path / "first", log_level="warning")
    refused = settings(tmp_path / "first", log_level="info")
    last = settings(tmp_path / "last", log_level="debug")
    seen = [last, refused, RecursionError(), asyncio.CancelledError(), first]

    def again():
        now = seen.pop() if len(seen) > 1 else last
        if isinstance(now, BaseException):
            raise now
        return now

    faults = []
    stop = SimpleNamespace(because_of=faults.append)  # the real one would end this process
    async with AsyncExitStack() as stack:
        marquee, _ = await stack.enter_async_context(
            serving.running(first, ["movies"], with_demo=False)
        )
        await marquee.start(stop.because_of)
        succeeded = asyncio.Event()

        async def turns_out_unusable():
            await succeeded.wait()
            raise Unusable("too late to matter")

        marquee._begin("the fault", turns_out_unusable)
        server = Server(marquee.app(), lambda: None)
        generations = serving.Generations(marquee, server, stop, stack)
        async with asyncio.timeout(60), serving.in_background(generations.follow(again)):
            while log_as_it_was.level != logging.DEBUG:  # noqa: ASYNC110 - nobody tells
                await asyncio.sleep(0.01)
            succeeded.set()
            await marquee._tasks[-1]
    told = [line for line in caplog.messages if line.startswith("The settings have changed")]
    assert [line.partition(": ")[2][:20] for line in told] == [
        "CancelledError",
        "RecursionError",
        "A `marquee serve` ru",
    ]
    assert faults == []
