"""Points as a file holds them → pattern: the checks that every reader's numbers pass."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from xxact_core.errors import PatternError, shorten
from xxact_core.patterns.conversions import CU_K_ALPHA, d_to_two_theta, q_to_two_theta
from xxact_core.patterns.pattern import Pattern

AxisKind = Literal["two_theta", "q", "d"]

FEWEST_POINTS = 10
LARGEST_STEP = 0.1
"""A step above this [deg] is wider than a reflection: peaks fall between the points."""

MOST_DUPLICATES = 0.1
"""Share of repeated angles above which a file is not one scan."""

_UNEVEN_STEPS = 1.5
_MOST_HUNDREDTHS = 18_000
_SMALLEST_RANGE = 3.2
"""An axis that ends below this may be in radians (π = 3.14) or in q."""


@dataclass(frozen=True)
class MeasuredPoints:
    """What a reader found, before any check: positions, intensities, and what the file says about them.

    positions, intensity: shape (points,). kind: what the positions are: 2θ [deg], q [Å⁻¹] or d [Å].
    place: what a point is called in this file ("line", "point"); places: number of each point, shape (points,).
    """

    positions: np.ndarray
    intensity: np.ndarray
    format: str
    kind: AxisKind = "two_theta"
    wavelength: float | None = None
    place: str = "point"
    places: np.ndarray | None = None
    warnings: tuple[str, ...] = ()
    metadata: Mapping[str, str] = field(default_factory=dict)


def choose_scans(scan: int | None, *, count: int, name: str) -> list[int]:
    """Numbers of the scans to read of `count`, from 0: the one that is asked for, or all where it is None.

    Raises:
        PatternError: there is no such scan (E_SCAN).
    """
    if scan is None:
        return list(range(count))
    if not 0 <= scan < count:
        msg = f"{name}: there is no scan {scan}; the file holds {count}, counted from 0"
        raise PatternError(msg, code="E_SCAN")
    return [scan]


def note_scans(scan: int | None, *, count: int) -> tuple[str, ...]:
    """What to tell of the scans that were not asked for."""
    return (f"holds {count} scans; the first was read",) if scan == 0 and count > 1 else ()


def points_to_pattern(points: MeasuredPoints, *, name: str, wavelength: float | None = None) -> Pattern:
    """The pattern of the points, angles increasing; what was changed is said in its warnings.

    Positions in q or d are turned into 2θ at `wavelength`, or at Cu Kα where none is given: q belongs to the material,
    so no radiation is assumed. Values below 0 stay (background-subtracted data have them) and become 0 on the grid.

    Raises:
        PatternError: names the line or point of a value that is not finite, of an angle out of order or beyond 180°,
            or says what is missing (E_VALUES, E_AXIS, E_EMPTY).
    """
    name = shorten(name)
    positions = np.asarray(points.positions, dtype=np.float64)
    intensity = np.asarray(points.intensity, dtype=np.float64)
    places = np.arange(1, positions.size + 1) if points.places is None else np.asarray(points.places)
    for label, values in (("angle", positions), ("intensity", intensity)):
        bad = np.flatnonzero(~np.isfinite(values))
        if bad.size:
            where = f"{points.place} {places[bad[0]]}"
            msg = f"{name}, {where}: the {label} is {values[bad[0]]}; expected a finite number"
            raise PatternError(msg, code="E_VALUES")
    if positions.size < FEWEST_POINTS:
        msg = f"{name}: holds {positions.size} points; expected at least {FEWEST_POINTS}"
        raise PatternError(msg, code="E_VALUES" if positions.size else "E_EMPTY")
    notes = list(points.warnings)
    found = points.wavelength if wavelength is None else wavelength
    if points.kind != "two_theta":
        found = CU_K_ALPHA if found is None else found
        positions, intensity, places = _to_two_theta(positions, intensity, places, points.kind, found, notes)
    _check_range(positions, places, name=name, place=points.place)
    if positions.size > 1 and (np.diff(positions) < 0).all():
        positions, intensity, places = positions[::-1], intensity[::-1], places[::-1]
        notes.append("angles ran downwards and were turned round")
    _check_order(positions, places, name=name, place=points.place)
    positions, intensity = _average_duplicates(positions, intensity, name=name, notes=notes)
    if positions.size < FEWEST_POINTS:
        msg = f"{name}: holds {positions.size} different angles; expected at least {FEWEST_POINTS}"
        raise PatternError(msg, code="E_VALUES")
    if intensity.max() <= 0:
        scans = points.metadata.get("scans", "1")
        others = "" if scans == "1" else f"; the file holds {scans} scans, and another may be asked for"
        msg = f"{name}: no intensity is above 0 (the largest is {intensity.max():g}){others}"
        raise PatternError(msg, code="E_VALUES")
    notes += _notes(positions, intensity)
    return Pattern(
        two_theta=positions,
        intensity=intensity,
        wavelength=found,
        name=name,
        format=points.format,
        warnings=tuple(notes),
        metadata=points.metadata,
    )


def _to_two_theta(
    positions: np.ndarray,
    intensity: np.ndarray,
    places: np.ndarray,
    kind: AxisKind,
    wavelength: float,
    notes: list[str],
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    convert = q_to_two_theta if kind == "q" else d_to_two_theta
    angles = convert(positions, wavelength=wavelength)
    kept = np.isfinite(angles)
    notes.append(f"the axis is {kind}: turned into 2θ at {wavelength:g} Å")
    if not kept.all():
        notes.append(f"{int((~kept).sum())} points lie beyond the reach of {wavelength:g} Å and were left out")
    if not kept.any():
        msg = f"no {kind} of the file can be reached with {wavelength:g} Å"
        raise PatternError(msg, code="E_AXIS")
    return angles[kept], intensity[kept], places[kept]


def _check_range(positions: np.ndarray, places: np.ndarray, *, name: str, place: str) -> None:
    low, high = int(np.argmin(positions)), int(np.argmax(positions))
    if positions[high] > 180:  # noqa: PLR2004 - the largest scattering angle
        looks = (
            "time of flight or channel numbers"
            if positions[high] > _MOST_HUNDREDTHS
            else "hundredths of a degree or channels"
        )
        msg = (
            f"{name}, {place} {places[high]}: the angle is {positions[high]:g}; expected 2θ within 0-180°. "
            f"The axis looks like {looks}"
        )
        raise PatternError(msg, code="E_AXIS")
    if positions[low] < 0:
        msg = f"{name}, {place} {places[low]}: the angle is {positions[low]:g}; expected 2θ within 0-180°"
        raise PatternError(msg, code="E_AXIS")


def _check_order(positions: np.ndarray, places: np.ndarray, *, name: str, place: str) -> None:
    falls = np.flatnonzero(np.diff(positions) < 0)
    if falls.size:
        index = int(falls[0]) + 1
        msg = (
            f"{name}, {place} {places[index]}: the angle {positions[index]:g}° follows {positions[index - 1]:g}°; "
            f"expected angles that only rise, or only fall"
        )
        raise PatternError(msg, code="E_AXIS")


def _average_duplicates(
    positions: np.ndarray, intensity: np.ndarray, *, name: str, notes: list[str]
) -> tuple[np.ndarray, np.ndarray]:
    angles, index, counts = np.unique(positions, return_inverse=True, return_counts=True)
    repeated = positions.size - angles.size
    if not repeated:
        return positions, intensity
    if repeated > MOST_DUPLICATES * positions.size:
        first = angles[np.argmax(counts > 1)]
        msg = (
            f"{name}: {repeated} of {positions.size} angles occur again (the first is {first:g}°); expected one scan, "
            f"each angle once"
        )
        raise PatternError(msg, code="E_AXIS")
    notes.append(f"{repeated} repeated angles were averaged")
    return angles, np.bincount(index, weights=intensity) / counts


def _notes(positions: np.ndarray, intensity: np.ndarray) -> list[str]:
    notes = []
    steps = np.diff(positions)
    median = float(np.median(steps))
    if median > LARGEST_STEP:
        notes.append(f"the step is {median:.3g}°: lines narrower than that may be missed")
    elif steps.max() > _UNEVEN_STEPS * steps.min() and steps.max() - steps.min() > 0.001:  # noqa: PLR2004 - rounding
        notes.append(f"the step is not even ({steps.min():.3g}-{steps.max():.3g}°)")
    if positions[-1] < _SMALLEST_RANGE:
        notes.append(f"angles end at {positions[-1]:.3g}: expected 2θ in degrees, not radians, q or d")
    below = int((intensity < 0).sum())
    if below:
        notes.append(f"{below} intensities are below 0 (a background was subtracted?); they become 0 on the grid")
    return notes
