"""Requests that the server refuses before it reads them, and security headers of all responses.

Bokeh and Tornado leave open what is right for a server of libraries and wrong for one of people's measurements: any
name for the host, websockets without an origin, session numbers that the visitor chooses, forms sent by other sites,
bodies of 100 MB, log-ins without end.
"""

from __future__ import annotations

import sys
import time
from collections import deque
from collections.abc import Awaitable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import urlsplit

from bokeh.server.tornado import BokehTornado
from bokeh.server.util import check_allowlist
from bokeh.settings import settings
from tornado.web import RequestHandler, stream_request_body

from xxact_app.server.addresses import is_loopback

if TYPE_CHECKING:
    from tornado.http1connection import HTTP1Connection
    from tornado.httputil import HTTPMessageDelegate, HTTPServerRequest

LARGEST_BODY = 64 * 1024
"""Largest body of an HTTP request [bytes]; the app only needs logins, since files are sent by websocket."""

MOST_LOGINS, LOGIN_SECONDS = 10, 60.0
_MOST_VISITORS = 10_000

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


@dataclass(frozen=True)
class Refusal:
    """HTTP status and reason of a refused request."""

    status: int
    reason: str


@stream_request_body
class Refused(RequestHandler):
    """Answers with the reason of a refusal, and closes the connection without reading the body."""

    def initialize(self, refusal: Refusal) -> None:
        """Store the refusal, passed by Tornado."""
        self.refusal = refusal

    def prepare(self) -> None:
        """Answer before the body is read."""
        self.set_status(self.refusal.status)
        self.set_header("Content-Type", "text/plain; charset=utf-8")
        if self.refusal.status == 429:  # noqa: PLR2004 - too many requests
            self.set_header("Retry-After", str(round(LOGIN_SECONDS)))
        self.finish(f"{self.refusal.reason}\n")

    def data_received(self, chunk: bytes) -> Awaitable[None] | None:
        """Discard the body."""


class RequestGuard:
    """Decides on the requests of one server process.

    secret: signs sessions and cookies. sign: whether the server has given out nothing unsigned so far.
    """

    def __init__(self, *, secret: str, sign: bool) -> None:
        self.secret, self.sign = secret, sign
        self._known: set[int] = set()
        self._logins: dict[str, deque[float]] = {}

    def adopt(self, application: BokehTornado, *, port: int) -> None:
        """Apply settings for which `panel serve` has no option, once for each application."""
        if id(application) in self._known:
            return
        self._known.add(id(application))
        application.websocket_origins.update(f"{name}:{port}" for name in ("127.0.0.1", "localhost", "[::1]"))
        if self.sign and not application.sign_sessions:
            application._sign_sessions = True  # noqa: SLF001 - set by an environment variable alone otherwise
            application._secret_key = self.secret.encode()  # noqa: SLF001 - the same

    def refusal(self, application: BokehTornado, request: HTTPServerRequest) -> Refusal | None:
        """The reason why a request is refused, or None."""
        self.adopt(application, port=_own_end(request)[1])
        for check in (_too_large, self._remote_without_login, _cross_site, _not_from_page, self._too_many_logins):
            if (refusal := check(application, request)) is not None:
                return refusal
        return None

    @staticmethod
    def _remote_without_login(application: BokehTornado, request: HTTPServerRequest) -> Refusal | None:
        provider = application.auth_provider
        authenticated = provider.get_user is not None or provider.get_user_async is not None
        if not authenticated and not is_loopback(_own_end(request)[0]):
            return Refusal(403, "Without a login, this app can only be used on the machine it runs on.")
        if not _allowed(application, request.headers.get("Host", "")):
            return Refusal(400, "Unknown host name. To allow it, start the app with --allow-host HOST:PORT.")
        return None

    def _too_many_logins(self, application: BokehTornado, request: HTTPServerRequest) -> Refusal | None:
        login = application.auth_provider.login_url
        if login is None or request.method != "POST" or request.path != application.prefix + login:
            return None
        now = time.monotonic()
        if len(self._logins) > _MOST_VISITORS:
            self._logins.clear()
        times = self._logins.setdefault(request.remote_ip or "", deque(maxlen=MOST_LOGINS))
        if len(times) == MOST_LOGINS and now - times[0] < LOGIN_SECONDS:
            return Refusal(429, "Too many login attempts: wait a minute.")
        times.append(now)
        return None


