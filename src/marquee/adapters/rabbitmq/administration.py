"""Making the queue, and finding out what is wrong with it. All of this blocks."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pika
from pika.exceptions import AMQPError, ChannelClosedByBroker

from ...errors import Finding, MarqueeError, StoreAway, Unusable
from .address import Address

DIFFERS = 406
LIMITED_SINCE = 4
"""The version of RabbitMQ from which a quorum queue drops what was delivered 20 times, unless it
was made without such a limit. A store may be away for more than 20 deliveries."""


def migrate(url: str) -> list[str]:
    """Make the queue; what was done. Safe twice, and by two at once. Raises ``Unusable`` where
    there is another one of this name."""
    address = Address.of(url)
    with connected(address) as connection:
        declare(address, connection)
    return [f"{address.queue}: is as it should be"]


def declare(address: Address, connection: Any) -> int:
    """Make the queue, or see that it is as we would make it; how many messages wait in it."""
    arguments: dict[str, Any] = {"x-queue-type": "quorum"}
    if version(connection) >= LIMITED_SINCE:
        arguments["x-delivery-limit"] = -1
    try:
        found = connection.channel().queue_declare(address.queue, durable=True, arguments=arguments)
    except ChannelClosedByBroker as closed:
        if closed.reply_code != DIFFERS:
            raise
        raise Unusable(
            f"There is a queue {address.queue} that is not durable, no quorum queue, or has a "
            "delivery limit: let it be emptied, delete it, then migrate."
        ) from closed
    return int(found.method.message_count)


def version(connection: Any) -> int:
    """RabbitMQ's major version."""
    told = connection._impl.server_properties.get("version", b"0")  # noqa: SLF001
    text = told.decode() if isinstance(told, bytes) else str(told)
    return int(text.partition(".")[0])


def diagnose(url: str) -> list[Finding]:
    """Each thing that was looked at, and what is wrong with it and what to do."""
    address = Address.of(url)
    servers = f"events ({address.shown})"
    try:
        with connected(address) as connection:
            try:
                connection.channel().queue_declare(address.queue, passive=True)
                declare(address, connection)
            except MarqueeError as error:
                return [(servers, None), (address.queue, str(error))]
            except ChannelClosedByBroker as closed:
                return [(servers, None), (address.queue, str(address.away(closed)))]
    except StoreAway as away:
        return [(servers, str(away))]
    return [(servers, None), (address.queue, None)]


@contextmanager
def connected(address: Address) -> Iterator[Any]:
    """A connection to any node. Raises ``StoreAway``."""
    try:
        connection = pika.BlockingConnection(address.nodes)
    except (AMQPError, OSError) as error:
        raise address.away(error) from error
    try:
        yield connection
    except AMQPError as error:
        raise address.away(error) from error
    finally:
        if connection.is_open:
            connection.close()
