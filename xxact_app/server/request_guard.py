"""Requests that the server refuses before it reads them, and security headers of all responses.

Bokeh and Tornado leave open what is right for a server of libraries and wrong for one of people's measurements: any
name for the host, websockets without an origin, session numbers that the visitor chooses, forms sent by other sites,
bodies of 100 MB, log-ins without end.
"""

from __future__ import annotations

import sys
import time
from collections import deque
from collections.abc import Sequence
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from bokeh.server.tornado import DEFAULT_UNUSED_LIFETIME_MS, BokehTornado
from bokeh.server.util import check_allowlist
from bokeh.settings import settings

from xxact_app.api import handlers as api
from xxact_app.api.tokens import Tokens
from xxact_app.server.addresses import is_loopback
from xxact_app.server.api_guard import ApiGuard
from xxact_app.server.refusals import (
    LOGIN_SECONDS,
    MOST_LOGINS,
    Refusal,
    Refused,
    add_headers,
    connection,
    own_end,
)

if TYPE_CHECKING:
    from tornado.httputil import HTTPMessageDelegate, HTTPServerRequest

LARGEST_BODY = 64 * 1024
"""Largest body of an HTTP request [bytes]; the app only needs logins, since files are sent by websocket."""

LOADING_MILLISECONDS = 120_000
"""Time that a page may take from its HTML to its websocket [ms]; sessions of closed pages are dropped by the page."""

_MOST_VISITORS = 10_000


class RequestGuard:
    """Decides on the requests of one server process.

    secret: signs sessions and cookies. sign: whether the server has given out nothing unsigned so far. hosts: HOST:PORT
    that visitors type, beside those that Bokeh was given. tokens: of programs.
    """

    def __init__(self, *, secret: str, sign: bool, hosts: Sequence[str] = (), tokens: Tokens | None = None) -> None:
        self.secret, self.sign, self.hosts = secret, sign, tuple(hosts)
        self.programs = ApiGuard(tokens=tokens)
        self._known: set[int] = set()
        self._logins: dict[str, deque[float]] = {}

    def adopt(self, application: BokehTornado, *, port: int) -> None:
        """Apply settings for which `panel serve` has no option, once for each application."""
        if id(application) in self._known:
            return
        self._known.add(id(application))
        application.websocket_origins.update(f"{name}:{port}" for name in ("127.0.0.1", "localhost", "[::1]"))
        application.websocket_origins.update(self.hosts)
        if application._unused_session_lifetime_milliseconds == DEFAULT_UNUSED_LIFETIME_MS:  # noqa: SLF001 - no setter
            application._unused_session_lifetime_milliseconds = LOADING_MILLISECONDS  # noqa: SLF001 - as above
        if self.sign and not application.sign_sessions:
            application._sign_sessions = True  # noqa: SLF001 - set by an environment variable alone otherwise
            application._secret_key = self.secret.encode()  # noqa: SLF001 - the same

    def refusal(self, application: BokehTornado, request: HTTPServerRequest) -> Refusal | None:
        """The reason why a request is refused, or None."""
        if connection(request).stream.closed():
            return Refusal(400, "The connection was closed.")  # its ends are not known any more
        self.adopt(application, port=own_end(request)[1])
        if (path := api_path(application, request)) is not None:
            return self.programs.refusal(
                request, path, allowed=lambda host: _allowed(application, host), login=_has_login(application)
            )
        for check in (_too_large, self._remote_without_login, _cross_site, _not_from_page, self._too_many_logins):
            if (refusal := check(application, request)) is not None:
                return refusal
        return None

    @staticmethod
    def _remote_without_login(application: BokehTornado, request: HTTPServerRequest) -> Refusal | None:
        if not _has_login(application) and not is_loopback(own_end(request)[0]):
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

    `panel serve` runs an app only once its server is there, and gives it no hold of it. So a method is replaced of
    which the documentation says that it may be: `Application.find_handler`.
    """
    find_handler = BokehTornado.find_handler

    def find_guarded(self: BokehTornado, request: HTTPServerRequest, **more: object) -> HTTPMessageDelegate:
        refusal = guard.refusal(self, request)
        if refusal is None:
            path = api_path(self, request)
            if path is not None and (route := api.find_route(path)) is not None:
                connection(request).set_max_body_size(api.largest_body(route[0]))
                connection(request).set_body_timeout(api.BODY_SECONDS)
                return self.get_handler_delegate(request, route[0], path_kwargs=route[1])
            connection(request).set_max_body_size(LARGEST_BODY)
            return find_handler(self, request, **more)
        return self.get_handler_delegate(request, Refused, {"refusal": refusal})

    BokehTornado.find_handler = find_guarded
    add_headers()


def api_path(application: BokehTornado, request: HTTPServerRequest) -> str | None:
    """Path of a request of a program without the prefix of the server; None for those of pages."""
    path = request.path.removeprefix(application.prefix)
    return path if path == api.ROOT or path.startswith(f"{api.ROOT}/") else None


def _has_login(application: BokehTornado) -> bool:
    provider = application.auth_provider
    return provider.get_user is not None or provider.get_user_async is not None


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
