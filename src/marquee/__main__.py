"""``python -m marquee``: the command line."""

from .cli import main

main()
