"""What is wrong with a Redis is said in one sentence, with what to do about it."""

import pytest
import redis.asyncio as driver

from marquee.adapters.redis import diagnose
from tests.support import engine
from tests.support.tasks import eventually

pytestmark = pytest.mark.servers


@pytest.fixture(scope="module")
def single(tmp_path_factory):
    """A server that is ours to spoil."""
    with engine.own(tmp_path_factory.mktemp("redis"), "redis") as own:
        yield own


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    with engine.own(tmp_path_factory.mktemp("cluster"), "redis-cluster") as own:
        yield own


@pytest.fixture
def address(single):
    return single.server("redis").address


@pytest.fixture
async def server(address):
    """The bare driver, by which a test spoils it."""
    host, _, port = address.partition(":")
    async with driver.Redis(host=host, port=int(port), protocol=2) as server:
        yield server


async def test_nothing(address, cluster):
    assert await diagnose(f"redis://{address}") == []
    url = cluster.variables(["redis-cluster"])["MARQUEE_CACHE_URL"]

    async def sound() -> bool:
        return await diagnose(url) == []

    await eventually(sound, within=30)  # its replicas are the last to be known to all


async def assert_fault(url, *words):
    [fault] = await diagnose(url)
    for word in words:
        assert word in fault


async def test_it_does_not_answer(single, address):
    single.server("redis").kill()
    try:
        await assert_fault(f"redis://{address}", address, "start it")
    finally:
        single.server("redis").start()


async def test_it_is_part_of_a_cluster_or_is_not(address, cluster):
    await assert_fault(f"redis+cluster://{address}", "no Cluster", "redis://")
    await assert_fault(f"redis://{cluster.server('redis-1').address}", "redis+cluster://")


async def test_it_takes_no_more_once_it_is_full(address, server):
    await server.config_set("maxmemory-policy", "noeviction")
    try:
        await assert_fault(f"redis://{address}", "allkeys-lru")
    finally:
        await server.config_set("maxmemory-policy", "allkeys-lru")


async def test_it_does_not_let_us_in(address):
    await assert_fault(f"redis://nobody:wrong@{address}", "does not let us in", "password")


@pytest.mark.parametrize("without", ["-eval", "-publish", "-subscribe", "-info"])
async def test_it_does_not_permit_what_we_do(address, server, without):
    await server.acl_setuser(
        "u", enabled=True, passwords=["+p"], commands=["+@all", without], keys=["*"], channels=["*"]
    )
    await assert_fault(f"redis://u:p@{address}", without[1:], "allow its user")


async def test_another_ones_keys_and_channels_need_not_be_permitted(address, server):
    await server.acl_setuser(
        "v",
        enabled=True,
        passwords=["+p"],
        commands=["+@all"],
        keys=["mine:*"],
        channels=["mine:*"],
    )
    assert await diagnose(f"redis://v:p@{address}?prefix=mine") == []
    await assert_fault(f"redis://v:p@{address}?prefix=other", "other:*")


async def test_it_is_a_replica(address, server):
    await server.replicaof("127.0.0.1", 1)
    try:
        await assert_fault(f"redis://{address}", "primary")
    finally:
        await server.replicaof("NO", "ONE")
