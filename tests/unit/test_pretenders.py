"""A server that pretends to be a store: whoever can't show a certificate that is trusted, and names
the address that was called, is told nothing."""

import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

import psycopg
import pytest
from confluent_kafka import KafkaException
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from marquee.adapters.cassandra import address as cassandra
from marquee.adapters.cassandra import driver
from marquee.adapters.kafka.client import Address
from marquee.adapters.postgres.server import parameters
from marquee.adapters.redis.client import Redis
from marquee.errors import StoreAway

HERE, ELSEWHERE = "127.0.0.1", "127.0.0.9"
SECONDS = 3.0
PLEASE = 8
"""Bytes by which a client of PostgreSQL asks for TLS."""


def certificate(folder: Path, address: str) -> Path:
    """One for that address, with its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "store")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address(address))]), False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), True)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    file = folder / f"{made.serial_number}.pem"
    file.write_bytes(
        made.public_bytes(pem)
        + key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return file


@contextmanager
def pretender(shown: Path, *, politely: bool) -> Iterator[tuple[int, threading.Event]]:
    """Its port, and whether it was told anything. ``politely``: TLS is asked for first."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(shown)
    told = threading.Event()

    def answer(client: socket.socket) -> None:
        with client, suppress(OSError):
            client.settimeout(SECONDS)
            if politely:
                client.recv(PLEASE, socket.MSG_WAITALL)
                client.sendall(b"S")
            with context.wrap_socket(client, server_side=True) as secure:
                if secure.recv(1):
                    told.set()

    def listen(server: socket.socket) -> None:
        with suppress(OSError):
            while True:
                answer(server.accept()[0])

    with socket.create_server((HERE, 0)) as server:
        thread = threading.Thread(target=listen, args=(server,))
        thread.start()
        try:
            yield server.getsockname()[1], told
        finally:
            server.shutdown(socket.SHUT_RDWR)
            thread.join()


def ask_cassandra(port: int, trusted: Path) -> None:
    url = f"cassandra://u:secret@{HERE}:{port}/k?tls={trusted}"
    with pytest.raises(StoreAway), driver.connected(cassandra.parse(url)):
        pass


def ask_kafka(port: int, trusted: Path) -> None:
    admin = Address.of(f"kafka://u:secret@{HERE}:{port}?tls=true&ca={trusted}").admin()
    with pytest.raises(KafkaException):
        admin.list_topics(timeout=SECONDS)


def ask_postgres(port: int, trusted: Path) -> None:
    url = f"postgresql://u:secret@{HERE}:{port}/d?sslmode=verify-full&sslrootcert={trusted}"
    with pytest.raises(psycopg.OperationalError):
        psycopg.connect(**parameters(url, {}))


STORES = {"cassandra": ask_cassandra, "kafka": ask_kafka, "postgres": ask_postgres}


@pytest.mark.parametrize("store", STORES)
def test_who_shows_no_certificate_that_is_trusted_is_told_nothing(tmp_path, store):
    ours, theirs = (certificate(tmp_path, HERE) for _ in range(2))
    others = certificate(tmp_path, ELSEWHERE)
    for shown, trusted, expected in (
        (ours, ours, True),
        (theirs, ours, False),
        (others, others, False),
    ):
        with pretender(shown, politely=store == "postgres") as (port, told):
            STORES[store](port, trusted)
            assert told.is_set() is expected


async def test_of_redis_neither(tmp_path, monkeypatch):
    ours, theirs = (certificate(tmp_path, HERE) for _ in range(2))
    monkeypatch.setenv("SSL_CERT_FILE", str(ours))
    for shown, expected in ((ours, True), (theirs, False)):
        with pretender(shown, politely=False) as (port, told):
            redis = Redis(f"rediss://:secret@{HERE}:{port}")
            with pytest.raises(StoreAway):
                await redis.probe()
            await redis.close()
            assert told.is_set() is expected
