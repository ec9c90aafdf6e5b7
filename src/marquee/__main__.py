"""``marquee``, and ``python -m marquee``: the command line. Its loading takes a moment, in which
Ctrl-C is to end it without a traceback, too."""

import sys


def main() -> None:
    try:
        from .cli import main as command_line
    except KeyboardInterrupt:
        sys.exit(130)  # as shells have it
    command_line()


if __name__ == "__main__":
    main()
