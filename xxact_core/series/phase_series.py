"""Phases of a series of patterns: fractions and cells over the series, as rows, JSON and xarray."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from xxact_core.patterns.conversions import change_wavelength
from xxact_core.patterns.pattern import Pattern
from xxact_core.search_match.phase_analysis import CELL_NAMES
from xxact_core.series.frames import Frame

if TYPE_CHECKING:
    from xarray import Dataset


@dataclass(frozen=True)
class FramePhase:
    """A phase in one frame."""

    formula: str
    name: str | None
    space_group: int | None
    id: str
    source_id: str
    row: int
    weight_fraction: float
    u_weight_fraction: float
    cell: tuple[float, ...]
    """a, b, c [Å], α, β, γ [deg]."""
    u_cell: tuple[float, ...]
    scale_factor: float
    size: float
    """Crystallite size [nm]."""
    strain: float
    probability: float


@dataclass(frozen=True)
class FrameResult:
    """What was found in one frame."""

    phases: tuple[FramePhase, ...] = ()
    """Largest weight fraction first; empty where nothing matches or the frame could not be used."""
    verdict: str | None = None
    """`single`, `mixture` or `no match`; None where the frame could not be used."""
    unexplained_fraction: float = math.nan
    weighted_residual: float = math.nan
    error: str = ""
    """Why the frame could not be read or analysed."""


@dataclass(frozen=True)
class SeriesPhase:
    """A phase of a series."""

    label: str
    """Formula with name or space group, different for each phase of the series."""
    formula: str
    name: str | None
    space_group: int | None
    id: str
    """Id of the reference phase that most frames have."""
    source_id: str
    stretches: tuple[tuple[int, int], ...]
    """First and last frame of each stretch in which the phase is present; frames without a result do not end one."""


@dataclass(frozen=True, eq=False)
class PhaseSeries:
    """The phases of all frames of a series; numbers are NaN where a frame has no result."""

    by: str
    """Quantity that the series runs over."""
    unit: str
    """Unit of the values."""
    frames: tuple[Frame, ...]
    """The frames, with their values and patterns."""
    results: tuple[FrameResult, ...]
    """One for each frame."""
    phases: tuple[SeriesPhase, ...]
    """Phases in the order in which they appear."""
    places: tuple[tuple[int | None, ...], ...]
    """For each frame and phase of the series, the place among the phases of the frame; None where it is absent."""
    notes: tuple[str, ...] = ()
    """Notes for the user."""

    @property
    def value(self) -> np.ndarray:
        """Values of the frames, NaN where unknown, shape (frames,)."""
        return np.array([math.nan if frame.value is None else frame.value for frame in self.frames])

    @property
    def usable(self) -> np.ndarray:
        """Whether each frame has a result, shape (frames,)."""
        return np.array([not result.error for result in self.results], dtype=np.bool_)

    @property
    def weight_fraction(self) -> np.ndarray:
        """Weight fractions, 0 where a phase is absent, shape (frames, phases)."""
        return self._numbers(lambda phase: phase.weight_fraction, absent=0.0)

    @property
    def u_weight_fraction(self) -> np.ndarray:
        """Standard uncertainties of the weight fractions, NaN where a phase is absent, shape (frames, phases)."""
        return self._numbers(lambda phase: phase.u_weight_fraction)

    @property
    def cell(self) -> np.ndarray:
        """Cells a, b, c [Å], α, β, γ [deg], NaN where a phase is absent, shape (frames, phases, 6)."""
        return np.stack([self._numbers(partial(_parameter, "cell", i)) for i in range(len(CELL_NAMES))], axis=-1)

    @property
    def u_cell(self) -> np.ndarray:
        """Standard uncertainties of the cells, shape (frames, phases, 6)."""
        return np.stack([self._numbers(partial(_parameter, "u_cell", i)) for i in range(len(CELL_NAMES))], axis=-1)

    def _numbers(self, number: Callable[[FramePhase], float], *, absent: float = math.nan) -> np.ndarray:
        values = np.full((len(self.frames), len(self.phases)), absent)
        values[~self.usable] = math.nan
        for frame, (result, places) in enumerate(zip(self.results, self.places, strict=True)):
            for phase, place in enumerate(places):
                if place is not None:
                    values[frame, phase] = number(result.phases[place])
        return values

    def changes(self) -> list[str]:
        """Where phases appear and vanish, as sentences in the order of the frames."""
        found: list[tuple[int, str]] = []
        last = len(self.frames) - 1
        usable = np.flatnonzero(self.usable)
        for phase in self.phases:
            for begin, end in phase.stretches:
                before, after = usable[usable < begin], usable[usable > end]
                if before.size:
                    found.append((begin, f"{phase.label} appears {self._between(int(before[-1]), begin)}"))
                if after.size and end < last:
                    found.append((end, f"{phase.label} vanishes {self._between(end, int(after[0]))}"))
        return [sentence for _, sentence in sorted(found, key=lambda pair: pair[0])]

    def _between(self, first: int, second: int) -> str:
        values = [self.frames[frame].value for frame in (first, second)]
        if None in values:
            return f"between {self.frames[first].name} and {self.frames[second].name}"
        unit = f" {self.unit}" if self.unit else ""
        return f"between {self.by} {values[0]:g} and {values[1]:g}{unit}"

    def to_rows(self) -> list[dict[str, Any]]:
        """A table with one row for each frame and phase; one row for a frame without phases.

        `phase` is the same text wherever the phase is the same; `change` is `appears` in the first frame of a stretch
        with the phase and `vanishes` in the last; numbers that are not known are None.
        """
        rows = []
        quantity = f"{self.by} [{self.unit}]" if self.unit else _free_name(self.by, _COLUMNS)
        for number, (frame, result, places) in enumerate(zip(self.frames, self.results, self.places, strict=True)):
            head: dict[str, Any] = {"number": number, "file": frame.file, "scan": frame.scan, quantity: frame.value}
            tail = {
                "verdict": result.verdict,
                "unexplained_fraction": _finite(result.unexplained_fraction),
                "weighted_residual": _finite(result.weighted_residual),
                "error": result.error or None,
            }
            present = [(index, place) for index, place in enumerate(places) if place is not None]
            for index, place in present:
                one, phase = result.phases[place], self.phases[index]
                rows.append({**head, **_phase_to_row(one, phase, self._change(index, number)), **tail})
            if not present:
                rows.append({**head, **dict.fromkeys(_ROW_OF_PHASE), **tail})
        return rows

    def _change(self, phase: int, frame: int) -> str | None:
        usable = np.flatnonzero(self.usable)
        stretches = self.phases[phase].stretches
        words = [
            *(["appears"] if any(frame == begin > usable[0] for begin, _ in stretches) else []),
            *(["vanishes"] if any(frame == end < usable[-1] for _, end in stretches) else []),
        ]
        return " and ".join(words) or None

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON: quantity, phases with the stretches in which they are present, frames, changes."""
        return {
            "by": self.by,
            "unit": self.unit,
            "phases": [
                {
                    "label": phase.label,
                    "formula": phase.formula,
                    "name": phase.name,
                    "space_group": phase.space_group,
                    "id": phase.id,
                    "source_id": phase.source_id,
                    "stretches": [list(stretch) for stretch in phase.stretches],
                }
                for phase in self.phases
            ],
            "frames": [
                {
                    "file": frame.file,
                    "scan": frame.scan,
                    "value": frame.value,
                    "verdict": result.verdict,
                    "unexplained_fraction": _finite(result.unexplained_fraction),
                    "weighted_residual": _finite(result.weighted_residual),
                    "error": result.error or None,
                    "phases": [
                        {"phase": index, **_numbers_of(result.phases[place])}
                        for index, place in enumerate(places)
                        if place is not None
                    ],
                }
                for frame, result, places in zip(self.frames, self.results, self.places, strict=True)
            ],
            "changes": self.changes(),
            "notes": list(self.notes),
        }

    def to_xarray(self) -> Dataset:
        """Fractions and cells over frame and phase, and the patterns on common angles, with units as attributes."""
        import xarray  # noqa: PLC0415 - slow to import

        angles, patterns, wavelength = patterns_to_image(self.frames)
        along, over = ("frame", "phase"), ("frame", "phase", "cell_parameter")
        cell_units = {"units": "Å, Å, Å, deg, deg, deg"}
        return xarray.Dataset(
            {
                "weight_fraction": (along, self.weight_fraction),
                "u_weight_fraction": (along, self.u_weight_fraction),
                "scale_factor": (along, self._numbers(lambda phase: phase.scale_factor)),
                "size": (along, self._numbers(lambda phase: phase.size), {"units": "nm"}),
                "strain": (along, self._numbers(lambda phase: phase.strain)),
                "probability": (along, self._numbers(lambda phase: phase.probability)),
                "cell": (over, self.cell, cell_units),
                "u_cell": (over, self.u_cell, cell_units),
                "unexplained_fraction": (("frame",), np.array([one.unexplained_fraction for one in self.results])),
                "weighted_residual": (("frame",), np.array([one.weighted_residual for one in self.results])),
                "intensity": (("frame", "two_theta"), patterns),
            },
            coords={
                _variable_name(self.by): (("frame",), self.value, {"units": self.unit, "long_name": self.by}),
                "file": (("frame",), np.array([frame.name for frame in self.frames], dtype=str)),
                "error": (("frame",), np.array([result.error for result in self.results], dtype=str)),
                "phase": np.array([phase.label for phase in self.phases], dtype=str),
                "cell_parameter": list(CELL_NAMES),
                "two_theta": (("two_theta",), angles, {"units": "deg"}),
            },
            attrs={"by": self.by, "wavelength": wavelength, "notes": "\n".join(self.notes)},
        )


