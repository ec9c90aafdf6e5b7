"""The command line: ``python3 -m engine start [small | PART …] | env | stop | status | fetch``."""

import argparse
import os
import shlex
import sys
from pathlib import Path

from .engine import PARTS, SETS, Engine, parts_named
from .errors import EngineError

ROOT = Path(__file__).resolve().parent.parent

EPILOG = f"""
sets: {", ".join(SETS)}; parts: {", ".join(PARTS)}.
MARQUEE_TEST_ENGINE names another folder than .engine, MARQUEE_TEST_ENGINE_CACHE another one for
the jars than its cache/.
"""


def main() -> None:
    arguments = parser().parse_args()
    engine = default_engine()
    try:
        globals()[arguments.command](engine, parts_named(arguments.names))
    except EngineError as error:
        print(f"engine: {error}", file=sys.stderr)
        sys.exit(1)


def default_engine() -> Engine:
    cache = os.environ.get("MARQUEE_TEST_ENGINE_CACHE")
    folder = os.environ.get("MARQUEE_TEST_ENGINE") or ROOT / ".engine"
    return Engine(Path(folder), Path(cache) if cache else None)


def parser() -> argparse.ArgumentParser:
    commands = argparse.ArgumentParser(prog="engine", description=__doc__, epilog=EPILOG)
    commands.add_argument("command", choices=["start", "env", "stop", "status", "fetch"])
    commands.add_argument("names", nargs="*", metavar="SET or PART")
    return commands


def start(engine: Engine, names: list[str]) -> None:
    engine.start(names or SETS["full"])


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
    servers = [each for name in names or PARTS for each in engine.parts[name].servers]
    for name, server in {each.name: each for each in servers}.items():
        if server.wanted:
            print(f"{name:20} {server.pid or 'dead'}")


if __name__ == "__main__":
    main()
