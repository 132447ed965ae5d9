"""Serves the app in this process, for `xxact app`: an installed package needs no script to serve."""

from __future__ import annotations

import logging
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import panel as pn
from bokeh.server.auth_provider import AuthModule
from bokeh.settings import settings
from panel.auth import AUTH_PROVIDERS
from panel.io.server import get_server

from xxact_app.api.tokens import Tokens
from xxact_app.server.addresses import split_hosts
from xxact_app.server.ports import check_port, configure_logging
from xxact_app.server.start import install_guard, show_page, signing_secret
from xxact_core.errors import InputError

logger = logging.getLogger(__name__)

ROUTE = "/app"
"""Path of the page, as with `panel serve app.py`."""


@dataclass(frozen=True)
class Login:
    """How visitors log in; no login is needed where both are None."""

    passwords: Path | None = None
    """JSON file of names and passwords; PANEL_BASIC_AUTH where not given."""

    oauth_provider: str | None = None
    """Name of one of Panel's OAuth providers; PANEL_OAUTH_PROVIDER where not given."""


def run_server(
    *,
    address: str,
    port: int,
    hosts: list[str],
    login: Login,
    tokens: Tokens | None,
    certificate: Path | None,
    key: Path | None,
    when_ready: Callable[[], None],
) -> None:
    """Serve the app until Ctrl+C or SIGTERM; the page is built once before the server listens.

    hosts: HOST:PORT of the address bar, from which websockets are accepted. tokens: of programs. when_ready: called
    once the server listens.
    Bokeh's and Panel's environment variables count as under `panel serve`.

    Raises:
        InputError: the port is taken, the address is not of this machine, the certificate cannot be used, or the OAuth
            provider is not known or lacks its key and secret (E_APP).
    """
    check_port(address, port)
    login_options = _login_options(login)
    configure_logging()
    secret = signing_secret()
    pn.config.cookie_secret = pn.config.cookie_secret or secret
    plain, bracketed = split_hosts(hosts)
    install_guard(secret, sign=True, hosts=bracketed, tokens=tokens)  # Bokeh refuses IPv6 addresses in its list
    try:
        server = get_server(
            {ROUTE: show_page},
            port=port,
            address=address,
            websocket_origin=plain or [f"localhost:{port}"],
            title="XxaCT",
            cookie_secret=pn.config.cookie_secret,
            warm=True,
            sign_sessions=True,
            secret_key=settings.secret_key_bytes() or secret.encode(),
            ssl_certfile=settings.ssl_certfile(None if certificate is None else str(certificate)),
            ssl_keyfile=settings.ssl_keyfile(None if key is None else str(key)),
            ssl_password=settings.ssl_password(),
            xsrf_cookies=settings.xsrf_cookies(),
            **login_options,
        )
    except ssl.SSLError as error:
        msg = f"the certificate or its private key cannot be used: {error}"
        raise InputError(msg, code="E_APP") from error
    except OSError as error:
        msg = f"the server cannot listen on {address}, port {port}: {error.strerror or error}"
        raise InputError(msg, code="E_APP") from error
    when_ready()
    server.run_until_shutdown()


def _login_options(login: Login) -> dict[str, Any]:
    """Arguments of Panel's server for the login."""
    module = settings.auth_module()
    passwords = pn.config.basic_auth if login.passwords is None else str(login.passwords)
    provider = login.oauth_provider or pn.config.oauth_provider
    if passwords:
        return {"basic_auth": passwords}
    if provider:
        _prepare_oauth(provider)
        return {"oauth_provider": provider}
    return {"auth_provider": AuthModule(module)} if module else {}


def _prepare_oauth(provider: str) -> None:
    """Check what an OAuth provider needs, and encrypt its tokens where a key is given."""
    if provider not in AUTH_PROVIDERS:
        msg = f"{provider!r} is not a known OAuth provider: expected one of {', '.join(sorted(AUTH_PROVIDERS))}"
        raise InputError(msg, code="E_APP")
    if provider != "pam" and not (pn.config.oauth_key and pn.config.oauth_secret):
        msg = f"logging in by {provider} needs the environment variables PANEL_OAUTH_KEY and PANEL_OAUTH_SECRET"
        raise InputError(msg, code="E_APP")
    if not pn.config.oauth_encryption_key:
        logger.warning("OAuth tokens are kept in cookies without encryption: set PANEL_OAUTH_ENCRYPTION")
        return
    try:
        from cryptography.fernet import Fernet  # noqa: PLC0415 - needed here only, and no dependency
    except ImportError as error:
        msg = "encrypting OAuth tokens (PANEL_OAUTH_ENCRYPTION) needs the package cryptography"
        raise InputError(msg, code="E_APP") from error
    pn.state.encryption = Fernet(pn.config.oauth_encryption_key)
