"""What is wrong with a Redis, and what to do about it."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from redis.asyncio.cluster import RedisCluster
from redis.exceptions import (
    AuthenticationError,
    NoPermissionError,
    RedisClusterException,
    RedisError,
)

from .address import Address, parse
from .client import Client, close, connect
from .limiter import LIMIT

LEAST_VERSION = (6, 2)
SUBSCRIBE_SECONDS = 1.0

Look = Callable[[Client, Address], Awaitable[list[str]]]


async def diagnose(url: str) -> list[str]:
    """Each fault, with its remedy; none where all is well. Raises ``Unusable`` where the URL is
    none."""
    address = parse(url)
    faults = []
    for node in address.nodes:
        faults += await faults_at(address._replace(nodes=(node,)), look_at_server)
    return faults or await faults_at(address, look_at_all)


async def faults_at(address: Address, look: Look) -> list[str]:
    where = "Redis at " + ", ".join("{}:{}".format(*node) for node in address.nodes)
    single = look is look_at_server
    client = connect(address._replace(cluster=False) if single else address)
    try:
        faults = await look(client, address)
    except AuthenticationError as error:
        faults = [f"does not let us in ({error}): mend the user and password in cache_url."]
    except NoPermissionError as error:
        remedy = f"allow its user INFO, CLUSTER, and all on keys and channels {address.prefix}:*."
        faults = [f"does not permit what we do ({error}): {remedy}"]
    except (RedisError, RedisClusterException, OSError, TimeoutError) as error:
        faults = [f"does not answer as it should ({error}): start it, or mend cache_url."]
    finally:
        await close(client)
    return [f"{where} {fault}" for fault in faults]


async def look_at_server(client: Client, address: Address) -> list[str]:
    """One server, whatever the others are like."""
    return faults_by_info(await client.info(), address)


def faults_by_info(info: Mapping[str, Any], address: Address) -> list[str]:
    faults = []
    if tuple(map(int, info["redis_version"].split(".")[:2])) < LEAST_VERSION:
        faults.append("is too old: install {}.{} or newer.".format(*LEAST_VERSION))
    if address.cluster and not info["cluster_enabled"]:
        faults.append("is part of no Cluster: begin cache_url with redis://.")
    if not address.cluster and info["cluster_enabled"]:
        faults.append("is part of a Cluster: begin cache_url with redis+cluster://.")
    if not address.cluster and info["role"] != "master":
        faults.append("is a replica: name its primary in cache_url.")
    if info["maxmemory"] and info["maxmemory_policy"] == "noeviction":
        faults.append("takes no more once it is full: set maxmemory-policy to allkeys-lru.")
    return faults


async def look_at_all(client: Client, address: Address) -> list[str]:
    """The whole of it, by doing what we are there to do."""
    name = f"{address.prefix}:probe"
    await client.execute_command("EVAL", LIMIT.text, 1, name, "", 1, 1)
    await client.execute_command("PUBLISH", name, "")
    async with client.pubsub() as channel:
        await channel.subscribe(name)
        await channel.get_message(timeout=SUBSCRIBE_SECONDS)
    return await faults_of_cluster(client) if isinstance(client, RedisCluster) else []


async def faults_of_cluster(client: RedisCluster) -> list[str]:
    info = await client.execute_command("CLUSTER INFO", target_nodes=RedisCluster.DEFAULT_NODE)
    groups = client.nodes_manager.slots_cache.values()
    alone = sorted({nodes[0].name for nodes in groups if len(nodes) == 1})
    faults = [f"has no replica of {name}: add one; its part is away when it is." for name in alone]
    if info["cluster_state"] != "ok":
        faults.append("is not whole: see what `redis-cli --cluster check` says.")
    return faults