_ROW_OF_PHASE = (
    "phase", "formula", "name", "space_group", "id", "change", "weight_fraction", "u_weight_fraction",
    *(name for parameter in CELL_NAMES for name in (parameter, f"u_{parameter}")), "size", "strain", "scale_factor",
    "probability",
)  # fmt: skip

_COLUMNS = frozenset(
    ("number", "file", "scan", *_ROW_OF_PHASE, "verdict", "unexplained_fraction", "weighted_residual", "error")
)
"""Columns of the table besides the quantity."""

_VARIABLES = _COLUMNS | {"cell", "u_cell", "intensity", "two_theta", "cell_parameter"}
"""Names that variables and coordinates of the dataset have, or might be mistaken for."""


def _variable_name(by: str) -> str:
    """Name of the quantity as netCDF allows it; another one where the dataset has a variable of that name."""
    return _free_name(re.sub(r"\W+", "_", by).strip("_") or "value", _VARIABLES)


def _free_name(name: str, taken: frozenset[str]) -> str:
    return f"{name}_value" if name in taken else name


def _parameter(cell: Literal["cell", "u_cell"], number: int, phase: FramePhase) -> float:
    values: tuple[float, ...] = getattr(phase, cell)
    return values[number]


def _phase_to_row(phase: FramePhase, of_series: SeriesPhase, change: str | None) -> dict[str, Any]:
    names = ("formula", "name", "space_group", "id")
    values = {
        "phase": of_series.label,
        **{name: getattr(of_series, name) for name in names},
        "change": change,
        **_numbers_of(phase),
    }
    cells = dict(zip(CELL_NAMES, values.pop("cell"), strict=True))
    u_cells = {f"u_{name}": value for name, value in zip(CELL_NAMES, values.pop("u_cell"), strict=True)}
    return {name: (values | cells | u_cells)[name] for name in _ROW_OF_PHASE}


