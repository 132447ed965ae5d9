"""Processed patterns after each step of the session, with a cache."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Mapping
from copy import deepcopy
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from xxact_app.samples.processing_steps import steps_to_pipeline
from xxact_app.samples.sample import Sample, without_name
from xxact_app.samples.sample_cache import SampleCache
from xxact_app.session.session import Session
from xxact_app.ui.safe_text import safe_message
from xxact_core.errors import InputError, WavelengthError
from xxact_core.patterns.conversions import CU_K_ALPHA, change_wavelength, two_theta_to_d, two_theta_to_q
from xxact_core.patterns.grid import GRID
from xxact_core.patterns.pattern import GriddedPattern, Pattern
from xxact_core.processing.pipeline import ProcessingPipeline, finish_processing
from xxact_core.processing.processed_pattern import ProcessedPattern, start_processing
from xxact_core.processing.steps import (
    ConvertAxis,
    ConvertWavelength,
    CorrectDisplacement,
    CorrectZeroShift,
    CropRange,
    Step,
    SubtractBackground,
)

WINDOW_EDGES = GRID.start + GRID.step * GRID.window_points * np.arange(GRID.windows + 1)
"""Edges of the windows of the model [deg 2θ at Cu Kα], shape (windows + 1,)."""

_ON_THE_AXIS = (ConvertAxis, CorrectZeroShift, CorrectDisplacement)
"""Steps that correct the measured angles, applied to patterns shown as measured."""

_MOST_KEPT = 256
"""Number of cached intermediate patterns, about 50 MB."""

_MOST_CORRECTED = 64
"""Number of cached patterns with corrected angles."""

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
        self._corrected: SampleCache[Pattern] = SampleCache(_MOST_CORRECTED)
        self._digests: SampleCache[str] = SampleCache(_MOST_GRIDDED)
        self._prepared: dict[str, tuple[list[dict[str, Any]], dict[float | None, ProcessingPipeline]]] = {}

    @property
    def _caches(self) -> tuple[SampleCache[Any], ...]:
        return (self._profiles, self._gridded, self._corrected, self._digests)

    def keep(self, keys: Collection[str]) -> None:
        """Drop all patterns except these from the cache."""
        for cache in self._caches:
            cache.keep(keys)
        self._prepared = {key: held for key, held in self._prepared.items() if not key or key in keys}

    def forget(self, key: str) -> None:
        """Drop a pattern from the cache, for example when another scan was read."""
        for cache in self._caches:
            cache.forget(key)

    def wavelength(self, key: str) -> float | None:
        """Wavelength [Å] of a pattern: the entered one, else that of the file, else None."""
        entered = self.session.sample(key).wavelength
        return self._samples()[key].pattern.wavelength if entered is None else entered

    def preparation(self, key: str) -> ProcessingPipeline:
        """The enabled steps of a pattern, with the wavelength entered for it."""
        return self._preparation(key, self.session.sample(key).wavelength)

    def _preparation(self, key: str, wavelength: float | None = None) -> ProcessingPipeline:
        """The enabled steps, with a wavelength [Å] or that of the file; cached for the current list of steps."""
        own = self.session.sample(key).own_steps is not None
        steps, holder = self.session.steps_of(key), key if own else ""
        if self._prepared.get(holder, ([], {}))[0] != steps:
            self._prepared[holder] = deepcopy(steps), {None: steps_to_pipeline(steps)}
        preparations = self._prepared[holder][1]
        if wavelength not in preparations:
            preparations[wavelength] = preparations[None].replace_step(ConvertWavelength(wavelength=wavelength))
        return preparations[wavelength]

    def shown_steps(self, key: str = "") -> tuple[Step, ...]:
        """The steps applied to a pattern at the selected stage, without entered wavelengths.

        Without a key, those of the patterns that have no steps of their own.
        """
        steps = self._preparation(key).steps
        if self.session.stage == "gridded":
            return steps
        if self.session.stage == "step":
            before = self.session.steps_of(key)[: self.session.shown_step + 1]
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
            raise _wavelength_missing() from None
        return finish_processing(profile, override_coverage=True)

    def corrected(self, key: str) -> Pattern:
        """The pattern as measured, with the corrections of its angles and within the selected range.

        Raises:
            InputError: its angles cannot be corrected, or its wavelength is unknown.
        """
        preparation = self.preparation(key)
        return self._corrected.get_or_compute(key, preparation, lambda: self._correct(key, preparation.steps))

    def corrected_digest(self, key: str) -> str:
        """Digest of that pattern and its wavelength; empty where there is none."""
        preparation = self.preparation(key)

        def compute() -> str:
            try:
                pattern = self.corrected(key)
            except InputError:
                return ""
            content = pattern.two_theta.tobytes() + pattern.intensity.tobytes() + str(pattern.wavelength).encode()
            return hashlib.sha256(content).hexdigest()[:24]

        return self._digests.get_or_compute(key, preparation, compute)

    def _correct(self, key: str, steps: tuple[Step, ...]) -> Pattern:
        profile = self._profile(key, _of_kinds(steps, *_ON_THE_AXIS))
        wavelength = CU_K_ALPHA if profile.at_copper else self.wavelength(key)
        if wavelength is None:
            raise _wavelength_missing()
        kept = np.ones(profile.two_theta.size, dtype=np.bool_)
        for step in _of_kinds(steps, CropRange):
            assert isinstance(step, CropRange)
            low, high = (two_theta_at(limit, wavelength=wavelength) for limit in (step.start, step.stop))
            kept &= (profile.two_theta >= low) & (profile.two_theta <= high)
        kept &= (profile.two_theta >= 0) & (profile.two_theta <= 180)  # noqa: PLR2004 - the range of a scattering angle
        return Pattern(
            profile.two_theta[kept], profile.intensity[kept], wavelength=wavelength,
            name=self._samples()[key].pattern.name, warnings=profile.source.warnings,
        )  # fmt: skip

    def trace(self, key: str, *, background: bool = True) -> Trace | str:
        """The pattern at the selected stage and axis, or the reason why it cannot be drawn, a safe text.

        background: whether to fit the background where the session shows it.
        """
        try:
            if self.session.stage == "gridded":
                return self._gridded_trace(key)
            return self._stage_trace(key, with_background=background)
        except InputError as error:
            return safe_message(without_name(error, self._samples()[key].pattern.name))

    def _stage_trace(self, key: str, *, with_background: bool) -> Trace | str:
        """The pattern as measured or after the selected step, with the background that the next step subtracts."""
        steps, background = self.preparation(key).steps, None
        if self.session.stage == "measured":  # shifts move the background with the pattern, without another fit
            shown, fitting = _of_kinds(steps, *_ON_THE_AXIS), self._fitting(key, steps)
        else:
            count = len(self.shown_steps(key))
            shown, fitting = steps[:count], steps[: count + 1]
        taken_away = bool(fitting) and isinstance(fitting[-1], SubtractBackground) and fitting != shown
        if self.session.show_background and with_background and taken_away:
            background = self._profile(key, fitting).background
        return self._to_trace(key, shown, background=background)

    def measured_with_background(self, key: str) -> tuple[ProcessedPattern, np.ndarray | None]:
        """The pattern at its corrected angles, and the background that its steps subtract; None where they do not."""
        steps = self.preparation(key).steps
        profile, fitting = self._profile(key, _of_kinds(steps, *_ON_THE_AXIS)), self._fitting(key, steps)
        background = self._profile(key, fitting).background if fitting else None
        fits = background is not None and background.size == profile.two_theta.size
        return profile, background if fits else None

    def _fitting(self, key: str, steps: tuple[Step, ...]) -> tuple[Step, ...]:
        """The steps that fit the background of a pattern as measured; the shifts of the axis move it with the pattern.

        The shifts come before background points, whose angles are shifted ones.
        """
        fitting = _of_kinds(steps, ConvertAxis, SubtractBackground)
        if fitting and isinstance(fitting[-1], SubtractBackground) and fitting[-1].method == "points":
            return (*_of_kinds(steps, *_ON_THE_AXIS), self._at_measured_angles(key, fitting[-1], steps))
        return fitting

    def background_step(self, key: str) -> int | None:
        """Index of the enabled step that subtracts the background of a pattern; None where there is none."""
        steps = self.preparation(key).steps
        return next((place for place, step in enumerate(steps) if isinstance(step, SubtractBackground)), None)

    def before_background(self, key: str) -> ProcessedPattern:
        """The pattern before its background is subtracted; raises `InputError` where it cannot be computed."""
        place = self.background_step(key)
        steps = self.preparation(key).steps
        return self._profile(key, steps if place is None else steps[:place])

    def background_wavelengths(self, key: str) -> tuple[float | None, float | None]:
        """Wavelengths [Å] of the angles of background points: as the step has them, and as they are drawn."""
        steps, place = self.preparation(key).steps, self.background_step(key)
        measured = self.wavelength(key)
        converted = any(isinstance(step, ConvertWavelength) for step in steps[:place])
        drawn = self.session.stage != "measured" and any(
            isinstance(step, ConvertWavelength) for step in self.shown_steps(key)
        )
        return CU_K_ALPHA if converted else measured, CU_K_ALPHA if drawn else measured

    def _at_measured_angles(self, key: str, step: SubtractBackground, steps: tuple[Step, ...]) -> SubtractBackground:
        """The step with its points at the measured angles, where they are those of another wavelength."""
        before = steps[: steps.index(step)]
        wavelength = self.wavelength(key)
        if wavelength is None or not any(isinstance(other, ConvertWavelength) for other in before):
            return step
        angles = np.array([angle for angle, _ in step.points])
        moved = change_wavelength(angles, measured=CU_K_ALPHA, target=wavelength)
        points = [
            (float(angle), height)
            for angle, (_, height) in zip(moved, step.points, strict=True)
            if np.isfinite(angle)
        ]  # fmt: skip
        return replace(step, points=tuple(points))

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


def _wavelength_missing() -> WavelengthError:
    msg = "The file does not state a wavelength, and none is assumed: enter it on the Answer or the Patterns screen."
    return WavelengthError(msg, code="E_WAVELENGTH")


def two_theta_at(two_theta: float, *, wavelength: float) -> float:
    """An angle [deg] at Cu Kα as that of the same lattice spacing at a wavelength [Å]; at most 180."""
    sine = np.sin(np.radians(two_theta / 2)) * wavelength / CU_K_ALPHA
    return float(2 * np.degrees(np.arcsin(min(sine, 1.0))))


def spacing(two_theta: np.ndarray, *, wavelength: float) -> np.ndarray:
    """Lattice spacing [Å]; NaN for angles of 0° or less, which a zero shift can cause."""
    return np.where(two_theta > 0, two_theta_to_d(np.maximum(two_theta, 1e-9), wavelength=wavelength), np.nan)
