"""The command `xxact app`: serve the app, on this machine only unless visitors have to log in."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from xxact_app.server.addresses import check_address, is_loopback
from xxact_core.errors import InputError, os_error_to_text

app = typer.Typer()


@app.command(name="app")
def serve(
    *,
    port: Annotated[int, typer.Option(help="Port of the server.", min=1, max=65535)] = 5006,
    workspace: Annotated[
        Path | None, typer.Option(help="Folder for datasets and runs; XXACT_WORKSPACE where not given.")
    ] = None,
    source: Annotated[list[Path] | None, typer.Option(help="Folder that the app may read structures from.")] = None,
    address: Annotated[
        str, typer.Option(help="Address to listen on; one that other machines can reach needs a login.")
    ] = "127.0.0.1",
    allow_host: Annotated[
        list[str] | None, typer.Option(help="HOST:PORT that visitors type, where it is not ADDRESS:PORT.")
    ] = None,
    basic_auth: Annotated[
        Path | None, typer.Option(help='JSON file of {"name": "password"}, readable by you alone.')
    ] = None,
    oauth: Annotated[
        str | None, typer.Option(help="OAuth provider for the login; its key and secret are read from PANEL_OAUTH_*.")
    ] = None,
    certificate: Annotated[Path | None, typer.Option(help="PEM file of a certificate, to serve the app by https.")] = (
        None
    ),
    key: Annotated[Path | None, typer.Option(help="Private key of the certificate.")] = None,
) -> None:
    """Serve the app, on this machine only (127.0.0.1) unless visitors have to log in."""
    check_address(address, authenticated=basic_auth is not None or oauth is not None)
    own = f"[{address}]:{port}" if ":" in address else f"{address}:{port}"
    hosts = [f"127.0.0.1:{port}", f"localhost:{port}"] if is_loopback(address) else [own]
    passwords = None if basic_auth is None else _checked_passwords(basic_auth)
    for file in (certificate, key):
        if file is not None and not file.is_file():
            msg = f"there is no file {file}: expected a certificate and its private key in PEM format"
            raise InputError(msg, code="E_APP")
    for folder in source or ():
        if not folder.is_dir():
            msg = f"there is no folder {folder}: --source expects a folder with structure files"
            raise InputError(msg, code="E_APP")
    if workspace is not None:
        from xxact_app.library.workspace import open_workspace  # noqa: PLC0415 - `--help` does without

        open_workspace(workspace, sources=())  # raises where it cannot be written
        os.environ["XXACT_WORKSPACE"] = str(workspace.resolve())
    if source:
        os.environ["XXACT_SOURCES"] = os.pathsep.join(str(folder.resolve()) for folder in source)
    scheme = "http" if certificate is None else "https"
    url = f"{scheme}://{(allow_host or [own])[0]}/app"
    typer.echo("starting XxaCT ...")
    sys.stdout.flush()
    from xxact_app.server.in_process import Login, run_server  # noqa: PLC0415 - slow to import, and `--help` does without

    run_server(
        address=address,
        port=port,
        hosts=[*hosts, *(allow_host or [])],
        login=Login(passwords=passwords, oauth_provider=oauth),
        certificate=certificate,
        key=key,
        when_ready=lambda: typer.echo(f"XxaCT is at {url} (Ctrl+C stops it)"),
    )


def _checked_passwords(file: Path) -> Path:
    """The file of names and passwords.

    Raises:
        InputError: it is not there, others can read it, or it holds something else (E_APP).
    """
    try:
        open_to_others = os.name == "posix" and file.stat().st_mode & 0o077
        passwords = json.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(os_error_to_text(error), code="E_APP") from error
    except ValueError as error:
        msg = f"{file} cannot be read as JSON: expected names and passwords"
        raise InputError(msg, code="E_APP") from error
    if open_to_others:
        msg = f"others on this machine can read the passwords in {file}: chmod 600 {file}"
        raise InputError(msg, code="E_APP")
    words = passwords.values() if isinstance(passwords, dict) else ()
    if not words or not all(isinstance(word, str) and word for word in words):
        msg = f'{file} holds no passwords: expected {{"name": "password", ...}}'
        raise InputError(msg, code="E_APP")
    return file.resolve()