def install(guard: RequestGuard) -> None:
    """Apply the guard to every request to this process, and add the headers to every response.

    `panel serve` runs an app only once its server is there, and gives it no hold of it. So methods of the classes are
    replaced that their documentation says may be: `Application.find_handler` and `RequestHandler.flush`.
    """
    find_handler, flush = BokehTornado.find_handler, RequestHandler.flush

    def find_guarded(self: BokehTornado, request: HTTPServerRequest, **more: object) -> HTTPMessageDelegate:
        refusal = guard.refusal(self, request)
        if refusal is None:
            _connection(request).set_max_body_size(LARGEST_BODY)
            return find_handler(self, request, **more)
        return self.get_handler_delegate(request, Refused, {"refusal": refusal})

    def flush_with_headers(self: RequestHandler, *rest: bool, **more: bool) -> Awaitable[None]:
        for name, value in HEADERS.items():
            self.set_header(name, value)
        return flush(self, *rest, **more)

    handlers: Any = RequestHandler
    BokehTornado.find_handler, handlers.flush = find_guarded, flush_with_headers


def _connection(request: HTTPServerRequest) -> HTTP1Connection:
    return cast("HTTP1Connection", request.connection)  # Tornado's server makes no other kind


def _own_end(request: HTTPServerRequest) -> tuple[str, int]:
    """Local address and port of the connection; a Unix socket counts as loopback."""
    name = _connection(request).stream.socket.getsockname()
    return (name[0], name[1]) if isinstance(name, tuple) else ("127.0.0.1", 0)


def _allowed(application: BokehTornado, host: str) -> bool:
    hosts = settings.allowed_ws_origin() or application.websocket_origins  # as Bokeh does
    return bool(host) and check_allowlist(host.lower(), hosts)


def _too_large(_application: BokehTornado, request: HTTPServerRequest) -> Refusal | None:
    length = request.headers.get("Content-Length", "0")
    if not length.isdecimal() or int(length) > LARGEST_BODY:
        return Refusal(413, f"The request body is larger than {LARGEST_BODY // 1024} kB.")
    return None


def _cross_site(application: BokehTornado, request: HTTPServerRequest) -> Refusal | None:
    """Refuse forms, websockets and frames of other sites, by the headers that browsers send."""
    websocket = request.headers.get("Upgrade", "").lower() == "websocket"
    origin = urlsplit(request.headers.get("Origin", "")).netloc
    if (websocket or request.method not in {"GET", "HEAD"}) and not _allowed(application, origin):
        return Refusal(403, "The request does not come from a page of this app.")
    site, mode = request.headers.get("Sec-Fetch-Site", "none"), request.headers.get("Sec-Fetch-Mode", "")
    opened = mode == "navigate" and request.headers.get("Sec-Fetch-Dest", "document") == "document"
    if site not in {"none", "same-origin"} and not opened:
        return Refusal(403, "Other sites may link to this app, but not embed it.")
    return None


def _not_from_page(application: BokehTornado, request: HTTPServerRequest) -> Refusal | None:
    """Refuse requests that the page of the app never makes."""
    chosen = {"bokeh-session-id", "bokeh-token"} & request.arguments.keys() or "Bokeh-Session-Id" in request.headers
    if chosen or request.path.endswith("/autoload.js"):
        return Refusal(403, "Sessions can only be started by the page of this app.")
    parts = request.path.removeprefix(application.prefix).split("/")
    if parts[1:2] == ["components"] and parts[2:3] and parts[2] not in sys.modules:
        return Refusal(404, "There is no such component.")  # looking for it would import any module of that name
    return None
