"""The contract as a document: OpenAPI 3.1, from the table of calls and the types that decode them.

What the code enforces is not said a second time here: only headers, problems and prose are.
"""

from collections.abc import Iterable, Mapping
from types import UnionType
from typing import Any, NamedTuple, get_args

import msgspec

from .calls import Endpoint
from .problems import Problem, title
from .shapes import MovieId

Json = dict[str, Any]

ABOUT = """Movie ratings, counted exactly, and the ten top-rated movies, always.

JSON is camelCase in UTF-8; times are RFC 3339, in UTC. A score is a multiple of 0.5 from 0.5 to 10.
Fields and parameters that are not named here are refused with 400, a method that is not with 405
and `Allow`. `HEAD` is answered wherever `GET` is. Every error is a problem document (RFC 9457)."""

TAGS = {
    "charts": "The ten, and any other chart.",
    "ratings": "One's own ratings, and those that a trusted service writes for its users.",
    "movies": "The catalogue. To write takes a token with the scope `movies:write`.",
    "best pictures": "Nominations for the Academy Award for Best Picture, and who won.",
    "operations": "For those who run it, and for those who program against it.",
}

BEARER = (
    "A JSON Web Token (RS256, ES256 or EdDSA) with `exp`, `iss`, `aud` and `sub`: the user is its "
    "`sub`. Embedded, `marquee token --user you` prints one."
)

HEADERS = {
    "Age": ("integer", "Seconds since this was last found true."),
    "Allow": ("string", "The methods that there are."),
    "Cache-Control": ("string", "How long others may keep this."),
    "ETag": ("string", "Stands for this content, for `If-None-Match`."),
    "Location": ("string", "The path of what was added."),
    "RateLimit": ("string", "What is left of the quota, and in how many seconds there is more."),
    "RateLimit-Policy": ("string", "The quota, and its window in seconds."),
    "Retry-After": ("integer", "Seconds after which to try again."),
    "WWW-Authenticate": ("string", "`Bearer`, and what is wrong with the token."),
}

IF_NONE_MATCH = {
    "name": "If-None-Match",
    "in": "header",
    "description": "An `ETag` that one has: 304 where nothing changed since.",
    "schema": {"type": "string"},
}


class Fault(NamedTuple):
    """A problem as the document tells of it."""

    name: str
    description: str
    detail: str
    headers: tuple[str, ...] = ()


FAULTS = {
    400: Fault("Invalid", "Malformed or invalid.", "This field is required."),
    401: Fault(
        "Unauthorized",
        "No token, or none that counts.",
        "This call needs a bearer token.",
        ("WWW-Authenticate",),
    ),
    403: Fault(
        "Forbidden",
        "Not with this token.",
        "This needs a token with the scope movies:write.",
    ),
    404: Fault("NotFound", "There is none.", "There is no movie tt0000000."),
    408: Fault("TooSlow", "The body did not come.", "The body did not come."),
    409: Fault("Conflict", "It exists already.", "There is a movie tt0111161 already."),
    413: Fault("TooLarge", "The body is over 64 KiB.", "The body is over 64 KiB."),
    415: Fault(
        "UnsupportedMediaType",
        "The body is not `application/json` in UTF-8, or is compressed.",
        "The body must be application/json, in UTF-8.",
    ),
    429: Fault(
        "TooManyRequests",
        "Too many requests of this user, or from this address.",
        "Too many requests: try again in 1 s.",
        ("Retry-After", "RateLimit", "RateLimit-Policy"),
    ),
    503: Fault(
        "Unavailable",
        "What this call needs is away at present. Nothing was promised.",
        "The store does not answer.",
        ("Retry-After",),
    ),
}

SUCCESS = {
    200: "Done.",
    201: "Added.",
    202: "Accepted, and on its way everywhere.",
    204: "Done; there is nothing to tell.",
    304: "Nothing changed since.",
    503: "It can't answer at present.",
}


def document(endpoints: Iterable[Endpoint], version: str) -> Json:
    """The document of these calls, its parts in a stable order."""
    table = list(endpoints)
    schemas, components = schemas_of(
        {each for endpoint in table for each in types_of(endpoint)} | {Problem}
    )
    paths: dict[str, Json] = {}
    for endpoint in table:
        calls = paths.setdefault(endpoint.path, {})
        calls[endpoint.method.lower()] = operation(endpoint, schemas)
    used = {status for endpoint in table for status in faults(endpoint)}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Marquee",
            "version": version,
            "description": ABOUT,
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "tags": [
            {"name": name, "description": text}
            for name, text in TAGS.items()
            if any(endpoint.tag == name for endpoint in table)
        ],
        "paths": paths,
        "components": {
            "securitySchemes": {
                "bearer": {
                    "type": "http",
                    "scheme": "bearer",
                    "bearerFormat": "JWT",
                    "description": BEARER,
                }
            },
            "headers": {
                name: {"description": text, "schema": {"type": kind}}
                for name, (kind, text) in HEADERS.items()
            },
            "responses": {
                FAULTS[status].name: fault(status, FAULTS[status]) for status in sorted(used)
            },
            "schemas": components,
        },
    }


