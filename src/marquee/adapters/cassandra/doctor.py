"""What is wrong with the cluster, and what to do."""

from .address import parse


def diagnose(url: str) -> list[tuple[str, str | None]]:
    parse(url)
    return []
