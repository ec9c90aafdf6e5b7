"""Files of every form and damage, as sheets of rows."""

import json
import os
import time
import tracemalloc
import zipfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from marquee.errors import Invalid
from marquee.importers.files import LONGEST, Sheet, find_files
from marquee.importers.rows import RowError

TABLE = 'Title,Year\nAmélie,2001\n"Good, Bad",1966\n'
ROWS = [{"title": "Amélie", "year": "2001"}, {"title": "Good, Bad", "year": "1966"}]


def sheet(folder: Path, data: bytes | str) -> Sheet:
    path = folder / "file.csv"
    path.write_bytes(data if isinstance(data, bytes) else data.encode())
    return Sheet(find_files(path)[0])


def records(found: Sheet) -> list:
    return [row if isinstance(row, RowError) else dict(row[1]) for row in found.records()]


@pytest.mark.parametrize(
    "encoding",
    ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "iso-8859-1", "windows-1252"],
)
def test_any_encoding(tmp_path, encoding):
    assert records(sheet(tmp_path, TABLE.encode(encoding))) == ROWS


def test_two_encodings_and_broken_bytes_in_one_file(tmp_path):
    data = b"Title\nAm\xc3\xa9lie\nAm\xe9lie\n\x93Big\x94 \x80\nA\x81\xffB\nA\xe2\x82\n"
    titles = [row["title"] for row in records(sheet(tmp_path, data))]
    assert titles == ["Amélie", "Amélie", "“Big” €", "A�ÿB", "Aâ‚"]


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("last", [True, False])
def test_any_line_ends(tmp_path, end, last):
    text = TABLE if last else TABLE.rstrip("\n")
    assert records(sheet(tmp_path, text.replace("\n", end))) == ROWS


@pytest.mark.parametrize("mark", [",", ";", "\t", "|"])
def test_any_delimiter(tmp_path, mark):
    text = f'Title{mark}Year\nAmélie{mark}2001\n"Good, Bad"{mark}1966\n'
    assert records(sheet(tmp_path, text)) == ROWS
    assert records(sheet(tmp_path, f"\ufeffsep={mark}\r\n\r\n{text}")) == ROWS


def test_names_of_columns_are_folded_and_empty_or_repeated_ones_do_not_count(tmp_path):
    found = sheet(tmp_path, "Your Rating,imdb_id,,Won?,won,Año\na,b,c,d,e,f\n")
    assert found.columns == {"yourrating": 0, "imdbid": 1, "won": 3, "año": 5}
    assert records(found) == [{"yourrating": "a", "imdbid": "b", "won": "d", "año": "f"}]


def test_rows_that_are_too_short_or_too_long(tmp_path):
    found = sheet(tmp_path, "a,b\n1\n1,2\n1,2,\n1,2,3\n\n \n5,6\n")
    assert [r if isinstance(r, RowError) else r[0] for r in found.records()] == [
        *(2, 3, 4),
        RowError(5, "more cells than columns", "3"),
        *(7, 8),
    ]
    assert records(found)[0] == {"a": "1"}


def test_a_quoted_cell_runs_over_lines(tmp_path):
    text = 'Name,Review,Rating\nHeat,"Great.\n\nVery ""great"", really.\n",5\nAlien,"",4\n'
    assert records(sheet(tmp_path, text)) == [
        {"name": "Heat", "review": 'Great.\n\nVery "great", really.\n', "rating": "5"},
        {"name": "Alien", "review": "", "rating": "4"},
    ]


@pytest.mark.parametrize(
    "broken", ['1,"Open,5', '1,"Open "quote,5', '"1","Bad" quote",5,"', '"', '1,"a\n1,b",c",5']
)
def test_a_quote_that_is_never_closed_costs_its_own_line_only(tmp_path, broken):
    rest = [f'{n},"Fine, {n}",5' for n in range(20)]
    found = sheet(tmp_path, "\n".join(["id,title,rating", broken, *rest]))
    good = [row for row in records(found) if not isinstance(row, RowError)]
    assert good[-20:] == [{"id": str(n), "title": f"Fine, {n}", "rating": "5"} for n in range(20)]


