"""What goes on for as long as a process does: faults that nobody foresaw end none of it, and are
told once."""

import asyncio
import json
import logging

import pytest

from marquee.errors import StoreAway, Unusable
from marquee.http.operations import READY, Health
from marquee.wiring import process
from marquee.wiring.process import keep_running


async def ready(health):
    """What readiness says of each dependency, after a look."""
    await health.step()
    messages = health.ready({"type": "http", "method": "GET", "path": READY, "headers": []})
    body = b"".join(message.get("body", b"") for message in messages)
    return {name: its["state"] for name, its in json.loads(body)["dependencies"].items()}


@pytest.mark.parametrize("fault", [ZeroDivisionError, asyncio.CancelledError])
async def test_a_dependency_that_cannot_be_looked_at_is_away(caplog, fault):
    broken = False

    async def probe():
        if broken:
            raise fault

    async def fine():
        pass

    health = Health({"movies": probe, "cache": fine}, {"movies": ("movies",)})
    assert await ready(health) == {"movies": "up", "cache": "up"}
    assert health.able
    broken = True
    for _ in range(3):
        assert await ready(health) == {"movies": "away", "cache": "up"}
    assert not health.able
    assert caplog.messages == [f"movies can't be looked at: {fault.__name__}"]
    broken = False
    assert await ready(health) == {"movies": "up", "cache": "up"}


@pytest.mark.parametrize("fault", [ZeroDivisionError, asyncio.CancelledError])
async def test_what_fails_in_the_background_is_started_again_and_told_once(
    caplog, monkeypatch, fault
):
    monkeypatch.setattr(process, "AGAIN_SECONDS", 0)
    failures = 0

    async def run():
        nonlocal failures
        if failures < 5:
            failures += 1
            raise fault(failures)

    async with asyncio.timeout(60):
        await keep_running("it", run, lambda _: None)
    assert failures == 5
    told = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert [record.getMessage() for record in told] == [
        f"it failed, and is started again: {fault.__name__}"
    ]
    assert told[0].exc_info


async def test_what_fails_where_it_is_told_to_end_is_not_started_again():
    async def run():
        try:
            await asyncio.Event().wait()
        finally:
            raise StoreAway("too late")

    task = asyncio.create_task(keep_running("it", run, lambda _: None))
    await asyncio.sleep(0)
    task.cancel()
    done, _ = await asyncio.wait([task], timeout=60)
    task.cancel()
    assert done
    assert isinstance(task.exception(), StoreAway)


async def test_where_it_turns_out_that_a_process_cannot_go_on_it_is_told_so():
    faults = []

    async def run():
        raise Unusable("never")

    await keep_running("it", run, faults.append)
    assert [str(fault) for fault in faults] == ["never"]
