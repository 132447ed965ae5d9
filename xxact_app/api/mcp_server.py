"""A server of the Model Context Protocol over standard input and output."""

from __future__ import annotations

import json
from importlib.metadata import version
from typing import Any

import anyio
from mcp.server import Server, ServerRequestContext
from mcp.server.stdio import stdio_server
from mcp_types import (
    CallToolRequestParams,
    CallToolResult,
    ListToolsResult,
    PaginatedRequestParams,
    TextContent,
    Tool,
    ToolAnnotations,
)

from xxact_app.api.jobs import error_of
from xxact_app.api.mcp_tools import TOOLS, AgentTool
from xxact_app.jobs.tasks import GRACE, BackgroundTask
from xxact_core.errors import InputError, shorten
from xxact_core.readers.read_untrusted import prepare_reading
from xxact_core.requests.json_text import to_json

INSTRUCTIONS = (
    "XxaCT analyses powder X-ray diffraction patterns. Read a file with read_pattern first: if it does not state the "
    "wavelength, ask for it, as it is never assumed. identify_phases names phases and weight fractions; predict states "
    "properties of a single-phase material; refine improves cells and fractions of known phases."
)

_POLL = 0.05
"""Interval [s] at which a call looks whether its task has ended."""

_BY_NAME = {tool.name: tool for tool in TOOLS}

_tasks: set[BackgroundTask] = set()
"""Tasks of the calls that have not ended."""


async def list_tools(
    _context: ServerRequestContext[Any], _parameters: PaginatedRequestParams | None
) -> ListToolsResult:
    """All tools."""
    return ListToolsResult(tools=[_described(tool) for tool in TOOLS])


async def call_tool(context: ServerRequestContext[Any], parameters: CallToolRequestParams) -> CallToolResult:
    """Call a tool; bad input is an error that the agent can read and correct, with its code."""
    tool = _BY_NAME.get(parameters.name)
    if tool is None:
        return _error("E_INPUT", f"there is no tool {shorten(parameters.name)!r}; there are {', '.join(_BY_NAME)}")
    try:
        step = await anyio.to_thread.run_sync(tool.prepare, parameters.arguments or {})
    except InputError as error:
        return _error(error.code, str(error))
    task = BackgroundTask([step])
    _tasks.add(task)
    try:
        await _follow(task, context)
    finally:
        task.cancel()  # where the call was cancelled
        _tasks.difference_update([one for one in _tasks if not one.active])
    if task.state != "finished":
        failure = error_of(task)
        return _error(failure["code"], failure["message"])
    text = to_json(task.result)
    return CallToolResult(content=[TextContent(type="text", text=text)], structured_content=json.loads(text))


async def _follow(task: BackgroundTask, context: ServerRequestContext[Any]) -> None:
    """Report progress until a task has ended."""
    reported = -1.0
    while task.active:
        progress = task.progress
        if progress.share is not None and progress.share > reported:
            reported = progress.share
            await context.session.report_progress(reported, 1.0, str(progress))
        await anyio.sleep(_POLL)


def make_server() -> Server[dict[str, Any]]:
    """The server, for any transport."""
    return Server(
        "xxact",
        version=version("xxact"),
        title="XxaCT",
        instructions=INSTRUCTIONS,
        on_list_tools=list_tools,
        on_call_tool=call_tool,
    )


def run_mcp_server() -> None:
    """Serve until standard input ends."""
    prepare_reading()
    try:
        anyio.run(_serve)
    finally:
        for task in list(_tasks):  # commands take a moment to end
            task.cancel()
            task.join(seconds=2 * GRACE)


async def _serve() -> None:
    server = make_server()
    async with stdio_server() as (incoming, outgoing):
        await server.run(incoming, outgoing, server.create_initialization_options())


def _described(tool: AgentTool) -> Tool:
    return Tool(
        name=tool.name,
        description=tool.description,
        input_schema=dict(tool.schema),
        annotations=ToolAnnotations(read_only_hint=not tool.changes, open_world_hint=False),
    )


def _error(code: str, message: str) -> CallToolResult:
    text = to_json({"error": {"code": code, "message": message}})
    return CallToolResult(content=[TextContent(type="text", text=text)], is_error=True)
