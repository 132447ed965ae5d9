"""Requests of other programs that the server refuses before it reads them.

Programs send no cookies and, unlike browsers, no `Origin`. So a request is refused if a header says that another page
has sent it, if its host name is unknown, and, wherever other machines or visitors with a login are served, if it has no
valid token.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from urllib.parse import urlsplit

from tornado.httputil import HTTPServerRequest

from xxact_app.api.handlers import LARGEST_BODY, OPEN, TOO_LARGE, find_route
from xxact_app.api.tokens import Tokens
from xxact_app.server.addresses import is_loopback
from xxact_app.server.refusals import LOGIN_SECONDS, MOST_LOGINS, Refusal, own_end

_MOST_VISITORS = 10_000


class ApiGuard:
    """Decides on the requests of programs to one server process.

    tokens: by which programs identify themselves; None where the server has none.
    """

    def __init__(self, *, tokens: Tokens | None) -> None:
        self.tokens = tokens
        self._wrong: dict[str, deque[float]] = {}

    def refusal(
        self, request: HTTPServerRequest, path: str, *, allowed: Callable[[str], bool], login: bool
    ) -> Refusal | None:
        """The reason why a request is refused, or None.

        Args:
            request: of which the headers have arrived.
            path: without the prefix of the server.
            allowed: whether HOST:PORT is a name of this server.
            login: whether visitors of the app log in.
        """
        return (
            _too_large(request)
            or _unknown_host(request, allowed)
            or _from_another_page(request, allowed)
            or self._without_token(request, path, login=login)
        )

    def _without_token(self, request: HTTPServerRequest, path: str, *, login: bool) -> Refusal | None:
        route = find_route(path)
        remote = not is_loopback(own_end(request)[0])
        if (route is not None and route[0] in OPEN) or (self.tokens is None and not login and not remote):
            return None
        if self.tokens is None:
            reason = "This server has no tokens for programs: start it with --tokens FILE."
            return Refusal(403, reason, code="E_APP")
        now, visitor = time.monotonic(), request.remote_ip or ""
        if len(self._wrong) > _MOST_VISITORS:
            self._wrong.clear()
        times = self._wrong.setdefault(visitor, deque(maxlen=MOST_LOGINS))
        if len(times) == MOST_LOGINS and now - times[0] < LOGIN_SECONDS:
            return Refusal(429, "Too many wrong tokens: wait a minute.", code="E_APP")
        header = request.headers.get("Authorization", "")
        if self.tokens.name_of(header) is not None:
            return None
        if header:
            times.append(now)
        what = "wrong" if header else "missing"
        return Refusal(401, f"The token is {what}: send the header Authorization: Bearer TOKEN.", code="E_APP")


def _too_large(request: HTTPServerRequest) -> Refusal | None:
    length = request.headers.get("Content-Length", "0")
    if not length.isdecimal() or int(length) > LARGEST_BODY:
        return Refusal(413, TOO_LARGE, code="E_TOO_LARGE")
    return None


def _unknown_host(request: HTTPServerRequest, allowed: Callable[[str], bool]) -> Refusal | None:
    if allowed(request.headers.get("Host", "")):
        return None
    reason = "Unknown host name. To allow it, start the server with --allow-host HOST:PORT."
    return Refusal(400, reason, code="E_APP")


def _from_another_page(request: HTTPServerRequest, allowed: Callable[[str], bool]) -> Refusal | None:
    """Refuse what pages of other sites send, by the headers that browsers add."""
    origin = request.headers.get("Origin")
    if origin is not None and not allowed(urlsplit(origin).netloc):
        return Refusal(403, "The request comes from a page of another site.", code="E_APP")
    site, mode = request.headers.get("Sec-Fetch-Site", "none"), request.headers.get("Sec-Fetch-Mode", "")
    opened = mode == "navigate" and request.headers.get("Sec-Fetch-Dest", "document") == "document"
    if site not in {"none", "same-origin"} and not (opened and request.method == "GET"):
        return Refusal(403, "The request comes from a page of another site.", code="E_APP")
    return None
