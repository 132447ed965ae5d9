"""The command `xxact app`: serve the app, on this machine only unless visitors have to log in."""

from __future__ import annotations

import ipaddress
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Annotated

import typer

from xxact_core.errors import InputError

app = typer.Typer()


def is_loopback(address: str) -> bool:
    """Whether only programs of this machine reach an address, a number of IPv4 or IPv6 or the name `localhost`."""
    if address == "localhost":
        return True
    try:
        number = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return False
    return (getattr(number, "ipv4_mapped", None) or number).is_loopback


def check_address(address: str, *, authenticated: bool) -> None:
    """Whoever reaches the app reads what was dropped and starts trainings: outside of this machine only known people.

    Raises:
        InputError: other machines could reach the address, and nobody has to log in (E_APP).
    """
    if not authenticated and not is_loopback(address):
        msg = f"the app is not served on {address} to anybody who can reach it: serve it on 127.0.0.1, or let visitors "
        msg += "log in (xxact app --basic-auth FILE, or --oauth PROVIDER)"
        raise InputError(msg, code="E_APP")


@app.command(name="app")
def serve(
    *,
    port: Annotated[int, typer.Option(help="Of the server.", min=1, max=65535)] = 5006,
    workspace: Annotated[Path | None, typer.Option(help="Folder for data sets and runs; or XXACT_WORKSPACE.")] = None,
    source: Annotated[list[Path] | None, typer.Option(help="Folder that the app may read structures from.")] = None,
    address: Annotated[str, typer.Option(help="To listen on; another than this machine's own needs a log-in.")] = (
        "127.0.0.1"
    ),
    allow_host: Annotated[
        list[str] | None, typer.Option(help="HOST:PORT that visitors type, where it is not ADDRESS:PORT.")
    ] = None,
    basic_auth: Annotated[
        Path | None, typer.Option(help='JSON file of {"name": "password"}, readable by you alone.')
    ] = None,
    oauth: Annotated[
        str | None, typer.Option(help="Provider that knows the visitors; its key and secret are in PANEL_OAUTH_*.")
    ] = None,
    certificate: Annotated[Path | None, typer.Option(help="PEM file; then the app is served by https.")] = None,
    key: Annotated[Path | None, typer.Option(help="Private key of the certificate.")] = None,
) -> None:
    """Serve the app, on this machine only (127.0.0.1) unless visitors log in."""
    script = Path(__file__).resolve().parent.parent / "app.py"
    if not script.is_file():
        msg = f"the app is served from a checkout of the project, and there is no {script}"
        raise InputError(msg, code="E_APP")
    check_address(address, authenticated=basic_auth is not None or oauth is not None)
    command = [sys.executable, "-m", "panel", "serve", str(script), "--address", address, "--port", str(port), "--warm"]
    own = f"[{address}]:{port}" if ":" in address else f"{address}:{port}"
    hosts = [f"127.0.0.1:{port}", f"localhost:{port}"] if is_loopback(address) else [own]
    for host in (*hosts, *(allow_host or [])):
        command += ["--allow-websocket-origin", host]
    if basic_auth is not None:
        command += ["--basic-auth", str(_checked_passwords(basic_auth))]
    command += ["--oauth-provider", oauth] if oauth else []
    command += ["--ssl-certfile", str(certificate)] if certificate else []
    command += ["--ssl-keyfile", str(key)] if key else []
    scheme = "http" if certificate is None else "https"
    typer.echo(f"XxaCT is on its way to {scheme}://{(allow_host or [own])[0]}/app (stop it with Ctrl+C)")
    given = {} if workspace is None else {"XXACT_WORKSPACE": str(workspace.resolve())}
    given |= {"XXACT_SOURCES": os.pathsep.join(str(folder.resolve()) for folder in source)} if source else {}
    sys.stdout.flush()
    if os.name == "posix":  # the server takes the place of this process, and so its signals
        os.execve(command[0], command, {**os.environ, **given})  # noqa: S606 - fixed command, checked values
    raise typer.Exit(subprocess.call(command, env={**os.environ, **given}))  # noqa: S603 - the same


def _checked_passwords(file: Path) -> Path:
    """The file of names and passwords.

    Raises:
        InputError: it is not there, others can read it, or it holds something else (E_APP).
    """
    try:
        open_to_others = os.name == "posix" and file.stat().st_mode & 0o077
        passwords = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
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
