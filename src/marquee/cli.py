"""The command line: parses, calls, prints."""

import asyncio
import os
import re
import signal
import sys
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from contextlib import contextmanager, suppress
from enum import StrEnum
from functools import partial
from io import TextIOWrapper
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from . import __version__, config, logs
from .errors import Invalid, LogLost, MarqueeError, Unusable
from .model import NO_MOVIE_ID, NO_USER_ID, is_movie_id, is_user_id

if TYPE_CHECKING:  # commands import what they need: `marquee --help` is quick
    from socket import socket

    from rich.console import Console

    from . import importers
    from .model import Chart, Erasure
    from .ports import DeadLetter
    from .promises import Drift, Promises
    from .wiring import Stores

T = TypeVar("T")

PROMISES = ("ratings", "events", "movies")
"""The stores that promises are about."""

# Typer carries a click of its own, and does not name this one itself.
UsageFault: Any = next(c for c in typer.BadParameter.__mro__ if c.__name__ == "ClickException")

INTERRUPTED, TERMINATED = 130, 143
"""The exit statuses after Ctrl-C and SIGTERM, as shells have them."""

TOLD_SECONDS = 5

FILE_OPTION = "--config"

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Movie ratings, counted exactly, and the ten top-rated movies, always.",
    epilog="Settings come from flags, MARQUEE_* variables, TOML (--config), then defaults: "
    "`marquee settings` shows them. --config may stand behind the command, too.",
)

# A text, and no path yet: of an empty one it would make the folder that one is in.
Data = Annotated[
    str | None,
    typer.Option("--data", metavar="<path>", help="The data folder. \\[default: ./marquee-data]"),
]


class Given:
    """What was said before the command."""

    file: str | None = None
    status = INTERRUPTED
    """Where it is interrupted."""


def end_as_interrupted(*_: object) -> None:
    """At a SIGTERM: what Ctrl-C cleans up, this does, too."""
    Given.status = TERMINATED
    signal.raise_signal(signal.SIGINT)


def settings(**flags: object) -> config.Settings:
    found = config.load(flags, os.environ, settings_file(), say)
    quiet = found.sources["log_level"] == "default"  # a command says itself what is wrong
    logs.configure(found["log_format"], "error" if quiet else found["log_level"], seldom=True)
    return found


def settings_file() -> Path | None:
    told = Given.file or os.environ.get(config.CONFIG)
    return Path(told) if told else None


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
    context: typer.Context,
    file: Annotated[
        str | None,
        typer.Option(
            FILE_OPTION, metavar="<path>", help="A TOML file with settings, or a folder of them."
        ),
    ] = None,
    _: Annotated[
        bool, typer.Option("--version", callback=version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    if file == "":
        raise Invalid(f"{FILE_OPTION} is empty: name a file or a folder, or leave it away.")
    Given.file = file
    if context.invoked_subcommand != "serve":  # which stops in its own way
        signal.signal(signal.SIGTERM, end_as_interrupted)


@app.command()
def serve(
    roles: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[ROLE]...",
            help="ratings, movies, top-rated, best-pictures; with stores on servers also relay, "
            "aggregator, refresher; all by default.",
        ),
    ] = None,
    host: Annotated[str | None, typer.Option(help="The address. \\[default: 127.0.0.1]")] = None,
    port: Annotated[
        int | None, typer.Option(help="The port; 0: a free one. \\[default: 8080]")
    ] = None,
    data: Data = None,
    demo: Annotated[
        bool, typer.Option(help="Load the demo at the first start, where nothing is yet.")
    ] = True,
    workers: Annotated[int | None, typer.Option(help="HTTP processes. \\[default: 1]")] = None,
) -> None:
    """Run the roles, until SIGTERM or Ctrl-C: what was accepted is answered first."""
    from .serving import serve as serve_all
    from .sharing import share
    from .wiring import HTTP_ROLES, ROLES, WORKERS, on_servers, uses_of

    flags = {"host": host, "port": port, "data": data, "workers": workers}
    found = settings(**flags)
    logs.configure(found["log_format"], found["log_level"])
    for role in roles or ():
        if role not in ROLES:
            raise Unusable(f"There is no role {role!r}: it is one of {', '.join(ROLES)}.")
    apart = on_servers(found, uses_of(roles or ROLES))
    for role in roles or ():
        if role in WORKERS and not apart:
            raise Unusable(
                f"Embedded, there is no {role} by itself: it runs in the one process that serves."
            )
    if found["workers"] > 1 and not apart:
        raise Unusable(
            "The embedded stores serve one process: --workers above 1 needs stores on servers."
        )
    ours = tuple(dict.fromkeys(roles or (ROLES if apart else HTTP_ROLES)))
    with open_port(found, apart=apart) as listener:
        if (
            found["workers"] > 1 and share(found["workers"], listener) > 0
        ):  # the first does all there is
            ours = tuple(role for role in ours if role in HTTP_ROLES) or ours
        again = partial(config.load, flags, os.environ, file) if (file := settings_file()) else None
        run(serve_all(found, ours, listener, with_demo=demo, again=again))


