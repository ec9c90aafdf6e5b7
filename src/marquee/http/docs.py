"""The contract for programs, ``/openapi.json``, and for people, ``/docs``: both made once."""

import base64
import hashlib
import json
import re
import shlex
from collections.abc import Iterable
from html import escape
from importlib.resources import files
from string import Template
from typing import Any
from urllib.parse import urlencode

import msgspec
from starlette.types import Scope

from .. import __version__
from .calls import JSON, Answer, Call, Endpoint
from .openapi import Json, document
from .prepared import Messages, Prepared, Ready
from .problems import Header

OPENAPI = "/openapi.json"
DOCS = "/docs"
CACHED: Header = (b"cache-control", b"public, max-age=300")

BASE = "http://marquee.invalid"
"""Stands in the page for wherever it was asked for."""
HOST = re.compile(rb"[A-Za-z0-9.:\[\]_-]{1,255}")


class Docs:
    """Both pages, of these calls and of the two themselves."""

    def __init__(self, endpoints: Iterable[Endpoint]) -> None:
        self.pages = self._own()
        self.document = document([*endpoints, *self.pages], __version__)
        body = msgspec.json.encode(self.document)
        length = (b"content-length", b"%d" % len(body))
        self._openapi = Prepared(200, [JSON, CACHED, length], body)
        self._page, self._policy = page(self.document)
        self._base = b""
        self._docs = self._at(BASE.encode())

    @property
    def ready(self) -> dict[str, Ready]:
        return {OPENAPI: self._openapi.answer, DOCS: self._answer}

    def _answer(self, scope: Scope) -> Messages:
        """The page, with the address that it was asked for under in its curl lines."""
        host = next((value for name, value in scope["headers"] if name == b"host"), b"")
        if HOST.fullmatch(host) is None:
            name, port = scope["server"]
            host = b"%s:%d" % (name.encode(), port)
        base = b"%s://%s" % (scope["scheme"].encode(), host)
        if base != self._base:
            self._base, self._docs = base, self._at(base)
        return self._docs.answer(scope)

    def _at(self, base: bytes) -> Prepared:
        body = self._page.replace(BASE.encode(), base)
        return Prepared(
            200,
            [
                (b"content-type", b"text/html; charset=utf-8"),
                (b"content-length", b"%d" % len(body)),
                (b"content-security-policy", self._policy.encode()),
                (b"referrer-policy", b"no-referrer"),
                (b"x-content-type-options", b"nosniff"),
                (b"vary", b"host"),
                CACHED,
            ],
            body,
        )

    def _own(self) -> list[Endpoint]:
        async def never(_: Call) -> Answer:
            raise NotImplementedError("it is sent before the router, or its query refused")

        return [
            Endpoint(
                "GET",
                OPENAPI,
                never,
                "This contract, for programs",
                "operations",
                {200: dict[str, Any]},
                limited=False,
                headers=("Cache-Control",),
                description="OpenAPI 3.1.",
                name="getOpenapi",
            ),
            Endpoint(
                "GET",
                DOCS,
                never,
                "This contract, for people",
                "operations",
                {200: str},
                limited=False,
                headers=("Cache-Control",),
                media=("text/html",),
                name="getDocs",
            ),
        ]


# ---- the page ----------------------------------------------------------------------------------


