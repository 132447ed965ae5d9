"""Pattern → gridded pattern in steps that can be inspected, changed, saved and written as Python."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal

import numpy as np

from xxact_core.errors import PatternError, ProcessingError, os_error_to_text, shorten
from xxact_core.patterns.grid import GRID
from xxact_core.patterns.pattern import GriddedPattern, Pattern, coverage_extent
from xxact_core.processing.processed_pattern import ProcessedPattern, axis_hint, start_processing
from xxact_core.processing.resampling import coverage_to_stretches
from xxact_core.processing.steps import (
    STEPS,
    ConvertWavelength,
    PutOnGrid,
    Step,
    SubtractBackground,
    update_step,
)
from xxact_core.setting_types import unknown_settings

MIN_COVERAGE = 0.3
"""Fraction of the grid, from first to last measured point, below which a prediction requires an override."""

ROUNDING = 1e-8
"""Intensity relative to that of the background up to which nothing but rounding remains after subtracting it. Ours."""

_REQUIRED = (ConvertWavelength.NAME, PutOnGrid.NAME)
_ORDER = list(STEPS)
_MAX_SHOWN_STRETCHES = 4


@dataclass(frozen=True, eq=False)
class ProcessingResult:
    """A processed pattern, with all its intermediate stages."""

    stages: tuple[ProcessedPattern, ...]
    """The pattern as measured and after each step: one more than steps."""

    gridded: GriddedPattern
    """The input of a model."""


@dataclass(frozen=True)
class ProcessingPipeline:
    """Steps from a measured pattern to the grid, in their order.

    After the last step, values below 0 become 0 and the maximum becomes 100: the scale of every model input.

    Raises:
        ProcessingError: a required step is missing, or a step occurs twice or in a wrong place (E_PREPARATION).
    """

    steps: tuple[Step, ...] = (ConvertWavelength(), PutOnGrid(), SubtractBackground())
    """Steps in the order in which they are applied."""

    def __post_init__(self) -> None:
        """Check the presence and the order of the steps."""
        names = [step.NAME for step in self.steps]
        if missing := [name for name in _REQUIRED if name not in names]:
            without = " and ".join(missing)
            msg = f"a processing pipeline without {without} does not end on the grid; expected {', '.join(_REQUIRED)}"
            raise ProcessingError(msg, code="E_PREPARATION")
        for place, step in enumerate(self.steps):
            if not step.REPEATS and step.NAME in names[:place]:
                msg = f"the step {step.NAME!r} occurs twice (places {names.index(step.NAME)} and {place}); expected one"
                raise ProcessingError(msg, code="E_PREPARATION")
            if behind := [name for name in names[:place] if name in step.BEFORE]:
                msg = f"the step {step.NAME!r} comes after {behind[0]!r}; expected it before"
                raise ProcessingError(msg, code="E_PREPARATION")

    def apply(self, pattern: Pattern, *, override_coverage: bool = False) -> ProcessingResult:
        """Process a pattern.

        Raises:
            WavelengthError: neither the pattern nor the step `ConvertWavelength` gives the wavelength (E_WAVELENGTH).
            PatternError: no overlap with the grid (E_RANGE), spanning under 30 % of it and not overridden (E_COVERAGE),
                or nothing above the background (E_VALUES).
        """
        stages = [start_processing(pattern)]
        for step in self.steps:
            stages.append(step.apply(stages[-1]))
        return ProcessingResult(tuple(stages), finish_processing(stages[-1], override_coverage=override_coverage))

    def place_of(self, name: str) -> int:
        """Index of the first step with this name; `ProcessingError` lists the steps."""
        names = [step.NAME for step in self.steps]
        if name not in names:
            msg = f"the processing pipeline has no step {shorten(name)!r}; it has {names}"
            raise ProcessingError(msg, code="E_PREPARATION")
        return names.index(name)

    def with_step(self, step: Step, *, place: int | None = None) -> ProcessingPipeline:
        """With one more step, at an index or by default at its usual place."""
        rank = _ORDER.index(step.NAME)
        later = (index for index, other in enumerate(self.steps) if _ORDER.index(other.NAME) > rank)
        place = next(later, len(self.steps)) if place is None else place
        return ProcessingPipeline((*self.steps[:place], step, *self.steps[place:]))

    def without_step(self, place: int) -> ProcessingPipeline:
        """Without the step at an index."""
        self._check_place(place)
        return ProcessingPipeline((*self.steps[:place], *self.steps[place + 1 :]))

    def replace_step(self, step: Step, *, place: int | None = None) -> ProcessingPipeline:
        """With another step at an index, or by default in place of the first one of the same name."""
        place = self.place_of(step.NAME) if place is None else place
        self._check_place(place)
        return ProcessingPipeline((*self.steps[:place], step, *self.steps[place + 1 :]))

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {"steps": [step.to_dict() for step in self.steps]}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> ProcessingPipeline:
        """The inverse of `to_dict`; missing settings have their defaults. Reads what version 0.1.0 wrote, too.

        Raises:
            ProcessingError: a step or setting is unknown (the message lists the choices), missing or out of range.
        """
        steps = values.get("steps") if isinstance(values, Mapping) and set(values) == {"steps"} else None
        if not isinstance(steps, list | tuple):
            msg = f"a processing pipeline is {{'steps': [...]}}, not {shorten(repr(values))}"
            raise ProcessingError(msg, code="E_PREPARATION")
        return cls(tuple(_dict_to_step(step) for step in steps))

    def to_python(self, file: str, *, scan: int | Literal["sum", "join"] = 0) -> str:
        """Python code that reads a file, or one scan of it, and processes it in the same way to `gridded`."""
        names = sorted({type(step).__name__ for step in self.steps})
        lines = [
            "from xxact_core.processing.pipeline import ProcessingPipeline",
            "from xxact_core.readers.read import read_pattern",
            f"from xxact_core.processing.steps import {', '.join(names)}",
            "",
            "pipeline = ProcessingPipeline(",
            "    (",
            *(f"        {step!r}," for step in self.steps),
            "    )",
            ")",
            f"pattern = read_pattern({file!r}{f', scan={scan!r}' if scan else ''})",
            "gridded = pipeline.apply(pattern, override_coverage=True).gridded",
        ]
        return "\n".join(lines) + "\n"

    def _check_place(self, place: int) -> None:
        if not 0 <= place < len(self.steps):
            msg = f"the processing pipeline has no step {place}; expected an index from 0 to {len(self.steps) - 1}"
            raise ProcessingError(msg, code="E_PREPARATION")


def read_pipeline(path: Path) -> ProcessingPipeline:
    """Read a pipeline from a JSON file of `ProcessingPipeline.to_dict`.

    Raises:
        ProcessingError: the file is missing or damaged, or does not hold a pipeline (E_PREPARATION); the message begins
            with its path.
    """
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ProcessingError(os_error_to_text(error), code="E_PREPARATION") from error
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        msg = f"{path} cannot be read as JSON: {shorten(error)}"
        raise ProcessingError(msg, code="E_PREPARATION") from error
    try:
        return ProcessingPipeline.from_dict(values)
    except ProcessingError as error:
        msg = f"{path}: {error}"
        raise ProcessingError(msg, code=error.code) from error


def _dict_to_step(values: object) -> Step:
    values = update_step(values) if isinstance(values, Mapping) else values
    if not isinstance(values, Mapping) or not isinstance(name := values.get("step"), str) or name not in STEPS:
        msg = f"{shorten(repr(values))} is not a step; expected {{'step': NAME, ...}} with one of {', '.join(STEPS)}"
        raise ProcessingError(msg, code="E_PREPARATION")
    step, settings = STEPS[name], {key: value for key, value in values.items() if key != "step"}
    known = [item.name for item in fields(step)]
    if unknown := sorted(set(map(str, settings)) - set(known)):
        msg = f"the step {name!r} {unknown_settings(unknown, known)}"
        raise ProcessingError(msg, code="E_PREPARATION")
    try:
        return step(**settings)
    except TypeError as error:
        msg = f"the step {name!r} requires all of {known}: {shorten(error)}"
        raise ProcessingError(msg, code="E_PREPARATION") from error


def finish_processing(pattern: ProcessedPattern, *, override_coverage: bool = False) -> GriddedPattern:
    """The model input from a pattern on the grid, after its last step; errors as `ProcessingPipeline.apply`."""
    extent = coverage_extent(pattern.covered)
    if extent < MIN_COVERAGE and not override_coverage:
        msg = (
            f"{pattern.name}: covers {extent:.0%} of {GRID.start:g}-{GRID.stop:g}° 2θ at Cu Kα; expected at "
            f"least {MIN_COVERAGE:.0%}, or override_coverage=True"
        )
        raise PatternError(msg + axis_hint(pattern), code="E_COVERAGE")
    values = np.where(pattern.covered, np.clip(pattern.intensity, 0, None), 0.0)
    rounding = 0.0 if pattern.background is None else ROUNDING * float(np.abs(pattern.background).max(initial=0.0))
    if values.max() <= rounding:
        msg = f"{pattern.name}: nothing rises above the background between {GRID.start:g} and {GRID.stop:g}°"
        raise PatternError(msg, code="E_VALUES")
    return GriddedPattern(
        intensity=100 * (values / values.max()),
        coverage=pattern.covered,
        name=pattern.name,
        warnings=(*pattern.notes, *_coverage_notes(pattern.covered)),
    )


def _coverage_notes(coverage: np.ndarray) -> list[str]:
    if coverage.all():
        return []
    runs = coverage_to_stretches(coverage)
    stretches = ", ".join(
        f"{GRID.two_theta[run.start]:.4g}-{GRID.two_theta[run.stop - 1]:.4g}°" for run in runs[:_MAX_SHOWN_STRETCHES]
    )
    more = " ..." if len(runs) > _MAX_SHOWN_STRETCHES else ""
    return [f"covers {stretches}{more} of {GRID.start:g}-{GRID.stop:g}°: unmeasured windows are masked"]