def open_port(found: config.Settings, *, apart: bool) -> "socket":
    """A port that is taken by who serves from our folder is not what is to be told of."""
    from .serving import check_unserved, listen

    try:
        return listen(found["host"], found["port"])
    except Unusable:
        if not apart:
            check_unserved(found["data"])
        raise


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

    check_user(user)
    span = seconds(ttl)
    found = settings(data=data)
    if found["jwks"]:
        say("jwks is set, and who serves with it takes no token of ours: this one is for others")
    print(own_keys(found).sign(user, scope.split(), span, found["issuer"], found["audience"]))


def seconds(text: str) -> int:
    """A time span: a whole number of s, m, h or d."""
    span = re.fullmatch(r"([1-9][0-9]{0,8})([smhd])", text)
    if span is None:
        raise Invalid(f"A time is a number of s, m, h or d, as in 1h, and not {text!r}.")
    return int(span[1]) * {"s": 1, "m": 60, "h": 3600, "d": 86400}[span[2]]


@app.command("settings")
def show_settings(data: Data = None) -> None:
    """Show every setting: its value, where it comes from, and what it is for."""
    from rich.table import Table

    found = settings(data=data)
    table = Table("setting", "value", "from", "what it is", box=None, pad_edge=False)
    for column in table.columns:
        column.overflow = "fold"  # else a terminal would be shown the beginning of a long URL
    for setting in config.SETTINGS:
        table.add_row(
            setting.name, found.shown(setting.name), found.sources[setting.name], setting.help
        )
    console(1000).print(table)


@app.command("import")
def import_files(
    source: Annotated[str, typer.Argument(metavar="SOURCE", help="auto tells by itself.")],
    files: Annotated[
        list[str], typer.Argument(metavar="FILE...", help="Files, or folders or .zips of them.")
    ],
    user: Annotated[
        str | None, typer.Option(help="Whose ratings they are, where the files do not say.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Report, and change nothing.")] = False,
    report: Annotated[
        Path | None, typer.Option(help="Write here, line by line, what was left out and why.")
    ] = None,
    data: Data = None,
) -> None:
    """Import ratings, movies or nominations; to do it again changes nothing.

    SOURCE: academy-awards, movies, movielens, imdb, letterboxd, trakt, tmdb, ratings, or auto.
    """
    from . import importers, wiring

    settled = settings(data=data)
    if "" in files:
        raise Invalid("A file's name is empty: say what is to be imported.")
    found = importers.find(source, [Path(file) for file in files], user)
    if report and found.reads(report):
        raise Invalid(f"The report {report} is one of the files to import: name another.")
    if report and (report.is_dir() or not os.access(report.parent, os.W_OK)):
        raise Invalid(f"The report {report} can't be written there: name another.")

    act = importers.rehearse if dry_run else importers.load

    async def take(ratings: Any, catalogue: Any) -> "importers.Report":
        with progress_bar() as progress, lines_to(report) as detail:
            return await act(found, ratings, catalogue, progress=progress, detail=detail)

    async def main(stores: "Stores") -> "importers.Report":
        done = await take(stores.ratings, stores.catalogue)
        if not dry_run:
            await stores.catch_up()
        return done

    needs = ("ratings", "movies")
    if dry_run and not wiring.is_made(settled, needs):
        done = run(take(importers.NoRatings(), importers.NoMovies()))
    else:
        done = run(on_stores(settled, main, *needs, make=not dry_run))
    for line in done.lines():
        print(line)
    if dry_run:
        print("dry run: nothing was changed")


