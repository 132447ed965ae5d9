"""The tools for agents: name, description, schema of the arguments, and what each does."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from xxact_app.api.operations import OPERATIONS, Operation, answer_step
from xxact_app.api.runs import TrainRequest, list_runs, start_training
from xxact_app.api.source import Source, SourceFields, fields_to_source, file_source
from xxact_app.jobs.tasks import BackgroundTask, Step, command_step
from xxact_app.library.workspace import Workspace, WorkspaceError, open_workspace
from xxact_core.errors import InputError, os_error_to_text, shorten
from xxact_core.readers.content import read_source
from xxact_core.requests.parsing import parse_request
from xxact_core.requests.refining import RefineRequest
from xxact_core.setting_types import field_names, settings_schema

_NOT_IN_NAMES = re.compile(r"[^\w.()+=,@ -]", re.ASCII)
_LONGEST_NAME = 100
"""Characters of names of temporary files, and how many."""


@dataclass(frozen=True, kw_only=True)
class FileArguments:
    """Where the data of a tool come from."""

    file: str | None = None
    """Path of the file."""

    content: str | None = None
    """Instead of a path: the content of a text file, such as a CIF or two columns of 2θ and intensity."""

    two_theta: tuple[float, ...] | None = None
    """Instead of a file: angles [deg 2θ], ascending."""

    intensity: tuple[float, ...] | None = None
    """Intensities at these angles."""

    name: str | None = None
    """Name of the pattern, where there is no file."""


@dataclass(frozen=True, kw_only=True)
class NoArguments:
    """A tool without arguments."""


@dataclass(frozen=True)
class AgentTool:
    """A tool."""

    name: str
    description: str
    schema: Mapping[str, Any]
    """JSON Schema of the arguments."""
    prepare: Callable[[Mapping[str, Any]], Step]
    """The step of a background task for some arguments, which sets its result; raises `InputError` for bad ones."""
    changes: bool = False
    """Whether it writes files."""


def _schema(request: type, *, defaults: Mapping[str, Any], with_file: bool = True) -> dict[str, Any]:
    """Schema of a request, with the arguments that name a file."""
    schema = settings_schema(request)
    files = settings_schema(FileArguments)["properties"] if with_file else {}
    properties = {**files, **schema["properties"]}
    properties |= {name: {**properties[name], "default": value} for name, value in defaults.items()}
    return {**schema, "properties": properties}


def _split(values: Mapping[str, Any]) -> tuple[FileArguments, dict[str, Any]]:
    """The arguments that name a file, and the others."""
    known = set(field_names(FileArguments))
    of_file = parse_request(FileArguments, {name: value for name, value in values.items() if name in known})
    return of_file, {name: value for name, value in values.items() if name not in known}


def _to_source(given: FileArguments) -> Source:
    """The source; a file is read as a whole, and parsed later.

    Raises:
        InputError: none or several are given, or the file cannot be read.
    """
    if given.file is None:
        named = {} if given.name is None else {"name": given.name}
        return fields_to_source(
            SourceFields(content=given.content, two_theta=given.two_theta, intensity=given.intensity, **named)
        )
    if given.content is not None or given.two_theta is not None or given.intensity is not None:
        msg = "give one of file, content, and two_theta with intensity"
        raise InputError(msg, code="E_INPUT")
    try:
        path = Path(given.file).expanduser()
        if path.exists() and not (path.is_file() or path.is_dir()):  # a device, or standard input, which holds messages
            msg = f"{shorten(given.file)!r} is not a file"
            raise InputError(msg, code="E_INPUT")
        content, name = read_source(path)
    except OSError as error:
        raise InputError(os_error_to_text(error), code="E_INPUT") from error
    except (ValueError, RuntimeError) as error:
        if isinstance(error, InputError):
            raise
        msg = f"{shorten(given.file)!r} is not a valid path"
        raise InputError(msg, code="E_INPUT") from error
    return file_source(name, content)


def _asking(operation: Operation, *, defaults: Mapping[str, Any]) -> Callable[[Mapping[str, Any]], Step]:
    """How an operation is prepared."""

    def prepare(values: Mapping[str, Any]) -> Step:
        of_file, settings = _split(values)
        request: object = parse_request(operation.request, {**defaults, **settings})
        return answer_step(operation, _to_source(of_file), request)

    return prepare


def _refine(values: Mapping[str, Any]) -> Step:
    of_file, settings = _split(values)
    request, source = parse_request(RefineRequest, settings), _to_source(of_file)

    output = None if request.output is None else _new_folder(request.output, open_workspace())

    def work(task: BackgroundTask) -> None:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / _file_name(source.name)
            if source.pattern is None:
                path.write_bytes(source.content)
            else:
                path = path.with_suffix(".xy")
                columns = zip(source.pattern.two_theta.tolist(), source.pattern.intensity.tolist(), strict=True)
                path.write_text("".join(f"{x!r} {y!r}\n" for x, y in columns), encoding="ascii")
            arguments = replace(request, output=output).arguments(path)
            command_step("Refining the phases", lambda: arguments).work(task)

    return Step("Refining the phases", work)


def _new_folder(text: str, workspace: Workspace) -> str:
    """The path of a folder that a tool may make and write to.

    Raises:
        WorkspaceError: it is outside the workspace, among its datasets, runs and other records, or not empty.
    """
    try:
        path = (workspace.root / text).resolve()
    except (OSError, ValueError, RuntimeError) as error:
        msg = f"{shorten(text)!r} is not a valid path"
        raise WorkspaceError(msg, code="E_WORKSPACE") from error
    if not path.is_relative_to(workspace.root) or any(path.is_relative_to(part) for part in workspace.parts):
        msg = f"{shorten(text)!r} is not a folder that tools may write to; name a new one in the workspace "
        msg += f"{workspace.root}, such as 'refined'"
        raise WorkspaceError(msg, code="E_WORKSPACE")
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        msg = f"{shorten(text)!r} exists in the workspace and is not empty; name another folder"
        raise WorkspaceError(msg, code="E_WORKSPACE")
    return str(path)


def _file_name(name: str) -> str:
    """A name for a temporary file, which messages state."""
    return _NOT_IN_NAMES.sub("_", name)[-_LONGEST_NAME:].lstrip(".") or "pattern"


def _list_runs(values: Mapping[str, Any]) -> Step:
    parse_request(NoArguments, values)

    def work(task: BackgroundTask) -> None:
        task.result = list_runs(open_workspace())

    return Step("Listing trainings", work)


def _train(values: Mapping[str, Any]) -> Step:
    request = parse_request(TrainRequest, values)

    def work(task: BackgroundTask) -> None:
        task.result = start_training(request, open_workspace())

    return Step("Starting the training", work)


def _operation_tool(name: str, operation: str, description: str, **defaults: object) -> AgentTool:
    asked = OPERATIONS[operation]
    return AgentTool(
        name, description, _schema(asked.request, defaults=defaults), _asking(asked, defaults=defaults)
    )  # fmt: skip


TOOLS: tuple[AgentTool, ...] = (
    _operation_tool(
        "read_pattern",
        "read",
        "Reads a measured powder X-ray diffraction pattern: range, step, wavelength, metadata, warnings. Angles and "
        "intensities are listed only with points=true, since there are thousands.",
        points=False,
    ),
    _operation_tool(
        "identify_phases",
        "identify",
        "Finds the crystalline phases of a measured pattern among 148,000 reference phases, with weight fractions, "
        "refined cells and probabilities, and lists the single phases that match best. Give the elements that the "
        "specimen can contain whenever they are known: the answer is then quicker and much more reliable.",
        count=5,
    ),
    _operation_tool(
        "predict",
        "predict",
        "Predicts formation energy, band gap, crystal system and space group of a single-phase material from its "
        "pattern and what is known of its composition, with calibrated probabilities and 90 % intervals.",
    ),
    _operation_tool(
        "simulate",
        "simulate",
        "Calculates the powder reflections of a crystal structure in a CIF: angles, lattice spacings, intensities, "
        "Miller indices; with a peak width, the pattern as a curve, too.",
        least_intensity=0.1,
    ),
    AgentTool(
        "refine",
        "Refines cells, weight fractions and peak widths of the phases of a pattern by the Rietveld or Le Bail method. "
        "Takes up to some minutes. Give the pattern as measured.",
        _schema(RefineRequest, defaults={}),
        _refine,
        changes=True,
    ),
    AgentTool(
        "list_runs",
        "Lists the trainings and dataset builds of the workspace with state, progress, loss and validation metrics, "
        "and the datasets that a model can be trained on.",
        _schema(NoArguments, defaults={}, with_file=False),
        _list_runs,
    ),
    AgentTool(
        "train",
        "Starts the training of a model on a dataset in the background, where it continues without the agent; "
        "list_runs shows its progress. The model of a finished run can be named in predict.",
        _schema(TrainRequest, defaults={}, with_file=False),
        _train,
        changes=True,
    ),
)
"""All tools, in the order in which they are listed."""
