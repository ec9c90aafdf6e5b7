"""The schema's numbered files, and which of them a database has had."""

from importlib import resources

from psycopg.conninfo import conninfo_to_dict

from ...errors import NotMade, Unusable

VERSION = "SELECT coalesce(max(number), 0) FROM schema_version"
"""How many steps a database has had."""


def steps() -> list[str]:
    """The schema's numbered files, in order; a file's version is how many of them it has had."""
    folder = resources.files(__package__) / "schema"
    return [file.read_text() for file in sorted(folder.iterdir(), key=lambda file: file.name)]


def check_not_newer(version: int, url: str) -> None:
    """Raises ``Unusable`` for what is newer than we know."""
    known = len(steps())
    if version > known:
        raise Unusable(
            f"{named(url)} was made by a newer Marquee (schema {version}, this one knows {known}): "
            "upgrade Marquee, or restore a backup of that time."
        )


def check_version(version: int, url: str) -> None:
    """Raises ``NotMade`` for what is older, too."""
    check_not_newer(version, url)
    known = len(steps())
    if version < known:
        raise NotMade(
            f"The movie store's schema is {version}, and not {known} yet: run `marquee migrate`."
        )


def named(url: str) -> str:
    """A database as people may read it: no password."""
    told = conninfo_to_dict(url)
    return f"{told.get('host', 'localhost')}:{told.get('port', 5432)}/{told.get('dbname', '')}"
