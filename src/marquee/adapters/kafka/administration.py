"""Making the topic, and finding out what is wrong with it. All of this blocks."""

from collections.abc import Iterator
from datetime import timedelta

from confluent_kafka import KafkaError, KafkaException, TopicCollection
from confluent_kafka.admin import (
    AclOperation,
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    NewTopic,
    TopicDescription,
)

from ...errors import Finding, StoreAway
from .client import CALL_SECONDS, MISSING, PASSING, Address, Settings, check_slots, facts, patiently

RETENTION = timedelta(days=30)
"""Longer than the oldest backup that anybody wants back: from there on it is all read again."""

LEAST_RETENTION = timedelta(days=7)

KEPT = {
    # Never compacted: a zombie's older event could outlive the newer.
    "cleanup.policy": "delete",
    "retention.bytes": "-1",
    # The broker's clock says how old a record is: one of ours may be a year behind.
    "message.timestamp.type": "LogAppendTime",
    "unclean.leader.election.enable": "false",
}
TOPICS = ConfigResource.Type.TOPIC
NEEDED = (AclOperation.READ, AclOperation.WRITE, AclOperation.DESCRIBE)


def migrate(url: str, slots: int) -> list[str]:
    """Make the topic, or put its settings right; what was done. Safe twice, and by two at once.

    There are as many copies as brokers, at most three. A topic that is there keeps its retention.
    Raises ``Unusable`` where there is one with another number of partitions.
    """
    address = Address.of(url)
    admin = address.admin()
    brokers = patiently(address, lambda: len(admin.list_topics(timeout=CALL_SECONDS).brokers))
    copies = min(3, brokers)
    wanted = KEPT | {"min.insync.replicas": str(2 if copies > 2 else 1)}
    first = wanted | {"retention.ms": milliseconds(RETENTION)}
    made = create(address, admin, NewTopic(address.topic, slots, copies, config=first))
    # Brokers hear of it a moment later, also where it was made beside us.
    found = facts(address, admin, PASSING | MISSING)
    if made:
        return [f"{address.topic}: made, {slots} partitions, {copies} copies of each"]
    check_slots(address, found.partitions, slots)
    changed = amend(address, admin, wanted)
    return [f"{address.topic}: {', '.join(changed) or 'is as it should be'}"]


def milliseconds(retention: timedelta) -> str:
    return str(retention // timedelta(milliseconds=1))


def create(address: Address, admin: AdminClient, topic: NewTopic) -> bool:
    """Whether it was made, and not there already."""

    def ask() -> bool:
        try:
            admin.create_topics([topic], request_timeout=CALL_SECONDS)[topic.topic].result()
        except KafkaException as failed:
            if failed.args[0].code() == KafkaError.TOPIC_ALREADY_EXISTS:
                return False
            raise
        return True

    return patiently(address, ask)


def amend(address: Address, admin: AdminClient, wanted: dict[str, str]) -> list[str]:
    """Set what is not as wanted; what was set."""
    found = settings(address, admin)
    differing = {name: value for name, value in wanted.items() if found.get(name) != value}
    if differing:
        changes = [
            ConfigEntry(name, value, incremental_operation=AlterConfigOpType.SET)
            for name, value in differing.items()
        ]
        resource = ConfigResource(TOPICS, address.topic, incremental_configs=changes)

        def ask() -> None:
            asked = admin.incremental_alter_configs([resource], request_timeout=CALL_SECONDS)
            asked[resource].result()

        patiently(address, ask)
    return [f"{name} is {value} now" for name, value in differing.items()]


def settings(address: Address, admin: AdminClient) -> Settings:
    resource = ConfigResource(TOPICS, address.topic)

    def ask() -> Settings:
        found = admin.describe_configs([resource], request_timeout=CALL_SECONDS)[resource].result()
        return {name: entry.value for name, entry in found.items()}

    return patiently(address, ask)


def diagnose(url: str, slots: int | None) -> list[Finding]:
    """Each thing that was looked at, and what is wrong with it and what to do. ``slots``: of the
    movie store, where it could be asked."""
    address = Address.of(url)
    admin = address.admin()
    servers = f"events (kafka://{address.settings['bootstrap.servers']})"
    try:
        patiently(address, lambda: admin.list_topics(timeout=CALL_SECONDS))
        topic = describe(address, admin)
        kept = settings(address, admin)
    except StoreAway as away:
        return [(servers, str(away))]
    return [(servers, None)] + [
        (f"{address.topic}: {what}", wrong) for what, wrong in looked_at(topic, kept, slots)
    ]


def describe(address: Address, admin: AdminClient) -> TopicDescription:
    topics = TopicCollection([address.topic])

    def ask() -> TopicDescription:
        return admin.describe_topics(
            topics, include_authorized_operations=True, request_timeout=CALL_SECONDS
        )[address.topic].result()

    return patiently(address, ask)


def looked_at(topic: TopicDescription, kept: Settings, slots: int | None) -> Iterator[Finding]:
    partitions = len(topic.partitions)
    differs = f"it has {partitions}, and the stores agree on {slots}: delete it, migrate, rebuild"
    yield "partitions", differs if slots not in (None, partitions) else None
    yield "copies", copies(topic, kept)
    wrong = [name for name, value in KEPT.items() if kept.get(name) != value]
    yield "settings", f"{', '.join(wrong)}: run `marquee migrate`" if wrong else None
    short = 0 <= int(kept.get("retention.ms", -1)) < int(milliseconds(LEAST_RETENTION))
    soon = "it is under 7 days: what a restored backup has to read again may be gone"
    yield "retention", soon if short else None
    granted = topic.authorized_operations
    lacking = [o.name for o in NEEDED if granted is not None and o not in granted]
    yield "rights", f"we lack {', '.join(lacking)}: grant them" if lacking else None


def copies(topic: TopicDescription, kept: Settings) -> str | None:
    """What is wrong with the replicas."""
    if leaderless := [p.id for p in topic.partitions if p.leader is None or p.leader.id < 0]:
        return f"partitions {leaderless} have no leader: start the brokers that hold them"
    if behind := [p.id for p in topic.partitions if len(p.isr) < len(p.replicas)]:
        return f"copies of partitions {behind} are behind: a broker is down, or slow"
    replicas = min(len(p.replicas) for p in topic.partitions)
    if replicas > 2 and int(kept.get("min.insync.replicas", 1)) < 2:
        return "min.insync.replicas is below 2: run `marquee migrate`"
    return None
