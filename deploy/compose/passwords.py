"""Makes the passwords of a Compose project, once, in the volumes of those who need them."""

import os
import secrets
import sys
from pathlib import Path

SETTINGS = """\
movies_url = "postgresql://marquee:{password}@postgres,postgres-replica/movieratedb?\
target_session_attrs=read-write"
movies_read_url = "postgresql://marquee:{password}@postgres-replica/movieratedb"
"""


def main(volumes: Path) -> None:
    """May be cut short anywhere, and goes on with those that are made."""
    kept(volumes / "for-postgres/postgres")
    marquee = kept(volumes / "for-postgres/marquee")
    replication = kept(volumes / "for-postgres/replication")
    write(volumes / "for-replica/replication", replication)
    write(volumes / "for-roles/settings.toml", SETTINGS.format(password=marquee))
    kept(volumes / "for-grafana/grafana")


def kept(file: Path) -> str:
    """The password in this file, which is made where there is none."""
    if not file.exists():
        write(file, secrets.token_urlsafe(24))
    return file.read_text()


def write(file: Path, content: str) -> None:
    """Whole or not at all. Each user may read it: who is not to does not see the volume."""
    begun = file.with_name(f".{file.name}")
    with begun.open("w") as writing:
        writing.write(content)
        writing.flush()
        os.fsync(writing.fileno())
    begun.chmod(0o644)
    begun.replace(file)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
