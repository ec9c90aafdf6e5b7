"""The command line: ``python3 -m engine start [small | PART …] | env | stop | status | fetch``."""

import argparse
import shlex
import sys

from .engine import PARTS, SETS, Engine, default_engine, parts_named
from .errors import EngineError

EPILOG = f"""
PART: {", ".join(SETS)} (a set of several), {", ".join(PARTS)}.
MARQUEE_TEST_ENGINE names another folder than .engine, MARQUEE_TEST_ENGINE_CACHE another one for
the jars than its cache/.
"""


def main() -> None:
    arguments = parser().parse_args()
    try:
        globals()[arguments.command](default_engine(), parts_named(arguments.names))
    except EngineError as error:
        sys.exit(f"engine: {error}")


def parser() -> argparse.ArgumentParser:
    commands = argparse.ArgumentParser(prog="engine", description=__doc__, epilog=EPILOG)
    commands.add_argument("command", choices=["start", "env", "stop", "status", "fetch"])
    commands.add_argument("names", nargs="*", type=known, metavar="PART")
    return commands


def known(name: str) -> str:
    if name in SETS or name in PARTS:
        return name
    raise argparse.ArgumentTypeError(f"there is no {name!r}")


def start(engine: Engine, names: list[str]) -> None:
    names = names or SETS["full"]
    engine.start(names)
    engine.keep(names)


def fetch(engine: Engine, names: list[str]) -> None:
    engine.fetch(names or SETS["full"])


def stop(engine: Engine, names: list[str]) -> None:
    engine.stop(names)


def env(engine: Engine, names: list[str]) -> None:
    wanted = names or engine.wanted
    if not wanted:
        raise EngineError("nothing was started")
    for name, value in engine.variables(wanted).items():
        print(f"{name}={shlex.quote(value)}")


def status(engine: Engine, names: list[str]) -> None:
    for name in names or PARTS:
        for server in engine.parts[name].servers:
            if server.wanted:
                print(f"{server.name:20} {server.pid or 'dead'}")


if __name__ == "__main__":
    main()
