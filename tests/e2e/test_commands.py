"""Every command of the command line as people run it, beside a running server or alone. Those that
read and write files have a module of their own."""

import asyncio
import json
import os
import re
import shlex
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing, suppress

import pytest

from marquee import cli
from tests.support.commands import in_process, ok, refused, told
from tests.support.server import COMMAND, Server, environment, marquee, serve

# ---- bad arguments -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("command", "says"),
    [
        ("serv", "'serve'"),
        ("serve --prot 1", "--port"),
        ("serve --port x", "'x'"),
        ("serve --port 70000", "65535"),
        ("serve nobody", "best-pictures"),
        ("serve aggregator", "aggregator"),
        ("serve --workers 2", "workers"),
        ("serve --host ''", "--host is empty"),
        ("serve --data ''", "--data is empty"),
        ("token --user u --data ''", "--data is empty"),
        ("token", "--user"),
        ("token --user ''", "1 to 128"),
        ("token --user u --ttl soon", "soon"),
        ("import netflix x.csv", "trakt"),
        ("import auto /nowhere/at/all.csv", "/nowhere/at/all.csv"),
        ("import auto ''", "empty"),
        ("export actors", "actors"),
        ("export movies --user u", "--user"),
        ("top 0", "250"),
        ("top many", "many"),
        ("rebuild --movie m --drifted", "--drifted"),
        ("rebuild --movie 'no id'", "no id"),
        ("dead-letters burn", "burn"),
        ("erase", "--user"),
        ("erase --user ''", "1 to 128"),
        ("export ratings --user ''", "1 to 128"),
        ("migrate now", "now"),
        ("restore /nowhere/backup.zip", "/nowhere/backup.zip"),
    ],
)
def test_bad_arguments_get_one_clear_line_and_status_2(command, says, tmp_path):
    assert says in refused(in_process(*shlex.split(command), data=tmp_path))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("command", "says"),
    [
        ("serv", "'serve'"),
        ("serve nobody", "best-pictures"),
        ("token --user ''", "1 to 128"),
        ("serve --host \udcff", "no such host"),  # bytes that are no UTF-8
    ],
)
def test_so_they_do_where_they_come_from_a_shell(command, says, tmp_path):
    assert says in refused(marquee(*shlex.split(command), data=tmp_path))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "command",
    [
        *("top", "verify", "rebuild", "rebuild --drifted", "dead-letters", "dead-letters retry"),
        *("export movies", "export ratings --user u", "erase --user u", "backup copy.zip"),
    ],
)
def test_without_a_store_none_is_made(command, tmp_path):
    says = refused(in_process(*shlex.split(command), data=tmp_path / "data"))
    assert str(tmp_path / "data" / "marquee.db") in says
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("name", "value"),
    {
        "port": "http",
        "rate_limit": "60/fortnight",
        "ratings_url": "mysql://here/marquee",
        "movies_url": "postgresql://here/marquee",
        "jwks": "/nowhere/keys.json",
        "trusted_proxies": "gateway.example",
        "traces_url": "here",
    }.items(),
)
def test_settings_that_are_refused_leave_nothing_behind(name, value, tmp_path):
    refused(in_process("serve", data=tmp_path / "data", **{"port": 0, name: value}))
    assert list(tmp_path.iterdir()) == []


def test_an_import_whose_report_cannot_be_written_leaves_nothing_behind(ratings, tmp_path):
    for report in (tmp_path / "none" / "report.txt", tmp_path):
        arguments = ("import", "auto", ratings, "--report", report)
        refused(in_process(*arguments, data=tmp_path / "data"))
        assert list(tmp_path.iterdir()) == [ratings]


def test_where_nothing_is_asked_the_help_is_all():
    done = marquee()
    assert (done.returncode, done.stderr) == (2, "")
    assert "Usage" in done.stdout


def test_help_teaches_every_command():
    commands = (
        "serve token import demo export top verify rebuild dead-letters erase migrate doctor "
        "backup restore settings"
    )
    shown = told("--help")
    for command in commands.split():
        assert re.search(rf"\b{command}\b", shown)
        assert "Usage" in told(command, "--help")
    shown = told("serve", "--help")
    for default in ("127.0.0.1", "8080", "./marquee-data"):
        assert f"[default: {default}]" in shown


# ---- settings ----------------------------------------------------------------------------------