def operation(endpoint: Endpoint, schemas: Mapping[Any, Json]) -> Json:
    found: Json = {
        "operationId": endpoint.name,
        "tags": [endpoint.tag],
        "summary": endpoint.summary,
    }
    if endpoint.description:
        found["description"] = endpoint.description
    if endpoint.token:
        found["security"] = [{"bearer": [endpoint.scope] if endpoint.scope else []}]
    if parameters := parameters_of(endpoint):
        found["parameters"] = parameters
    if endpoint.body is not None:
        content = {"schema": schemas[endpoint.body], "example": endpoint.example}
        found["requestBody"] = {"required": True, "content": {"application/json": content}}
    found["responses"] = {
        str(status): success(endpoint, status, schemas) for status in endpoint.answers
    } | {
        str(status): {"$ref": f"#/components/responses/{FAULTS[status].name}"}
        for status in faults(endpoint)
    }
    return found


def parameters_of(endpoint: Endpoint) -> list[Json]:
    found: list[Json] = []
    if "{movieId}" in endpoint.path:
        schema = tidy(msgspec.json.schema(MovieId))
        for name in ("examples", "not"):  # a reserved one leads to a path of its own
            schema.pop(name)
        found.append(
            {
                "name": "movieId",
                "in": "path",
                "required": True,
                "description": "1–20 letters, digits, `_` and `-`: by default IMDb's id.",
                "schema": schema,
                "example": endpoint.movie,
            }
        )
    query = tidy(msgspec.json.schema_components([endpoint.query])[1][endpoint.query.__name__])
    for name, schema in query["properties"].items():
        parameter: Json = {"name": name, "in": "query"}
        if description := schema.pop("description", ""):
            parameter["description"] = description
        parameter["schema"] = schema
        if examples := schema.pop("examples", ()):
            parameter["example"] = examples[0]
        found.append(parameter)
    if "ETag" in endpoint.headers:
        found.append(IF_NONE_MATCH)
    return found


def success(endpoint: Endpoint, status: int, schemas: Mapping[Any, Json]) -> Json:
    found: Json = {"description": SUCCESS[status]}
    if endpoint.headers:
        found["headers"] = headers(endpoint.headers)
    body = endpoint.answers[status]
    if body is not None:
        own = {"anyOf": [schemas[each] for each in members(body)]}
        schema = schemas.get(body, own)
        text = {"type": "string"}
        found["content"] = {
            media: {"schema": schema if media == "application/json" else text}
            for media in endpoint.media
        }
    return found


def faults(endpoint: Endpoint) -> list[int]:
    """The problems it answers with: its own, and those that come with what it is."""
    found = {400, 413, *endpoint.errors}
    if endpoint.body is not None:
        found |= {408, 415}
    if endpoint.token:
        found.add(401)
    if endpoint.limited:
        found |= {429, 503}
    return sorted(found - endpoint.answers.keys())


def fault(status: int, told: Fault) -> Json:
    example: Json = {
        "type": "about:blank",
        "title": title(status),
        "status": status,
        "detail": told.detail,
        "instance": "/movies/tt0111161",
    }
    if status == 400:
        example["errors"] = [{"pointer": "/title", "detail": told.detail}]
    found: Json = {"description": told.description}
    if told.headers:
        found["headers"] = headers(told.headers)
    schema = {"$ref": "#/components/schemas/Problem"}
    found["content"] = {"application/problem+json": {"schema": schema, "example": example}}
    return found


def headers(names: Iterable[str]) -> Json:
    return {name: {"$ref": f"#/components/headers/{name}"} for name in names}


# ---- types -------------------------------------------------------------------------------------


def types_of(endpoint: Endpoint) -> list[Any]:
    found = [each for body in endpoint.answers.values() for each in members(body)]
    return [each for each in [*found, endpoint.body] if each is not None]


def members(body: Any) -> tuple[Any, ...]:
    """What an answer's body may be: msgspec has no union of structs, but a call may answer so."""
    return get_args(body) if isinstance(body, UnionType) else (body,)


def schemas_of(types: Iterable[Any]) -> tuple[dict[Any, Json], dict[str, Json]]:
    """The schema of each type, and the components that they refer to."""
    wanted = sorted(types, key=str)
    found, components = msgspec.json.schema_components(
        wanted, ref_template="#/components/schemas/{name}"
    )
    return (
        dict(zip(wanted, map(tidy, found), strict=True)),
        {name: component(components[name]) for name in sorted(components)},
    )


def component(schema: Json) -> Json:
    return {key: value for key, value in tidy(schema).items() if key != "title"}


def tidy(schema: Any) -> Any:
    """As people write it: `code` in Markdown, and ``["integer", "null"]`` for an ``anyOf``."""
    if isinstance(schema, list):
        return [tidy(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    found = {key: tidy(value) for key, value in schema.items()}
    if isinstance(text := found.get("description"), str):
        found["description"] = " ".join(text.replace("``", "`").split())
    match found.get("anyOf"):
        case [dict(one), {"type": "null"}] if "type" in one:
            del found["anyOf"]
            return one | {"type": [one["type"], "null"]} | found
        case [dict(one), {"type": "null"}] if "enum" in one:
            del found["anyOf"]
            return one | {"enum": [*one["enum"], None]} | found
    return found
