"""The commands that read and write files: imports, exports, backups."""

import csv
import io
import json
import re
import signal
import sqlite3
import subprocess
import time
from contextlib import closing, suppress
from pathlib import Path

import pytest

from marquee.adapters.sqlite import check_backup, restore
from tests.support.commands import RATINGS, in_process, numbers, ok, refused, told
from tests.support.server import COMMAND, environment, marquee, serve

# ---- import and export -------------------------------------------------------------------------


def test_an_import_beside_the_server_shows_and_again_changes_nothing(server, tmp_path):
    ratings = tmp_path / "hers.csv"
    ratings.write_text(RATINGS.replace("alice", "anna").replace("second", "third"))
    before = told("import", "auto", ratings, "--dry-run", data=server.data)
    first = ok("import", "auto", ratings, data=server.data)
    assert numbers(before) == numbers(first) == {"ratings": "3 added, 0 replaced"}
    assert numbers(told("import", "auto", ratings, data=server.data)) == {
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
    told("import", "auto", file, data=server.data)
    with server.client("remover") as client:
        assert client.delete("/movies/tt0068646/users/rate").status_code == 204
    told("erase", "--user", "eraser", data=server.data)
    foreseen = told("import", "auto", file, "--dry-run", data=server.data)
    # The removal is newer than the file; after an erasure the same file counts again.
    assert numbers(foreseen) == numbers(told("import", "auto", file, data=server.data))
    assert numbers(foreseen) == {"ratings": "1 added, 0 replaced"}


def test_a_dry_run_where_nothing_is_yet_makes_nothing(ratings, tmp_path):
    movies = tmp_path / "movies.csv"
    movies.write_text("id,title\nm1,One\nm2,Two\nm1,One\n")
    for data in (tmp_path / "none", tmp_path / "empty"):
        shown = told("import", "auto", movies, "--dry-run", data=data)
        assert numbers(shown) == {"movies": "2 added, 0 replaced"}
        shown = told("import", "auto", ratings, "--dry-run", data=data)
        assert "3 ratings have no movie in the catalogue yet" in shown
        (tmp_path / "empty").mkdir(exist_ok=True)
    assert list((tmp_path / "empty").iterdir()) == []
    assert not (tmp_path / "none").exists()


def test_what_was_left_out_is_told_line_by_line(server, tmp_path):
    file, report = tmp_path / "some.csv", tmp_path / "report.txt"
    file.write_text(RATINGS + "tt0068646,alice,11,2020-01-01T00:00:00Z\n")
    shown = told("import", "auto", file, "--report", report, data=server.data)
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
    shown = told("import", "auto", file, "--dry-run", "--report", report, data=server.data)
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
        arguments = ("import", "auto", file, "--report", report)
        assert "name another" in refused(in_process(*arguments, data=server.data))
        assert export.read_text() == RATINGS


def test_a_refused_import_leaves_an_older_report(server, ratings, tmp_path):
    report, strange = tmp_path / "report.txt", tmp_path / "strange.csv"
    report.write_text("older\n")
    strange.write_text("a,b\n1,2\n")
    for arguments in (("auto", strange), ("auto", ratings, "--user", "ann"), ("imdb", ratings)):
        refused(in_process("import", *arguments, "--report", report, data=server.data))
        assert report.read_text() == "older\n"
    told("import", "auto", ratings, "--dry-run", "--report", report, data=server.data)
    assert "older" not in report.read_text()


def test_a_file_that_nobody_reads_is_in_the_report(server, tmp_path):
    folder, report = tmp_path / "files", tmp_path / "report.txt"
    folder.mkdir()
    (folder / "hers.csv").write_text(RATINGS)
    (folder / "tags.csv").write_text("Date,Tag\n")
    shown = told("import", "auto", folder, "--report", report, data=server.data)
    line = "tags.csv: not read: it is not anything known: it has the columns Date, Tag\n"
    assert line in shown
    assert line in report.read_text()


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_interrupted_and_gone_on(tmp_path, number, status):
    movies, lines = 2000, 30_000  # of ratings, 5,000 are taken in at a time
    movie_file, file = tmp_path / "movies.csv", tmp_path / "ratings.csv"
    movie_file.write_text("id,title\n" + "".join(f"m{n},Movie {n}\n" for n in range(movies)))
    with file.open("w") as out:
        out.write("userId,movieId,rate,ratedAt\n")
        for n in range(lines):
            out.write(f"u{n // movies},m{n % movies},{1 + n % 19 / 2},2020-01-01T00:00:00Z\n")
    data = tmp_path / "data"
    told("import", "movies", movie_file, data=data)
    process = subprocess.Popen(
        [COMMAND, "import", "auto", file],
        env=environment(data=data),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    begun = False
    while process.poll() is None:
        process.send_signal(signal.SIGSTOP)  # it must not be done while we look
        with suppress(sqlite3.OperationalError):  # it stands where it has the file for itself
            begun = stored(data, patience=0) > 0
        if begun:
            process.send_signal(number)
        process.send_signal(signal.SIGCONT)
        if begun:
            break
        time.sleep(0.05)
    _, said = process.communicate(timeout=60)
    assert process.returncode == status
    assert said.count("\n") == 1
    some = stored(data)
    assert 0 < some < lines
    report = marquee("import", "auto", str(file), data=data).stdout  # slowly: it says how far it is
    assert numbers(report) == {"ratings": f"{lines - some:,} added, 0 replaced"}
    assert "all totals" in told("verify", data=data)


def stored(data: Path, patience: float = 30) -> int:
    with closing(sqlite3.connect(data / "marquee.db", timeout=patience)) as connection:
        return connection.execute("SELECT count(*) FROM rating").fetchone()[0]


@pytest.mark.no_cover
@pytest.mark.parametrize(("form", "whose"), [("csv", ()), ("json", ("--user", "alice"))])
def test_an_export_taken_in_elsewhere_is_the_same(server, ratings, form, whose, tmp_path):
    told("import", "auto", ratings, data=server.data)
    for what, least in ((("movies",), 2000), (("ratings", *whose), 2 if whose else 30_000)):
        file = tmp_path / f"{what[0]}.{form}"
        file.write_text(ok("export", *what, "--format", form, data=server.data))
        done = in_process("import", "auto", file, data=tmp_path / "other")
        assert done.returncode == 0, done  # what lasts is told of on stderr
        again = told("export", *what, "--format", form, data=tmp_path / "other")
        assert again == file.read_text()
        assert len(again.splitlines()) >= least


def test_an_export_of_one_user(server, ratings):
    told("import", "auto", ratings, data=server.data)
    shown = told("export", "ratings", "--user", 'b, "the" second', data=server.data)
    rows = list(csv.DictReader(io.StringIO(shown)))
    assert [(row["userId"], row["movieId"], row["rate"]) for row in rows] == [
        ('b, "the" second', "tt0068646", "0.5")
    ]


def test_an_export_of_nothing_is_a_header_or_an_empty_list(server, tmp_path):
    told("migrate", data=tmp_path)
    for what, header in {
        "ratings": "userId,movieId,rate,ratedAt\n",
        "movies": "id,title,year,genres,boxOffice,imdbId,tmdbId\n",
    }.items():
        assert told("export", what, data=tmp_path) == header
        assert json.loads(told("export", what, "--format", "json", data=tmp_path)) == []
    assert told("export", "ratings", "--user", "nobody", data=server.data).count("\n") == 1


def test_an_export_as_json_is_a_list(server, ratings):
    told("import", "auto", ratings, data=server.data)
    shown = told("export", "ratings", "--user", "alice", "--format", "json", data=server.data)
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


@pytest.mark.no_cover
@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_streams_that_are_closed_stop_nothing(server, closed):
    for command in ("top", "settings", "token --user you"):
        line = f"{COMMAND} {command} {closed}"
        subprocess.run(["sh", "-c", line], env=environment(data=server.data), check=True)


# ---- backups -------------------------------------------------------------------------------------


def test_migrate_changes_the_prior_beside_the_server(server, tmp_path):
    backup, data = tmp_path / "backup.zip", tmp_path / "data"
    told("backup", backup, data=server.data)
    restore(backup, check_backup(backup), data / "marquee.db", data / "keys")
    with serve(tmp_path) as other, other.client() as client:
        weighted = client.get("/movies/top10").json()["result"]
        ok("migrate", data=data, prior_weight=0)
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
        refused(in_process("restore", file, data=other.data))
    assert "all totals" in told("verify", data=tmp_path / "data")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_backup_that_is_told_to_end_leaves_nothing(server, tmp_path, number):
    process = subprocess.Popen(
        [COMMAND, "backup", tmp_path / "backup.zip"],
        env=environment(data=server.data),
        stderr=subprocess.PIPE,
    )
    while not list(tmp_path.iterdir()):
        assert process.poll() is None
        time.sleep(0.001)
    process.send_signal(number)
    process.communicate(timeout=60)
    assert process.returncode == 128 + number
    assert list(tmp_path.iterdir()) == []


def test_a_restore_that_was_cut_off_is_told(server, tmp_path):
    """Between the two renames: what was there is put aside, and nothing is in its place yet."""
    backup, data = tmp_path / "backup.zip", tmp_path / "data"
    told("backup", backup, data=server.data)
    told("restore", backup, data=data)
    told("restore", backup, data=data)
    (aside,) = data.glob("before-restore-*")
    (data / "marquee.db").unlink()
    for command in ("serve", "migrate"):
        says = refused(marquee(command, data=data))
        assert (
            f"a restore has put one aside: restore again, or move back what is in {aside}" in says
        )
    assert not (data / "marquee.db").exists()
    told("restore", backup, data=data)
    assert "all totals" in told("verify", data=data)


def test_a_restore_beside_another_command_is_refused(server, tmp_path):
    backup, data = tmp_path / "backup.zip", tmp_path / "data"
    told("backup", backup, data=server.data)
    told("migrate", data=data)
    with closing(sqlite3.connect(data / "marquee.db")) as connection:  # as an import has it
        connection.execute("SELECT count(*) FROM movie").fetchall()
        says = refused(marquee("restore", str(backup), data=data))
        assert f"Another command is at {data / 'marquee.db'}" in says
        assert not list(data.glob("before-restore-*"))
    told("restore", backup, data=data)


def test_what_an_emptied_file_had_in_its_log_is_kept_aside(server, tmp_path):
    backup, data = tmp_path / "backup.zip", tmp_path / "data"
    told("backup", backup, data=server.data)
    data.mkdir()
    (data / "marquee.db").touch()
    (data / "marquee.db-wal").write_bytes(b"what was rated last")
    told("restore", backup, data=data)
    (aside,) = data.glob("before-restore-*")
    assert (aside / "marquee.db-wal").read_bytes() == b"what was rated last"


def test_a_restore_takes_the_place_of_no_folder(server, tmp_path):
    backup, folder = tmp_path / "backup.zip", tmp_path / "folder"
    told("backup", backup, data=server.data)
    folder.mkdir()
    url = f"sqlite:///{folder}"
    says = refused(in_process("restore", backup, data=tmp_path / "data", ratings_url=url))
    assert f"{folder} is no file" in says
    assert sorted(tmp_path.iterdir()) == [backup, folder]


def test_each_restore_of_a_second_keeps_what_was_there(server, tmp_path):
    backup, data = tmp_path / "backup.zip", tmp_path / "other"
    told("backup", backup, data=server.data)
    for _ in range(4):
        restore(backup, check_backup(backup), data / "marquee.db", data / "keys")
    assert len(list(data.glob("before-restore-*/marquee.db"))) == 3


def test_a_damaged_backup_is_refused_before_anything_is_touched(server, tmp_path):
    file = tmp_path / "backup.zip"
    told("backup", file, data=server.data)
    whole = bytearray(file.read_bytes())
    whole[len(whole) // 2] ^= 0xFF
    file.write_bytes(whole)
    refused(in_process("restore", file, data=tmp_path / "data"))
    assert list(tmp_path.iterdir()) == [file]
