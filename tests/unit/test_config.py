"""Settings as texts: what is taken, what is refused in clear words, and what nobody may see."""

import os
import subprocess
import sys

import pytest

from marquee.config import SETTINGS, load, nearest
from marquee.errors import Unusable
from marquee.model import Prior


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("port", "６０"), ("port", "8_0"), ("port", "+80"), ("port", "80.0"), ("port", "²")),
        *(("port", "9" * 5000), ("workers", "0x2"), ("prior_weight", "-1"), ("prior_weight", " 1")),
        *(("rate_limit", "６０/minute"), ("rate_limit", "6_0/minute"), ("rate_limit", "60")),
        *(("refresh_seconds", "１"), ("refresh_seconds", "1_0"), ("refresh_seconds", "nan")),
        *(("refresh_seconds", "1,5"), ("log_share", "inf"), ("log_share", "1e-" + "9" * 5000)),
        *(("prior_mean", "6.555"), ("prior_mean", "６.５"), ("prior_mean", "1e999")),
        *(("prior_mean", "NaN"), ("prior_mean", "6_5"), ("prior_mean", "10.01")),
    ],
)
def test_odd_numbers_are_refused_in_one_clear_line(name, value, tmp_path):
    file = tmp_path / "marquee.toml"
    file.write_text(f'{name} = "{value}"', encoding="utf-8")
    for load_it in (
        lambda: load({}, {f"MARQUEE_{name.upper()}": value}),
        lambda: load({}, {}, file),
    ):
        with pytest.raises(Unusable, match=rf"^{name} \(.* must be .*, and is ") as refused:
            load_it()
        assert len(str(refused.value)) < 400


@pytest.mark.parametrize("name", ["ratings_url", "events_url", "movies_url", "cache_url", "jwks"])
def test_a_url_that_is_none_is_refused_without_its_password(name):
    with pytest.raises(Unusable, match=rf"^{name} .* must be a URL, .*%5B") as refused:
        load({}, {f"MARQUEE_{name.upper()}": "redis://me:s3[cret@h"})
    assert "cret" not in str(refused.value)


def test_numbers_as_people_write_them(tmp_path):
    file = tmp_path / "marquee.toml"
    file.write_text("prior_mean = 6.55\nport = 8_081\nlog_share = 1e-3\nrefresh_seconds = 2\n")
    found = load({}, {}, file)
    assert found.prior(Prior()) == Prior(10, 655)
    assert (found["port"], found["log_share"], found["refresh_seconds"]) == (8081, 0.001, 2.0)
    for text, mean in {"6.5": 650, "6.550": 655, "7": 700, "10": 1000, ".5": 50}.items():
        assert load({}, {"MARQUEE_PRIOR_MEAN": text}).prior(Prior()).mean == mean


@pytest.mark.parametrize(
    ("url", "shown"),
    {
        "redis://:s3cret@h:1": "redis://:***@h:1",
        "postgresql://u:s3cret/@1@h/d postgresql://u2:s3cret2@h2/d": (
            "postgresql://u:***@h/d postgresql://u2:***@h2/d"
        ),
        "postgresql://u:s3?cret@h/d?user=me@there": "postgresql://u:***@h/d?user=me@there",
        "postgresql://h:5432/d?user=me@there": "postgresql://h:5432/d?user=me@there",
        "postgresql://u@h/d?password=s3cret&sslmode=require": (
            "postgresql://u@h/d?password=***&sslmode=require"
        ),
        "postgresql://h/d?sslcert=a&sslPassword=s3cret=": "postgresql://h/d?sslcert=a&sslPassword=***",
        "postgresql://h/d?p%61ssword=s3cret  postgresql://h/e?passfile=/f": (
            "postgresql://h/d?p%61ssword=***  postgresql://h/e?passfile=/f"
        ),
        "host=h password=s3cret dbname=d": "host=h password=*** dbname=d",
        "password = 's3cret too' passfile=/f": "password = *** passfile=/f",
        "redis+cluster://u:s3cret,1@h1:1,h2:2": "redis+cluster://u:***@h1:1,h2:2",
        "amqp://h/v?key=/key.pem&api_key=s3cret": "amqp://h/v?key=/key.pem&api_key=***",
        "https://keys.example:8443/jwks?access_token=s3cret": (
            "https://keys.example:8443/jwks?access_token=***"
        ),
        "cassandra://h1:9042,h2:9042/marquee?dc=one": "cassandra://h1:9042,h2:9042/marquee?dc=one",
    }.items(),
)
def test_what_is_secret_in_a_url_is_masked(url, shown):
    assert load({}, {"MARQUEE_MOVIES_URL": url}).shown("movies_url") == shown


