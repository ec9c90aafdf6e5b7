"""The command line: parses, calls, prints."""

import asyncio
import os
import re
import sys
from collections.abc import Coroutine
from pathlib import Path
from typing import Annotated, Any

import click
import typer

from . import __version__, config, logs
from .errors import Invalid, MarqueeError, Unusable

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Movie ratings, counted exactly, and the ten top-rated movies, always.",
    epilog="Settings come from flags, MARQUEE_* variables, a TOML file (--config), then defaults: "
    "`marquee settings` shows them.",
)

Data = Annotated[
    Path | None, typer.Option("--data", help="The data folder. [default: ./marquee-data]")
]


class Given:
    """What was said before the command."""

    file: Path | None = None


def settings(**flags: object) -> config.Settings:
    file = Given.file or (Path(f) if (f := os.environ.get("MARQUEE_CONFIG")) else None)
    found = config.load(flags, os.environ, file)
    for warning in found.warnings:
        print(f"marquee: {warning}", file=sys.stderr)
    logs.configure(found["log_format"], found["log_level"])
    return found


def run(main: Coroutine[Any, Any, Any]) -> Any:
    import uvloop

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(main)


def version(asked: bool) -> None:
    if asked:
        print(__version__)
        raise typer.Exit


@app.callback()
def marquee(
    file: Annotated[
        Path | None, typer.Option("--config", help="A TOML file with settings.")
    ] = None,
    _: Annotated[
        bool, typer.Option("--version", callback=version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    Given.file = file


@app.command()
def serve(
    roles: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[ROLE]...",
            help="ratings, movies, top-rated, best-pictures; all by default.",
        ),
    ] = None,
    host: Annotated[str | None, typer.Option(help="The address. [default: 127.0.0.1]")] = None,
    port: Annotated[
        int | None, typer.Option(help="The port; 0: a free one. [default: 8080]")
    ] = None,
    data: Data = None,
    demo: Annotated[bool, typer.Option(help="Load the demo catalogue at the first start.")] = True,
    workers: Annotated[int | None, typer.Option(help="HTTP processes. [default: 1]")] = None,
) -> None:
    """Run the roles, until SIGTERM or Ctrl-C: what was accepted is answered first."""
    from .serving import serve as serve_all
    from .wiring import HTTP_ROLES, WORKERS

    found = settings(host=host, port=port, data=data, workers=workers)
    for role in roles or ():
        if role in WORKERS:
            raise Unusable(
                f"Embedded, there is no {role} by itself: it runs in the one process that serves."
            )
        if role not in HTTP_ROLES:
            raise Unusable(f"There is no role {role!r}{config.nearest(role, list(HTTP_ROLES))}")
    if found["workers"] > 1:
        raise Unusable(
            "The embedded stores serve one process: --workers above 1 needs stores on servers."
        )
    run(serve_all(found, tuple(roles or HTTP_ROLES), with_demo=demo))


@app.command()
def token(
    user: Annotated[str, typer.Option(help="The user that the token is for: its `sub`.")],
    scope: Annotated[
        str, typer.Option(help='"movies:write", "ratings:write:any", or both, space-separated.')
    ] = "",
    ttl: Annotated[str, typer.Option(help="How long it is good: 90s, 15m, 1h, 30d.")] = "1h",
    data: Data = None,
) -> None:
    """Print a token, signed with the key pair in the data folder."""
    from .wiring import own_keys

    found = settings(data=data)
    keys = own_keys(found)
    print(keys.sign(user, scope.split(), seconds(ttl), found["issuer"], found["audience"]))


def seconds(text: str) -> int:
    """A time span: a whole number of s, m, h or d."""
    span = re.fullmatch(r"([1-9][0-9]{0,8})([smhd])", text)
    if span is None:
        raise Invalid(f"A time is a number of s, m, h or d, as in 1h, and not {text!r}.")
    return int(span[1]) * {"s": 1, "m": 60, "h": 3600, "d": 86400}[span[2]]


@app.command("settings")
def show_settings() -> None:
    """Show every setting: its value, where it comes from, and what it is for."""
    from rich.console import Console
    from rich.table import Table

    found = settings()
    table = Table("setting", "value", "from", "what it is", box=None, pad_edge=False)
    for setting in config.SETTINGS:
        table.add_row(
            setting.name, found.shown(setting.name), found.sources[setting.name], setting.help
        )
    Console(width=None if sys.stdout.isatty() else 200).print(table)


def main() -> None:
    """Errors are one clear line: exit status 2 for bad arguments, 1 for what else went wrong."""
    status = 0
    try:
        status = app(standalone_mode=False)
    except click.ClickException as error:
        fail(error.format_message(), 2)
    except (Invalid, Unusable) as error:
        fail(str(error), 2)
    except MarqueeError as error:
        fail(str(error), 1)
    except (click.Abort, KeyboardInterrupt):
        fail("stopped", 130)
    except BrokenPipeError:  # `marquee export | head`
        sys.stdout = None
        sys.exit(141)
    sys.exit(status if isinstance(status, int) else 0)


def fail(message: str, status: int) -> None:
    line = " ".join(message.split())
    print(f"marquee: {line}", file=sys.stderr)
    sys.exit(status)
