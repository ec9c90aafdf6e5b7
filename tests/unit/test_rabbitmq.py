"""The thread that keeps a connection to RabbitMQ, without one."""

import asyncio
import socket
from contextlib import suppress

import pika
import pytest

from marquee.adapters.rabbitmq.address import Address
from marquee.adapters.rabbitmq.topic import Publisher
from marquee.errors import StoreAway


async def test_it_goes_on_trying_whatever_an_attempt_comes_to(caplog):
    """Here every other one fails before there is a connection at all, and the rest are hung up
    on."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(60)
        host, port = listener.getsockname()
        unusable = object()
        nodes = (unusable, pika.ConnectionParameters(host, port, connection_attempts=1))
        line = Publisher(Address(nodes, "queue", "amqp://nowhere"))
        for _ in range(3):
            with pytest.raises(StoreAway):
                await line.ready()
            with suppress(ConnectionError):
                connection, _ = await asyncio.to_thread(listener.accept)
                connection.close()
        await line.close()
    told = [line for line in caplog.messages if line.startswith("the connection to RabbitMQ")]
    assert len(told) == 1
