"""The stages a pattern goes through, as frozen values: as measured, as sticks, and on the grid."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from types import MappingProxyType

import numpy as np

from xxact_core.errors import PatternError
from xxact_core.patterns.conversions import parse_wavelength
from xxact_core.patterns.grid import GRID, TwoThetaGrid

LEAST_WINDOW = 0.1
"""A window of which less than this share was measured is hidden from a model, in training as in use."""


def _frozen_array(values: object, *, name: str, dtype: type) -> np.ndarray:
    if isinstance(values, np.ma.MaskedArray) and np.ma.is_masked(values):
        masked = int(np.ma.getmaskarray(values).sum())
        msg = f"{name} has {masked} masked values; leave these points out, or pass the arrays to `read_pattern`"
        raise PatternError(msg, code="E_VALUES")
    array: np.ndarray = np.array(values, dtype=dtype)
    if array.ndim != 1:
        msg = f"{name} must be one-dimensional, not of shape {array.shape}"
        raise PatternError(msg, code="E_VALUES")
    array.setflags(write=False)
    return array


class _ArrayValue:
    """Equality for frozen dataclasses that hold arrays: all fields equal, arrays by element."""

    def __eq__(self, other: object) -> bool:
        if type(self) is not type(other):
            return NotImplemented
        names = [item.name for item in fields(self)]  # type: ignore[arg-type]  # every child is a dataclass
        pairs = ((getattr(self, name), getattr(other, name)) for name in names)
        return all(
            np.array_equal(mine, theirs) if isinstance(mine, np.ndarray) else mine == theirs for mine, theirs in pairs
        )

    __hash__ = None  # type: ignore[assignment]  # equal arrays have no cheap hash


@dataclass(frozen=True, eq=False)
class Pattern(_ArrayValue):
    """A powder pattern as measured.

    Raises:
        PatternError: names the first bad point (E_VALUES, E_AXIS), or the pattern is empty (E_EMPTY).
    """

    two_theta: np.ndarray
    """Positions [deg], shape (points,), strictly increasing, within 0-180."""

    intensity: np.ndarray
    """Counts or counts per second, shape (points,), finite."""

    wavelength: float | None = None
    """Wavelength of the radiation [Å]; None if the source does not state it.

    Anything that `conversions.parse_wavelength` reads may be passed, such as (0.15406, "nm").
    """

    name: str = "pattern"
    """Name of the pattern, by default that of its file."""

    format: str = "array"
    """Name of the file format."""

    warnings: tuple[str, ...] = ()
    """Notes for the user."""

    metadata: Mapping[str, str] = field(default_factory=dict)
    """Metadata of the scan: anode, sample, counting time and others that the file states."""

    def __post_init__(self) -> None:
        """Check the axis and the intensities; `PatternError` names the first bad point."""
        two_theta = _frozen_array(self.two_theta, name=f"{self.name}: two_theta", dtype=np.float64)
        intensity = _frozen_array(self.intensity, name=f"{self.name}: intensity", dtype=np.float64)
        if two_theta.shape != intensity.shape:
            msg = f"{self.name}: {two_theta.size} angles but {intensity.size} intensities"
            raise PatternError(msg, code="E_VALUES")
        if two_theta.size == 0:
            msg = f"{self.name}: holds no points"
            raise PatternError(msg, code="E_EMPTY")
        for label, values in (("angle", two_theta), ("intensity", intensity)):
            bad = np.flatnonzero(~np.isfinite(values))
            if bad.size:
                msg = f"{self.name}: {label} of point {bad[0] + 1} is {values[bad[0]]}; expected a finite number"
                raise PatternError(msg, code="E_VALUES")
        steps = np.diff(two_theta)
        if steps.size and steps.min() <= 0:
            row = int(np.argmax(steps <= 0)) + 2
            msg = f"{self.name}: angle of point {row} ({two_theta[row - 1]:g}°) is not above the one before it"
            raise PatternError(msg, code="E_AXIS")
        if two_theta[0] < 0 or two_theta[-1] > 180:  # noqa: PLR2004 - the range of a scattering angle
            msg = f"{self.name}: angles run from {two_theta[0]:g} to {two_theta[-1]:g}; expected 2θ within 0-180°"
            raise PatternError(msg, code="E_AXIS")
        stated: object = self.wavelength
        if stated is not None and not isinstance(stated, float | int):
            object.__setattr__(self, "wavelength", parse_wavelength(stated))
        if self.wavelength is not None and not 0.1 <= self.wavelength <= 5:  # noqa: PLR2004 - x-ray powder work
            msg = f"{self.name}: wavelength {self.wavelength} Å is outside 0.1-5 Å"
            raise PatternError(msg, code="E_WAVELENGTH")
        object.__setattr__(self, "two_theta", two_theta)
        object.__setattr__(self, "intensity", intensity)
        object.__setattr__(self, "metadata", MappingProxyType(dict(self.metadata)))


@dataclass(frozen=True, eq=False)
class Sticks(_ArrayValue):
    """Ideal reflections."""

    two_theta: np.ndarray
    """Positions [deg], shape (peaks,)."""

    intensity: np.ndarray
    """Intensities, 0-100, shape (peaks,)."""

    wavelength: float
    """Wavelength of the positions [Å]."""

    hkl: np.ndarray | None = None
    """Miller indices, shape (peaks, 3); None if unknown."""

    def __post_init__(self) -> None:
        """Check lengths and order."""
        two_theta = _frozen_array(self.two_theta, name="stick positions", dtype=np.float64)
        intensity = _frozen_array(self.intensity, name="stick intensities", dtype=np.float64)
        if two_theta.shape != intensity.shape:
            msg = f"{two_theta.size} stick positions but {intensity.size} intensities"
            raise PatternError(msg, code="E_VALUES")
        if not (np.isfinite(two_theta).all() and np.isfinite(intensity).all() and (intensity >= 0).all()):
            msg = "sticks need finite positions and finite intensities of at least 0"
            raise PatternError(msg, code="E_VALUES")
        if self.hkl is not None:
            hkl = np.array(self.hkl, dtype=np.int16)
            if hkl.shape != (two_theta.size, 3):
                msg = f"hkl must have shape ({two_theta.size}, 3), not {hkl.shape}"
                raise PatternError(msg, code="E_VALUES")
            hkl.setflags(write=False)
            object.__setattr__(self, "hkl", hkl)
        object.__setattr__(self, "two_theta", two_theta)
        object.__setattr__(self, "intensity", intensity)


@dataclass(frozen=True, eq=False)
class GriddedPattern(_ArrayValue):
    """A pattern on the shared grid, as if measured with Cu Kα: the input of the model."""

    intensity: np.ndarray
    """Intensities, shape (grid.points,): 0-100, maximum 100, and 0 where nothing was measured."""

    coverage: np.ndarray
    """Which points were measured, shape (grid.points,), bool."""

    grid: TwoThetaGrid = GRID
    """Positions of the points."""

    name: str = "pattern"
    """Name of the pattern."""

    warnings: tuple[str, ...] = ()
    """Notes for the user."""

    def __post_init__(self) -> None:
        """Check shapes and the 0-100 scale."""
        intensity = _frozen_array(self.intensity, name=f"{self.name}: intensity", dtype=np.float32)
        coverage = _frozen_array(self.coverage, name=f"{self.name}: coverage", dtype=np.bool_)
        if intensity.size != self.grid.points or coverage.size != self.grid.points:
            msg = (
                f"{self.name}: {intensity.size} intensities and {coverage.size} coverage flags for {self.grid.points} "
                f"points"
            )
            raise PatternError(msg, code="E_VALUES")
        if not np.isfinite(intensity).all() or intensity.min() < 0 or not np.isclose(intensity.max(), 100, atol=1e-3):
            msg = f"{self.name}: gridded intensities must be finite, at least 0 and at most 100 with a maximum of 100"
            raise PatternError(msg, code="E_VALUES")
        if intensity[~coverage].any():
            msg = f"{self.name}: intensity outside the measured range"
            raise PatternError(msg, code="E_VALUES")
        object.__setattr__(self, "intensity", intensity)
        object.__setattr__(self, "coverage", coverage)

    @property
    def covered_fraction(self) -> float:
        """Fraction of the grid that was measured (0-1)."""
        return float(self.coverage.mean())

    @property
    def extent(self) -> float:
        """Fraction of the grid from the first to the last measured point (0-1)."""
        return coverage_extent(self.coverage)

    @property
    def window_coverage(self) -> np.ndarray:
        """Fraction of each window that was measured, shape (grid.windows,)."""
        fractions: np.ndarray = self.coverage.reshape(self.grid.windows, -1).mean(axis=1)
        return fractions

    @property
    def hidden_windows(self) -> np.ndarray:
        """Windows that a model is not shown because hardly anything of them was measured, shape (grid.windows,)."""
        return self.window_coverage < LEAST_WINDOW


def coverage_extent(coverage: np.ndarray) -> float:
    """Fraction of a grid from its first to its last covered point; gaps between measured regions count as covered."""
    covered = np.flatnonzero(coverage)
    return float(covered[-1] - covered[0] + 1) / coverage.size if covered.size else 0.0
