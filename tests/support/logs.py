"""Topics and queues of a test's own, on the servers of the engine."""

import secrets
from collections.abc import Iterator
from contextlib import contextmanager

from confluent_kafka import Producer

from marquee.adapters import kafka, rabbitmq
from marquee.adapters.kafka.client import Address
from marquee.adapters.rabbitmq.address import Address as RabbitAddress
from marquee.adapters.rabbitmq.administration import connected
from tests.support import engine


def unique(what: str) -> str:
    """A name that no other test has on a server which they share."""
    return f"test-{what}-{secrets.token_hex(8)}"


@contextmanager
def kafka_topic(slots: int, server: str = "") -> Iterator[str]:
    """The URL of a new topic."""
    server = server or engine.need("kafka")["MARQUEE_EVENTS_URL"]
    url = f"{server}?topic={unique('topic')}"
    kafka.migrate(url, slots)
    try:
        yield url
    finally:
        delete_topic(url)


def delete_topic(url: str) -> None:
    address = Address.of(url)
    admin = address.admin()  # while it lives, its answers come
    admin.delete_topics([address.topic])[address.topic].result(10)


def produce(url: str, partition: int, *raw: bytes) -> None:
    """Put bytes into a topic as they are."""
    address = Address.of(url)
    producer = Producer(address.settings)
    for each in raw:
        producer.produce(address.topic, each, partition=partition)
    assert producer.flush(10) == 0


@contextmanager
def rabbitmq_queue(server: str = "") -> Iterator[str]:
    """The URL of a new queue."""
    server = server or engine.need("rabbitmq")["MARQUEE_TEST_RABBITMQ_URL"]
    url = f"{server}?queue={unique('queue')}"
    rabbitmq.migrate(url)
    try:
        yield url
    finally:
        delete_queue(url)


def delete_queue(url: str) -> None:
    address = RabbitAddress.of(url)
    with connected(address) as connection:
        connection.channel().queue_delete(address.queue)


def enqueue(url: str, *raw: bytes) -> None:
    """Put bytes into a queue as they are."""
    address = RabbitAddress.of(url)
    with connected(address) as connection:
        channel = connection.channel()
        channel.confirm_delivery()
        for each in raw:
            channel.basic_publish("", address.queue, each)
