"""What every client of Kafka needs: its settings from the URL, and its errors in our terms."""

import logging
import time
from collections.abc import Callable, Container
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeVar
from urllib.parse import parse_qsl, unquote, urlsplit

from confluent_kafka import KafkaError, KafkaException, TopicCollection
from confluent_kafka.admin import AdminClient

from ...errors import NotMade, StoreAway, Unusable

TOPIC = "movie_rate_topic"
PORT = 9092
CALL_SECONDS = 5.0
PAUSE = 0.05

T = TypeVar("T")
Settings = dict[str, Any]
"""Of librdkafka, by its names."""

OPTIONS = {
    "ca": "ssl.ca.location",
    "cert": "ssl.certificate.location",
    "key": "ssl.key.location",
    "mechanism": "sasl.mechanism",
}

COMMON: Settings = {
    "client.id": "marquee",
    "log_level": 0,  # what goes wrong is told by the calls that it goes wrong for
    "allow.auto.create.topics": False,
    "reconnect.backoff.ms": 50,
    "reconnect.backoff.max.ms": 1000,
    # A broker that is frozen is left, and another leader found, in about so long.
    "socket.timeout.ms": 4000,
    "topic.metadata.refresh.interval.ms": 2000,
}

MISSING = {
    KafkaError.UNKNOWN_TOPIC_OR_PART,
    KafkaError._UNKNOWN_TOPIC,
    KafkaError._UNKNOWN_PARTITION,
}
REFUSED = {
    KafkaError.TOPIC_AUTHORIZATION_FAILED,
    KafkaError.GROUP_AUTHORIZATION_FAILED,
    KafkaError.CLUSTER_AUTHORIZATION_FAILED,
    KafkaError.SASL_AUTHENTICATION_FAILED,
    KafkaError._AUTHENTICATION,
}
PASSING = {
    KafkaError.NOT_LEADER_FOR_PARTITION,
    KafkaError.LEADER_NOT_AVAILABLE,
    KafkaError.OFFSET_NOT_AVAILABLE,
    KafkaError.FENCED_LEADER_EPOCH,
    KafkaError.UNKNOWN_LEADER_EPOCH,
    KafkaError.KAFKA_STORAGE_ERROR,
    KafkaError._TRANSPORT,
}
"""While leaders change, or metadata is a moment old: asked again, it goes well."""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Address:
    """Where the log is: ``kafka://[user:password@]host[:port],…[?tls=true&ca=FILE&cert=FILE&
    key=FILE&mechanism=SCRAM-SHA-512&topic=NAME]``."""

    settings: Settings
    topic: str = TOPIC

    @classmethod
    def of(cls, url: str) -> "Address":
        """Raises ``Unusable`` where the URL is none."""
        parts = urlsplit(url)
        login, _, hosts = parts.netloc.rpartition("@")
        options = dict(parse_qsl(parts.query, keep_blank_values=True))
        topic = options.pop("topic", TOPIC)
        tls = options.pop("tls", "false")
        unknown = sorted(options.keys() - OPTIONS.keys())
        try:
            servers = with_ports(hosts)
        except ValueError:
            servers = ""
        if parts.scheme != "kafka" or not servers or tls not in {"true", "false"}:
            raise Unusable("The event log must be kafka://[USER:PASSWORD@]HOST[:PORT],…[?tls=true]")
        if unknown:
            raise Unusable(f"kafka:// knows no {unknown[0]!r}: {', '.join(['tls', *OPTIONS])}.")
        user, _, password = (unquote(part) for part in login.partition(":"))
        settings = COMMON | {"bootstrap.servers": servers}
        settings["security.protocol"] = ("SASL_" if user else "") + (
            "SSL" if tls == "true" else "PLAINTEXT"
        )
        if user:
            settings |= {"sasl.username": user, "sasl.password": password}
            settings["sasl.mechanism"] = "SCRAM-SHA-512"
        settings |= {OPTIONS[name]: value for name, value in options.items()}
        if tls == "false" and (needless := sorted(options.keys() - {"mechanism"})):
            raise Unusable(f"{needless[0]}= goes with tls=true alone.")
        return cls(settings, topic)

    def admin(self) -> AdminClient:
        """Raises ``Unusable`` where the driver takes no such settings."""
        try:
            return AdminClient(self.settings)
        except KafkaException as failed:
            raise Unusable(f"Kafka's URL can't be used: {failed.args[0].str()}.") from failed

    def away(self, error: KafkaError) -> StoreAway:
        """What Kafka can't do now, in our terms; its own words go to the log alone."""
        log.debug("Kafka: %s", error)
        if error.code() in MISSING:
            return NotMade(f"Kafka has no such topic {self.topic}: run `marquee migrate`.")
        if error.code() in REFUSED:
            return StoreAway("Kafka refuses us: check the user, the password and what it may do.")
        return StoreAway("Kafka can't be reached at present.")


def with_ports(hosts: str) -> str:
    """Raises ``ValueError`` where one of them is no host, or has no port that could be one."""
    return ",".join(map(with_port, hosts.split(",")))


def with_port(host: str) -> str:
    place = urlsplit(f"//{host}")
    if not place.hostname or place.port == 0:
        raise ValueError(host)
    return host if place.port else f"{host.removesuffix(':')}:{PORT}"


class Facts(NamedTuple):
    """What Kafka says of the topic. ``id``: another one each time that a topic is made."""

    id: str
    partitions: int


def partitions(address: Address, admin: AdminClient) -> int:
    """How many the topic has: any broker tells. Raises ``StoreAway``."""

    def ask() -> int:
        found = admin.list_topics(address.topic, timeout=CALL_SECONDS).topics[address.topic]
        if found.error is not None:
            raise KafkaException(found.error)
        return len(found.partitions)

    return patiently(address, ask)


def check_slots(address: Address, found: int, slots: int) -> None:
    """Raises ``Unusable`` where there is not a partition for each slot."""
    if found != slots:
        raise Unusable(
            f"The topic {address.topic} has {found} partitions, and the stores agree on {slots} "
            "slots: name the topic that was made with them, or delete this one, migrate and "
            "rebuild."
        )


def facts(address: Address, admin: AdminClient, passing: Container[int] = PASSING) -> Facts:
    """From the controller: a client of before its death would go on asking the dead one. Raises
    ``StoreAway``."""

    def ask() -> Facts:
        topics = TopicCollection([address.topic])
        found = admin.describe_topics(topics, request_timeout=CALL_SECONDS)[address.topic].result()
        return Facts(str(found.topic_id), len(found.partitions))

    return patiently(address, ask, passing)


def patiently(address: Address, ask: Callable[[], T], passing: Container[int] = PASSING) -> T:
    """Ask Kafka again while it settles. Raises ``StoreAway``; blocks, so call it in a thread."""
    until = time.monotonic() + CALL_SECONDS
    while True:
        try:
            return ask()
        except KafkaException as failed:
            error: KafkaError = failed.args[0]
            if error.code() not in passing or time.monotonic() > until:
                raise address.away(error) from failed
        time.sleep(PAUSE)