def test_whatever_is_unknown_the_nearest_name_is_told(tmp_path):
    file = tmp_path / "marquee.toml"
    for name, close in {"isuer": "issuer", "ISSUER": "issuer", "rateLimit": "rate_limit"}.items():
        file.write_text(f"{name} = 1")
        with pytest.raises(Unusable, match=f"did you mean {close}\\?$"):
            load({}, {}, file)
    names = [setting.name for setting in SETTINGS]
    for name in ("zzz", "", "完", "x" * 1000):
        file.write_text(f'"{name}" = 1', encoding="utf-8")
        with pytest.raises(Unusable, match=r"did you mean \w+\?$"):
            load({}, {}, file)
        assert any(nearest(name, names) == f": did you mean {known}?" for known in names)
    warnings: list[str] = []
    load({}, {"MARQUEE_ZZZ": "1", "MARQUEE_RATELIMIT": "off"}, warn=warnings.append)
    assert "did you mean MARQUEE_RATE_LIMIT?" in warnings[0]
    assert "did you mean MARQUEE_" in warnings[1]


def test_no_value_has_a_nul_in_it(tmp_path):
    file = tmp_path / "marquee.toml"
    for name in ("data", "host", "ratings_url"):
        file.write_text(f'{name} = "a\\u0000b"')
        with pytest.raises(Unusable, match=f"^{name} .* must be without NUL"):
            load({}, {}, file)


def test_a_variable_counts_to_the_letter():
    """Of another spelling nothing is taken, so it is told of."""
    warnings: list[str] = []
    names = ("Rate_Limit", "rate_limit", "RATE_limit", "config", "test_data")
    found = load({}, {f"MARQUEE_{name}": "off" for name in names}, warn=warnings.append)
    assert found.sources["rate_limit"] == "default"
    assert len(warnings) == len(names)
    assert sum("did you mean MARQUEE_RATE_LIMIT?" in warning for warning in warnings) == 3
    ours = ("RATE_LIMIT", "CONFIG", "TEST_DATA", "FUZZ_SEED")
    load({}, {f"MARQUEE_{name}": "off" for name in ours}, warn=warnings.append)
    assert len(warnings) == len(names)


def test_a_folders_files_are_read_together(tmp_path):
    (tmp_path / "movies.toml").write_text('movies_url = "postgresql://h/d"')
    (tmp_path / "cache.toml").write_text('cache_url = "redis://h"\nport = 81')
    for other in ("events-ca.crt", ".movies.toml", "cache.toml~"):
        (tmp_path / other).write_text("no TOML")
    found = load({"port": 82}, {}, tmp_path)
    assert (found["movies_url"], found["cache_url"]) == ("postgresql://h/d", "redis://h")
    assert found.sources["movies_url"] == str(tmp_path / "movies.toml")
    assert found.sources["cache_url"] == str(tmp_path / "cache.toml")
    assert (found["port"], found.sources["port"]) == (82, "flag")


def test_a_folder_that_leaves_open_what_holds_is_refused(tmp_path):
    (tmp_path / "nothing").mkdir()
    with pytest.raises(Unusable, match=r"no settings in .*nothing: it has no file \*\.toml\.$"):
        load({}, {}, tmp_path / "nothing")
    for name in ("a.toml", "b.toml"):
        (tmp_path / name).write_text("port = 80")
    with pytest.raises(Unusable, match=r"^'port' is in .*a\.toml and in .*b\.toml: leave one out"):
        load({}, {}, tmp_path)
    (tmp_path / "b.toml").write_text("prot = 80")
    with pytest.raises(Unusable, match=r"'prot' in .*b\.toml is no setting: did you mean port\?"):
        load({}, {}, tmp_path)
    (tmp_path / "b.toml").unlink()
    (tmp_path / "b.toml").symlink_to("gone")
    with pytest.raises(Unusable, match=r"in .*b\.toml can't be read: No such file"):
        load({}, {}, tmp_path)


def test_where_settings_can_not_be_read_it_is_said_why(tmp_path):
    (tmp_path / "file").touch()
    (tmp_path / "round").symlink_to("round")
    for path, why in {
        "gone": "No such file",
        "file/within": "Not a directory",
        "round": "Too many levels",
        "x" * 300: "File name too long",
    }.items():
        with pytest.raises(Unusable, match=rf"^The settings in .*{path} can't be read: {why}"):
            load({}, {}, tmp_path / path)


def test_a_file_is_utf8_whatever_the_terminal_speaks(tmp_path):
    file = tmp_path / "marquee.toml"
    file.write_bytes('\ufeffissuer = "Ciné"\r\n'.encode())  # as Windows writes it
    assert load({}, {}, file)["issuer"] == "Ciné"
    told = f"""if True:
        from pathlib import Path
        from marquee.config import load
        print(ascii(load({{}}, {{}}, Path({str(file)!r}))["issuer"]))
    """
    plain = os.environ | {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    done = subprocess.run([sys.executable, "-c", told], env=plain, check=True, capture_output=True)
    assert b"Cin\\xe9" in done.stdout
