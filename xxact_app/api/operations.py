"""What other programs can ask of a pattern: each question with its settings, and how it is answered.

The answers are the JSON of the command line. Files are parsed and phases are searched in processes of their own.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from xxact_app.jobs.tasks import BackgroundTask, Step, TaskError
from xxact_app.library.models import SHIPPED, find_model, load_predictor, run_key
from xxact_app.library.phase_search import PROCESS
from xxact_core.requests.identifying import (
    ElementsRequest,
    IdentifyRequest,
    PhasesRequest,
    keep_phases,
)
from xxact_core.requests.predicting import PredictRequest, predict, processed
from xxact_core.requests.reading import ReadPointsRequest, pattern_to_dict
from xxact_core.requests.simulating import SimulateRequest, simulate_cif
from xxact_core.search_match.element_states import ElementStates
from xxact_core.search_match.worker import SearchOptions

if TYPE_CHECKING:
    from xxact_app.api.source import Source

Name = Literal["read", "predict", "identify", "phases", "simulate"]

AT_ONCE = 2
"""Requests that are read and computed at the same time by this process; others wait."""

_POLL = 0.1
"""Interval [s] at which a waiting job notices that it was cancelled."""

_turns = threading.BoundedSemaphore(AT_ONCE)

_DIGITS = 6
"""Significant digits of calculated curves, which are computed in single precision."""


@dataclass(frozen=True, kw_only=True)
class PredictModelRequest(PredictRequest):
    """What is predicted, by which model."""

    model: str | None = None
    """Name of a finished training run of the workspace; by default the shipped model."""

    search_match: bool = False
    """Combine the prediction with matching reference phases, which takes some seconds more."""


@dataclass(frozen=True)
class Operation:
    """A question that other programs can ask."""

    name: Name
    summary: str
    """What the answer is, in a sentence."""
    request: type
    """Dataclass of its settings."""
    command: str
    """The command whose JSON is the answer."""
    takes: Literal["pattern", "structure"] = "pattern"
    """What its file holds."""


OPERATIONS: dict[str, Operation] = {
    operation.name: operation
    for operation in (
        Operation(
            "read",
            "Reads a measured pattern: range, step, wavelength, metadata, warnings, angles and intensities.",
            ReadPointsRequest,
            "xxact read --json",
        ),
        Operation(
            "predict",
            "Predicts formation energy, band gap, crystal system and space group from a pattern and a composition.",
            PredictModelRequest,
            "xxact predict --json",
        ),
        Operation(
            "identify",
            "Finds the phases of a pattern, with weight fractions and cells, and the reference phases that match best.",
            IdentifyRequest,
            "xxact identify --json",
        ),
        Operation(
            "phases",
            "Finds the phases of a pattern, with weight fractions and cells; with curves, the calculated pattern, too.",
            PhasesRequest,
            "xxact identify --json, without the comparison of single phases",
        ),
        Operation(
            "simulate",
            "Calculates the reflections of a structure in a CIF, and a curve if a peak width is given.",
            SimulateRequest,
            "xxact simulate --json",
            takes="structure",
        ),
    )
}
"""All questions by name."""


def is_search(request: object) -> bool:
    """Whether a request searches reference phases, which takes seconds and is done in a process of its own."""
    return isinstance(request, ElementsRequest) or (isinstance(request, PredictModelRequest) and request.search_match)


def answer(source: Source, request: object) -> dict[str, Any]:
    """The answer to a request that needs no search.

    Raises:
        InputError: the source or the request cannot be used.
    """
    if isinstance(request, SimulateRequest):
        return {"file": source.name, **simulate_cif(source.structure(), request, name=source.name)}
    if isinstance(request, PredictModelRequest):
        model = find_model(SHIPPED if request.model is None else run_key(request.model))
        gridded = processed(source.read(request), request)
        return {"file": source.name, **predict(gridded, request, load_predictor(model)).to_dict()}
    assert isinstance(request, ReadPointsRequest), "the other requests are searches"
    return {"file": source.name, **pattern_to_dict(source.read(request), points=request.points)}


def answer_step(operation: Operation, source: Source, request: object) -> Step:
    """The same as the step of a background task, whose result it becomes; for every request."""

    def work(task: BackgroundTask) -> None:
        if isinstance(request, ElementsRequest):
            task.result = {"file": source.name, **_search(task, source, request)}
        elif isinstance(request, PredictModelRequest) and request.search_match:
            task.result = {"file": source.name, **_predict_with_matches(task, source, request)}
        else:
            with _turn(task):
                task.result = answer(source, request)

    return Step(operation.name, work)


@contextmanager
def _turn(task: BackgroundTask) -> Iterator[None]:
    """Wait until fewer than `AT_ONCE` jobs read or compute; a job that is cancelled meanwhile ends."""
    while not _turns.acquire(timeout=_POLL):
        if task.cancelled:
            msg = "cancelled"
            raise TaskError(msg)
    try:
        yield
    finally:
        _turns.release()


def _search(task: BackgroundTask, source: Source, request: ElementsRequest) -> dict[str, Any]:
    with _turn(task):
        pattern = source.read(request)
    options = SearchOptions(
        warnings=pattern.warnings,
        count=request.count if isinstance(request, IdentifyRequest) else 1,
        reflections=request.full,
    )
    PROCESS.step(
        "Identifying phases",
        pattern=(pattern.two_theta, pattern.intensity),
        wavelength=pattern.wavelength,
        states=_states_to_lists(request.states),
        reference=None,
        name=source.name,
        options=options,
    ).work(task)
    if task.cancelled:
        return {}
    found, curves = dict(task.result), task.result["curves"]
    del found["curves"]
    if isinstance(request, IdentifyRequest):
        return found
    assert isinstance(request, PhasesRequest), "the only other request"
    return {**keep_phases(found), **({"curves": _curves_to_dict(curves)} if request.curves else {})}


def _predict_with_matches(task: BackgroundTask, source: Source, request: PredictModelRequest) -> dict[str, Any]:
    from xxact_core.search_match.combine import (  # noqa: PLC0415 - most predictions do without
        combine_with_matches,
        prediction_to_elements,
    )
    from xxact_core.search_match.match import Match  # noqa: PLC0415 - as above

    model = find_model(SHIPPED if request.model is None else run_key(request.model))
    with _turn(task):
        gridded = processed(source.read(request), request)
        prediction = predict(gridded, request, load_predictor(model))
    present, possible = prediction_to_elements(prediction)
    PROCESS.step(
        "Comparing reference phases",
        pattern=(gridded.intensity, gridded.coverage),
        wavelength=None,
        states={"elements": present or (), "maybe": possible},
        reference=None,
        name=source.name,
        options=SearchOptions(gridded=True),
    ).work(task)
    if task.cancelled:
        return {}
    matches = [Match.from_dict(match) for match in task.result["matches"]]
    return combine_with_matches(prediction, matches).to_dict()


def _states_to_lists(states: ElementStates) -> Mapping[str, tuple[str, ...]]:
    """Arguments of `parse_element_states`."""
    return {"elements": states.must, "maybe": states.may, "one_of": states.one_of, "exclude": states.never}


def _curves_to_dict(curves: np.ndarray) -> dict[str, Any]:
    """Curves of `read_curves` as in `PhaseAnalysis.to_dict`."""
    two_theta, measured, background, *phases = (
        [float(f"{value:.{_DIGITS}g}") for value in row] for row in curves.astype(float).tolist()
    )
    calculated = np.asarray(curves[2:], dtype=np.float64).sum(axis=0)
    difference = np.asarray(curves[1], dtype=np.float64) - calculated
    return {
        "two_theta": two_theta,
        "measured": measured,
        "background": background,
        "calculated": [float(f"{value:.{_DIGITS}g}") for value in calculated.tolist()],
        "difference": [float(f"{value:.{_DIGITS}g}") for value in difference.tolist()],
        "of_phases": phases,
    }