def test_settings_say_what_counts_and_why(tmp_path):
    file = tmp_path / "marquee.toml"
    file.write_text('audience = "toml"\nissuer = "toml"\n')
    shown = told("--config", file, "settings", issuer="variable")
    assert re.search(r"^issuer +variable +MARQUEE_ISSUER ", shown, re.MULTILINE)
    assert re.search(rf"^audience +toml +{re.escape(str(file))} ", shown, re.MULTILINE)
    assert re.search(r"^port +8080 +default ", shown, re.MULTILINE)


def test_the_file_counts_wherever_it_is_named(tmp_path):
    file, other = tmp_path / "marquee.toml", tmp_path / "other.toml"
    file.write_text('issuer = "toml"\n')
    other.write_text('issuer = "other"\n')
    for arguments in (
        ("--config", file, "settings"),
        ("settings", "--config", file),
        ("settings", f"--config={file}"),
        ("--config", other, "settings", "--config", file),
    ):
        assert re.search(r"^issuer +toml ", told(*arguments), re.MULTILINE)
    told("token", "--config", file, "--user", "you", data=tmp_path)
    for arguments in (
        *(("settings", "--config"), ("--config",), ("settings", "--config", tmp_path)),
        *(("settings", "--config", ""), ("settings", "--config=")),
    ):
        refused(in_process(*arguments))


def test_a_flag_counts_before_a_variable(tmp_path):
    told("token", "--user", "you", "--data", tmp_path / "flag", data=tmp_path / "variable")
    assert [path.name for path in tmp_path.iterdir()] == ["flag"]
    shown = told("settings", "--data", tmp_path / "flag", data=tmp_path / "variable")
    assert re.search(rf"^data +{re.escape(str(tmp_path / 'flag'))} +flag ", shown, re.MULTILINE)


def test_a_password_is_masked(tmp_path):
    shown = told("settings", jwks="https://user:secret@keys.example/jwks")
    assert "secret" not in shown
    assert "https://user:***@keys.example/jwks" in shown
    shown = in_process("doctor", data=tmp_path, jwks="https://user:secret@[::1]:1/jwks").stdout
    assert "https://user:***@[::1]:1/jwks" in shown
    dsn = "host=h password=secret dbname=d"
    assert "secret" not in refused(in_process("top", data=tmp_path, movies_url=dsn))


def test_on_a_terminal_no_value_is_cut_short():
    url = f"cassandra://{','.join(f'ratings-{n}.example' for n in range(5))}/marquee"
    ours, terminal = os.openpty()
    narrow = environment(ratings_url=url) | {"TERM": "dumb", "COLUMNS": "80"}
    with subprocess.Popen([COMMAND, "settings"], env=narrow, stdout=terminal):
        os.close(terminal)
        raw = b""
        with suppress(OSError):  # as a terminal ends that nobody writes to any more
            while more := os.read(ours, 4096):
                raw += more
    os.close(ours)
    head, *lines = raw.decode().splitlines()
    value = slice(head.index("value"), head.index("from"))
    assert url in "".join(line[value].strip() for line in lines)


def test_what_is_no_utf8_is_shown_as_it_is():
    assert re.search(r"^issuer +\\udcff ", ok("settings", issuer="\udcff"), re.MULTILINE)


def test_an_unknown_name_in_the_file_is_an_error(tmp_path):
    file = tmp_path / "marquee.toml"
    file.write_text('isuer = "me"\n')
    done = in_process("--config", str(file), "settings")
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "isuer" in done.stderr
    assert "issuer" in done.stderr


def test_an_unknown_variable_is_a_warning_also_beside_an_error():
    done = in_process("settings", isuer="me")
    assert done.returncode == 0
    assert "MARQUEE_ISUER" in done.stderr
    assert "MARQUEE_ISSUER" in done.stderr
    assert "MARQUEE_ISUER" in in_process("settings", isuer="me", port="x").stderr


# ---- serve and token ---------------------------------------------------------------------------


def test_a_first_start_prints_where_to_look_and_a_line_that_works(server):
    assert f"{server.url}/movies/top10" in server.log
    assert f"{server.url}/docs" in server.log
    assert answer_of_its_line(server)["rate"] == 10
    assert "made up" in server.log


def answer_of_its_line(server):
    """What the line that a start prints answers, as it stands."""
    line = next(line for line in server.log.splitlines() if line.startswith("  curl "))
    assert shutil.which("curl"), "curl is missing: apt-get install curl"
    line = line.replace("curl ", "curl --fail ")
    done = subprocess.run(["sh", "-c", line], check=True, capture_output=True, timeout=30)
    return json.loads(done.stdout)


