"""Serves the interface for programs alone, for `xxact serve`."""

from __future__ import annotations

import asyncio
import signal
import ssl
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from bokeh.server.util import check_allowlist
from tornado.httpserver import HTTPServer
from tornado.httputil import HTTPMessageDelegate, HTTPServerRequest
from tornado.web import Application

from xxact_app.api.handlers import BODY_SECONDS, LARGEST_BODY, ROOT, find_route, largest_body
from xxact_app.api.tokens import Tokens
from xxact_app.library.models import SHIPPED, find_model, load_predictor
from xxact_app.library.phase_search import PROCESS
from xxact_app.server.addresses import split_hosts
from xxact_app.server.api_guard import ApiGuard
from xxact_app.server.ports import check_port, configure_logging
from xxact_app.server.refusals import Refusal, Refused, add_headers, connection
from xxact_core.errors import InputError
from xxact_core.readers.read_untrusted import prepare_reading


class ApiApplication(Application):
    """The interface for programs, behind its guard.

    hosts: HOST:PORT under which it may be asked.
    """

    def __init__(self, *, guard: ApiGuard, hosts: Sequence[str]) -> None:
        super().__init__()
        self._guard, self._hosts = guard, tuple(hosts)

    def find_handler(self, request: HTTPServerRequest, **_more: Any) -> HTTPMessageDelegate:  # type: ignore[override]  # noqa: ANN401 - as Tornado declares it, with a narrower type
        """The handler of a request, or of its refusal."""
        refusal = self._guard.refusal(request, request.path, allowed=self._allows, login=False)
        route = find_route(request.path)
        if refusal is None and route is None:
            refusal = Refusal(404, f"There is nothing here; the interface is at {ROOT}.", code="E_APP")
        if refusal is not None or route is None:
            return self.get_handler_delegate(request, Refused, {"refusal": refusal})
        connection(request).set_max_body_size(largest_body(route[0]))
        connection(request).set_body_timeout(BODY_SECONDS)
        return self.get_handler_delegate(request, route[0], path_kwargs=route[1])

    def _allows(self, host: str) -> bool:
        return bool(host) and check_allowlist(host.lower(), self._hosts)


def run_api_server(
    *,
    address: str,
    port: int,
    hosts: Sequence[str],
    tokens: Tokens | None,
    certificate: Path | None,
    key: Path | None,
    when_ready: Callable[[], None],
) -> None:
    """Serve the interface until Ctrl+C or SIGTERM; the model is loaded while the server listens already.

    Raises:
        InputError: the port is taken, the address is not of this machine, or the certificate cannot be used (E_APP).
    """
    check_port(address, port)
    configure_logging()
    add_headers()
    plain, bracketed = split_hosts(list(hosts))
    application = ApiApplication(guard=ApiGuard(tokens=tokens), hosts=[*plain, *bracketed])
    try:
        encryption = None if certificate is None else ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        if encryption is not None and certificate is not None:
            encryption.load_cert_chain(certificate, key)
    except (ssl.SSLError, OSError) as error:
        msg = f"the certificate or its private key cannot be used: {error}"
        raise InputError(msg, code="E_APP") from error
    asyncio.run(_serve(application, encryption, address=address, port=port, when_ready=when_ready))


async def _serve(
    application: Application,
    encryption: ssl.SSLContext | None,
    *,
    address: str,
    port: int,
    when_ready: Callable[[], None],
) -> None:
    server = HTTPServer(application, ssl_options=encryption, max_buffer_size=2 * LARGEST_BODY)
    try:
        server.listen(port, address)
    except OSError as error:
        msg = f"the server cannot listen on {address}, port {port}: {error.strerror or error}"
        raise InputError(msg, code="E_APP") from error
    threading.Thread(target=warm_up, daemon=True).start()
    stopped, loop = asyncio.Event(), asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stopped.set)
    when_ready()
    await stopped.wait()
    server.stop()
    await server.close_all_connections()


def warm_up() -> None:
    """Load what the first request of each kind needs."""
    prepare_reading()
    load_predictor(find_model(SHIPPED))
    PROCESS.prepare()
