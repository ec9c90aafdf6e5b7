"""Kafka as event log: a partition a slot, positions in the database of their effects.

``client`` turns a URL into settings, and the driver's errors into ours. ``topic`` is the producer,
``log`` the consumer; ``continuity`` tells whether the log is still the one that was folded.
``administration`` makes the topic and looks after it.
"""

from .administration import diagnose, migrate
from .log import KafkaLog
from .topic import KafkaTopic

__all__ = ["KafkaLog", "KafkaTopic", "diagnose", "migrate"]
