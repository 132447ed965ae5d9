"""Programs that ask the interface over HTTP, and the server that answers them."""

from __future__ import annotations

import asyncio
import http.client
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from tornado.httpserver import HTTPServer
from tornado.testing import bind_unused_port

from xxact_app.api.tokens import Tokens
from xxact_app.server.api_guard import ApiGuard
from xxact_app.server.api_server import ApiApplication

BOUNDARY = "-- a boundary --"


@dataclass(frozen=True)
class Answer:
    status: int
    headers: dict[str, str]
    text: str

    @property
    def json(self) -> Any:  # noqa: ANN401 - any JSON
        return json.loads(self.text)

    @property
    def code(self) -> str:
        return self.json["error"]["code"]


@dataclass(frozen=True)
class Program:
    """A program that asks the server."""

    port: int
    token: str = ""

    def ask(self, path: str, *, method: str = "GET", body: bytes | None = None, **headers: str) -> Answer:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=300)
        given = {"Authorization": f"Bearer {self.token}"} if self.token else {}
        given |= {name.replace("_", "-"): value for name, value in headers.items()}
        try:
            connection.request(method, f"/api/v1{path}", body=body, headers=given)
            response = connection.getresponse()
            return Answer(response.status, dict(response.getheaders()), response.read().decode())
        finally:
            connection.close()

    def post(self, operation: str, *, file: bytes, name: str = "scan.xy", **settings: object) -> Answer:
        prefer = settings.pop("prefer", "")
        headers = {"Content_Type": f'multipart/form-data; boundary="{BOUNDARY}"'}
        headers |= {"Prefer": str(prefer)} if prefer else {}
        return self.ask(f"/{operation}", method="POST", body=form(file, name, settings), **headers)

    def post_json(self, operation: str, **values: object) -> Answer:
        body = json.dumps(values).encode()
        return self.ask(f"/{operation}", method="POST", body=body, Content_Type="application/json")


def form(file: bytes, name: str, settings: dict[str, object]) -> bytes:
    parts = [b'Content-Disposition: form-data; name="file"; filename="%b"\r\n\r\n%b' % (name.encode(), file)]
    parts += [
        f'Content-Disposition: form-data; name="{setting}"\r\n\r\n{value}'.encode()
        for setting, value in settings.items()
    ]
    mark = f"--{BOUNDARY}".encode()
    return b"".join(mark + b"\r\n" + part + b"\r\n" for part in parts) + mark + b"--\r\n"


@contextmanager
def serving(tokens: Tokens | None = None) -> Iterator[int]:
    """The interface served by a thread of this process; its port."""
    loop = asyncio.new_event_loop()
    socket, port = bind_unused_port()
    hosts = [f"127.0.0.1:{port}", f"localhost:{port}"]

    async def start() -> HTTPServer:
        server = HTTPServer(ApiApplication(guard=ApiGuard(tokens=tokens), hosts=hosts))
        server.add_socket(socket)
        return server

    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    server = asyncio.run_coroutine_threadsafe(start(), loop).result()

    async def stop() -> None:
        server.stop()
        await server.close_all_connections()

    yield port
    asyncio.run_coroutine_threadsafe(stop(), loop).result()
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    loop.close()
