"""A page gets the messages of the server in the order in which they were made."""

from __future__ import annotations

import asyncio
import json
import re
import urllib.request
import uuid
from collections.abc import Callable

import panel as pn
import pytest
from bokeh.models import Column, Div
from panel.io.server import WSHandler, get_server
from tornado.httpclient import HTTPRequest
from tornado.websocket import WebSocketClientConnection, websocket_connect

from xxact_app.server.message_order import keep_message_order

DRAWN = {
    "kind": "MessageSent",
    "msg_type": "bokeh_event",
    "msg_data": {"type": "event", "name": "document_ready", "values": {"type": "map", "entries": []}},
}
"""What the page's script sends once the page is drawn; Panel writes changes at once from then on."""


class Page:
    """A page with an empty column, and what it gets over its websocket."""

    def __init__(self) -> None:
        self.column = Column()

    def show(self) -> None:
        pn.state.curdoc.add_root(self.column)

    async def events_of(self, change: Callable[[], object]) -> list[dict[str, object]]:
        """The two events that a change by the server sends to the page, in their order."""
        server = get_server({"/": self.show}, show=False, port=0)
        try:
            address = f"127.0.0.1:{server.port}"
            page = await asyncio.to_thread(lambda: urllib.request.urlopen(f"http://{address}/").read().decode())
            (token,) = re.findall(r'"token":"([^"]+)"', page)
            request = HTTPRequest(f"ws://{address}/ws", headers={"Origin": f"http://localhost:{server.port}"})
            socket = await websocket_connect(request, subprotocols=["bokeh", token])
            await _next(socket)  # the connection is open
            await _ask(socket, "PULL-DOC-REQ", {})
            await _ask(socket, "PATCH-DOC", {"events": [DRAWN]})
            (session,) = server.get_sessions()
            session.document.add_next_tick_callback(change)
            events = (await _next(socket))["events"]
            while len(events) < 2:
                events += (await _next(socket))["events"]
            socket.close()
            return events
        finally:
            server.stop()


async def _ask(socket: WebSocketClientConnection, kind: str, content: dict[str, object]) -> None:
    """Send a message of Bokeh's protocol, and read its answer."""
    for part in ({"msgid": uuid.uuid4().hex, "msgtype": kind}, {}, content):
        await socket.write_message(json.dumps(part))
    await _next(socket)


async def _next(socket: WebSocketClientConnection) -> dict[str, object]:
    """The content of the next message."""
    _, _, content = [await asyncio.wait_for(socket.read_message(), 60) for _ in range(3)]
    return json.loads(content)


@pytest.fixture
def _kept_order(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(WSHandler, "send_message", WSHandler.send_message)  # restored afterwards
    keep_message_order()


@pytest.mark.usefixtures("_kept_order")
def test_an_element_arrives_before_its_changes() -> None:
    page, element = Page(), Div(text="before")

    def add_and_change() -> None:
        page.column.children = [element]
        with pn.io.unlocked():  # Panel writes at once, Bokeh after the callback
            element.text = "after"

    added, changed = asyncio.run(page.events_of(add_and_change))
    assert (added["attr"], changed["attr"]) == ("children", "text")
    assert added["new"][0]["id"] == element.id
    assert changed == {"kind": "ModelChanged", "model": {"id": element.id}, "attr": "text", "new": "after"}


@pytest.mark.usefixtures("_kept_order")
def test_changes_made_in_another_thread_arrive() -> None:
    page, element = Page(), Div(text="before")

    def add_and_change() -> None:
        page.column.children = [element]
        element.text = "after"

    async def call() -> None:
        await asyncio.to_thread(add_and_change)

    added, changed = asyncio.run(page.events_of(call))
    assert (added["attr"], changed["attr"], changed["new"]) == ("children", "text", "after")
