"""How requests are refused, and what the guards of pages and of programs share."""

from __future__ import annotations

import json
from collections.abc import Awaitable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from tornado.web import RequestHandler, stream_request_body

if TYPE_CHECKING:
    from tornado.http1connection import HTTP1Connection
    from tornado.httputil import HTTPServerRequest

MOST_LOGINS, LOGIN_SECONDS = 10, 60.0
"""How many log-ins, or wrong tokens, one machine may try in how many seconds."""

HEADERS = {
    # Bokeh's page starts itself by a script in the page and compiles callbacks; components are modules in blobs.
    # Attributes may hold no script, nothing is loaded from elsewhere, and no other page may show this one in a frame.
    "Content-Security-Policy": (
        "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval' blob:; script-src-attr 'none'; "
        "style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; font-src 'self' data:; "
        "connect-src 'self' blob: data:; worker-src 'self' blob:; object-src 'none'; base-uri 'self'; "
        "form-action 'self'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}
"""Headers of every response."""

_TOO_MANY, _UNAUTHORISED = 429, 401


@dataclass(frozen=True)
class Refusal:
    """HTTP status and reason of a refused request."""

    status: int
    reason: str
    code: str = ""
    """Code of the error for a program, which is answered with JSON; empty for a browser."""


@stream_request_body
class Refused(RequestHandler):
    """Answers with the reason of a refusal, and closes the connection without reading the body."""

    def initialize(self, refusal: Refusal) -> None:
        """Store the refusal, passed by Tornado."""
        self.refusal = refusal

    def prepare(self) -> None:
        """Answer before the body is read."""
        refusal = self.refusal
        self.set_status(refusal.status)
        if refusal.status == _TOO_MANY:
            self.set_header("Retry-After", str(round(LOGIN_SECONDS)))
        if refusal.status == _UNAUTHORISED:
            self.set_header("WWW-Authenticate", "Bearer")
        if refusal.code:
            self.set_header("Content-Type", "application/json; charset=utf-8")
            self.finish(json.dumps({"error": {"code": refusal.code, "message": refusal.reason}}))
            return
        self.set_header("Content-Type", "text/plain; charset=utf-8")
        self.finish(f"{refusal.reason}\n")

    def data_received(self, chunk: bytes) -> Awaitable[None] | None:
        """Discard the body."""


def connection(request: HTTPServerRequest) -> HTTP1Connection:
    """The connection of a request."""
    return cast("HTTP1Connection", request.connection)  # Tornado's server makes no other kind


def own_end(request: HTTPServerRequest) -> tuple[str, int]:
    """Local address and port of the connection; a Unix socket counts as loopback."""
    name = connection(request).stream.socket.getsockname()
    return (name[0], name[1]) if isinstance(name, tuple) else ("127.0.0.1", 0)


def add_headers() -> None:
    """Add `HEADERS` to every response of this process.

    `panel serve` gives an app no hold of its server, and error pages are written by handlers of the libraries. So the
    method is replaced of which the documentation says that it may be: `RequestHandler.flush`.
    """
    flush = RequestHandler.flush

    def flush_with_headers(self: RequestHandler, *rest: bool, **more: bool) -> Awaitable[None]:
        for name, value in HEADERS.items():
            self.set_header(name, value)
        return flush(self, *rest, **more)

    handlers: Any = RequestHandler
    handlers.flush = flush_with_headers
