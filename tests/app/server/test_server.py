from __future__ import annotations

import asyncio
import http.client
import json
import re
import signal
import socket
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import urlencode

import psutil
import pytest
from serving_fixtures import PANEL_SERVE, REPOSITORY, XXACT_APP, Served, free_port, served, started
from tornado.httpclient import HTTPRequest
from tornado.ioloop import IOLoop
from tornado.websocket import websocket_connect

from xxact_app.server import in_process
from xxact_app.server import start as serving
from xxact_app.server.addresses import bare_address, check_address, is_loopback, split_hosts
from xxact_app.server.refusals import HEADERS, MOST_LOGINS
from xxact_app.server.request_guard import LARGEST_BODY, RequestGuard
from xxact_core.commands.main import main
from xxact_core.errors import InputError

PASSWORD = "Bragg 1913"  # noqa: S105 - of the server of these tests alone

WITHOUT_LOGIN = {
    "/favicon.ico": 200,
    "/app/ws": 403,
    "/app/metadata": 302,
    "/app/autoload.js": 403,
    "/app": 302,
    "/": 302,
    "/login": 200,
    "/logout": 200,
    "/app/static/none.js": 404,  # from here on files of the libraries, which anybody has
    "/static/js/bokeh.min.js": 200,
    "/static/extensions/panel/panel.min.js": 200,
    "/components/xxact_app.ui.file_drop/FileDrop/_stylesheets/none.css": 403,
}
"""Routes of the app, and what they answer to a visitor without a log-in."""


class Visitor:
    """Asks the server over HTTP, as a browser does on a page of the app; with a log-in where a cookie is given."""

    def __init__(self, server: Served, *, cookie: str = "") -> None:
        self.server, self.cookie = server, cookie

    def ask(
        self, path: str, *, method: str = "GET", body: str | None = None, **headers: str
    ) -> tuple[int, dict[str, str], str]:
        connection = http.client.HTTPConnection("127.0.0.1", self.server.port, timeout=60)
        given = {"Cookie": self.cookie} if self.cookie else {}
        given |= {name.replace("_", "-"): value for name, value in headers.items()}
        try:
            connection.request(method, path, body=body, headers=given)
            answer = connection.getresponse()
            return answer.status, dict(answer.getheaders()), answer.read().decode(errors="replace")
        finally:
            connection.close()

    def log_in(self, password: str) -> tuple[int, dict[str, str], str]:
        form = urlencode({"username": "emmy", "password": password})
        kind = "application/x-www-form-urlencoded"
        return self.ask("/login", method="POST", body=form, Origin=self.server.root, Content_Type=kind)

    def open_websocket(self, token: str) -> object:
        """What the server says first over a websocket; None where it only closes it."""

        async def talk() -> object:
            headers = {"Cookie": self.cookie, "Origin": self.server.root}
            request = HTTPRequest(f"ws://127.0.0.1:{self.server.port}/app/ws", headers=headers, request_timeout=60)
            socket = await websocket_connect(request, subprotocols=["bokeh", token])
            try:
                return await asyncio.wait_for(socket.read_message(), 60)
            finally:
                socket.close()

        loop = IOLoop(make_current=False)
        try:
            return loop.run_sync(talk)
        finally:
            loop.close(all_fds=True)  # the other side need not have closed it yet

    def token(self) -> str:
        return re.findall(r'"token":"([^"]+)"', self.ask("/app")[2])[0]


LIST_ROUTES = """
import json, os
from bokeh.server.tornado import BokehTornado

begin = BokehTornado.start

def start(self):
    routes = [rule.matcher.regex.pattern for rule in self.wildcard_router.rules]
    with open(os.environ["ROUTES"], "w") as file:
        json.dump(routes, file)
    begin(self)

BokehTornado.start = start
"""
"""What Python runs when it starts (`sitecustomize`), so that the server itself tells its routes."""


