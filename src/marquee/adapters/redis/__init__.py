"""What processes share: Redis, single or Cluster, by URL.

``client`` makes the calls: none of them waits long, whatever the servers do. On it stand ``cache``
(the ten and other charts), ``notices`` (publish and subscribe) and ``limiter``. What is more than
one command is a script on one key, in ``lua``. Everything here may be lost at any moment and is
made again: Redis is asked to keep nothing on a disk.
"""

from .cache import RedisCache
from .client import Redis
from .diagnosis import diagnose
from .limiter import EachByItself, RedisRateLimiter
from .notices import RedisNotices

__all__ = [
    "EachByItself",
    "Redis",
    "RedisCache",
    "RedisNotices",
    "RedisRateLimiter",
    "diagnose",
]
