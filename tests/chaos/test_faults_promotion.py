"""A primary of PostgreSQL is gone for good, and its replica promoted. Apart from all others, for
nothing comes back from that."""

from collections.abc import Callable

import pytest

from engine.engine import Engine
from engine.postgres import PostgresReplicated
from tests.chaos.conftest import UnderLoad

pytestmark = [pytest.mark.servers, pytest.mark.long]

PARTS = ("cassandra", "kafka", "postgres-replicated", "redis")


@pytest.fixture(scope="module")
def mend() -> Callable[[], None]:
    """A primary that came back now would be a second one."""
    return lambda: None


def test_both_replicas_promoted(servers: Engine, under_load: UnderLoad):
    """What had not reached them comes again from the log."""
    part = servers.parts["postgres-replicated"]
    assert isinstance(part, PostgresReplicated)
    with under_load("PostgreSQL: both primaries, kill -9, replicas promoted after 5 s") as trial:
        for primary in part.primaries:
            primary.kill()
        trial.last(5)
        for replica in part.replicas:
            replica.promote()
        trial.over()
    assert not trial.cost.errors
