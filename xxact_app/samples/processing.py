"""Processed patterns after each step of the session, with a cache."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

import numpy as np

from xxact_app.samples.processing_steps import steps_to_pipeline
from xxact_app.samples.sample import Sample, without_name
from xxact_app.samples.sample_cache import SampleCache
from xxact_app.session.session import Session
from xxact_app.ui.safe_text import safe_message
from xxact_core.errors import InputError, WavelengthError
from xxact_core.patterns.conversions import CU_K_ALPHA, two_theta_to_d, two_theta_to_q
from xxact_core.patterns.grid import GRID
from xxact_core.patterns.pattern import GriddedPattern
from xxact_core.processing.pipeline import ProcessingPipeline, finish_processing
from xxact_core.processing.processed_pattern import ProcessedPattern, start_processing
from xxact_core.processing.steps import (
    ConvertAxis,
    ConvertWavelength,
    CorrectDisplacement,
    CorrectZeroShift,
    Step,
    SubtractBackground,
)

WINDOW_EDGES = GRID.start + GRID.step * GRID.window_points * np.arange(GRID.windows + 1)
"""Edges of the windows of the model [deg 2θ at Cu Kα], shape (windows + 1,)."""

_ON_THE_AXIS = (ConvertAxis, CorrectZeroShift, CorrectDisplacement)
"""Steps that correct the measured angles, applied to patterns shown as measured."""

_MOST_KEPT = 256
"""Number of cached intermediate patterns, about 50 MB."""

_MOST_GRIDDED = 2000
"""Number of cached gridded patterns, about 40 MB."""


@dataclass(frozen=True)
class Trace:
    """A pattern at one stage, with arrays of shape (points,)."""

    x: np.ndarray
    """Positions on the selected axis."""
    two_theta: np.ndarray
    """Angles [deg]."""
    d: np.ndarray
    """Lattice spacings [Å]."""
    intensity: np.ndarray
    background: np.ndarray | None = None
    """Fitted background."""
    wavelength: float | None = None
    """Wavelength [Å] of the angles, where it is known."""


class PatternStages:
    """Computes the processing stages of the patterns of one session.

    samples: by key; asked each time, because they change.
    """

    def __init__(self, session: Session, samples: Callable[[], Mapping[str, Sample]]) -> None:
        self.session = session
        self._samples = samples
        self._profiles: SampleCache[ProcessedPattern] = SampleCache(_MOST_KEPT)
        self._gridded: SampleCache[GriddedPattern] = SampleCache(_MOST_GRIDDED)
        self._prepared_for: list[dict[str, Any]] = []
        self._preparations: dict[float | None, ProcessingPipeline] = {}

    def keep(self, keys: Collection[str]) -> None:
        """Drop all patterns except these from the cache."""
        self._profiles.keep(keys)
        self._gridded.keep(keys)

    def forget(self, key: str) -> None:
        """Drop a pattern from the cache, for example when another scan was read."""
        self._profiles.forget(key)
        self._gridded.forget(key)

    def wavelength(self, key: str) -> float | None:
        """Wavelength [Å] of a pattern: the entered one, else that of the file, else None."""
        entered = self.session.sample(key).wavelength
        return self._samples()[key].pattern.wavelength if entered is None else entered

    def preparation(self, key: str) -> ProcessingPipeline:
        """The enabled steps, with the wavelength entered for this pattern."""
        return self._preparation(self.session.sample(key).wavelength)

    def _preparation(self, wavelength: float | None = None) -> ProcessingPipeline:
        """The enabled steps, with a wavelength [Å] or that of the file; cached for the current list of steps."""
        if self._prepared_for != self.session.steps:
            self._prepared_for = deepcopy(self.session.steps)
            self._preparations = {None: steps_to_pipeline(self.session.steps)}
        if wavelength not in self._preparations:
            with_it = self._preparations[None].replace_step(ConvertWavelength(wavelength=wavelength))
            self._preparations[wavelength] = with_it
        return self._preparations[wavelength]

    def shown_steps(self) -> tuple[Step, ...]:
        """The steps applied at the selected stage, without entered wavelengths."""
        steps = self._preparation().steps
        if self.session.stage == "gridded":
            return steps
        if self.session.stage == "step":
            before = self.session.steps[: self.session.shown_step + 1]
            return steps[: sum(not step.get("off") for step in before)]
        return _of_kinds(steps, *_ON_THE_AXIS)

    def gridded(self, key: str) -> GriddedPattern:
        """The model input of a pattern; raises `InputError` where it cannot be computed."""
        preparation = self.preparation(key)
        return self._gridded.get_or_compute(key, preparation, lambda: self._put_on_grid(key, preparation))

    def _put_on_grid(self, key: str, preparation: ProcessingPipeline) -> GriddedPattern:
        try:
            profile = self._profile(key, preparation.steps)
        except WavelengthError:
            if self.wavelength(key) is not None:
                raise
            msg = "The file does not state a wavelength, and none is assumed: enter it on the Patterns screen."
            raise WavelengthError(msg, code="E_WAVELENGTH") from None
        return finish_processing(profile, override_coverage=True)

    def trace(self, key: str) -> Trace | str:
        """The pattern at the selected stage and axis, or the reason why it cannot be drawn, a safe text."""
        try:
            if self.session.stage == "gridded":
                return self._gridded_trace(key)
            return self._stage_trace(key)
        except InputError as error:
            return safe_message(without_name(error, self._samples()[key].pattern.name))

    def _stage_trace(self, key: str) -> Trace | str:
        """The pattern as measured or after the selected step, with the background that the next step subtracts."""
        steps, background = self.preparation(key).steps, None
        if self.session.stage == "measured":  # shifts move the background with the pattern, without another fit
            shown, fitting = _of_kinds(steps, *_ON_THE_AXIS), _of_kinds(steps, ConvertAxis, SubtractBackground)
        else:
            count = len(self.shown_steps())
            shown, fitting = steps[:count], steps[: count + 1]
        taken_away = bool(fitting) and isinstance(fitting[-1], SubtractBackground) and fitting != shown
        if self.session.show_background and taken_away:
            background = self._profile(key, fitting).background
        return self._to_trace(key, shown, background=background)

    def _to_trace(self, key: str, steps: tuple[Step, ...], *, background: np.ndarray | None) -> Trace | str:
        profile = self._profile(key, steps)
        at_copper = profile.at_copper or any(isinstance(step, ConvertWavelength) for step in steps)
        wavelength = CU_K_ALPHA if at_copper else self.wavelength(key)
        if wavelength is None and self.session.axis != "two_theta":
            return "wavelength missing"
        angles = profile.two_theta
        return Trace(
            x=self.on_axis(angles, wavelength=wavelength),
            two_theta=angles,
            d=np.full_like(angles, np.nan) if wavelength is None else spacing(angles, wavelength=wavelength),
            intensity=np.where(profile.covered, profile.intensity, np.nan),
            background=background,
            wavelength=wavelength,
        )

    def _gridded_trace(self, key: str) -> Trace:
        gridded = self.gridded(key)
        return Trace(
            x=self.on_axis(GRID.two_theta, wavelength=CU_K_ALPHA),
            two_theta=GRID.two_theta,
            d=spacing(GRID.two_theta, wavelength=CU_K_ALPHA),
            intensity=np.where(gridded.coverage, gridded.intensity.astype(np.float64), np.nan),
            wavelength=CU_K_ALPHA,
        )

    def on_axis(self, two_theta: np.ndarray, *, wavelength: float | None) -> np.ndarray:
        """Angles [deg] converted to the selected axis; only 2θ needs no wavelength."""
        if self.session.axis == "two_theta" or wavelength is None:
            return np.asarray(two_theta, dtype=np.float64)
        if self.session.axis == "q":
            return two_theta_to_q(two_theta, wavelength=wavelength)
        return spacing(two_theta, wavelength=wavelength)

    def _profile(self, key: str, steps: tuple[Step, ...]) -> ProcessedPattern:
        """The pattern after these steps, computed from the longest cached beginning of them."""

        def compute() -> ProcessedPattern:
            if steps:
                return steps[-1].apply(self._profile(key, steps[:-1]))
            return start_processing(self._samples()[key].pattern)

        return self._profiles.get_or_compute(key, steps, compute)


def _of_kinds(steps: tuple[Step, ...], *kinds: type[Step]) -> tuple[Step, ...]:
    return tuple(step for step in steps if isinstance(step, kinds))


def spacing(two_theta: np.ndarray, *, wavelength: float) -> np.ndarray:
    """Lattice spacing [Å]; NaN for angles of 0° or less, which a zero shift can cause."""
    return np.where(two_theta > 0, two_theta_to_d(np.maximum(two_theta, 1e-9), wavelength=wavelength), np.nan)