def page(contract: Json) -> tuple[bytes, str]:
    """The page and its Content-Security-Policy: its own style, and nothing else from anywhere."""
    style = read("docs.css")
    info = contract["info"]
    html = Template(read("docs.html")).substitute(
        title=escape(info["title"]),
        version=escape(info["version"]),
        style=style,
        about=paragraphs(info["description"]),
        token=paragraphs(contract["components"]["securitySchemes"]["bearer"]["description"]),
        contents="".join(contents(contract, tag["name"]) for tag in contract["tags"]),
        calls="".join(section(contract, tag) for tag in contract["tags"]),
        errors="".join(error_row(*each) for each in contract["components"]["responses"].items()),
        shapes="".join(shape(*each) for each in contract["components"]["schemas"].items()),
    )
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    policy = (
        f"default-src 'none'; style-src 'sha256-{digest}'; img-src data:; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
    return html.encode(), policy


def read(name: str) -> str:
    return (files(__package__) / "pages" / name).read_text("utf-8")


def paragraphs(text: str) -> str:
    return "".join(f"<p>{prose(each)}</p>\n" for each in text.split("\n\n"))


def prose(text: str) -> str:
    return re.sub(r"`([^`]+)`", r"<code>\1</code>", escape(text, quote=False))


def calls_of(contract: Json, tag: str) -> list[tuple[str, str, Json]]:
    """(method, path, operation) of each call of a tag."""
    return [
        (method, path, operation)
        for path, operations in contract["paths"].items()
        for method, operation in operations.items()
        if tag in operation["tags"]
    ]


def contents(contract: Json, tag: str) -> str:
    links = "".join(
        f'<li><a href="#{operation["operationId"]}">{prose(operation["summary"])}</a></li>\n'
        for _, _, operation in calls_of(contract, tag)
    )
    return f'<p><a href="#{tag.replace(" ", "-")}">{escape(tag)}</a></p>\n<ul>\n{links}</ul>\n'


def section(contract: Json, tag: Json) -> str:
    calls = "".join(article(*call) for call in calls_of(contract, tag["name"]))
    return (
        f'<section>\n<h2 id="{tag["name"].replace(" ", "-")}">{escape(tag["name"])}</h2>\n'
        f"<p>{prose(tag['description'])}</p>\n{calls}</section>\n"
    )


def article(method: str, path: str, operation: Json) -> str:
    name = operation["operationId"]
    parts = [
        f'<article id="{name}">\n<h3><a href="#{name}">{prose(operation["summary"])}</a></h3>\n',
        f'<p class="call"><span class="method {method}">{method.upper()}</span>',
        f"{escape(path)}</p>\n",
    ]
    if "description" in operation:
        parts.append(f"<p>{prose(operation['description'])}</p>\n")
    if "security" in operation:
        scopes = operation["security"][0]["bearer"]
        needed = f" with the scope <code>{escape(scopes[0])}</code>" if scopes else ""
        parts.append(f'<p class="needs">Needs <a href="#token">a token</a>{needed}.</p>\n')
    if parameters := operation.get("parameters"):
        rows = "".join(parameter_row(parameter) for parameter in parameters)
        parts.append(f'<h4>Parameters</h4>\n<dl class="rows">\n{rows}</dl>\n')
    if "requestBody" in operation:
        body = operation["requestBody"]["content"]["application/json"]
        parts.append(f"<h4>Body</h4>\n<p>{kind(body['schema'])}</p>\n")
    rows = "".join(
        answer_row(status, answer)
        for status, answer in operation["responses"].items()
        if "$ref" not in answer
    )
    refusals = ", ".join(
        f'<a href="#{answer["$ref"].rpartition("/")[2]}">{status}</a>'
        for status, answer in operation["responses"].items()
        if "$ref" in answer
    )
    rows += f'<div><dt>Errors</dt><dd class="type">{refusals}</dd></div>\n'
    parts.append(f'<h4>Answers</h4>\n<dl class="rows">\n{rows}</dl>\n')
    lines = "\n".join(curl(method, path, operation))
    parts.append(f'<h4>Try it</h4>\n<pre tabindex="0"><code>{escape(lines)}</code></pre>\n')
    return "".join([*parts, "</article>\n"])


def parameter_row(parameter: Json) -> str:
    must = MUST if parameter.get("required") else ""
    return row(
        f"<code>{escape(parameter['name'])}</code>{must}",
        kind(parameter["schema"]),
        prose(parameter.get("description", "")),
    )


def answer_row(status: str, answer: Json) -> str:
    told = [
        f"{kind(content['schema'])} <code>{escape(media)}</code>"
        if media != "application/json"
        else kind(content["schema"])
        for media, content in answer.get("content", {}).items()
    ]
    names = ", ".join(f"<code>{escape(name)}</code>" for name in answer.get("headers", ()))
    if names:
        told.append(f"with {names}")
    said = "" if "content" in answer else prose(answer["description"])
    return row(status, "<br>".join(told), said)


def error_row(name: str, answer: Json) -> str:
    example = answer["content"]["application/problem+json"]["example"]
    names = ", ".join(f"<code>{escape(header)}</code>" for header in answer.get("headers", ()))
    told = f"with {names}" if names else ""
    return row(str(example["status"]), told, prose(answer["description"]), id=name)


def shape(name: str, schema: Json) -> str:
    required = schema.get("required", ()) if schema.get("additionalProperties") is False else ()
    rows = "".join(
        row(
            f"<code>{escape(field)}</code>" + (MUST if field in required else ""),
            kind(of),
            prose(of.get("description", "")),
        )
        for field, of in schema["properties"].items()
    )
    return (
        f'<article id="{name}">\n<h3><a href="#{name}">{name}</a></h3>\n'
        f"<p>{prose(schema.get('description', ''))}</p>\n"
        f'<dl class="rows">\n{rows}</dl>\n</article>\n'
    )


MUST = ' <span class="must">required</span>'


def row(term: str, kind: str, description: str, id: str = "") -> str:
    """A row of a list; its parts are HTML."""
    about = f'<dd class="type">{kind}</dd>' if kind else ""
    about += f"<dd>{description}</dd>" if description else ""
    at = f' id="{id}"' if id else ""
    return f"<div{at}><dt>{term}</dt>{about}</div>\n"


def kind(schema: Json) -> str:
    """A schema in words, as HTML."""
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return f'<a href="#{name}">{name}</a>'
    if "anyOf" in schema:
        return " or ".join(map(kind, schema["anyOf"]))
    if "enum" in schema:
        values = (json.dumps(value).strip('"') for value in schema["enum"])
        told = " or ".join(f"<code>{escape(value)}</code>" for value in values)
    else:
        told = plain_kind(schema)
    default = schema.get("default")
    if default not in (None, "", [], ()) and schema.get("enum") != [default]:
        told += f", by default <code>{escape(str(default))}</code>"
    return told


def plain_kind(schema: Json) -> str:
    names = schema.get("type", "anything")
    name, null = (names[0], " or null") if isinstance(names, list) else (names, "")
    least, most = schema.get("minimum"), schema.get("maximum")
    match name:
        case "array":
            items = kind(schema["items"])
            least, most = schema.get("minItems"), schema.get("maxItems")
            told = f"list of {items}{span(least, most, '')}"
        case "string":
            long = span(schema.get("minLength"), schema.get("maxLength"), " characters")
            told = ("time" if schema.get("format") == "date-time" else "text") + long
        case "integer" | "number":
            told = ("whole number" if name == "integer" else "number") + span(least, most, "")
        case "boolean":
            told = "true or false"
        case _:
            told = name
    if "multipleOf" in schema:
        told += f", a multiple of {schema['multipleOf']:g}"
    if isinstance(schema.get("additionalProperties"), dict) and schema["additionalProperties"]:
        told += f" of {kind(schema['additionalProperties'])} by name"
    return told + null


def span(least: float | None, most: float | None, unit: str) -> str:
    if most is not None and most >= 2**53:  # what JSON can carry, and not worth a word
        most = None
    if most is None:
        return "" if not least else f", at least {least:g}{unit}"
    if not least:
        return f", at most {most:,}{unit}"
    return f", {least:g}{unit}" if least == most else f", {least:g}\u2013{most:g}{unit}"


# ---- curl --------------------------------------------------------------------------------------


def curl(method: str, path: str, operation: Json) -> list[str]:
    """A line for each way to ask: it works as it stands on the demo catalogue."""
    parameters = operation.get("parameters", ())
    for parameter in parameters:
        if parameter["in"] == "path":
            path = path.replace(f"{{{parameter['name']}}}", parameter["example"])
    query = urlencode(
        {p["name"]: p["example"] for p in parameters if p["in"] == "query" and "example" in p},
        safe=",",
    )
    words = ["curl"]
    if method != "get":
        words += ["-X", method.upper()]
    words.append(shlex.quote(f"{BASE}{path}{'?' if query else ''}{query}"))
    lines = [" ".join(words)]
    if "security" in operation:
        lines.append('-H "Authorization: Bearer $TOKEN"')
    if "requestBody" in operation:
        example = operation["requestBody"]["content"]["application/json"]["example"]
        lines.append("-H 'Content-Type: application/json'")
        lines.append(f"-d {shlex.quote(json.dumps(example))}")
    asked = " \\\n  ".join(lines)
    first = next(iter(operation["responses"].values()))
    others = list(first.get("content", ()))[1:]
    return [asked, *(f"{asked} \\\n  -H 'Accept: {media}'" for media in others)]
