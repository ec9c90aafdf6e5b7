"""A Cassandra that asks for a password, speaks TLS alone, and would lose what it acknowledged."""

import subprocess
from pathlib import Path
from urllib.parse import quote

import pytest

from engine.cassandra import Cassandra, Node
from engine.engine import default_engine
from engine.ports import Ports
from marquee.adapters import cassandra
from marquee.adapters.cassandra import driver
from marquee.adapters.cassandra.address import parse
from marquee.adapters.cassandra.migration import tables
from marquee.errors import StoreAway, Unusable
from tests.support import cassandra as keyspaces
from tests.support.engine import running

pytestmark = pytest.mark.servers

SETTINGS = {
    "authenticator: AllowAllAuthenticator": "authenticator: PasswordAuthenticator",
    "authorizer: AllowAllAuthorizer": "authorizer: CassandraAuthorizer",
    "commitlog_sync: batch": "commitlog_sync: periodic\ncommitlog_sync_period: 1s",
}
TLS = """
client_encryption_options:
  enabled: true
  optional: false
  keystore: {folder}/keys
  keystore_password: guarded
  store_type: PKCS12
# What is granted counts at once.
permissions_validity: 0ms
"""
MAKE_KEYS = """
    keytool -genkeypair -alias node -keyalg RSA -dname CN=node -ext san=ip:{address}
    -storetype PKCS12 -keystore keys -storepass guarded"""
SHOW_CERTIFICATE = """
    keytool -exportcert -rfc -alias node -keystore keys -storepass guarded -file certificate.pem"""


def make_keys(folder: Path, address: str) -> Path:
    """A certificate that names this address; the file to trust."""
    for name in ("keys", "certificate.pem"):
        (folder / name).unlink(missing_ok=True)
    for command in (MAKE_KEYS.format(address=address), SHOW_CERTIFICATE):
        subprocess.run(command.split(), cwd=folder, check=True, capture_output=True)
    return folder / "certificate.pem"


class Guarded(Node):
    def url(self, user: str = "cassandra", password: str = "cassandra", tls: str = "") -> str:
        trusted = tls or quote(f"{self.folder}/certificate.pem")
        login = f"{user}:{quote(password, safe='')}" if user else ""
        return f"cassandra://{login}@127.0.0.1:{self.port}/guarded?replication=1&tls={trusted}"

    def prepare(self) -> None:
        super().prepare()
        make_keys(self.folder, "127.0.0.1")
        file = self.folder / "cassandra.yaml"
        yaml = file.read_text()
        for before, after in SETTINGS.items():
            assert before in yaml
            yaml = yaml.replace(before, after)
        file.write_text(yaml + TLS.format(folder=self.folder))

    def answers(self) -> bool:
        """The first login is made seconds after the start."""
        try:
            with driver.connected(parse(self.url())):
                return True
        except StoreAway as error:
            raise OSError from error


class GuardedCassandra(Cassandra):
    node, names = Guarded, ("guarded",)


@pytest.fixture(scope="module")
def node(tmp_path_factory):
    engine_of_all = default_engine()
    folder = tmp_path_factory.mktemp("guarded")
    part = GuardedCassandra(folder, engine_of_all.cache, Ports(folder / "ports.json"))

    def start():
        part.fetch()
        part.start()

    with running(start, part.stop):
        cassandra.migrate(part.servers[0].url(), 2)
        yield part.servers[0]


def found(url):
    """What is wrong, by the last word of what was looked at."""
    return {name.rpartition(" ")[2]: fault for name, fault in cassandra.diagnose(url)}


def execute(node, *statements):
    with driver.connected(parse(node.url())) as session:
        for statement in statements:
            session.execute(statement)


async def rate(url):
    async with keyspaces.connected(url) as keyspace:
        ratings = cassandra.CassandraRatings(keyspace)
        written = await ratings.write("u", "m", 7)
        assert await ratings.read("u", "m") == written
        await ratings.erase("u")
        outbox = cassandra.CassandraOutbox(keyspace, ratings)
        assert await outbox.lease(0, "relay", 1)
        assert await outbox.attend("relay", 1) == ["relay"]


async def test_who_knows_the_password_and_trusts_the_certificate(node):
    await rate(node.url())


async def test_a_login_that_may_do_no_more_than_it_must(node):
    execute(node, "CREATE ROLE rater WITH PASSWORD = 'a b@/c' AND LOGIN = true")
    url = node.url("rater", "a b@/c")
    rights = found(url)["rights"]
    assert rights is not None
    for right in ("SELECT", "MODIFY"):
        assert f"GRANT {right} ON KEYSPACE guarded TO rater;" in rights
    execute(node, "GRANT SELECT ON KEYSPACE guarded TO rater")
    for table in tables():
        if table != "attendance":
            execute(node, f"GRANT MODIFY ON guarded.{table} TO rater")
    lacks = "rater lacks rights: GRANT MODIFY ON guarded.attendance TO rater;"
    assert found(url)["rights"] == lacks
    execute(node, "GRANT MODIFY ON guarded.attendance TO rater")
    assert found(url)["rights"] is None
    await rate(url)
    assert "system_views.settings" in found(url)["nodes"]
    execute(node, "GRANT SELECT ON system_views.settings TO rater")
    assert "commitlog_sync" in found(url)["nodes"]


def test_one_that_may_lose_what_it_acknowledged_is_told_of(node):
    assert "commitlog_sync" in found(node.url())["nodes"]


@pytest.mark.parametrize("login", [("cassandra", "wrong"), ("nobody", "x"), ("", "")])
async def test_who_does_not_know_the_password(node, login):
    url = node.url(*login)
    (fault,) = found(url).values()
    assert "can't be asked" in fault
    assert "wrong" not in fault
    with pytest.raises(StoreAway):
        async with keyspaces.connected(url, within=2):
            raise AssertionError


def test_whose_certificate_is_not_trusted(node):
    assert "certificate" in str(found(node.url(tls="on")))


@pytest.fixture
def renamed(node):
    """The node, whose certificate is trusted, but names another."""

    def take(address):
        make_keys(node.folder, address)
        subprocess.run([node.nodetool, "reloadssl"], check=True, capture_output=True)

    take("127.0.0.9")
    yield node
    take("127.0.0.1")


async def test_whose_certificate_names_another(renamed, tmp_path):
    assert "IP address mismatch" in str(found(renamed.url()))
    await rate(f"{renamed.url()}&names=off")
    elses = renamed.url(tls=quote(str(make_keys(tmp_path, "127.0.0.1"))))
    assert "certificate" in str(found(f"{elses}&names=off"))


def test_who_does_not_speak_tls(node):
    (fault,) = found(node.url(tls="off")).values()
    assert "can't be asked" in fault


def test_a_file_that_has_no_certificates(node, tmp_path):
    file = tmp_path / "empty.pem"
    file.write_text("nothing")
    with pytest.raises(Unusable, match="no certificates"):
        cassandra.migrate(node.url(tls=str(file)))
