"""Makes the passwords of a Compose project, once, into the folder that is given."""

import secrets
import sys
from pathlib import Path

SETTINGS = """\
movies_url = "postgresql://marquee:{password}@postgres/movieratedb"
movies_read_url = "postgresql://marquee:{password}@postgres-replica/movieratedb"
"""


def main(folder: Path) -> None:
    passwords = {name: secrets.token_urlsafe(24) for name in ("postgres", "replication", "grafana")}
    password = secrets.token_urlsafe(24)
    files = passwords | {"marquee": password, "settings.toml": SETTINGS.format(password=password)}
    # Other users read them, too: each container sees the volume only where Compose mounts it.
    folder.chmod(0o755)
    if (folder / "settings.toml").exists():  # the last one: all are there
        return
    for name, content in files.items():
        (folder / name).write_text(content)
        (folder / name).chmod(0o444)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