@pytest.fixture(scope="module", params=[XXACT_APP, PANEL_SERVE], ids=["xxact app", "panel serve"])
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("serving")
    passwords = folder / "passwords.json"
    passwords.write_text(json.dumps({"emmy": PASSWORD}))
    passwords.chmod(0o600)
    (folder / "sitecustomize.py").write_text(LIST_ROUTES)
    surroundings = {"PYTHONPATH": f"{folder}:{REPOSITORY}", "ROUTES": str(folder / "routes.json")}
    options = ("--basic-auth", str(passwords))
    workspace = folder / "workspace"
    with served(folder, *options, workspace=workspace, command=request.param, **surroundings) as server:
        yield server


@pytest.fixture(scope="module")
def stranger(server: Served) -> Visitor:
    return Visitor(server)


@pytest.fixture(scope="module")
def emmy(server: Served) -> Visitor:
    """A visitor who has logged in."""
    status, headers, _ = Visitor(server).log_in(PASSWORD)
    assert (status, "error" in headers["Location"]) == (302, False)
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
    connection.request(
        "POST", "/login", body=urlencode({"username": "emmy", "password": PASSWORD}),
        headers={"Origin": server.root, "Content-Type": "application/x-www-form-urlencoded"},
    )  # fmt: skip
    with connection.getresponse() as answer:
        cookies = answer.headers.get_all("Set-Cookie")
    connection.close()
    return Visitor(server, cookie="; ".join(cookie.partition(";")[0] for cookie in cookies))


# -------------------------------------------------------------------------------------------------- who may be served
@pytest.mark.parametrize("address", ["127.0.0.1", "127.8.0.1", "::1", "::ffff:127.0.0.1", "localhost"])
def test_this_machine_alone_reaches_a_loopback_address(address: str) -> None:
    assert is_loopback(address)
    check_address(address, authenticated=False)


def test_ipv6_hosts_are_kept_apart_because_bokeh_refuses_them() -> None:
    hosts = ["Lab.example:80", "10.0.0.7:5006", "lab", "[::1]:5006", "[2001:DB8::7]"]
    assert split_hosts(hosts) == (
        ["lab.example:80", "10.0.0.7:5006", "lab:80"], ["[::1]:5006", "[2001:db8::7]:80"],
    )  # fmt: skip
    assert bare_address("[::1]") == "::1"


@pytest.mark.parametrize("host", ["::1:5006", "lab:http", "", ":80", "[::1", "[1.2.3.4]:80", "[::1]5006"])
def test_what_is_no_host_is_refused_before_the_server_starts(host: str) -> None:
    with pytest.raises(InputError, match="is not a host"):
        split_hosts([host])


@pytest.mark.parametrize("address", ["0.0.0.0", "", "::", "192.168.1.7", "fe80::1%eth0", "lab.example", "127.0.0.1.x"])  # noqa: S104 - refused
def test_an_address_that_others_reach_is_refused_without_a_log_in(
    address: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["xxact", "app", "--address", address])
    with pytest.raises(SystemExit, match="2"):
        main()
    assert "needs a login" in capsys.readouterr().err
    check_address(address, authenticated=True)


def test_panel_serve_ends_with_the_reason_where_others_could_reach_the_app(tmp_path: Path) -> None:
    line = [sys.executable, "-m", "panel", "serve", "app.py", "--address", "0.0.0.0", "--port", str(free_port())]  # noqa: S104 - refused
    with started([*line, "--warm"], tmp_path / "log", XXACT_WORKSPACE=str(tmp_path)) as process:
        assert process.wait(timeout=120) == 2
    assert "needs a login" in (tmp_path / "log").read_text()


@pytest.mark.parametrize(("own", "login", "status"), [("10.0.0.7", None, 403), ("10.0.0.7", str, None)])
def test_a_request_from_another_machine_is_answered_only_with_a_log_in(
    own: str, login: object, status: int | None
) -> None:
    application = SimpleNamespace(
        websocket_origins={f"{own}:5006"}, sign_sessions=True, prefix="", _unused_session_lifetime_milliseconds=1,
        auth_provider=SimpleNamespace(get_user=login, get_user_async=None, login_url=None),
    )  # fmt: skip
    socket = SimpleNamespace(getsockname=lambda: (own, 5006))
    end = SimpleNamespace(stream=SimpleNamespace(closed=lambda: False, socket=socket))
    headers = {"Host": f"{own}:5006"}
    request = SimpleNamespace(headers=headers, method="GET", path="/app", arguments={}, connection=end)
    refusal = RequestGuard(secret="", sign=False).refusal(application, request)
    assert (refusal and refusal.status) == status
    end.stream = SimpleNamespace(closed=lambda: True, socket=None)
    assert RequestGuard(secret="", sign=False).refusal(application, request).status == 400


