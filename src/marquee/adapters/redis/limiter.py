"""One limit for all processes, on Redis' clock; and each by itself while Redis is away."""

import hashlib

from ...errors import StoreAway
from ...ports import Quota, RateLimiter
from .client import Redis, Script

MICROSECONDS = 1_000_000
LIMIT = Script("limit")


class RedisRateLimiter:
    """``ports.RateLimiter`` by the generic cell rate algorithm, in whole microseconds.

    A key is kept as long as it is in debt, and under a hash: no user's id gets to Redis.
    """

    def __init__(self, redis: Redis) -> None:
        self._redis = redis

    async def take(self, key: str, quota: Quota) -> float:
        interval = -(-quota.seconds * MICROSECONDS // quota.number)  # never more than the quota
        hidden = hashlib.blake2b(key.encode(), digest_size=16).hexdigest()
        name = self._redis.name(f"limit:{hidden}")
        wait: int = await self._redis.run_script(LIMIT, name, interval, quota.burst)
        return wait / MICROSECONDS


class EachByItself:
    """``ports.RateLimiter``: the one that all ``share``, and a process's ``own`` while that is
    away."""

    def __init__(self, shared: RateLimiter, own: RateLimiter) -> None:
        self._shared = shared
        self._own = own

    async def take(self, key: str, quota: Quota) -> float:
        try:
            return await self._shared.take(key, quota)
        except StoreAway:
            return await self._own.take(key, quota)
