"""Writes docs/openapi.json, the copy of the contract in which its changes are seen in review."""

import json
from pathlib import Path
from typing import Any

from marquee.http.docs import Docs
from marquee.wiring import contract

COPY = Path(__file__).resolve().parent.parent / "docs/openapi.json"


def pretty(document: dict[str, Any]) -> str:
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    COPY.write_text(pretty(Docs(contract()).document), "utf-8")
