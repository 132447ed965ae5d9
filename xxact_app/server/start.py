"""Start of each visit: access control, request guard, and an error page where the app cannot start."""

from __future__ import annotations

import argparse
import logging
import os
import secrets
import stat
import sys
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import panel as pn

from xxact_app.api.tokens import Tokens, given_tokens
from xxact_app.server.addresses import check_address
from xxact_app.server.garbage_collection import Collector, collect_when_idle
from xxact_app.server.message_order import keep_message_order
from xxact_core.errors import InputError

logger = logging.getLogger(__name__)

SECRET = "secret"  # noqa: S105 - the name of the file
_SECRET_BYTES = 32


def serve() -> None:
    """Serve the app to the present visitor of `panel serve app.py`; with `--warm`, before the first visit.

    A server on an address that others can reach, without a login, ends with the reason.
    """
    try:
        _protect()
    except InputError as error:
        logger.critical("%s", error)
        sys.exit(2)
    show_page()


def show_page() -> None:
    """Show the app to the present visitor, or that the app cannot be imported."""
    try:
        from xxact_app.page import page as shell  # noqa: PLC0415 - so that the page also reports a broken installation
    except Exception:
        logger.exception("the app cannot be imported")
        text = "The app cannot start. The installation may be incomplete: reinstall the package. "
        text += "See the server log for details."
        pn.pane.Alert(text, alert_type="danger").servable(title="XxaCT")
        return
    keep_message_order()
    shell.serve()
    _collector()  # begins with the first page
    pn.state.onload(_count_session)


def _count_session() -> None:
    """Count the present session as open until it ends; pages that no browser shows hold little memory."""
    _collector().session_began()
    pn.state.on_session_destroyed(_collector().session_ended)


@cache
def _collector() -> Collector:
    """Collects the garbage of this server when it is idle."""
    return collect_when_idle(loaded=not pn.state.headers)  # `--warm`


@cache
def _protect() -> None:
    """Guard this process of `panel serve` from its first visit on, once.

    Raises:
        InputError: it was started without a login on an address that other machines can reach, or its file of tokens
            cannot be used (E_APP).
    """
    started = sys.orig_argv  # of `panel serve`, which replaces `sys.argv` for the app
    check_address(_asked_address(started), authenticated=_authenticated(started))
    secret = signing_secret()
    pn.config.cookie_secret = pn.config.cookie_secret or secret
    before_visits = not pn.state.headers  # `--warm`
    install_guard(secret, sign=before_visits, tokens=given_tokens())


def install_guard(secret: str, *, sign: bool, hosts: Sequence[str] = (), tokens: Tokens | None = None) -> None:
    """Put the request guard in front of every application of this process, and the interface for programs beside them.

    sign: sessions that are not yet signed. hosts: further HOST:PORT of the address bar. tokens: of programs.
    """
    from xxact_app.server.request_guard import RequestGuard, install  # noqa: PLC0415 - only where there is a server

    install(RequestGuard(secret=secret, sign=sign, hosts=hosts, tokens=tokens))


def read_secret(folder: Path) -> str:
    """The secret of a workspace, created where it is missing or could be read or replaced by others."""
    path = folder / SECRET
    for _ in range(2):
        try:
            facts = path.lstat()
        except FileNotFoundError:
            _write_secret(path)
            continue
        if stat.S_ISREG(facts.st_mode) and not facts.st_mode & 0o077 and facts.st_size >= _SECRET_BYTES:
            break
        logger.warning("%s can be read by others and is replaced", path)
        path.unlink()
        _write_secret(path)
    return path.read_text(encoding="ascii")


def _write_secret(path: Path) -> None:
    """Write a new secret, unless another server has just done so."""
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="ascii") as file:
        file.write(secrets.token_urlsafe(_SECRET_BYTES))
    try:
        os.link(part, path)
    except FileExistsError:
        pass
    finally:
        part.unlink()


def signing_secret() -> str:
    """The secret of the workspace; where it cannot be written, one for this run of the server."""
    from xxact_app.library.workspace import open_workspace  # noqa: PLC0415 - as above

    try:
        return read_secret(open_workspace().root)
    except (InputError, OSError) as error:
        logger.warning("sessions are signed for this run of the server only: %s", error)
        return secrets.token_urlsafe(_SECRET_BYTES)


def _asked_address(arguments: list[str]) -> str:
    """The address that `panel serve` was given; without one it listens everywhere, and only the guard is between."""
    return _given(arguments, "--address") or "127.0.0.1"


def _authenticated(arguments: list[str]) -> bool:
    named = any(_given(arguments, option) for option in ("--basic-auth", "--oauth-provider", "--auth-module"))
    return bool(named or pn.config.basic_auth or pn.config.oauth_provider or os.environ.get("BOKEH_AUTH_MODULE"))


def _given(arguments: list[str], option: str) -> str | None:
    parser = argparse.ArgumentParser(add_help=False, exit_on_error=False, allow_abbrev=False)
    parser.add_argument(option, dest="value")
    try:
        return parser.parse_known_args(arguments)[0].value
    except argparse.ArgumentError:
        return None
