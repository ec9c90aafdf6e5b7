"""Prometheus from its Debian package: ``promtool``, and a server that asks whom it is told to."""

import json
import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from engine.ports import free_port

DEPLOY = Path(__file__).resolve().parents[2] / "deploy/prometheus"
RULES = sorted((DEPLOY / "rules").glob("*.yml"))


def need(name: str) -> str:
    """Where a program of the package is; without it the test is skipped, in CI it fails."""
    found = shutil.which(name)
    if found is None:
        told = f"there is no {name}: install the Debian package prometheus"
        pytest.fail(told) if os.environ.get("CI") else pytest.skip(told)
    return found


def promtool(*arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [need("promtool"), *map(str, arguments)],
        check=False,
        capture_output=True,
        text=True,
        timeout=110,
        cwd=DEPLOY,
    )


class Prometheus:
    def __init__(self, url: str) -> None:
        self._client = httpx.Client(base_url=url, timeout=30)

    def ask(self, path: str, **parameters: str) -> Any:
        answer = self._client.get(f"/api/v1/{path}", params=parameters)
        assert answer.status_code == 200, answer.text
        return answer.json()["data"]

    def query(self, query: str) -> list[dict[str, Any]]:
        return self.ask("query", query=query)["result"]

    def close(self) -> None:
        self._client.close()

    def ready(self) -> bool:
        try:
            return self._client.get("/-/ready").status_code == 200
        except httpx.TransportError:
            return False


@contextmanager
def prometheus(folder: Path, processes: Mapping[str, str]) -> Iterator[Prometheus]:
    """Prometheus with our rules, over these processes, each by its role; everything each second,
    and alerts that wait for nothing."""
    folder.mkdir()
    (folder / "rules").mkdir()
    for file in RULES:
        # JSON is YAML: the rules as they are, but for their patience.
        text = "".join(
            line
            for line in file.read_text().splitlines(True)
            if not line.strip().startswith("for:")
        )
        (folder / "rules" / file.name).write_text(text)
    config = {
        "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
        "rule_files": ["rules/*.yml"],
        "scrape_configs": [
            {
                "job_name": "marquee",
                "static_configs": [
                    {"targets": [httpx.URL(url).netloc.decode()], "labels": {"role": role}}
                    for role, url in processes.items()
                ],
            }
        ],
    }
    (folder / "prometheus.yml").write_text(json.dumps(config))
    port = free_port(set())
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(
            [
                need("prometheus"),
                f"--config.file={folder / 'prometheus.yml'}",
                f"--storage.tsdb.path={folder / 'data'}",
                f"--web.listen-address=127.0.0.1:{port}",
                "--enable-feature=exemplar-storage",
            ],
            stdout=log,
            stderr=log,
        )
    found = Prometheus(f"http://127.0.0.1:{port}")
    try:
        yield found
    finally:
        found.close()
        process.kill()
        process.wait()