@app.command()
def demo(data: Data = None) -> None:
    """Load the demo catalogue and its made-up ratings; again at will."""
    from .demo import LABEL
    from .wiring import demos

    run(on_stores(settings(data=data), demos.load, "ratings", "movies", make=True))
    print(LABEL)


class Format(StrEnum):
    csv = "csv"
    json = "json"


class Kind(StrEnum):
    ratings = "ratings"
    movies = "movies"


@app.command()
def export(
    what: Annotated[Kind, typer.Argument(help="What to export.")],
    user: Annotated[str | None, typer.Option(help="Only this user's ratings.")] = None,
    form: Annotated[
        Format, typer.Option("--format", help="CSV, or a JSON list with one object a line.")
    ] = Format.csv,
    data: Data = None,
) -> None:
    """Stream all ratings or all movies to stdout, as `marquee import` takes them back."""
    from . import exports

    if user is not None and what is Kind.movies:
        raise Invalid("--user goes with ratings: movies are nobody's.")
    if user is not None:
        check_user(user)
    found = settings(data=data)

    async def main(stores: "Stores") -> None:
        if what is Kind.ratings:
            columns, pages = exports.RATING, exports.ratings(stores.ratings, user)
        else:
            columns, pages = exports.MOVIE, exports.movies(stores.catalogue)
        write = exports.as_csv if form is Format.csv else exports.as_json
        async for text in write(columns, pages):
            sys.stdout.write(text)

    run(on_stores(found, main, "ratings" if what is Kind.ratings else "movies"))


@app.command()
def top(
    number: Annotated[int, typer.Argument(metavar="[N]", min=1, max=250)] = 10, data: Data = None
) -> None:
    """Show the chart."""
    from rich.table import Table

    from .model import ChartQuery, mean_rating, rate_tenths
    from .wiring import demos

    found = settings(data=data)

    async def main(stores: "Stores") -> "tuple[Chart, bool]":
        return await stores.charts.chart(ChartQuery(limit=number)), await demos.is_there(stores)

    chart, with_demo = run(on_stores(found, main, "movies"))
    table = Table("", "movie", "year", "rate", "mean", "ratings", "box office", box=None)
    for rank, (movie, totals, _) in enumerate(chart.entries, 1):
        rate = rate_tenths(totals.number, totals.total, chart.prior) or 0
        table.add_row(
            str(rank),
            movie.title,
            str(movie.year or ""),
            f"{rate / 10:.1f}",
            f"{mean_rating(totals.number, totals.total):.2f}",
            f"{totals.number:,}",
            "unknown" if movie.box_office is None else f"${movie.box_office:,}",
        )
    for column in (0, 2, 3, 4, 5, 6):
        table.columns[column].justify = "right"
    shown = console(120, highlight=False)
    shown.print(table)
    if with_demo:
        from .demo import LABEL

        shown.print(f"\n{LABEL}", style="dim")