def test_a_first_start_without_the_demo_prints_a_line_that_works_too(tmp_path):
    with serve(tmp_path) as server:
        assert answer_of_its_line(server)["result"] == []
        assert "made up" not in server.log
        server.stop()
        began = len(server.log)
        server._demo = True  # a later start does not load it: the first one declined
        server.start()
        assert "curl" not in server.log[began:], "nobody asked again"
        with server.client() as client:
            assert client.get("/movies").json()["result"] == []


@pytest.mark.parametrize(
    ("role", "demo"), [("ratings", True), ("movies", False), ("best-pictures", False)]
)
def test_a_first_start_of_one_role_prints_a_line_that_works_too(role, demo, tmp_path):
    server = Server(tmp_path, role, demo=demo)
    try:
        assert answer_of_its_line(server.start())["status"] == "ok"
        server.stop()
    finally:
        server.kill()


def test_the_demo_never_comes_by_itself_beside_somebodys_own(tmp_path):
    data = tmp_path / "data"
    movies, ratings = tmp_path / "movies.csv", tmp_path / "ratings.csv"
    movies.write_text("id,title\nm1,One\n")
    ratings.write_text("userId,movieId,rate,ratedAt\nyou,m1,8,2020-01-01T00:00:00Z\n")
    told("import", "movies", movies, data=data)
    told("import", "auto", ratings, data=data)
    with serve(tmp_path, demo=True) as server:
        with server.client() as client:
            assert [movie["id"] for movie in client.get("/movies").json()["result"]] == ["m1"]
        assert answer_of_its_line(server)["movieId"] == "m1"
        assert "made up" not in server.log + told("top", data=data)
        assert "made up" in ok("demo", data=data)
        assert "made up" in told("top", data=data)


@pytest.mark.no_cover
def test_a_start_that_was_cut_short_in_its_demo_goes_on_with_it(tmp_path):
    data, movies = tmp_path / "data", tmp_path / "movies.csv"
    movies.write_text("id,title\nm1,One\n")
    told("import", "movies", movies, data=data)  # as far as it came
    with closing(sqlite3.connect(data / "marquee.db")) as connection, connection:
        connection.execute("INSERT INTO agreed VALUES ('demo', 'begun')")
    assert "made up" in told("top", data=data)
    with serve(tmp_path, demo=True) as server:
        assert "made up" in server.log
    assert len(told("export", "movies", data=data).splitlines()) > 2000


def test_a_second_serve_on_the_folder_is_refused(server):
    assert str(server.data) in refused(in_process("serve", "--data", server.data, "--port", 0))


def test_a_port_that_is_taken_is_said(server, tmp_path):
    port = server.address[1]
    assert str(port) in refused(in_process("serve", "--data", tmp_path, "--port", port))
    assert list(tmp_path.iterdir()) == []


def test_a_token_and_nothing_else(server):
    token = ok("token", "--user", "carol", "--ttl", "5m", data=server.data)
    assert re.fullmatch(r"[\w-]+\.[\w-]+\.[\w-]+\n", token)
    with server.client() as client:
        client.headers["Authorization"] = f"Bearer {token.strip()}"
        assert client.get("/users/me/ratings").json() == {"result": [], "nextCursor": None}
        assert client.post("/movies", json={"title": "No"}).status_code == 403


def test_a_token_that_the_services_will_not_take_is_told_of(tmp_path):
    done = in_process("token", "--user", "you", data=tmp_path, jwks="https://keys.example/jwks")
    assert (done.returncode, done.stdout.count(".")) == (0, 2)
    assert re.fullmatch("marquee: jwks is set, .*\n", done.stderr)


def test_a_token_before_any_start_is_good_afterwards(tmp_path):
    token = ok("token", "--user", "dora", data=tmp_path / "data").strip()
    with serve(tmp_path) as server, server.client() as client:
        headers = {"Authorization": f"Bearer {token}"}
        assert client.get("/users/me/ratings", headers=headers).status_code == 200


# ---- looking, checking, mending ----------------------------------------------------------------


def test_top_is_the_chart(server):
    with server.client() as client:
        ten = client.get("/movies/top10").json()["result"]
    shown = told("top", "3", data=server.data).splitlines()
    for entry, line in zip(ten[:3], shown[1:4], strict=True):
        assert re.match(rf" *{entry['rank']}  {re.escape(entry['title'])} ", line)
        assert f" {entry['rate']} " in line
    assert "made up" in shown[-1]


