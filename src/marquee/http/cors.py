"""Which other origins' pages may call us (the Fetch standard's CORS protocol)."""

from collections.abc import Sequence

from starlette.datastructures import Headers
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ..errors import Invalid
from .problems import problem

ASKED = ("Authorization", "If-None-Match")
TOLD = ("Age", "ETag", "Location", "RateLimit", "RateLimit-Policy", "Retry-After", "X-Request-Id")


class Refusal(Response):
    """Of a preflight: a problem document about the path that was asked for."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        refusal = Invalid("Pages of this origin may not make this call.")
        _, headers, self.body = problem(refusal, scope["raw_path"])
        for name, value in headers:
            self.headers[name.decode()] = value.decode()
        await super().__call__(scope, receive, send)


class Cors(CORSMiddleware):
    """Starlette's, for answers that are made only once, and with problem documents."""

    def __init__(self, app: ASGIApp, origins: Sequence[str]) -> None:
        methods = ("GET", "HEAD", "POST", "PUT", "DELETE")
        super().__init__(app, origins, methods, ASKED, expose_headers=TOLD)

    def preflight_response(self, request_headers: Headers) -> Response:
        response = super().preflight_response(request_headers)
        if response.status_code == 400:
            response = Refusal(status_code=400, headers=response.headers)
        return response

    async def send(self, message: Message, send: Send, request_headers: Headers) -> None:
        if message["type"] == "http.response.start":
            message = dict(message)  # a prepared one belongs to everybody
        await super().send(message, send, request_headers)