@app.command()
def verify(data: Data = None) -> None:
    """Check that every movie's totals are what its ratings say; exit status 1 where not."""

    async def main(stores: "Stores") -> "list[Drift]":
        from .wiring import verified

        drifts = await promises(stores).verify()
        await verified.remember(stores, len(drifts))
        return drifts

    drifts = run(on_stores(settings(data=data), main, *PROMISES))
    for movie_id, said, counted in drifts:
        if said == counted:
            print(f"{movie_id}: its sums or its rate are not those of its ratings")
            continue
        print(
            f"{movie_id}: the ratings say {said.number} of {said.total / 2:g} points in all, "
            f"the totals {counted.number} of {counted.total / 2:g}"
        )
    drifted = f"{how_many(len(drifts), 'movie')} drifted"
    print(drifted if drifts else "all totals are what the ratings say")
    if drifts:
        raise typer.Exit(1)


@app.command()
def rebuild(
    movie: Annotated[str | None, typer.Option(help="Only this movie.")] = None,
    drifted: Annotated[bool, typer.Option("--drifted", help="What verify finds.")] = False,
    data: Data = None,
) -> None:
    """Make the totals anew from the ratings, beside a running server."""
    if movie is not None and drifted:
        raise Invalid("--movie and --drifted do not go together.")
    if movie is not None and not is_movie_id(movie):
        raise Invalid(f"There is no movie {movie!r}. {NO_MOVIE_ID}")

    async def main(stores: "Stores") -> tuple[int, int]:
        keeper = promises(stores)
        if drifted:  # verify itself waits, where there is something to wait for
            movies = {drift.movie_id for drift in await keeper.verify()}
            return await keeper.rebuild(movies) if movies else 0, keeper.left
        with suppress(LogLost):  # what is lost is what this brings back
            await told(stores.drain)  # what is late is not wrong
        return await keeper.rebuild(None if movie is None else {movie}), keeper.left

    mended, left = run(on_stores(settings(data=data), main, *PROMISES))
    print(f"{how_many(mended, 'movie')} {'was' if mended == 1 else 'were'} put right")
    if left:
        say(
            f"{how_many(left, 'pair')} of user and movie counted ahead of the ratings, and too new "
            "to be judged (from ten minutes ago on): rebuild again later"
        )


@app.command("dead-letters")
def dead_letters(
    action: Annotated[str, typer.Argument(metavar="[retry]", help="Try them again.")] = "",
    data: Data = None,
) -> None:
    """List the events that could not be folded, or retry them."""
    if action not in {"", "retry"}:
        raise Invalid(f"dead-letters can be told to retry, and not to {action}.")

    async def main(stores: "Stores") -> int:
        after = kept = 0
        while letters := await stores.totals.dead_letters(after):
            after = letters[-1].id
            for letter in letters:
                kept += not await retried(stores, letter) if action else 1
                if not action:
                    said = f"{letter.error}  {letter.raw.decode(errors='replace')}"
                    print(f"{letter.id}  {on_one_line(said)}")
        return kept

    async def retried(stores: "Stores", letter: "DeadLetter") -> bool:
        try:
            await promises(stores).retry(letter)
        except Invalid as error:
            print(error)
            return False
        print(f"Dead letter {letter.id} is folded.")
        return True

    kept = run(on_stores(settings(data=data), main, "movies"))
    print(how_many(kept, "dead letter"))
    if action and kept:
        raise typer.Exit(1)


@app.command()
def erase(user: Annotated[str, typer.Option(help="Whose ratings go.")], data: Data = None) -> None:
    """Erase all ratings of a user, everywhere; totals and charts follow."""
    check_user(user)

    async def main(stores: "Stores") -> "Erasure":
        erasure = await stores.ratings.erase(user)
        await stores.catch_up()
        return erasure

    erasure = run(on_stores(settings(data=data), main, "ratings"))
    erased = how_many(erasure.ratings, "rating")
    print(f"{erased} erased; the receipt: {erasure.rater.hex()} {erasure.version}")


