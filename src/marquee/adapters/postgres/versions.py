"""Which steps of the schema a database has had."""

from collections.abc import Sequence
from importlib import resources
from typing import Any

from psycopg.conninfo import conninfo_to_dict

from ...errors import NotMade
from ...schemas import Schema, Step, check_fits, read_steps

# Of a table that was made before there were floors there is no such column.
VERSION = """
    SELECT number, coalesce((to_jsonb(schema_version) ->> 'floor')::integer, number)
    FROM schema_version ORDER BY number DESC LIMIT 1"""
"""The last step that a database has had, and its floor."""


def steps() -> list[Step]:
    return read_steps(resources.files(__package__) / "schema")


def schema_of(rows: Sequence[Any]) -> Schema:
    return Schema(*rows[0]) if rows else Schema(0, 0)


def check_known(schema: Schema, url: str) -> None:
    """Raises ``Unusable`` for what is too new."""
    check_fits(schema, len(steps()), named(url))


def check_schema(schema: Schema, url: str) -> None:
    """Raises ``NotMade`` for what is older, too."""
    check_known(schema, url)
    known = len(steps())
    if schema.version < known:
        raise NotMade(
            f"The movie store's schema is {schema.version}, and not {known} yet: "
            "run `marquee migrate`."
        )


def named(url: str) -> str:
    """A database as people may read it: no password."""
    told = conninfo_to_dict(url)
    return f"{told.get('host', 'localhost')}:{told.get('port', 5432)}/{told.get('dbname', '')}"
