"""Every command of the command line as people run it, beside a running server or alone."""

import csv
import io
import json
import os
import re
import shlex
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest

from marquee.adapters.sqlite import check_backup, restore
from tests.support.server import COMMAND, Server, environment, marquee, serve

RATINGS = """movieId,userId,rate,ratedAt
tt0068646,alice,9.5,2020-01-02T03:04:05.678901Z
tt0071562,alice,10,2021-01-02T03:04:05Z
tt0068646,"b, ""the"" second",0.5,2022-02-03T00:00:00Z
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """One with the demo, made by its first start."""
    with serve(tmp_path_factory.mktemp("commands"), demo=True) as server:
        yield server


@pytest.fixture
def ratings(tmp_path: Path) -> Path:
    file = tmp_path / "ratings.csv"
    file.write_text(RATINGS)
    return file


def ok(*arguments: object, **settings: object) -> str:
    done = marquee(*map(str, arguments), **settings)
    assert (done.returncode, done.stderr) == (0, ""), done
    return done.stdout


def numbers(report: str) -> dict[str, str]:
    """What a report says of movies, nominations and ratings."""
    return dict(re.findall(r"^(\w+): (\S+ added, \S+ replaced)", report, re.MULTILINE))


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
        ("serve --host \udcff", "no such host"),  # bytes that are no UTF-8
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
    done = marquee(*shlex.split(command), data=tmp_path)
    assert done.returncode == 2, done
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1
    assert says in done.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "command",
    [
        *("top", "verify", "rebuild", "rebuild --drifted", "dead-letters", "dead-letters retry"),
        *("export movies", "export ratings --user u", "erase --user u", "backup copy.zip"),
    ],
)
def test_without_a_store_none_is_made(command, tmp_path):
    done = marquee(*shlex.split(command), data=tmp_path / "data")
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert str(tmp_path / "data" / "marquee.db") in done.stderr
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
    done = marquee("serve", data=tmp_path / "data", **{"port": 0, name: value})
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert list(tmp_path.iterdir()) == []


def test_an_import_whose_report_cannot_be_written_leaves_nothing_behind(ratings, tmp_path):
    for report in (tmp_path / "none" / "report.txt", tmp_path):
        arguments = ("import", "auto", str(ratings), "--report", str(report))
        done = marquee(*arguments, data=tmp_path / "data")
        assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
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
    shown = ok("--help")
    for command in commands.split():
        assert re.search(rf"\b{command}\b", shown)
        assert "Usage" in ok(command, "--help")
    for default in ("127.0.0.1", "8080", "./marquee-data"):
        assert f"[default: {default}]" in ok("serve", "--help")


# ---- settings ----------------------------------------------------------------------------------


def test_settings_say_what_counts_and_why(tmp_path):
    file = tmp_path / "marquee.toml"
    file.write_text('audience = "toml"\nissuer = "toml"\n')
    shown = ok("--config", file, "settings", issuer="variable")
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
        assert re.search(r"^issuer +toml ", ok(*arguments), re.MULTILINE)
    ok("token", "--config", file, "--user", "you", data=tmp_path)
    for arguments in (
        *(("settings", "--config"), ("--config",), ("settings", "--config", tmp_path)),
        *(("settings", "--config", ""), ("settings", "--config=")),
    ):
        done = marquee(*map(str, arguments))
        assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)


def test_a_flag_counts_before_a_variable(tmp_path):
    ok("token", "--user", "you", "--data", tmp_path / "flag", data=tmp_path / "variable")
    assert [path.name for path in tmp_path.iterdir()] == ["flag"]
    shown = ok("settings", "--data", tmp_path / "flag", data=tmp_path / "variable")
    assert re.search(rf"^data +{re.escape(str(tmp_path / 'flag'))} +flag ", shown, re.MULTILINE)


def test_a_password_is_masked(tmp_path):
    shown = ok("settings", jwks="https://user:secret@keys.example/jwks")
    assert "secret" not in shown
    assert "https://user:***@keys.example/jwks" in shown
    shown = marquee("doctor", data=tmp_path, jwks="https://user:secret@[::1]:1/jwks").stdout
    assert "https://user:***@[::1]:1/jwks" in shown


def test_what_is_no_utf8_is_shown_as_it_is():
    assert re.search(r"^issuer +\\udcff ", ok("settings", issuer="\udcff"), re.MULTILINE)


def test_an_unknown_name_in_the_file_is_an_error(tmp_path):
    file = tmp_path / "marquee.toml"
    file.write_text('isuer = "me"\n')
    done = marquee("--config", str(file), "settings")
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "isuer" in done.stderr
    assert "issuer" in done.stderr


def test_an_unknown_variable_is_a_warning_also_beside_an_error():
    done = marquee("settings", isuer="me")
    assert done.returncode == 0
    assert "MARQUEE_ISUER" in done.stderr
    assert "MARQUEE_ISSUER" in done.stderr
    assert "MARQUEE_ISUER" in marquee("settings", isuer="me", port="x").stderr


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
        server.start()
        assert "curl" not in server.log[began:], "nobody asked again"


@pytest.mark.parametrize("role", ["ratings", "movies", "best-pictures"])
def test_a_first_start_of_one_role_prints_a_line_that_works_too(role, tmp_path):
    server = Server(tmp_path, role, demo=True)
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
    ok("import", "movies", movies, data=data)
    ok("import", "auto", ratings, data=data)
    with serve(tmp_path, demo=True) as server:
        with server.client() as client:
            assert [movie["id"] for movie in client.get("/movies").json()["result"]] == ["m1"]
        assert answer_of_its_line(server)["movieId"] == "m1"
        assert "made up" not in server.log + ok("top", data=data)
        assert "made up" in ok("demo", data=data)
        assert "made up" in ok("top", data=data)


def test_a_start_that_was_cut_short_in_its_demo_goes_on_with_it(tmp_path):
    data, movies = tmp_path / "data", tmp_path / "movies.csv"
    movies.write_text("id,title\nm1,One\n")
    ok("import", "movies", movies, data=data)  # as far as it came
    with closing(sqlite3.connect(data / "marquee.db")) as connection, connection:
        connection.execute("INSERT INTO agreed VALUES ('demo', 'begun')")
    assert "made up" in ok("top", data=data)
    with serve(tmp_path, demo=True) as server:
        assert "made up" in server.log
    assert len(ok("export", "movies", data=data).splitlines()) > 2000


def test_a_second_serve_on_the_folder_is_refused(server):
    done = marquee("serve", "--data", str(server.data), "--port", "0")
    assert done.returncode == 2
    assert str(server.data) in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_port_that_is_taken_is_said(server, tmp_path):
    port = server.address[1]
    done = marquee("serve", "--data", str(tmp_path / "other"), "--port", str(port))
    assert done.returncode == 2
    assert str(port) in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_token_and_nothing_else(server):
    token = ok("token", "--user", "carol", "--ttl", "5m", data=server.data)
    assert re.fullmatch(r"[\w-]+\.[\w-]+\.[\w-]+\n", token)
    with server.client() as client:
        client.headers["Authorization"] = f"Bearer {token.strip()}"
        assert client.get("/users/me/ratings").json() == {"result": [], "nextCursor": None}
        assert client.post("/movies", json={"title": "No"}).status_code == 403


def test_a_token_that_the_services_will_not_take_is_told_of(tmp_path):
    done = marquee("token", "--user", "you", data=tmp_path, jwks="https://keys.example/jwks")
    assert (done.returncode, done.stdout.count(".")) == (0, 2)
    assert re.fullmatch("marquee: jwks is set, .*\n", done.stderr)


def test_a_token_before_any_start_is_good_afterwards(tmp_path):
    token = ok("token", "--user", "dora", data=tmp_path / "data").strip()
    with serve(tmp_path) as server, server.client() as client:
        headers = {"Authorization": f"Bearer {token}"}
        assert client.get("/users/me/ratings", headers=headers).status_code == 200


def test_without_the_demo_there_is_nothing(tmp_path):
    with serve(tmp_path) as server:
        with server.client() as client:
            assert client.get("/movies/top10").json()["result"] == []
            assert client.get("/movies").json()["result"] == []
        server.stop()
        server._demo = True  # a later start does not load it: the first one declined
        server.start()
        with server.client() as client:
            assert client.get("/movies").json()["result"] == []


# ---- import and export -------------------------------------------------------------------------


def test_an_import_beside_the_server_shows_and_again_changes_nothing(server, tmp_path):
    ratings = tmp_path / "hers.csv"
    ratings.write_text(RATINGS.replace("alice", "anna").replace("second", "third"))
    before = ok("import", "auto", ratings, "--dry-run", data=server.data)
    first = ok("import", "auto", ratings, data=server.data)
    assert numbers(before) == numbers(first) == {"ratings": "3 added, 0 replaced"}
    assert numbers(ok("import", "auto", ratings, data=server.data)) == {
        "ratings": "0 added, 0 replaced"
    }
    with server.client("anna") as client:
        mine = client.get("/users/me/ratings").json()["result"]
    assert [(r["movieId"], r["rate"], r["ratedAt"]) for r in mine] == [
        ("tt0068646", 9.5, "2020-01-02T03:04:05.678901Z"),
        ("tt0071562", 10, "2021-01-02T03:04:05.000000Z"),
    ]


def test_a_dry_run_foresees_what_was_removed_and_erased(server, tmp_path):
    file = tmp_path / "later.csv"
    file.write_text(
        "userId,movieId,rate,ratedAt\n"
        "remover,tt0068646,7,2020-01-01T00:00:00Z\neraser,tt0068646,7,2020-01-01T00:00:00Z\n"
    )
    ok("import", "auto", file, data=server.data)
    with server.client("remover") as client:
        assert client.delete("/movies/tt0068646/users/rate").status_code == 204
    ok("erase", "--user", "eraser", data=server.data)
    foreseen = ok("import", "auto", file, "--dry-run", data=server.data)
    # The removal is newer than the file; after an erasure the same file counts again.
    assert numbers(foreseen) == numbers(ok("import", "auto", file, data=server.data))
    assert numbers(foreseen) == {"ratings": "1 added, 0 replaced"}


def test_a_dry_run_where_nothing_is_yet_makes_nothing(ratings, tmp_path):
    movies = tmp_path / "movies.csv"
    movies.write_text("id,title\nm1,One\nm2,Two\nm1,One\n")
    for data in (tmp_path / "none", tmp_path / "empty"):
        shown = ok("import", "auto", movies, "--dry-run", data=data)
        assert numbers(shown) == {"movies": "2 added, 0 replaced"}
        shown = ok("import", "auto", ratings, "--dry-run", data=data)
        assert "3 left out: no such movie in the catalogue" in shown
        (tmp_path / "empty").mkdir(exist_ok=True)
    assert list((tmp_path / "empty").iterdir()) == []
    assert not (tmp_path / "none").exists()


def test_what_was_left_out_is_told_line_by_line(server, tmp_path):
    file, report = tmp_path / "some.csv", tmp_path / "report.txt"
    file.write_text(RATINGS + "tt0068646,alice,11,2020-01-01T00:00:00Z\n")
    shown = ok("import", "auto", file, "--report", report, data=server.data)
    assert "1 left out" in shown
    assert re.search(r"^some.csv:5: ", report.read_text(), re.MULTILINE)


def test_rows_without_anything_for_us_are_in_the_report_too(server, tmp_path):
    file, report = tmp_path / "awards.csv", tmp_path / "report.txt"
    file.write_text(
        "Year,Category,Nominee,Additional Info,Won?\n"
        "1997 (70th),Directing,Titanic,James Cameron,YES\n"
        "1997 (70th),Best Picture,Titanic,James Cameron,YES\n"
        "1997 (70th),Writing,Good Will Hunting,Matt Damon,YES\n"
    )
    shown = ok("import", "auto", file, "--dry-run", "--report", report, data=server.data)
    assert "2 left out: no Best Picture nomination" in shown
    assert report.read_text() == (
        "awards.csv:2: no Best Picture nomination\nawards.csv:4: no Best Picture nomination\n"
    )


def test_a_report_never_takes_the_place_of_what_is_imported(server, tmp_path):
    folder = tmp_path / "files"
    folder.mkdir()
    export, link = folder / "hers.csv", tmp_path / "link.csv"
    export.write_text(RATINGS)
    link.symlink_to(export)
    for file, report in ((export, export), (folder, export), (export, link), (link, export)):
        done = marquee("import", "auto", str(file), "--report", str(report), data=server.data)
        assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
        assert "name another" in done.stderr
        assert export.read_text() == RATINGS


def test_a_refused_import_leaves_an_older_report(server, ratings, tmp_path):
    report, strange = tmp_path / "report.txt", tmp_path / "strange.csv"
    report.write_text("older\n")
    strange.write_text("a,b\n1,2\n")
    for arguments in (("auto", strange), ("auto", ratings, "--user", "ann"), ("imdb", ratings)):
        told = map(str, ("import", *arguments, "--report", report))
        assert marquee(*told, data=server.data).returncode == 2
        assert report.read_text() == "older\n"
    ok("import", "auto", ratings, "--dry-run", "--report", report, data=server.data)
    assert "older" not in report.read_text()


def test_a_file_that_nobody_reads_is_in_the_report(server, tmp_path):
    folder, report = tmp_path / "files", tmp_path / "report.txt"
    folder.mkdir()
    (folder / "hers.csv").write_text(RATINGS)
    (folder / "tags.csv").write_text("Date,Tag\n")
    shown = ok("import", "auto", folder, "--report", report, data=server.data)
    line = "tags.csv: not read: it is not anything known: it has the columns Date, Tag\n"
    assert line in shown
    assert line in report.read_text()


def test_interrupted_and_gone_on(tmp_path):
    movies, lines = 2000, 150_000
    movie_file, file = tmp_path / "movies.csv", tmp_path / "ratings.csv"
    movie_file.write_text("id,title\n" + "".join(f"m{n},Movie {n}\n" for n in range(movies)))
    with file.open("w") as out:
        out.write("userId,movieId,rate,ratedAt\n")
        for n in range(lines):
            out.write(f"u{n // movies},m{n % movies},{1 + n % 19 / 2},2020-01-01T00:00:00Z\n")
    data = tmp_path / "data"
    ok("import", "movies", movie_file, data=data)
    process = subprocess.Popen(
        [COMMAND, "import", "auto", file],
        env=environment(data=data),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    while process.poll() is None:
        process.send_signal(signal.SIGSTOP)  # it must not be done while we look
        begun = stored(data) > 0
        if begun:
            process.send_signal(signal.SIGINT)
        process.send_signal(signal.SIGCONT)
        if begun:
            break
        time.sleep(0.05)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130
    assert said.count("\n") == 1
    some = stored(data)
    assert 0 < some < lines
    report = marquee("import", "auto", str(file), data=data).stdout  # slowly: it says how far it is
    assert numbers(report) == {"ratings": f"{lines - some:,} added, 0 replaced"}
    assert "all totals" in ok("verify", data=data)


def stored(data: Path) -> int:
    with closing(sqlite3.connect(data / "marquee.db", timeout=30)) as connection:
        return connection.execute("SELECT count(*) FROM rating").fetchone()[0]


@pytest.mark.parametrize("form", ["csv", "json"])
def test_an_export_taken_in_elsewhere_is_the_same(server, form, tmp_path):
    for what in ("movies", "ratings"):
        file = tmp_path / f"{what}.{form}"
        file.write_text(ok("export", what, "--format", form, data=server.data))
        done = marquee("import", "auto", str(file), data=tmp_path / "other")
        assert done.returncode == 0, done  # what lasts is told of on stderr
        again = ok("export", what, "--format", form, data=tmp_path / "other")
        assert again == file.read_text()
        assert len(again.splitlines()) > 2000


def test_an_export_of_one_user(server, ratings):
    ok("import", "auto", ratings, data=server.data)
    shown = ok("export", "ratings", "--user", 'b, "the" second', data=server.data)
    rows = list(csv.DictReader(io.StringIO(shown)))
    assert [(row["userId"], row["movieId"], row["rate"]) for row in rows] == [
        ('b, "the" second', "tt0068646", "0.5")
    ]


def test_an_export_of_nothing_is_a_header_or_an_empty_list(server, tmp_path):
    ok("migrate", data=tmp_path)
    for what, header in {
        "ratings": "userId,movieId,rate,ratedAt\n",
        "movies": "id,title,year,genres,boxOffice,imdbId,tmdbId\n",
    }.items():
        assert ok("export", what, data=tmp_path) == header
        assert json.loads(ok("export", what, "--format", "json", data=tmp_path)) == []
    assert ok("export", "ratings", "--user", "nobody", data=server.data).count("\n") == 1


def test_an_export_as_json_is_a_list(server, ratings):
    ok("import", "auto", ratings, data=server.data)
    shown = ok("export", "ratings", "--user", "alice", "--format", "json", data=server.data)
    assert [rating["movieId"] for rating in json.loads(shown)] == ["tt0068646", "tt0071562"]
    assert shown.count("\n") == 2


def test_an_export_into_a_closed_pipe_says_nothing(server):
    done = subprocess.run(
        ["sh", "-c", f"{COMMAND} export ratings | head -1"],
        check=False,
        env=environment(data=server.data),
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.stderr == ""


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_streams_that_are_closed_stop_nothing(server, closed):
    for command in ("top", "settings", "token --user you"):
        line = f"{COMMAND} {command} {closed}"
        subprocess.run(["sh", "-c", line], env=environment(data=server.data), check=True)


# ---- looking, checking, mending ----------------------------------------------------------------


def test_top_is_the_chart(server):
    with server.client() as client:
        ten = client.get("/movies/top10").json()["result"]
    shown = ok("top", "3", data=server.data).splitlines()
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
        ok("import", "auto", file, data=tmp_path / "data")
    shown = ok("top", data=tmp_path / "data")
    assert all(title in shown for title in titles)
    assert "the extra [traces]" in ok("settings")
    assert "[/me]" in ok("settings", issuer="[/me]")


def test_an_erasure_that_came_by_mail(server, ratings):
    ok("import", "auto", ratings, data=server.data)
    with server.client("alice") as client:
        before = len(client.get("/users/me/ratings").json()["result"])
        assert before > 0
        shown = ok("erase", "--user", "alice", data=server.data)
        assert shown.startswith(f"{before} ratings erased")
        assert client.get("/users/me/ratings").json()["result"] == []
    assert "all totals" in ok("verify", data=server.data)


def test_doctor_finds_all_well(server):
    shown = ok("doctor", data=server.data)
    assert shown.count("all is well") == len(shown.splitlines()) >= 3


def test_doctor_says_what_is_wrong(tmp_path):
    (tmp_path / "marquee.db").write_bytes(b"no database " * 1000)
    done = marquee("doctor", data=tmp_path)
    assert done.returncode == 1
    assert "marquee restore" in done.stdout
    done = marquee("doctor", data=tmp_path, jwks="http://127.0.0.1:9/jwks")
    assert re.search(
        r"keys .*: they can't be read \(urlopen error .*\): .* mend jwks\n", done.stdout
    )


@pytest.mark.parametrize(
    ("name", "value"), {"trusted_proxies": "gateway.example", "traces_url": "here"}.items()
)
def test_doctor_tells_what_serve_refuses(server, name, value):
    done = marquee("doctor", data=server.data, **{name: value})
    assert done.returncode == 1
    assert re.search(rf"^{name}: .*{value}", done.stdout, re.MULTILINE)


def test_dead_letters_are_a_line_each_whatever_is_in_them(tmp_path):
    ok("migrate", data=tmp_path)
    with closing(sqlite3.connect(tmp_path / "marquee.db")) as connection, connection:
        row = (b"\xff\x1b[2J\n\xc3\xa9", "no event", 1)
        connection.execute("INSERT INTO dead_letter (raw, error, died_at) VALUES (?, ?, ?)", row)
    shown = "1  no event  \ufffd\\x1b[2J\\né\n1 dead letter\n"
    assert ok("dead-letters", data=tmp_path) == shown


def test_migrate_changes_the_prior_beside_the_server(tmp_path):
    with serve(tmp_path, demo=True) as server, server.client() as client:
        weighted = client.get("/movies/top10").json()["result"]
        ok("migrate", data=server.data, prior_weight=0)
        patience = time.monotonic() + 60
        while (ten := client.get("/movies/top10").json()["result"]) == weighted:
            assert time.monotonic() < patience
            time.sleep(0.05)
        assert all(e["weightedRating"] == e["averageRating"] for e in ten)
        mean = client.get("/movies/top-rated", params={"ranking": "mean"}).json()["result"]
        assert [e["id"] for e in mean] == [e["id"] for e in ten]


def test_a_backup_of_a_running_server_comes_back_whole(server, tmp_path):
    with server.client("keeper") as client:
        assert client.post("/movies/tt0068646/users/rate", json={"rate": 3}).status_code == 200
        file = tmp_path / "backup.zip"
        ok("backup", file, data=server.data)
        assert client.post("/movies/tt0068646/users/rate", json={"rate": 4}).status_code == 200
    token = server.token("keeper")
    ok("restore", file, data=tmp_path / "data")
    files = (tmp_path / "data" / "marquee.db", tmp_path / "data" / "keys" / "ed25519.pem")
    assert [file.stat().st_mode & 0o777 for file in files] == [0o600, 0o600]
    with serve(tmp_path) as other, other.client() as client:
        headers = {"Authorization": f"Bearer {token}"}  # its keys came along
        assert client.get("/movies/tt0068646/users/rate", headers=headers).json()["rate"] == 3
        refused = marquee("restore", str(file), data=other.data)
        assert (refused.returncode, refused.stderr.count("\n")) == (2, 1)
    assert "all totals" in ok("verify", data=tmp_path / "data")


def test_a_restore_beside_another_command_is_refused(server, tmp_path):
    backup, data = tmp_path / "backup.zip", tmp_path / "data"
    ok("backup", backup, data=server.data)
    ok("migrate", data=data)
    with closing(sqlite3.connect(data / "marquee.db")) as connection:  # as an import has it
        connection.execute("SELECT count(*) FROM movie").fetchall()
        done = marquee("restore", str(backup), data=data)
        assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
        assert f"Another command is at {data / 'marquee.db'}" in done.stderr
        assert not list(data.glob("before-restore-*"))
    ok("restore", backup, data=data)


def test_what_an_emptied_file_had_in_its_log_is_kept_aside(server, tmp_path):
    backup, data = tmp_path / "backup.zip", tmp_path / "data"
    ok("backup", backup, data=server.data)
    data.mkdir()
    (data / "marquee.db").touch()
    (data / "marquee.db-wal").write_bytes(b"what was rated last")
    ok("restore", backup, data=data)
    (aside,) = data.glob("before-restore-*")
    assert (aside / "marquee.db-wal").read_bytes() == b"what was rated last"


def test_each_restore_of_a_second_keeps_what_was_there(server, tmp_path):
    backup, data = tmp_path / "backup.zip", tmp_path / "other"
    ok("backup", backup, data=server.data)
    for _ in range(4):
        restore(backup, check_backup(backup), data / "marquee.db", data / "keys")
    assert len(list(data.glob("before-restore-*/marquee.db"))) == 3


def test_a_damaged_backup_is_refused_before_anything_is_touched(server, tmp_path):
    file = tmp_path / "backup.zip"
    ok("backup", file, data=server.data)
    whole = bytearray(file.read_bytes())
    whole[len(whole) // 2] ^= 0xFF
    file.write_bytes(whole)
    done = marquee("restore", str(file), data=tmp_path / "data")
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert list(tmp_path.iterdir()) == [file]


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
