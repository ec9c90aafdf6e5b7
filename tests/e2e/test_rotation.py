"""Settings that change are taken on by a process that serves: logins are rotated, and nobody who
calls meets an error."""

import asyncio
import json
import shutil
import threading
from pathlib import Path

import httpx
import pytest

from marquee import config
from marquee.adapters.postgres import migrate
from marquee.wiring import Marquee, open_stores
from tests.api.asking import eventually
from tests.support import engine
from tests.support.server import Server

pytestmark = pytest.mark.servers

TAKEN_ON = "the settings have changed, and are taken on"
HOLD = "The settings have changed, and the old ones hold"
LIST = "/movies?limit=1"
"""A call that is answered from PostgreSQL, each time."""


class Mounted:
    """A folder of files, as Kubernetes mounts them: each a link through one, ``..data``, that leads
    to another folder as soon as a file has changed."""

    def __init__(self, folder):
        self.folder = folder
        self._texts = {}
        self._times = 0

    def put(self, name, text):
        self._texts[name] = text
        self._times += 1
        inner = self.folder / f"..{self._times}"
        inner.mkdir(parents=True)
        for file, told in self._texts.items():
            (inner / file).write_text(told)
        data, draft = self.folder / "..data", self.folder / "..data_tmp"
        draft.symlink_to(inner.name)
        draft.rename(data)
        if not (self.folder / name).is_symlink():
            (self.folder / name).symlink_to(f"..data/{name}")
        shutil.rmtree(self.folder / f"..{self._times - 1}", ignore_errors=True)


class Database:
    """A PostgreSQL of this test's own, and the settings that lead to it."""

    def __init__(self, folder, servers):
        self.settings = Mounted(folder / "settings")
        self.settings.put("cache.toml", toml(cache_url=engine.need("redis")["MARQUEE_CACHE_URL"]))
        self.server = servers.server("postgres-1")
        self.url = httpx.URL(servers.variables(["postgres"])["MARQUEE_MOVIES_URL"].split()[0])
        self.owner = self.url.username
        self.rotate("the first")
        migrate([self.address(self.owner, "the first")], 1)
        self.tell(self.owner, "the first")

    def address(self, user, password):
        return str(self.url.copy_with(username=user, password=password))

    def rotate(self, password):
        """Give the owner another password. Connections that stand go on."""
        self.server.query(f"ALTER ROLE {self.owner} PASSWORD '{password}'")

    def let_in(self, user, password):
        """Make a login that may do what the owner may."""
        self.server.query(f"CREATE ROLE {user} LOGIN PASSWORD '{password}' IN ROLE {self.owner}")

    def tell(self, user, password):
        self.settings.put("movies.toml", toml(movies_url=self.address(user, password)))

    def connections(self, user):
        of_user = f"usename = '{user}' AND backend_type = 'client backend'"
        return int(self.server.query(f"SELECT count(*) FROM pg_stat_activity WHERE {of_user}"))

    def hang_up(self, user):
        """End every connection of a login's: whoever goes on has to log in again."""
        end = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE usename = '{}'"
        assert int(self.server.query(end.format(user))) > 0


def toml(**settings):
    return "".join(f"{name} = {json.dumps(value)}\n" for name, value in settings.items())


class Caller(threading.Thread):
    """Calls again and again on one connection, and keeps what it was answered."""

    def __init__(self, url):
        super().__init__(daemon=True)
        self.url = url
        self.statuses = []
        self.enough = threading.Event()

    def run(self):
        with httpx.Client(base_url=self.url, timeout=30) as client:
            while not self.enough.wait(0.01):
                self.statuses.append(client.get(LIST).status_code)

    def go_on(self):
        """Return when it was answered some more."""
        so_far = len(self.statuses)
        eventually(lambda: len(self.statuses), lambda number: number > so_far + 10, 60)


@pytest.fixture(scope="module")
def servers(tmp_path_factory):
    with engine.own(tmp_path_factory.mktemp("servers"), "postgres") as servers:
        yield servers


@pytest.fixture
def database(tmp_path, servers):
    return Database(tmp_path, servers)


@pytest.fixture
def server(tmp_path: Path, database):
    server = Server(tmp_path, "movies", config=database.settings.folder)
    try:
        server.start()
        eventually(lambda: httpx.get(f"{server.url}{LIST}").status_code, lambda s: s == 200)
        yield server
        server.stop()
    finally:
        server.kill()


def test_a_login_is_rotated_under_load(database, server):
    caller = Caller(server.url)
    caller.start()
    caller.go_on()
    assert database.connections(database.owner) > 0
    database.let_in("the_second", "its own")
    database.tell("the_second", "its own")
    eventually(lambda: server.log, lambda log: TAKEN_ON in log, 60)
    eventually(lambda: database.connections(database.owner), lambda number: number == 0, 60)
    caller.go_on()
    caller.enough.set()
    caller.join(60)
    assert not caller.is_alive()
    assert set(caller.statuses) == {200}
    database.hang_up("the_second")
    eventually(lambda: httpx.get(f"{server.url}{LIST}").status_code, lambda s: s == 200)


def test_settings_that_lead_nowhere_change_nothing(database, server):
    for broken in ("rating_url = 'x'\n", "movies_url = [[\n", "movies_url = 'sqlite:///x.db'\n"):
        told = server.log.count(HOLD)
        database.settings.put("movies.toml", broken)
        eventually(lambda: server.log.count(HOLD), lambda number, told=told: number > told)
        assert httpx.get(f"{server.url}{LIST}").status_code == 200


@pytest.mark.long
def test_a_password_that_is_not_right_yet_waits_until_it_is(database, server):
    database.tell(database.owner, "the second")
    eventually(lambda: server.log, lambda log: HOLD in log, 60)
    assert httpx.get(f"{server.url}{LIST}").status_code == 200
    database.rotate("the second")
    eventually(lambda: server.log, lambda log: TAKEN_ON in log, 90)
    database.hang_up(database.owner)
    eventually(lambda: httpx.get(f"{server.url}{LIST}").status_code, lambda s: s == 200)


async def test_nobody_sees_an_older_ten_afterwards(tmp_path):
    found = config.load({"data": tmp_path}, {})
    async with open_stores(found, make=True) as stores:

        async def follows_from(chart):
            """One that has a newer ten than this, and follows no more."""
            marquee = Marquee(found, stores, ["top-rated"])
            await marquee.start()
            while marquee.ten.refreshed_at <= chart.refreshed_at:  # noqa: ASYNC110 - nobody tells
                await asyncio.sleep(0.05)
            await marquee.stop()
            return marquee

        new = await follows_from(await stores.charts.refresh())
        old = await follows_from(new.ten)
        older, newer = new.ten, old.ten
        new.succeed(old)
        assert new.ten == newer != older
        newest = await follows_from(newer)
        newest.succeed(new)
        assert newest.ten != newer
