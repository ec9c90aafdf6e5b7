"""RabbitMQ as event log: one quorum queue, acknowledged when its effects are durable.

It knows no positions: whoever takes an event holds it until it is done, and it comes again where
that one dies. ``line`` is a connection in a thread of its own; on it stand ``topic``, the producer,
and ``log``, the consumer. ``administration`` makes the queue and looks after it.
"""

from .administration import diagnose, migrate
from .log import RabbitLog
from .topic import RabbitTopic

__all__ = ["RabbitLog", "RabbitTopic", "diagnose", "migrate"]
