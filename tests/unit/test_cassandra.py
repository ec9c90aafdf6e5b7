"""Where a Cassandra keyspace is said to be, and how it is to be asked."""

import pytest
from cassandra import InvalidRequest, OperationTimedOut, ReadTimeout, Unavailable
from cassandra.cluster import NoHostAvailable
from cassandra.connection import ConnectionShutdown

from marquee.adapters import cassandra
from marquee.adapters.cassandra.address import Address, parse
from marquee.adapters.cassandra.cluster import SWEPT, Agreements, is_unanswered
from marquee.adapters.cassandra.migration import statements, steps
from marquee.adapters.cassandra.outbox import HELD
from marquee.adapters.cassandra.ratings import MINUTE, SECOND, SEND
from marquee.errors import StoreAway, Unusable
from marquee.model import Rating


def test_a_whole_address(tmp_path):
    file = tmp_path / "ca.pem"
    file.touch()
    url = "cassandra://u%40x:p%2Fw:x@h1:19042,h2,[::1]:9999/ks_1"
    options = f"?datacenter=dc%201&consistency=QUORUM&replication=5&tls={file}&names=off"
    assert parse(url + options) == Address(
        hosts=(("h1", 19042), ("h2", 9042), ("::1", 9999)),
        keyspace="ks_1",
        user="u@x",
        password="p/w:x",
        datacenter="dc 1",
        consistency="QUORUM",
        replication=5,
        tls=str(file),
        names=False,
    )


def test_what_is_not_said():
    assert parse("cassandra://h/k") == Address(hosts=(("h", 9042),), keyspace="k")
    assert parse("cassandra://h/k?tls=off").tls == ""
    assert parse("cassandra://h/k?tls=on").tls == "on"


@pytest.mark.parametrize(
    "url",
    [
        "sqlite:///file",
        "cassandra:///k",
        "cassandra://h",
        "cassandra://h/",
        "cassandra://h/K",
        "cassandra://h/1k",
        "cassandra://h/k;drop",
        "cassandra://h/" + 49 * "k",
        "cassandra://h:/k",
        "cassandra://h:0x1/k",
        "cassandra://h:70000/k",
        "cassandra://h:0/k",
        "cassandra://h,/k",
        "cassandra://h h/k",
        "cassandra://h/k#x",
        "cassandra://h/k?replication",
        "cassandra://h/k?replication=0",
        "cassandra://h/k?replication=x",
        "cassandra://h/k?tls=on&names=off",
        "cassandra://h/k?names=off",
        "cassandra://h/k?names=no",
        "cassandra://h/k?consistency=quorum",
        "cassandra://h/k?consistency=EACH_QUORUM",
        "cassandra://h/k?tls=/no/such/file",
        "cassandra://h/k?color=red",
    ],
)
def test_one_that_leads_nowhere(url):
    with pytest.raises(Unusable):
        cassandra.Cassandra(url)


@pytest.mark.parametrize(
    ("consistency", "replication", "good"),
    [
        ("LOCAL_QUORUM", 1, True),
        ("LOCAL_QUORUM", 3, True),
        ("QUORUM", 4, True),
        ("ALL", 3, True),
        ("ONE", 1, True),
        ("LOCAL_ONE", 1, True),
        ("TWO", 3, True),
        ("THREE", 5, True),
        ("ONE", 2, False),
        ("LOCAL_ONE", 3, False),
        ("TWO", 4, False),
        ("THREE", 6, False),
        ("TWO", 1, False),  # more than there are
    ],
)
def test_a_read_must_not_miss_what_was_written(consistency, replication, good):
    url = f"cassandra://h/k?consistency={consistency}&replication={replication}"
    if good:
        assert parse(url).consistency == consistency
    else:
        with pytest.raises(Unusable):
            parse(url)