def test_brackets_and_colons_in_a_table_are_what_they_are(tmp_path):
    movies, ratings = tmp_path / "movies.csv", tmp_path / "ratings.csv"
    titles = ("[/rec] :cat:", "[rec] [bold]")
    movies.write_text("id,title\n" + "".join(f"m{n},{title}\n" for n, title in enumerate(titles)))
    ratings.write_text(
        "userId,movieId,rate,ratedAt\n"
        + "".join(f"you,m{n},8,2020-01-01T00:00:00Z\n" for n in range(len(titles)))
    )
    for file in (movies, ratings):
        told("import", "auto", file, data=tmp_path / "data")
    shown = told("top", data=tmp_path / "data")
    assert all(title in shown for title in titles)
    assert "the extra [traces]" in told("settings")
    assert "[/me]" in told("settings", issuer="[/me]")


def test_an_erasure_that_came_by_mail(server, ratings):
    told("import", "auto", ratings, data=server.data)
    with server.client("alice") as client:
        before = len(client.get("/users/me/ratings").json()["result"])
        assert before > 0
        shown = ok("erase", "--user", "alice", data=server.data)
        assert shown.startswith(f"{before} ratings erased")
        assert client.get("/users/me/ratings").json()["result"] == []
    assert "all totals" in told("verify", data=server.data)


def test_doctor_finds_all_well(server):
    shown = told("doctor", data=server.data)
    assert shown.count("all is well") == len(shown.splitlines()) >= 3


def test_doctor_says_what_is_wrong(tmp_path):
    (tmp_path / "marquee.db").write_bytes(b"no database " * 1000)
    done = marquee("doctor", data=tmp_path)
    assert done.returncode == 1
    assert "marquee restore" in done.stdout
    done = in_process("doctor", data=tmp_path, jwks="http://127.0.0.1:9/jwks")
    assert re.search(
        r"keys .*: they can't be read \(urlopen error .*\): .* mend jwks\n", done.stdout
    )


@pytest.mark.parametrize(
    ("name", "value"), {"trusted_proxies": "gateway.example", "traces_url": "here"}.items()
)
def test_doctor_tells_what_serve_refuses(server, name, value):
    done = in_process("doctor", data=server.data, **{name: value})
    assert done.returncode == 1
    assert re.search(rf"^{name}: .*{value}", done.stdout, re.MULTILINE)


def test_dead_letters_are_a_line_each_whatever_is_in_them(tmp_path):
    told("migrate", data=tmp_path)
    with closing(sqlite3.connect(tmp_path / "marquee.db")) as connection, connection:
        row = (b"\xff\x1b[2J\n\xc3\xa9", "no event", 1)
        connection.execute("INSERT INTO dead_letter (raw, error, died_at) VALUES (?, ?, ?)", row)
    shown = "1  no event  \ufffd\\x1b[2J\\né\n1 dead letter\n"
    assert ok("dead-letters", data=tmp_path) == shown


def test_health_asks_the_process_that_serves(server):
    def health(**settings: object) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "marquee.health"],
            check=False,
            env=environment(**settings),
            capture_output=True,
            text=True,
        )

    for host in ("127.0.0.1", "0.0.0.0"):
        healthy = health(host=host, port=server.address[1])
        assert (healthy.returncode, '"status":"ok"' in healthy.stdout) == (0, True)
    nobody = health(port=1)
    assert (nobody.returncode, nobody.stdout) == (1, "")


def test_it_runs_as_a_module_too():
    command = [sys.executable, "-m", "marquee", "settings"]
    done = subprocess.run(command, check=True, capture_output=True, text=True, env=environment())
    assert done.stdout == ok("settings")


def test_ctrl_c_while_it_is_loaded_ends_it_quietly(tmp_path):
    (tmp_path / "typer.py").write_text("import signal\nsignal.raise_signal(signal.SIGINT)\n")
    path = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        [sys.executable, "-m", "marquee", "settings"],
        check=False,
        env=environment() | {"PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "")


async def test_a_long_wait_is_told(monkeypatch, capsys):
    monkeypatch.setattr(cli, "TOLD_SECONDS", 0)
    said = ""

    async def wait():
        nonlocal said
        async with asyncio.timeout(20):
            while not said:
                await asyncio.sleep(0)
                said = capsys.readouterr().err

    await cli.told(wait)
    assert said.startswith("marquee: waiting until all that was acknowledged is counted")
