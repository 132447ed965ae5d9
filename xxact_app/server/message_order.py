"""Messages to a page in the order in which they were made."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Sequence
from typing import Any

from bokeh.protocol.message import Message
from panel.io.document import dispatch_tornado
from panel.io.server import WSHandler
from tornado.websocket import WebSocketClosedError

logger = logging.getLogger(__name__)


def keep_message_order() -> None:
    """Write every message to a page when it is made, in all servers of this process.

    Bokeh keeps messages until a callback has ended, and Panel keeps its own while the connection is busy, so that on a
    slow connection a change of a plot could arrive before the plot. The page then reports "reference ... isn't known",
    and that change is lost.
    """
    WSHandler.send_message = _send


def _send(handler: WSHandler, message: Message[Any]) -> Awaitable[None]:
    """Write a message to the connection of a page.

    Returns:
        What waits until the connection has taken the message. From another thread, awaiting it writes the message.
    """
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return _write_later(handler, message)
    return _sent(dispatch_tornado(handler.connection, msg=message))


async def _write_later(handler: WSHandler, message: Message[Any]) -> None:
    await _sent(dispatch_tornado(handler.connection, msg=message))


async def _sent(frames: Sequence[Awaitable[None]]) -> None:
    try:
        for frame in frames:
            await frame
    except WebSocketClosedError:
        logger.warning("a message was not sent, since its page was closed")