class Keyspace(cassandra.Cassandra):
    """Without a server: ``swept`` is what its leases say, and nothing else is there."""

    def __init__(self):
        super().__init__("cassandra://h/k")
        self._agreements = Agreements(b"", 1)
        self.swept_minute = self.now() // MINUTE - 3
        self.until = 0
        self.sent = 0

    async def execute(self, cql, values=(), *, serial=False):
        self.sent += cql == SEND
        if cql == SWEPT:
            return [(0, self.swept_minute)]
        return [("a", self.until, self.swept_minute)] if cql == HELD else []

    async def compare_and_set(self, cql, values):
        return True


async def test_nothing_is_sent_into_a_minute_that_was_swept():
    """As where the clocks of all nodes were an hour ahead, and were set right."""
    keyspace = Keyspace()
    ratings = cassandra.CassandraRatings(keyspace)
    keyspace.swept_minute += 60
    await keyspace._look()
    for call in (ratings.write("u", "m", 5), ratings.merge([Rating("u", "m", 5, 1)])):
        with pytest.raises(StoreAway, match="set back"):
            await call
    with pytest.raises(StoreAway, match="set back"):
        await keyspace.probe()
    assert not keyspace.sent
    keyspace.swept_minute -= 60
    await keyspace._look()
    await keyspace.probe()
    await ratings.write("u", "m", 5)
    assert keyspace.sent == 1


async def test_a_lease_from_before_clocks_were_set_back_holds_nothing():
    keyspace = Keyspace()
    outbox = cassandra.CassandraOutbox(keyspace, cassandra.CassandraRatings(keyspace))
    for ahead, is_held in ((5, True), (60, True), (3600, False)):
        keyspace.until = keyspace.now() + ahead * SECOND
        assert (await outbox.lease(0, "b", 6) is None) == is_held


def test_while_clocks_differ_the_latest_node_tells_the_time_of_all():
    """Else a rating that was cut in half would come to be above one that was acknowledged later."""
    one, other = Keyspace(), Keyspace()
    one._aheads.extend((0, 20 * SECOND, 3 * SECOND))
    other._aheads.extend((3 * SECOND, 20 * SECOND, 0))
    assert abs(one.now() - other.now()) < SECOND


def test_a_password_is_shown_to_nobody():
    assert "secret" not in str(parse("cassandra://me:secret@h/k"))
    for url in (
        "cassandra://me:secret@h/K",
        "cassandra://me:a/secret@h/k",
        "cassandra://me:secret",
    ):
        with pytest.raises(Unusable) as refused:
            parse(url)
        assert "secret" not in str(refused.value)


def test_the_schema_falls_into_statements():
    for step in steps():
        for statement in statements(step.script):
            assert statement.split()[0] in {"CREATE", "ALTER"}
            assert "--" not in statement
            assert "IF NOT EXISTS" in statement  # a step that was cut is done again


async def test_one_that_nobody_runs_is_away():
    keyspace = cassandra.Cassandra("cassandra://127.0.0.1:1/k")
    ratings = cassandra.CassandraRatings(keyspace)
    with pytest.raises(StoreAway):
        await keyspace.probe()
    with pytest.raises(StoreAway):
        await ratings.write("u", "m", 5)
    with pytest.raises(StoreAway):
        await anext(ratings.scan())
    with pytest.raises(StoreAway):
        ratings.rater("u")
    with pytest.raises(StoreAway):
        keyspace.now()
    await keyspace.close()


@pytest.mark.parametrize(
    ("error", "again"),
    [
        (OperationTimedOut(), True),
        (ReadTimeout(""), True),
        (NoHostAvailable("", {"a": ConnectionShutdown(""), "b": Unavailable("")}), True),
        (NoHostAvailable("", {"a": Unavailable("")}), False),
        (NoHostAvailable("", {}), False),
        (InvalidRequest(""), False),
    ],
)
def test_what_is_worth_another_try(error, again):
    assert is_unanswered(error) == again