def test_quotes_in_the_middle_of_a_cell_are_part_of_it(tmp_path):
    text = 'id,title,rating\n1,5" disk,7\n2,The "Big" One,8\n3,"A" quote,9\n'
    assert [row["title"] for row in records(sheet(tmp_path, text))] == [
        *('5" disk', 'The "Big" One', "A quote")
    ]


def test_quotes_may_mean_nothing(tmp_path):
    found = sheet(tmp_path, 'a\tb\n"Open\t1\nThe "Big" One\t2\n')
    found.quoted = False
    assert records(found) == [{"a": '"Open', "b": "1"}, {"a": 'The "Big" One', "b": "2"}]


def test_nuls_and_endless_lines(tmp_path):
    endless = "x" * (2 * LONGEST + 5)
    long = "y" * 200_000  # over the csv module's limit
    found = sheet(tmp_path, f'a,b\n1\0,2\n{endless}\n3,"{long}"\n{endless},"\n4,5\n')
    assert [r[:2] if isinstance(r, RowError) else r.get("a") for r in records(found)] == [
        *("1", (3, "the line is too long"), "3", (5, "the line is too long"), "4")
    ]


OBJECTS = [{"Title": "Amélie", "movie": {"ids": {"imdb": "tt1"}}}, {"Title": 9, "movie": None}]
FLAT = [{"title": "Amélie", "movieidsimdb": "tt1"}, {"title": 9, "movie": None}]


@pytest.mark.parametrize(
    "text",
    [
        json.dumps(OBJECTS),
        json.dumps(OBJECTS, indent=2),
        "\ufeff" + json.dumps(OBJECTS, ensure_ascii=False),
        "\r\n".join(map(json.dumps, OBJECTS)),
        "".join(json.dumps(one, indent=1) for one in OBJECTS),
        json.dumps({"page": 1, "results": OBJECTS}),
        json.dumps({"result": OBJECTS, "nextCursor": None}),
    ],
)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_json_in_any_form(tmp_path, text, encoding):
    found = sheet(tmp_path, text.encode(encoding))
    assert found.is_json
    assert records(found) == FLAT
    assert [line for line, _ in found.records()] == [1, 2]


def test_broken_json_costs_the_object_and_the_next_line_goes_on(tmp_path):
    good = [json.dumps({"n": n, "text": "x" * 300}) for n in range(2000)]
    lines = [*good[:500], '{"n": oops}', *good[500:1000], '{"n": "open', *good[1000:]]
    found = records(sheet(tmp_path, "\n".join(lines)))
    assert [row["n"] for row in found if not isinstance(row, RowError)] == list(range(2000))
    assert sum(isinstance(row, RowError) for row in found) == 2
    assert len(records(sheet(tmp_path, '[{"n": 1},\n{"n": 2},\n{"n": 3, "te'))) == 3
    assert len(records(sheet(tmp_path, '[{"n": 1}, 2, "three", {"n": 4}]'))) == 4
    assert records(sheet(tmp_path, '{"a":' * 100_000))


def test_broken_json_with_empty_lines_behind_it_is_soon_read_past(tmp_path):
    found = sheet(tmp_path, '[{"n": 1},\n{"n": oops},' + 16_000 * "\n" + '2,\n \t{"n": 3}]')
    began = time.process_time()
    assert [row for row in records(found) if not isinstance(row, RowError)] == [{"n": 1}, {"n": 3}]
    assert time.process_time() - began < 1


def test_a_name_is_one_line_that_no_terminal_obeys(tmp_path):
    with zipfile.ZipFile(tmp_path / "theirs.zip", "w") as archive:
        archive.writestr("a\x1b[2J\n9 rows read.csv", "Title\nX\n")
    (found,) = find_files(tmp_path / "theirs.zip")
    assert found.name == "a\\x1b[2J\\n9 rows read.csv"
    assert records(Sheet(found)) == [{"title": "X"}]


