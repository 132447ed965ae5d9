"""Tools for agents, called by the client of the official SDK over standard input and output."""

from __future__ import annotations

import asyncio
import json
import os
import sys
import threading
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from locations import REPOSITORY
from rock_salt import ROCK_SALT_CIF

from xxact_core.shipped import example_path

pytest.importorskip("mcp", reason="the extra mcp is not installed")

import anyio
from mcp import Client, StdioServerParameters
from mcp_types import CallToolRequestParams

from xxact_app.api import mcp_server
from xxact_app.api.mcp_tools import TOOLS, AgentTool
from xxact_app.api.runs import TrainRequest, start_training
from xxact_app.jobs.tasks import BackgroundTask, Step
from xxact_app.library.workspace import open_workspace
from xxact_core.errors import DatasetError, InputError

ZINCITE = str(example_path("zincite.prn"))
NAMES = ["read_pattern", "identify_phases", "predict", "simulate", "refine", "list_runs", "train"]


def with_agent(workspace: Path, talk: Callable[[Client], Awaitable[Any]]) -> Any:  # noqa: ANN401 - what it returns
    """Let an agent talk to `xxact mcp`."""
    environment = {
        "PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": "1", "XXACT_WORKSPACE": str(workspace),
        "PATH": os.environ["PATH"],
    }  # fmt: skip
    server = StdioServerParameters(
        command=sys.executable, args=["-m", "xxact_core.commands.main", "mcp"], env=environment, cwd=str(workspace)
    )

    async def run() -> Any:  # noqa: ANN401 - as above
        async with Client(server) as client:
            return await asyncio.wait_for(talk(client), 300)

    return asyncio.run(run())


def failed(result: Any) -> dict[str, str]:  # noqa: ANN401 - of the SDK
    assert result.is_error
    return json.loads(result.content[0].text)["error"]


def test_an_agent_finds_the_tools_and_uses_them(tmp_path: Path) -> None:
    async def talk(client: Client) -> dict[str, Any]:
        found: dict[str, Any] = {"tools": (await client.list_tools()).tools}
        for key, tool, arguments in (
            ("read", "read_pattern", {"file": ZINCITE, "wavelength": "CuKa"}),
            ("predicted", "predict", {"file": ZINCITE, "wavelength": "CuKa", "formula": "ZnO"}),
            ("salt", "simulate", {"content": ROCK_SALT_CIF, "wavelength": "CuKa1"}),
            ("runs", "list_runs", {}),
        ):
            result = await client.call_tool(tool, arguments)
            assert not result.is_error, result.content
            assert json.loads(result.content[0].text) == result.structured_content
            found[key] = result.structured_content
        found["no wavelength"] = await client.call_tool("predict", {"file": ZINCITE, "formula": "ZnO"})
        found["unknown"] = await client.call_tool("predict", {"file": ZINCITE, "formel": "ZnO"})
        found["no file"] = await client.call_tool("read_pattern", {"file": "/nowhere/scan.xy"})
        found["no data"] = await client.call_tool("train", {"dataset": "none", "name": "first"})
        found["no phase"] = await client.call_tool("refine", {"file": ZINCITE})
        return found

    found = with_agent(tmp_path, talk)
    assert [tool.name for tool in found["tools"]] == NAMES
    assert found["read"]["points"] == 7251
    assert "two_theta" not in found["read"]
    assert found["predicted"]["crystal_system"][0]["label"] == "hexagonal"
    assert found["salt"]["hkl"][1] == [2, 0, 0]
    assert found["runs"] == {"workspace": str(tmp_path), "runs": [], "datasets": []}
    assert failed(found["no wavelength"])["code"] == "E_WAVELENGTH"
    assert "did you mean 'formula'" in failed(found["unknown"])["message"]
    assert "/nowhere/scan.xy" in failed(found["no file"])["message"]
    assert failed(found["no data"])["code"] == "E_DATASET"
    assert failed(found["no phase"])["code"] == "E_REFINEMENT"


@pytest.mark.slow
def test_an_agent_names_the_phases_of_a_mixture_and_refines_one(tmp_path: Path) -> None:
    pytest.importorskip("rietx", reason="the extra refine is not installed")
    reported: list[float] = []

    async def report(progress: float, _total: float | None, _message: str | None) -> None:
        reported.append(progress)

    async def talk(client: Client) -> tuple[Any, Any]:
        mixture = str(example_path("titania_zinc_oxide_mixture.xrdml"))
        arguments = {"file": mixture, "elements": ["Ti", "Zn", "O"]}
        named = await client.call_tool("identify_phases", arguments, progress_callback=report)
        refining = {"file": ZINCITE, "wavelength": "CuKa", "phases": ["mp-2133"], "two_theta_range": [30, 60],
                    "output": str(tmp_path / "refined")}  # fmt: skip
        return named, await client.call_tool("refine", refining)

    named, refined = with_agent(tmp_path, talk)
    assert not named.is_error, named.content
    assert {phase["name"] for phase in named.structured_content["phases"]} == {"zincite", "anatase"}
    assert reported == sorted(reported)
    assert len(reported) > 1
    assert not refined.is_error, refined.content
    assert refined.structured_content["phases"][0]["formula"] == "ZnO"
    assert (tmp_path / "refined" / "report.json").is_file()