@app.command()
def migrate(
    slots: Annotated[
        int | None,
        typer.Option(min=1, max=1024, help="Parts of the movies, in new stores. \\[default: 16]"),
    ] = None,
    shards: Annotated[
        int | None,
        typer.Option(min=1, max=1024, help="Parts of the outbox, in new stores. \\[default: 16]"),
    ] = None,
    data: Data = None,
) -> None:
    """Make or upgrade the schema of every store; change the prior to what is set."""
    from . import wiring

    for line in wiring.migrate(settings(data=data), slots, shards, say):
        print(line)


@app.command("move-slots")
def move_slots(
    slots: Annotated[list[int], typer.Argument(metavar="SLOT...", min=0, help="Which of them.")],
    to: Annotated[int, typer.Option(min=0, help="The shard: its place in movies_url, from 0.")],
    data: Data = None,
) -> None:
    """Give slots of the movies to another shard, one after the other, while everything goes on."""
    from . import wiring

    for line in wiring.move_slots(settings(data=data), slots, to, say):
        print(line)


@app.command()
def doctor(data: Data = None) -> None:
    """Try everything that is configured, and say what is wrong and what to do."""
    from . import wiring

    healthy = True
    for name, fault in run(wiring.diagnose(settings(data=data))):
        print(f"{name}: {fault or 'all is well'}")
        healthy &= fault is None
    if not healthy:
        raise typer.Exit(1)


@app.command()
def backup(file: Annotated[Path, typer.Argument(metavar="FILE")], data: Data = None) -> None:
    """Write a consistent, checked copy of the data and its keys, also while it is served."""
    from . import wiring

    size = wiring.back_up(settings(data=data), file)
    print(f"{file}: {size:,} bytes, checked; keep it safe, the keys are in it")


@app.command()
def restore(file: Annotated[Path, typer.Argument(metavar="FILE")], data: Data = None) -> None:
    """Put a backup in the place of the data, with nobody at it; what was there is kept aside."""
    from . import wiring
    from .serving import held

    found = settings(data=data)
    members = wiring.check_backup(found, file)
    with held(found["data"]):
        aside = wiring.restore(found, file, members)
    print(f"{file} is restored" + (f"; what was there is in {aside}" if aside else ""))


# ---- what commands share -----------------------------------------------------------------------


def how_many(number: int, thing: str) -> str:
    return f"{number} {thing}" if number == 1 else f"{number} {thing}s"


def on_one_line(text: str) -> str:
    """Whatever somebody sent, as a terminal can show it: what it would obey is spelled out."""
    return "".join(char if char.isprintable() else repr(char)[1:-1] for char in text)


def check_user(user: str) -> None:
    if not is_user_id(user):
        raise Invalid(NO_USER_ID)


def console(width: int, *, highlight: bool = True) -> "Console":
    """Stdout for tables, so many characters wide where it is no terminal. What titles and settings
    have in brackets, or between colons, is theirs: no markup, no emoji."""
    from rich.console import Console

    wide = None if sys.stdout.isatty() else width
    return Console(width=wide, highlight=highlight, markup=False, emoji=False)


async def on_stores(
    found: config.Settings,
    main: "Callable[[Stores], Awaitable[T]]",
    *needs: str,
    make: bool = False,
) -> T:
    """Do something with the stores that are named; ``make``: also where there are none yet."""
    from .wiring import open_stores

    async with open_stores(found, make=make, needs=needs) as stores:
        return await main(stores)


def promises(stores: "Stores") -> "Promises":
    from .promises import Promises

    log = None if stores.embedded else stores.events
    drain, settle = partial(told, stores.drain), partial(told, stores.settle)
    return Promises(stores.ratings, stores.totals, drain, log, settle)


async def told(wait: "Callable[[], Awaitable[None]]") -> None:
    """Wait; on servers that may take minutes, and is not to seem stuck."""
    line = "waiting until all that was acknowledged is counted: this may take some minutes"
    timer = asyncio.get_running_loop().call_later(TOLD_SECONDS, say, line)
    try:
        await wait()
    finally:
        timer.cancel()