def test_an_archive_and_a_folder_give_the_files_that_lie_highest(tmp_path):
    with zipfile.ZipFile(tmp_path / "export.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("ml/b.csv", TABLE)
        archive.writestr("ml/a.csv", "x\n1\n")
        archive.writestr("ml/deeper/c.csv", "x\n1\n")
        archive.writestr("__MACOSX/ml/._b.csv", "x")
    files = find_files(tmp_path / "export.zip")
    assert [file.name for file in files] == ["a.csv", "b.csv"]
    assert records(Sheet(files[1])) == ROWS
    assert files[1].done == files[1].size == len(TABLE.encode())
    assert files[1].modified > 1_500_000_000_000_000
    folder = tmp_path / "folder"
    (folder / "inner").mkdir(parents=True)
    (folder / "inner" / "a.csv").write_text(TABLE)
    (folder / ".hidden").write_text("x")
    assert [file.name for file in find_files(folder)] == ["a.csv"]
    (folder / "other" / "deeper").mkdir(parents=True)  # as Trakt had its folders until 2025
    for name in ("b.csv", "deeper/c.csv"):
        (folder / "other" / name).write_text(TABLE)
    (folder / "other" / "back").symlink_to(folder)
    assert [file.name for file in find_files(folder)] == ["a.csv", "b.csv"]
    (folder / "inner" / "a.csv").unlink()
    (folder / "other" / "b.csv").unlink()
    assert [file.name for file in find_files(folder)] == ["c.csv"]


def test_a_member_of_an_archive_that_was_never_dated_is_as_old_as_the_archive(tmp_path):
    path = tmp_path / "export.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(zipfile.ZipInfo("a.csv", (1980, 0, 0, 0, 0, 0)), TABLE)
        archive.writestr(zipfile.ZipInfo("b.csv", (2020, 1, 2, 3, 4, 6)), TABLE)
    os.utime(path, (1_600_000_000, 1_600_000_000))
    undated, dated = find_files(path)
    assert records(Sheet(undated)) == ROWS
    assert undated.modified == 1_600_000_000_000_000
    assert dated.modified == 1_577_934_246_000_000


def test_what_is_not_there_or_can_not_be_read_is_said_in_one_line(tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "no.zip").write_bytes(b"PK\x05\x06" + bytes(18))
    damaged = tmp_path / "damaged.zip"
    with zipfile.ZipFile(damaged, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.csv", "Title\n" + "Amélie\n" * 5000)
    data = bytearray(damaged.read_bytes())
    data[60:90] = bytes(30)
    damaged.write_bytes(data)
    for name in ("missing.csv", "empty", "no.zip", "damaged.zip"):
        with pytest.raises(Invalid, match=r"^[^\n]+\.") as told:
            [records(Sheet(file)) for file in find_files(tmp_path / name)]
        assert name.split(".")[0] in str(told.value) or "a.csv" in str(told.value)
    with pytest.raises(Invalid, match="is no file"):
        find_files(Path("/dev/null"))


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.one_of(st.binary(), st.text().map(str.encode), st.text('",;\n\r\0[]{}:a1 ').map(str.encode))
)
def test_no_bytes_stop_it(tmp_path, data):
    found = sheet(tmp_path, data)
    assert found.is_empty or records(found) is not None


@pytest.mark.no_cover
def test_memory_stays_flat(tmp_path):
    path = tmp_path / "big.csv"
    line = '1,"A title, quoted",5\n'
    with path.open("w") as file:
        file.write("id,title,rating\n")
        file.writelines(line for _ in range(200_000))
    tracemalloc.start()
    rows = sum(1 for _ in Sheet(find_files(path)[0]).records())
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert rows == 200_000
    assert peak < 2_000_000 < path.stat().st_size
