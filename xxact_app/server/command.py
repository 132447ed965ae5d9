"""The commands `xxact app`, `xxact serve` and `xxact mcp`.

The servers listen on this machine only, unless visitors have to identify themselves.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from xxact_app.api.tokens import TOKENS_VARIABLE, Tokens, given_tokens, read_private_json, read_tokens
from xxact_app.server.addresses import bare_address, check_address, is_loopback, split_hosts
from xxact_core.errors import InputError

app = typer.Typer()

PortOption = Annotated[int, typer.Option(help="Port of the server.", min=1, max=65535)]
WorkspaceOption = Annotated[
    Path | None, typer.Option(help="Folder for datasets and runs; XXACT_WORKSPACE where not given.")
]
HostOption = Annotated[
    list[str] | None, typer.Option(help="HOST:PORT that visitors type, where it is not ADDRESS:PORT.")
]
TokensOption = Annotated[
    Path | None,
    typer.Option(help=f'JSON file of {{"name": "token"}} for programs, readable by you alone; or {TOKENS_VARIABLE}.'),
]
CertificateOption = Annotated[Path | None, typer.Option(help="PEM file of a certificate, to serve by https.")]
KeyOption = Annotated[Path | None, typer.Option(help="Private key of the certificate.")]


@app.command(name="app")
def serve_app(
    *,
    port: PortOption = 5006,
    workspace: WorkspaceOption = None,
    source: Annotated[list[Path] | None, typer.Option(help="Folder that the app may read structures from.")] = None,
    address: Annotated[
        str, typer.Option(help="Address to listen on; one that other machines can reach needs a login.")
    ] = "127.0.0.1",
    allow_host: HostOption = None,
    basic_auth: Annotated[
        Path | None, typer.Option(help='JSON file of {"name": "password"}, readable by you alone.')
    ] = None,
    oauth: Annotated[
        str | None, typer.Option(help="OAuth provider for the login; its key and secret are read from PANEL_OAUTH_*.")
    ] = None,
    tokens: TokensOption = None,
    certificate: CertificateOption = None,
    key: KeyOption = None,
) -> None:
    """Serve the app, on this machine only (127.0.0.1) unless visitors have to log in.

    Programs are answered at /api/v1, too; see `xxact serve`.
    """
    address = bare_address(address)
    check_address(address, authenticated=basic_auth is not None or oauth is not None)
    hosts, shown = _hosts(address, port, allow_host)
    passwords = None if basic_auth is None else _checked_passwords(basic_auth)
    known = _tokens(tokens)
    _check_files(certificate, key)
    for folder in source or ():
        if not folder.is_dir():
            msg = f"there is no folder {folder}: --source expects a folder with structure files"
            raise InputError(msg, code="E_APP")
    _set_workspace(workspace)
    if source:
        os.environ["XXACT_SOURCES"] = os.pathsep.join(str(folder.resolve()) for folder in source)
    url = f"{'http' if certificate is None else 'https'}://{shown}/app"
    typer.echo("starting XxaCT ...")
    sys.stdout.flush()
    from xxact_app.server.in_process import Login, run_server  # noqa: PLC0415 - slow to import, and `--help` does without

    run_server(
        address=address,
        port=port,
        hosts=hosts,
        login=Login(passwords=passwords, oauth_provider=oauth),
        tokens=known,
        certificate=certificate,
        key=key,
        when_ready=lambda: typer.echo(f"XxaCT is at {url} (Ctrl+C stops it)"),
    )


@app.command()
def serve(
    *,
    port: PortOption = 5006,
    workspace: WorkspaceOption = None,
    address: Annotated[
        str, typer.Option(help="Address to listen on; one that other machines can reach needs tokens.")
    ] = "127.0.0.1",
    allow_host: HostOption = None,
    tokens: TokensOption = None,
    certificate: CertificateOption = None,
    key: KeyOption = None,
) -> None:
    """Answer other programs over HTTP, without the app: read, predict, identify, phases and simulate at /api/v1.

    On this machine only (127.0.0.1), where no token is needed, unless there are tokens.
    """
    address = bare_address(address)
    known = _tokens(tokens)
    check_address(address, authenticated=known is not None, needed="tokens (xxact serve --tokens FILE)")
    hosts, shown = _hosts(address, port, allow_host)
    _check_files(certificate, key)
    _set_workspace(workspace)
    url = f"{'http' if certificate is None else 'https'}://{shown}/api/v1"
    from xxact_app.server.api_server import run_api_server  # noqa: PLC0415 - slow to import, and `--help` does without

    def announce() -> None:
        typer.echo(f"XxaCT answers programs at {url} (Ctrl+C stops it)")
        sys.stdout.flush()

    run_api_server(
        address=address,
        port=port,
        hosts=hosts,
        tokens=known,
        certificate=certificate,
        key=key,
        when_ready=announce,
    )


@app.command()
def mcp(*, workspace: WorkspaceOption = None) -> None:
    """Offer tools to an agent by the Model Context Protocol, over standard input and output.

    Needs the extra `mcp`: pip install "xxact[mcp]". The agent can read every file that you can, and writes to the
    workspace alone.
    """
    _set_workspace(workspace)
    from xxact_app.api.mcp_server import run_mcp_server  # noqa: PLC0415 - needs the extra, which may be missing

    run_mcp_server()


def _hosts(address: str, port: int, allowed: list[str] | None) -> tuple[list[str], str]:
    """HOST:PORT under which the server may be asked, and the one to show.

    Raises:
        InputError: one of those allowed is no host (E_APP).
    """
    own = f"[{address}]:{port}" if ":" in address else f"{address}:{port}"
    split_hosts(allowed or [])
    hosts = [f"127.0.0.1:{port}", f"localhost:{port}"] if is_loopback(address) else []
    return [*dict.fromkeys([*hosts, own]), *(allowed or [])], (allowed or [own])[0]


def _tokens(file: Path | None) -> Tokens | None:
    return given_tokens() if file is None else read_tokens(file)


def _check_files(certificate: Path | None, key: Path | None) -> None:
    for file in (certificate, key):
        if file is not None and not file.is_file():
            msg = f"there is no file {file}: expected a certificate and its private key in PEM format"
            raise InputError(msg, code="E_APP")


def _set_workspace(workspace: Path | None) -> None:
    """Use a workspace in this process and those that it starts; raises `InputError` where it cannot be written."""
    if workspace is None:
        return
    from xxact_app.library.workspace import open_workspace  # noqa: PLC0415 - `--help` does without

    open_workspace(workspace, sources=())
    os.environ["XXACT_WORKSPACE"] = str(workspace.resolve())


def _checked_passwords(file: Path) -> Path:
    """The file of names and passwords.

    Raises:
        InputError: it is not there, others can read it, or it holds something else (E_APP).
    """
    passwords = read_private_json(file, "passwords", expected="names and passwords")
    words = passwords.values() if isinstance(passwords, dict) else ()
    if not words or not all(isinstance(word, str) and word for word in words):
        msg = f'{file} holds no passwords: expected {{"name": "password", ...}}'
        raise InputError(msg, code="E_APP")
    return file.resolve()