@pytest.mark.parametrize("content", ["[]", '{"emmy": ""}', "emmy:Bragg"])
def test_a_file_without_passwords_and_one_that_others_can_read_are_refused(
    content: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "passwords.json"
    monkeypatch.setattr(sys, "argv", ["xxact", "app", "--basic-auth", str(file)])
    for text, mode, said in ((content, 0o600, "passwords"), ('{"emmy": "x"}', 0o640, "chmod 600")):
        file.write_text(text)
        file.chmod(mode)
        with pytest.raises(SystemExit, match="2"):
            main()
        assert said in capsys.readouterr().err


# ------------------------------------------------------------------------------------------------------------ log-in
def test_every_route_wants_a_log_in_but_files_of_libraries(server: Served, stranger: Visitor) -> None:
    answers = {path: stranger.ask(path) for path in WITHOUT_LOGIN}
    routes = json.loads((server.log.parent / "routes.json").read_text())
    tried = {path: [route for route in routes if re.fullmatch(route, path)] for path in WITHOUT_LOGIN}
    assert all(tried.values())
    assert set(routes) == {matched[0] for matched in tried.values()}, "a new route needs a line in WITHOUT_LOGIN"
    assert {path: answer[0] for path, answer in answers.items()} == WITHOUT_LOGIN
    redirected = [headers["Location"] for status, headers, _ in answers.values() if status == 302]
    assert all(place.startswith(("/login", "./login")) for place in redirected)
    assert all(HEADERS.items() <= headers.items() for _, headers, _ in answers.values())


def test_who_has_logged_in_gets_a_page_that_no_other_page_may_frame(emmy: Visitor) -> None:
    status, headers, page = emmy.ask("/app")
    assert status == 200
    assert "XxaCT" in page
    assert "frame-ancestors 'none'" in headers["Content-Security-Policy"]
    for site, mode, kind, answer in (
        ("cross-site", "navigate", "document", 200),
        ("cross-site", "navigate", "iframe", 403),
        ("same-site", "cors", "empty", 403),
    ):
        asked = emmy.ask("/app", Sec_Fetch_Site=site, Sec_Fetch_Mode=mode, Sec_Fetch_Dest=kind)
        assert asked[0] == answer


@pytest.mark.parametrize("origin", ["http://evil.example", "null", "http://127.0.0.1:1", None])
def test_a_form_that_another_site_sends_is_refused(origin: str | None, stranger: Visitor) -> None:
    headers = {} if origin is None else {"Origin": origin}
    form = urlencode({"username": "emmy", "password": PASSWORD})
    assert stranger.ask("/login", method="POST", body=form, **headers)[0] == 403


def test_a_cookie_that_the_server_did_not_sign_is_no_log_in(server: Served) -> None:
    forged = "2|1:0|10:1700000000|4:user|8:ZW1teQ==|" + "0" * 64
    assert Visitor(server, cookie=f'user="{forged}"').ask("/app")[0] == 302


# -------------------------------------------------------------------------------------------- websockets and sessions
@pytest.mark.parametrize(
    "origin", ["http://evil.example", "http://127.0.0.1.evil.example", "http://127.0.0.1:1", "null", "", None]
)
def test_a_websocket_of_another_origin_is_refused(origin: str | None, emmy: Visitor) -> None:
    headers = {"Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Key": "MTIzNDU2Nzg5MDEyMzQ1Ng=="}
    headers |= {"Sec-WebSocket-Version": "13", **({} if origin is None else {"Origin": origin})}
    assert emmy.ask("/app/ws", **headers)[0] == 403


def test_a_websocket_opens_with_a_signed_token_and_not_with_a_forged_one(emmy: Visitor) -> None:
    token = emmy.token()
    assert "ACK" in str(emmy.open_websocket(token))
    payload, _, signature = token.rpartition(".")
    for forged in (f"{payload}.{signature[::-1]}", payload, f"{payload[:-2]}.{signature}"):
        assert emmy.open_websocket(forged) is None


def test_a_session_that_the_visitor_names_is_refused(emmy: Visitor) -> None:
    assert emmy.ask("/app?bokeh-session-id=mine")[0] == 403
    assert emmy.ask("/app?bokeh-token=mine")[0] == 403
    assert emmy.ask("/app", Bokeh_Session_Id="mine")[0] == 403


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example", "127.0.0.1", ""])
def test_another_name_for_the_host_is_refused(host: str, stranger: Visitor) -> None:
    assert stranger.ask("/login", Host=host)[0] == 400
    assert stranger.ask("/login", Host=f"localhost:{stranger.server.port}")[0] == 200


# ---------------------------------------------------------------------------------------------------------- abuse
def test_a_large_body_is_refused_before_it_is_read(server: Served, stranger: Visitor) -> None:
    process = psutil.Process(server.process.pid)
    before = process.memory_info().rss
    for length in (LARGEST_BODY + 1, 10**9, 10**30):
        with socket.create_connection(("127.0.0.1", server.port), timeout=60) as client:
            host = f"127.0.0.1:{server.port}"
            head = f"POST /login HTTP/1.1\r\nHost: {host}\r\nOrigin: http://{host}\r\nContent-Length: {length}\r\n\r\n"
            client.sendall(head.encode())
            assert b" 413 " in client.recv(100)
    with socket.create_connection(("127.0.0.1", server.port), timeout=60) as client:
        head = head.replace(f"Content-Length: {length}", "Transfer-Encoding: chunked")
        client.sendall(head.encode())
        sent = 0
        with suppress(OSError):
            while sent < 64 * 2**20:
                client.sendall(b"10000\r\n" + b"0" * 0x10000 + b"\r\n")
                sent += 0x10000
    assert sent < 64 * 2**20
    assert process.memory_info().rss - before < 20 * 2**20
    assert stranger.ask("/login")[0] == 200


def test_a_component_is_served_but_no_module_imported_for_it(stranger: Visitor) -> None:
    assert stranger.ask("/components/xxact_app.ui.file_drop/FileDrop/_stylesheets/file_drop.css")[0] == 200
    assert stranger.ask("/components/antigravity/x/_css/y")[0] == 404
    for path in ("/components/xxact_app.ui.file_drop/FileDrop/_stylesheets/../workspace.py", "/static/../../../app.py"):
        assert stranger.ask(path)[0] in {403, 404}


def test_errors_tell_nothing_of_the_server(stranger: Visitor, emmy: Visitor) -> None:
    for answer in (stranger.ask("/<script>x</script>"), emmy.ask("/app", method="DELETE", Origin=emmy.server.root)):
        assert answer[0] in {404, 405}
        assert not re.search(r"Traceback|\.py|<script>", answer[2])
    assert "&lt;script" in stranger.ask("/login?error=%3Cscript%3E")[2]


def test_wrong_passwords_are_tried_ten_times_a_minute_at_most(emmy: Visitor, stranger: Visitor) -> None:
    answers = [stranger.log_in(f"wrong {number}") for number in range(50)]
    statuses = [status for status, _, _ in answers]
    assert all("error" in headers["Location"] for status, headers, _ in answers if status == 302)
    assert statuses.count(429) >= 50 - MOST_LOGINS
    assert statuses[-1] == 429
    assert answers[-1][1]["Retry-After"] == "60"
    assert emmy.ask("/app")[0] == 200, "who is inside stays inside"


# ------------------------------------------------------------------------------------------------------------- secret
def test_the_secret_is_for_its_owner_alone_and_the_same_for_two_servers(tmp_path: Path) -> None:
    secret = serving.read_secret(tmp_path)
    assert len(secret) >= 43
    assert stat.S_IMODE((tmp_path / serving.SECRET).stat().st_mode) == 0o600
    assert serving.read_secret(tmp_path) == secret
    assert [path.name for path in tmp_path.iterdir()] == [serving.SECRET]


@pytest.mark.parametrize("fault", ["readable", "link", "short"])
def test_a_secret_that_others_may_know_is_made_again(fault: str, tmp_path: Path) -> None:
    path = tmp_path / serving.SECRET
    old = serving.read_secret(tmp_path)
    if fault == "readable":
        path.chmod(0o644)
    elif fault == "link":
        path.rename(tmp_path / "elsewhere")
        path.symlink_to(tmp_path / "elsewhere")
    else:
        path.write_text(old := "abc")
    assert serving.read_secret(tmp_path) != old
    assert not path.is_symlink()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_the_secret_is_nowhere_but_in_its_file(server: Served) -> None:
    secret = next(server.log.parent.glob(f"workspace/{serving.SECRET}")).read_text()
    assert secret not in server.log.read_text()
    main_process = psutil.Process(server.process.pid)
    for process in (main_process, *main_process.children(recursive=True)):
        assert secret not in str(process.cmdline()) + str(process.environ())


def test_an_app_that_cannot_be_imported_says_so_without_a_traceback(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    shown: list[str] = []
    monkeypatch.setattr(serving, "_protect", lambda: None)
    monkeypatch.setattr(serving.pn.pane.Alert, "servable", lambda alert, **_: shown.append(alert.object))
    monkeypatch.setitem(sys.modules, "xxact_app.page.page", None)
    monkeypatch.delattr("xxact_app.page.page", raising=False)
    serving.serve()
    assert "cannot start" in shown[0]
    assert not re.search(r"Traceback|\.py|shell", shown[0])
    assert "cannot be imported" in caplog.text


@pytest.mark.parametrize(
    ("way", "number"),
    [(XXACT_APP, signal.SIGINT), (XXACT_APP, signal.SIGTERM), (PANEL_SERVE, signal.SIGTERM)],
    ids=["xxact app, Ctrl+C", "xxact app, SIGTERM", "panel serve, SIGTERM"],
)
def test_a_signal_ends_the_server_and_what_it_started(way: tuple[str, ...], number: int, tmp_path: Path) -> None:
    with served(tmp_path, workspace=tmp_path / "workspace", command=way) as server:
        process = psutil.Process(server.process.pid)
        assert Visitor(server).ask("/app")[0] == 200
        children = process.children(recursive=True)
        process.send_signal(number)
        assert server.process.wait(timeout=60) == 0
        assert psutil.wait_procs(children, timeout=30)[1] == []
    assert "Traceback" not in server.log.read_text()


def test_a_port_in_use_is_named_before_the_app_is_built(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(in_process, "install_guard", None)  # would fail if called
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        monkeypatch.setattr(sys, "argv", ["xxact", "app", "--port", str(port)])
        with pytest.raises(SystemExit, match="2"):
            main()
    assert f"xxact: port {port} of 127.0.0.1 is in use" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("provider", "said"), [("nobody", "expected one of"), ("github", "PANEL_OAUTH_KEY and PANEL_OAUTH_SECRET")]
)
def test_an_oauth_provider_is_checked_before_the_app_is_built(
    provider: str, said: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(in_process, "install_guard", None)  # would fail if called
    monkeypatch.setattr(sys, "argv", ["xxact", "app", "--oauth", provider, "--port", str(free_port())])
    with pytest.raises(SystemExit, match="2"):
        main()
    assert said in capsys.readouterr().err


@pytest.mark.parametrize(("option", "reason"), [("--source", "there is no folder"), ("--basic-auth", "no such file")])
def test_a_folder_or_file_that_is_missing_is_named_before_the_server_starts(
    option: str, reason: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["xxact", "app", option, str(tmp_path / "nowhere")])
    with pytest.raises(SystemExit, match="2"):
        main()
    error = capsys.readouterr().err
    assert reason in error
    assert "nowhere" in error


def test_a_certificate_that_is_not_there_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["xxact", "app", "--certificate", str(tmp_path / "none.pem")])
    with pytest.raises(SystemExit, match="2"):
        main()
    assert "none.pem" in capsys.readouterr().err


def test_make_app_serves_with_the_same_guard() -> None:
    assert "xxact app" in (REPOSITORY / "Makefile").read_text()
    line = [sys.executable, "-m", "xxact_core.commands.main", "app", "--help"]
    assert "basic-auth" in subprocess.run(line, capture_output=True, text=True, check=True, cwd=REPOSITORY).stdout