def _numbers_of(phase: FramePhase) -> dict[str, Any]:
    names = ("weight_fraction", "u_weight_fraction", "scale_factor", "size", "strain", "probability")
    cells = {name: [_finite(value) for value in getattr(phase, name)] for name in ("cell", "u_cell")}
    return {**{name: _finite(getattr(phase, name)) for name in names}, **cells}


def _finite(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None


def patterns_to_image(frames: Sequence[Frame], *, columns: int = 4000) -> tuple[np.ndarray, np.ndarray, float]:
    """All patterns on common angles: those of the first wavelength, NaN where a frame was not measured.

    Args:
        frames: of the series.
        columns: largest number of angles.

    Returns:
        Angles [deg], shape (angles,); intensities, shape (frames, angles); the wavelength [Å], NaN where no frame
        states one.
    """
    read = [frame.pattern for frame in frames if frame.pattern is not None]
    wavelength = next((pattern.wavelength for pattern in read if pattern.wavelength is not None), math.nan)
    measured = [
        (number, *_points_at(frame.pattern, wavelength)) for number, frame in enumerate(frames) if frame.pattern
    ]
    measured = [(number, angles, intensity) for number, angles, intensity in measured if angles.size > 1]
    if not measured:
        return np.zeros(0), np.zeros((len(frames), 0)), wavelength
    first, last = min(angles[0] for _, angles, _ in measured), max(angles[-1] for _, angles, _ in measured)
    steps = [np.median(np.diff(angles)) for _, angles, _ in measured]
    step = max(float(np.median(steps)), float(last - first) / (columns - 1))
    common = first + step * np.arange(int((last - first) / step + 1e-6) + 1)
    image = np.full((len(frames), common.size), math.nan)
    for number, angles, intensity in measured:
        image[number] = np.interp(common, angles, intensity, left=math.nan, right=math.nan)
    return common, image, wavelength


def _points_at(pattern: Pattern, wavelength: float) -> tuple[np.ndarray, np.ndarray]:
    """Angles and intensities of a pattern, converted to a wavelength where it states another."""
    if pattern.wavelength is None or abs(pattern.wavelength - wavelength) < 1e-6:  # noqa: PLR2004 - rounding
        return pattern.two_theta, pattern.intensity
    angles = change_wavelength(pattern.two_theta, measured=pattern.wavelength, target=wavelength)
    reached = np.isfinite(angles)
    return angles[reached], pattern.intensity[reached]