@contextmanager
def progress_bar() -> Iterator[Callable[[int, int, int], None]]:
    """A bar with rate and time left on a terminal; elsewhere a quiet line every ten seconds."""
    if not sys.stderr.isatty():
        started = said = time.monotonic()

        def say(done: int, total: int, rows: int) -> None:
            nonlocal said
            if time.monotonic() - said >= 10:
                said = time.monotonic()
                rate = rows / (said - started)
                print(
                    f"{100 * done // max(1, total)} %, {rows:,} rows, {rate:,.0f}/s",
                    file=sys.stderr,
                )

        yield say
        return
    from rich import progress
    from rich.console import Console

    columns = (
        progress.BarColumn(),
        progress.TaskProgressColumn(),
        progress.TextColumn("{task.fields[rows]:,} rows, {task.fields[rate]:,.0f}/s"),
        progress.TimeRemainingColumn(),
    )
    with progress.Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("", total=None, rows=0, rate=0.0)

        def show(done: int, total: int, rows: int) -> None:
            elapsed = bar.tasks[0].elapsed or 1
            bar.update(task, completed=done, total=total, rows=rows, rate=rows / elapsed)

        yield show


@contextmanager
def lines_to(file: Path | None) -> Iterator[Callable[[str, int, str], None] | None]:
    if file is None:
        yield None
        return
    try:
        opened = file.open("w", encoding="utf-8")
    except OSError as error:
        raise Invalid(f"The report {file} can't be written: {error.strerror}.") from error
    with opened:
        yield lambda name, line, why: print(
            f"{name}:{line}: {why}" if line else f"{name}: {why}", file=opened
        )


def main() -> None:
    """Errors are one clear line: exit status 2 for bad arguments, 1 for what else went wrong."""
    open_streams()
    if isinstance(sys.stdout, TextIOWrapper):
        # As exports are read, whatever the terminal says; of a file's name, also what is no UTF-8.
        sys.stdout.reconfigure(encoding="utf-8", errors="backslashreplace")
    status: object = 0
    try:
        status = app(file_first(sys.argv[1:]), standalone_mode=False)
    except UsageFault as error:
        fail(error.format_message(), 2)
    except (Invalid, Unusable) as error:
        fail(str(error), 2)
    except MarqueeError as error:
        fail(str(error), 1)
    except (typer.Abort, KeyboardInterrupt):
        status = INTERRUPTED
    except OSError as error:
        what = (
            f"{error.filename} can't be used" if error.filename else "the output can't be written"
        )
        fail(f"{what}: {error.strerror}", 1)
    if status == INTERRUPTED:
        fail("stopped: the same command goes on from here", Given.status)
    sys.exit(status if isinstance(status, int) else 0)


def open_streams() -> None:
    """Where a stream was closed by who started us: one that holds nothing, and keeps its number, so
    that no store's file or socket gets that."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, Path(os.devnull).open(mode))  # noqa: SIM115 - as long as we live


def file_first(arguments: list[str]) -> list[str]:
    """``--config FILE`` counts wherever it stands: before the command, where it is declared."""
    first, rest = list[str](), list[str]()
    left = iter(arguments)
    for argument in left:
        if argument == "--":
            rest += [argument, *left]
        elif argument == FILE_OPTION:
            if (file := next(left, None)) is None:
                raise Invalid(f"{FILE_OPTION} needs a FILE.")
            first += [argument, file]
        elif argument.startswith(f"{FILE_OPTION}="):
            first.append(argument)
        else:
            rest.append(argument)
    return first + rest


def fail(message: str, status: int) -> None:
    if message:  # there is none beside the help that is shown where nothing was asked
        say(" ".join(message.split()))
    sys.exit(status)


def say(line: str) -> None:
    print(f"marquee: {line}", file=sys.stderr)
