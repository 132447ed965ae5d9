"""Who is answered at /api/v1, by `xxact serve` and by the server of the app."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest
from api_programs import Program, serving
from serving_fixtures import XXACT_APP, served

from xxact_app.api.handlers import LARGEST_BODY
from xxact_app.api.tokens import Tokens
from xxact_app.server.refusals import HEADERS, LOGIN_SECONDS, MOST_LOGINS
from xxact_core.commands.main import main
from xxact_core.shipped import example_path

TOKEN = "a-token-of-sixteen-characters-or-more"  # noqa: S105 - of these tests alone
QUARTZ = example_path("quartz.xrdml").read_bytes()
XXACT_SERVE = ("xxact_core.commands.main", "serve")
EVERY = ("/read", "/predict", "/identify", "/phases", "/simulate", "/jobs/some", "/nothing", "/jobs", "/read/x")


@pytest.fixture(scope="module")
def open_port() -> Iterator[int]:
    """A server without tokens, for this machine alone."""
    with serving() as port:
        yield port


@pytest.fixture
def closed_port() -> Iterator[int]:
    """A server with a token."""
    with serving(Tokens({"robot": TOKEN})) as port:
        yield port


# ------------------------------------------------------------------------------------------------------- other pages
@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Origin": ""},
        {"Origin": "http://127.0.0.1.evil.example"},
        {"Sec_Fetch_Site": "cross-site", "Sec_Fetch_Mode": "no-cors"},
        {"Sec_Fetch_Site": "same-site", "Sec_Fetch_Mode": "cors"},
        {"Sec_Fetch_Site": "cross-site", "Sec_Fetch_Mode": "navigate", "Sec_Fetch_Dest": "document"},  # a form
    ],
)
def test_a_page_of_another_site_is_refused(headers: dict[str, str], open_port: int) -> None:
    answer = Program(open_port).ask("/read", method="POST", body=b"x", **headers)
    assert (answer.status, answer.code) == (403, "E_APP")


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example", "evil.example:80", ""])
def test_another_name_for_the_host_is_refused(host: str, open_port: int) -> None:
    answer = Program(open_port).ask("/openapi.json", Host=host)
    assert (answer.status, answer.code) == (400, "E_APP")
    assert Program(open_port).ask("/openapi.json", Host=f"localhost:{open_port}").status == 200


def test_a_program_and_a_page_of_this_server_are_answered(open_port: int) -> None:
    program = Program(open_port)
    assert program.post("read", file=QUARTZ, name="quartz.xrdml").status == 200
    answer = program.ask("/openapi.json", Origin=f"http://127.0.0.1:{open_port}", Sec_Fetch_Site="same-origin")
    assert answer.status == 200


# ------------------------------------------------------------------------------------------------------------- tokens
def test_every_address_wants_a_token_but_the_description(closed_port: int) -> None:
    stranger = Program(closed_port)
    for path in EVERY:
        for method in ("GET", "POST", "DELETE", "PUT"):
            answer = stranger.ask(path, method=method, body=b"" if method == "POST" else None)
            assert (answer.status, answer.code, answer.headers["Www-Authenticate"]) == (401, "E_APP", "Bearer")
    assert stranger.ask("").status == stranger.ask("/openapi.json").status == 200
    assert stranger.ask("/").headers["Location"] == "/api/v1"
    robot = Program(closed_port, token=TOKEN)
    assert robot.post("read", file=QUARTZ, name="quartz.xrdml").json["format"] == "XRDML"


def test_wrong_tokens_are_tried_ten_times_a_minute_at_most(closed_port: int) -> None:
    answers = [Program(closed_port, token=f"wrong {number}").ask("/jobs/x") for number in range(MOST_LOGINS + 5)]
    assert [answer.status for answer in answers] == [401] * MOST_LOGINS + [429] * 5
    assert answers[-1].headers["Retry-After"] == str(round(LOGIN_SECONDS))
    assert "token is wrong" in answers[0].json["error"]["message"]


def test_a_wrong_token_is_refused_before_the_body_is_read(closed_port: int) -> None:
    with socket.create_connection(("127.0.0.1", closed_port), timeout=60) as client:
        head = f"POST /api/v1/read HTTP/1.1\r\nHost: 127.0.0.1:{closed_port}\r\nContent-Length: 1000000\r\n\r\n"
        client.sendall(head.encode())
        assert b" 401 " in client.recv(100)


# --------------------------------------------------------------------------------------------------------------- size
def test_a_large_body_is_refused_before_it_is_read(open_port: int) -> None:
    for length in (LARGEST_BODY + 1, 10**12):
        with socket.create_connection(("127.0.0.1", open_port), timeout=60) as client:
            head = f"POST /api/v1/read HTTP/1.1\r\nHost: 127.0.0.1:{open_port}\r\nContent-Length: {length}\r\n\r\n"
            client.sendall(head.encode())
            assert b" 413 " in client.recv(100)
    assert Program(open_port).post("read", file=QUARTZ, name="quartz.xrdml").status == 200


@pytest.mark.parametrize(("path", "status"), [("read", b" 413 "), ("openapi.json", b" 400 ")])
def test_a_body_without_length_is_refused_at_the_limit(
    path: str, status: bytes, open_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    from xxact_app.api import handlers

    monkeypatch.setattr(handlers, "LARGEST_BODY", 2**20)
    answer, sent = b"", 0
    for _ in range(10):  # the reset of the connection may overtake the answer
        answer, sent = sent_in_chunks(open_port, path)
        if answer:
            break
    assert status in answer
    assert path != "read" or b"E_TOO_LARGE" in answer
    assert sent < 2**26


def sent_in_chunks(port: int, path: str) -> tuple[bytes, int]:
    """The answer to a body without length, empty if it was lost, and how much of 64 MiB could be sent."""
    chunk, answer, sent = b"10000\r\n" + b"0" * 0x10000 + b"\r\n", b"", 0
    with socket.create_connection(("127.0.0.1", port), timeout=60) as client, suppress(OSError):
        head = f"POST /api/v1/{path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nTransfer-Encoding: chunked\r\n\r\n"
        client.sendall(head.encode())
        while sent < 2**26:
            client.sendall(chunk)
            sent += 0x10000
            if not answer and sent >= 17 * 0x10000:
                answer = client.recv(10_000)
    return answer, sent


# -------------------------------------------------------------------------------------------------------- the command
def test_xxact_serve_answers_and_ends_with_what_it_started(tmp_path: Path) -> None:
    with served(tmp_path, workspace=tmp_path / "workspace", command=XXACT_SERVE) as server:
        answer = Program(server.port).post("read", file=QUARTZ, name="quartz.xrdml")
        assert answer.json["format"] == "XRDML"
        assert HEADERS.items() <= answer.headers.items()
        process = psutil.Process(server.process.pid)
        children = process.children(recursive=True)
        process.send_signal(signal.SIGTERM)
        assert server.process.wait(timeout=60) == 0
        assert psutil.wait_procs(children, timeout=30)[1] == []
    assert "Traceback" not in server.log.read_text()


@pytest.mark.parametrize(("options", "said"), [([], "needs tokens"), (["--tokens", "/nowhere/x.json"], "no such file")])
def test_an_address_that_others_reach_is_refused_without_tokens(
    options: list[str], said: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["xxact", "serve", "--address", "0.0.0.0", *options])  # noqa: S104 - refused
    with pytest.raises(SystemExit, match="2"):
        main()
    assert said in capsys.readouterr().err


@pytest.mark.slow
def test_the_server_of_the_app_answers_programs_with_a_token_where_visitors_log_in(tmp_path: Path) -> None:
    files = {"passwords": {"emmy": "Bragg 1913"}, "tokens": {"robot": TOKEN}}
    for name, content in files.items():
        (tmp_path / name).write_text(json.dumps(content))
        (tmp_path / name).chmod(0o600)
    options = ("--basic-auth", str(tmp_path / "passwords"), "--tokens", str(tmp_path / "tokens"))
    with served(tmp_path, *options, workspace=tmp_path / "workspace", command=XXACT_APP) as server:
        robot, stranger = Program(server.port, token=TOKEN), Program(server.port)
        assert robot.post("read", file=QUARTZ, name="quartz.xrdml").json["format"] == "XRDML"
        assert robot.post("predict", file=QUARTZ, name="quartz.xrdml", formula="SiO2").status == 200
        assert stranger.post("read", file=QUARTZ, name="quartz.xrdml").status == 401
        assert stranger.ask("/openapi.json").status == 200
        assert robot.ask("/read", method="POST", body=b"x", Origin="http://evil.example").status == 403
        with socket.create_connection(("127.0.0.1", server.port), timeout=60) as client:
            body = "Content-Length: 1000000000"
            client.sendall(f"POST /api/v1/read HTTP/1.1\r\nHost: 127.0.0.1:{server.port}\r\n{body}\r\n\r\n".encode())
            assert b" 413 " in client.recv(100)
    assert TOKEN not in server.log.read_text()


def test_help_of_serve_names_the_tokens() -> None:
    line = [sys.executable, "-m", *XXACT_SERVE, "--help"]
    assert "--tokens" in subprocess.run(line, capture_output=True, text=True, check=True).stdout