@pytest.mark.slow
def test_an_agent_cancels_a_search(tmp_path: Path) -> None:
    async def talk(client: Client) -> Any:  # noqa: ANN401 - of the SDK
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(client.call_tool("identify_phases", {"file": ZINCITE, "wavelength": "CuKa"}), 2)
        return await client.call_tool("read_pattern", {"file": ZINCITE, "wavelength": "CuKa"})

    assert with_agent(tmp_path, talk).structured_content["points"] == 7251


def test_a_call_that_is_cancelled_stops_what_it_started(monkeypatch: pytest.MonkeyPatch) -> None:
    stopped = threading.Event()
    reported: list[float] = []

    def work(task: BackgroundTask) -> None:
        task.report(1, 4)
        while not task.cancelled:
            time.sleep(0.01)
        stopped.set()

    async def report(share: float, *_: object) -> None:
        reported.append(share)

    async def call() -> None:
        context: Any = SimpleNamespace(session=SimpleNamespace(report_progress=report))
        with anyio.move_on_after(1):
            await mcp_server.call_tool(context, CallToolRequestParams(name="slow", arguments={}))

    tool = AgentTool("slow", "Takes for ever.", {}, lambda _: Step("waiting", work))
    monkeypatch.setitem(mcp_server._BY_NAME, "slow", tool)
    anyio.run(call)
    assert stopped.wait(30)
    assert reported[-1] == 0.25


@pytest.mark.long
def test_an_agent_trains_a_model_and_follows_it(tmp_path: Path, small_dataset: Path) -> None:
    settings = {"epochs": 0.1, "batch_size": 8, "validation_rows": 8}

    async def talk(client: Client) -> tuple[Any, Any, Any]:
        arguments = {"dataset": str(small_dataset), "name": "first", "recipe": "tiny", "settings": settings}
        wrong = await client.call_tool("train", {**arguments, "settings": {"epoch": 1}})
        started = await client.call_tool("train", arguments)
        for _ in range(600):
            runs = (await client.call_tool("list_runs", {})).structured_content["runs"]
            if runs[0]["state"] not in {"queued", "starting", "running"}:
                break
            await asyncio.sleep(0.5)
        return wrong, started, runs

    wrong, started, runs = with_agent(tmp_path, talk)
    assert "did you mean 'epochs'" in failed(wrong)["message"]
    assert not started.is_error, started.content
    assert [(run["name"], run["state"], run["can_predict"]) for run in runs] == [("first", "finished", True)]
    assert runs[0]["metrics"]


@pytest.mark.parametrize("file", ["/dev/zero", "a\0b", "~nobody-of-this-name/scan.xy", "/nowhere", "."])
def test_what_is_no_file_is_refused_before_it_is_read(file: str) -> None:
    with pytest.raises(InputError) as refused:
        prepared("read_pattern", file=file)
    assert refused.value.code in {"E_INPUT", "E_FORMAT"}


def prepared(name: str, **arguments: object) -> Step:
    """What a tool would do for some arguments."""
    (tool,) = [tool for tool in TOOLS if tool.name == name]
    return tool.prepare(arguments)


@pytest.mark.parametrize(
    "places",
    [
        {"dataset": "https://example.org/sets/small"},
        {"settings": {"extra_datasets": ["elsewhere", "s3://bucket/small"]}},
        {"settings": {"more_data": "memory://small"}},
        {"settings": {"start_from": "http://169.254.169.254/model"}},
        {"dataset": "file:///etc"},
    ],
)
def test_no_address_is_fetched_for_an_agent(
    places: dict[str, Any], tmp_path: Path, small_dataset: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XXACT_WORKSPACE", str(tmp_path))
    request = TrainRequest(name="first", recipe="tiny", **{"dataset": str(small_dataset), **places})
    with pytest.raises(DatasetError, match="is a URL, which programs cannot have fetched"):
        start_training(request, open_workspace())
    assert list((tmp_path / "jobs").iterdir()) == []


@pytest.mark.parametrize(
    "output", ["../outside", "/etc/refined", "", ".", "runs/first/model", "link/x", "full", "a\0b"]
)
def test_tools_write_to_new_folders_in_the_workspace_alone(
    output: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace = tmp_path / "workspace"
    monkeypatch.setenv("XXACT_WORKSPACE", str(workspace))
    open_workspace()
    (workspace / "full").mkdir()
    (workspace / "full" / "thesis.tex").write_text("")
    (workspace / "link").symlink_to(tmp_path)
    refining = {"file": ZINCITE, "wavelength": "CuKa", "phases": ["mp-2133"]}
    with pytest.raises(InputError) as refused:
        prepared("refine", **refining, output=output)
    assert refused.value.code == "E_WORKSPACE"
    prepared("refine", **refining, output="refined/today")
    assert not (workspace / "refined").exists(), "made by the refinement"


@pytest.mark.parametrize("tool", TOOLS, ids=lambda tool: tool.name)
def test_a_tool_describes_every_argument(tool: Any) -> None:  # noqa: ANN401 - a tool
    assert tool.schema["type"] == "object"
    assert tool.schema["additionalProperties"] is False
    assert all(described["description"] for described in tool.schema["properties"].values())
    json.dumps(tool.schema)
