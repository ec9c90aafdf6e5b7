"""Writes docs/openapi.json, the copy of the contract in which its changes are seen in review."""

import asyncio
import json
import tempfile
from pathlib import Path
from typing import Any

from marquee.config import load
from marquee.http.docs import Docs
from marquee.wiring import HTTP_ROLES, Marquee, open_stores

COPY = Path(__file__).resolve().parent.parent / "docs/openapi.json"


async def contract() -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        settings = load({"data": folder}, {})
        async with open_stores(settings) as stores:
            return Docs(Marquee(settings, stores, HTTP_ROLES).endpoints()).document


def pretty(document: dict[str, Any]) -> str:
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    COPY.write_text(pretty(asyncio.run(contract())), "utf-8")
