"""Pattern → gridded pattern in steps that can be seen, changed, taken out, saved and written as Python."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal

import numpy as np

from xxact_core.errors import PatternError, PreparationError, shorten
from xxact_core.patterns.grid import GRID
from xxact_core.patterns.pattern import GriddedPattern, Pattern, coverage_extent
from xxact_core.processing.axis_steps import Step, ToCopper
from xxact_core.processing.profile import Profile, axis_hint, pattern_to_profile
from xxact_core.processing.resampling import coverage_to_stretches
from xxact_core.processing.steps import STEPS, PutOnGrid, SubtractBackground

LEAST_COVERAGE = 0.3
"""Share of the grid, from first to last measured point, below which nothing is predicted without an override."""

_NEEDED = (ToCopper.NAME, PutOnGrid.NAME)
_ORDER = list(STEPS)
_SHOWN_STRETCHES = 4


@dataclass(frozen=True, eq=False)
class Prepared:
    """What became of a pattern: as measured and after each step, so one more than steps, and what a model reads."""

    stages: tuple[Profile, ...]
    gridded: GriddedPattern


@dataclass(frozen=True)
class Preparation:
    """Steps from a measured pattern to the grid, in their order.

    At the end, values below 0 become 0 and the maximum becomes 100, whatever the steps: a model reads nothing else.

    Raises:
        PreparationError: a step is missing, occurs twice or stands where it cannot (E_PREPARATION).
    """

    steps: tuple[Step, ...] = (ToCopper(), PutOnGrid(), SubtractBackground())

    def __post_init__(self) -> None:
        """Check what there is and in which order."""
        names = [step.NAME for step in self.steps]
        if missing := [name for name in _NEEDED if name not in names]:
            msg = f"a preparation without {' and '.join(missing)} does not end on the grid; expected {list(_NEEDED)}"
            raise PreparationError(msg, code="E_PREPARATION")
        for place, step in enumerate(self.steps):
            if not step.REPEATS and step.NAME in names[:place]:
                msg = f"the step {step.NAME!r} occurs twice (places {names.index(step.NAME)} and {place}); expected one"
                raise PreparationError(msg, code="E_PREPARATION")
            if behind := [name for name in names[:place] if name in step.BEFORE]:
                msg = f"the step {step.NAME!r} stands behind {behind[0]!r}; expected it in front of that"
                raise PreparationError(msg, code="E_PREPARATION")

    def apply(self, pattern: Pattern, *, override_coverage: bool = False) -> Prepared:
        """The pattern after every step, and on the grid.

        Raises:
            WavelengthError: neither the pattern nor the step `ToCopper` says the wavelength (E_WAVELENGTH).
            PatternError: no overlap with the grid (E_RANGE), spanning under 30 % of it and not overridden (E_COVERAGE),
                or nothing above the background (E_VALUES).
        """
        stages = [pattern_to_profile(pattern)]
        for step in self.steps:
            stages.append(step.apply(stages[-1]))
        return Prepared(tuple(stages), profile_to_gridded(stages[-1], override_coverage=override_coverage))

    def place_of(self, name: str) -> int:
        """Place of the first step of this name, from 0; `PreparationError` lists those that there are."""
        names = [step.NAME for step in self.steps]
        if name not in names:
            msg = f"the preparation has no step {shorten(name)!r}; it has {names}"
            raise PreparationError(msg, code="E_PREPARATION")
        return names.index(name)

    def with_step(self, step: Step, *, place: int | None = None) -> Preparation:
        """With one more step, at its usual place where none is given."""
        rank = _ORDER.index(step.NAME)
        later = (index for index, other in enumerate(self.steps) if _ORDER.index(other.NAME) > rank)
        place = next(later, len(self.steps)) if place is None else place
        return Preparation((*self.steps[:place], step, *self.steps[place:]))

    def without_step(self, place: int) -> Preparation:
        """Without the step at a place, from 0."""
        self._check_place(place)
        return Preparation((*self.steps[:place], *self.steps[place + 1 :]))

    def replace_step(self, step: Step, *, place: int | None = None) -> Preparation:
        """With another step at a place, from 0; where none is given, in the place of the one of the same name."""
        place = self.place_of(step.NAME) if place is None else place
        self._check_place(place)
        return Preparation((*self.steps[:place], step, *self.steps[place + 1 :]))

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {"steps": [step.to_dict() for step in self.steps]}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Preparation:
        """The inverse of `to_dict`; a setting that is not said keeps its default.

        Raises:
            PreparationError: a step or setting is unknown (the message lists the choices), missing or impossible.
        """
        steps = values.get("steps") if isinstance(values, Mapping) and set(values) == {"steps"} else None
        if not isinstance(steps, list | tuple):
            msg = f"a preparation is {{'steps': [...]}}, not {shorten(repr(values))}"
            raise PreparationError(msg, code="E_PREPARATION")
        return cls(tuple(_dict_to_step(step) for step in steps))

    def to_python(self, file: str, *, scan: int | Literal["sum"] = 0) -> str:
        """Python that reads a file, or one scan of it, and prepares it in the same way, giving `gridded`."""
        names = sorted({type(step).__name__ for step in self.steps})
        lines = [
            "from xxact_core.processing.pipeline import Preparation",
            "from xxact_core.readers.read import read_pattern",
            f"from xxact_core.processing.steps import {', '.join(names)}",
            "",
            "preparation = Preparation(",
            "    (",
            *(f"        {step!r}," for step in self.steps),
            "    )",
            ")",
            f"pattern = read_pattern({file!r}{f', scan={scan!r}' if scan else ''})",
            "gridded = preparation.apply(pattern, override_coverage=True).gridded",
        ]
        return "\n".join(lines) + "\n"

    def _check_place(self, place: int) -> None:
        if not 0 <= place < len(self.steps):
            msg = f"the preparation has no step {place}; expected a place from 0 to {len(self.steps) - 1}"
            raise PreparationError(msg, code="E_PREPARATION")


def read_preparation(path: Path) -> Preparation:
    """The preparation in a JSON file of `Preparation.to_dict`; `PreparationError` says what is wrong with it."""
    try:
        return Preparation.from_dict(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        msg = f"{path} cannot be read as JSON: {shorten(error)}"
        raise PreparationError(msg, code="E_PREPARATION") from error


def _dict_to_step(values: object) -> Step:
    if not isinstance(values, Mapping) or not isinstance(name := values.get("step"), str) or name not in STEPS:
        msg = f"{shorten(repr(values))} is not a step; expected {{'step': NAME, ...}} with one of {list(STEPS)}"
        raise PreparationError(msg, code="E_PREPARATION")
    kind, settings = STEPS[name], {key: value for key, value in values.items() if key != "step"}
    known = [item.name for item in fields(kind)]
    if unknown := sorted(set(map(str, settings)) - set(known)):
        msg = f"the step {name!r} has no setting {unknown}; it has {known}"
        raise PreparationError(msg, code="E_PREPARATION")
    try:
        return kind(**settings)
    except TypeError as error:
        msg = f"the step {name!r} needs all of {known}: {shorten(error)}"
        raise PreparationError(msg, code="E_PREPARATION") from error


def profile_to_gridded(profile: Profile, *, override_coverage: bool = False) -> GriddedPattern:
    """What a model reads of a pattern behind its last step, which stands on the grid; errors are those of `apply`."""
    extent = coverage_extent(profile.covered)
    if extent < LEAST_COVERAGE and not override_coverage:
        msg = (
            f"{profile.name}: covers {extent:.0%} of {GRID.start:g}-{GRID.stop:g}° 2θ at Cu Kα; expected at "
            f"least {LEAST_COVERAGE:.0%}, or override_coverage=True"
        )
        raise PatternError(msg + axis_hint(profile), code="E_COVERAGE")
    values = np.where(profile.covered, np.clip(profile.intensity, 0, None), 0.0)
    if values.max() <= 0:
        msg = f"{profile.name}: nothing rises above the background between {GRID.start:g} and {GRID.stop:g}°"
        raise PatternError(msg, code="E_VALUES")
    return GriddedPattern(
        intensity=100 * (values / values.max()),
        coverage=profile.covered,
        name=profile.name,
        warnings=(*profile.notes, *_coverage_notes(profile.covered)),
    )


def _coverage_notes(coverage: np.ndarray) -> list[str]:
    if coverage.all():
        return []
    runs = coverage_to_stretches(coverage)
    stretches = ", ".join(
        f"{GRID.two_theta[run.start]:.4g}-{GRID.two_theta[run.stop - 1]:.4g}°" for run in runs[:_SHOWN_STRETCHES]
    )
    more = " ..." if len(runs) > _SHOWN_STRETCHES else ""
    return [f"covers {stretches}{more} of {GRID.start:g}-{GRID.stop:g}°: the unmeasured windows are masked"]
