"""What a reader finds in a file (points, axis, radiation, metadata) and the checks that make a `Pattern` of it.

Also what the readers of several vendors share: even angles, the radiation that a header states, metadata under the same
names for every format, and reading with geddes.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from xxact_core.errors import PatternError, shorten
from xxact_core.patterns.conversions import (
    CU_K_ALPHA,
    MAX_WAVELENGTH,
    MIN_WAVELENGTH,
    WAVELENGTHS,
    d_to_two_theta,
    q_to_two_theta,
)
from xxact_core.patterns.pattern import Pattern
from xxact_core.readers.content import MAX_POINTS

AxisKind = Literal["two_theta", "q", "d"]

MIN_POINTS = 10
LARGE_STEP = 0.1
"""A step above this [deg] is wider than a reflection: peaks fall between the points."""

MAX_DUPLICATE_FRACTION = 0.1
"""Fraction of repeated angles above which a file is not one scan."""

_UNEVEN_STEPS = 1.5
_MAX_HUNDREDTHS = 18_000
_SMALLEST_RANGE = 3.2
"""An axis that ends below this may be in radians (π = 3.14) or in q."""


@dataclass(frozen=True)
class MeasuredPoints:
    """The content of one scan as a reader found it, before any check."""

    positions: np.ndarray
    """Positions on the axis `kind`, shape (points,)."""

    intensity: np.ndarray
    """Counts or counts per second, shape (points,)."""

    format: str
    """Name of the file format, for people."""

    kind: AxisKind = "two_theta"
    """Axis of the positions: 2θ [deg], q [Å⁻¹] or d [Å]."""

    wavelength: float | None = None
    """Wavelength that the file states [Å]."""

    place: str = "point"
    """What a point is called in messages: "line" of a text, else "point"."""

    places: np.ndarray | None = None
    """Line or point number of each point, shape (points,); None counts from 1."""

    warnings: tuple[str, ...] = ()
    """Notes for the user."""

    metadata: Mapping[str, str] = field(default_factory=dict)
    """Metadata of the scan, as `scan_metadata` gives them."""


# --------------------------------------------------------------------------------------------------- scans of one file
def select_scans(scan: int | None, *, count: int, name: str) -> list[int]:
    """Indices of the scans to read, from 0: the requested one of `count`, or all for None.

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
    """A note that the file holds further scans, where the first was read by default."""
    return (f"holds {count} scans; the first was read",) if scan == 0 and count > 1 else ()


def count_even_points(start: float, step: float, stop: float, *, name: str) -> int:
    """Number of points from `start` to `stop` [deg] in steps of `step` [deg].

    Raises:
        PatternError: the three do not define a range of angles (E_FORMAT), or one of more than `MAX_POINTS`
            (E_TOO_LARGE).
    """
    if not (all(map(math.isfinite, (start, step, stop))) and step > 0 and 0 <= start < stop <= 180):  # noqa: PLR2004 - 2θ
        msg = f"{name}: the header gives {start:g}° to {stop:g}° in steps of {step:g}°; expected a range within 0-180°"
        raise PatternError(msg, code="E_FORMAT")
    points = round((stop - start) / step) + 1
    if points > MAX_POINTS:
        msg = f"{name}: the header gives {points} points; expected at most {MAX_POINTS}"
        raise PatternError(msg, code="E_TOO_LARGE")
    return points


_SHIFT_JIS_THETA = b"\x83\xc6".decode("latin-1")
"""θ of a Japanese RAS header after Latin-1 decoding."""

_TWO_THETA_SCANS = re.compile(r"2theta|twotheta|2θ|gonio", re.IGNORECASE)


def check_scan_axis(axis: str | None, *, name: str) -> None:
    """Refuse a scan over a named axis other than 2θ.

    Raises:
        PatternError: names the axis (E_AXIS).
    """
    if axis is not None and not _TWO_THETA_SCANS.search(re.sub(r"[\s_-]", "", axis.replace(_SHIFT_JIS_THETA, "theta"))):
        msg = f"{name}: the scan runs over {shorten(axis, limit=40)!r}; expected 2θ"
        raise PatternError(msg, code="E_AXIS")


# ----------------------------------------------------------------------------- radiation: as stated, never a likely one
_DECIMAL = r"([0-9]+[.,][0-9]+|\.[0-9]+)"
_LABELLED = re.compile(
    r"(?:wave[\s_]*length|\blambda\b|λ|\bWL1?\b)[^0-9\n]{0,40}?" + _DECIMAL + r"\s*([a-zÅå]*)", re.IGNORECASE
)
_ALPHA_1 = re.compile(r"(?:alpha[\s_]*1|α\s*1|ka1|_WL1)[^0-9.\n]{0,40}?" + _DECIMAL, re.IGNORECASE)
_ALPHA_2 = re.compile(r"(?:alpha[\s_]*2|α\s*2|ka2|_WL2)[^0-9.\n]{0,40}?" + _DECIMAL, re.IGNORECASE)
_NAMED = re.compile(
    r"\b(Cu|Mo|Co|Fe|Cr|Ag)[\s_-]*K[\s_\-\\]*(?:alpha|α|a)[\s_]*([12])?(?![a-z0-9])([\s_,+/~]*2\b)?", re.IGNORECASE
)
_ANODE = re.compile(
    r"\b(?:anode|target|tube)(?:[ _-]*(?:material|element|name))?[^A-Za-z\n]{0,10}(Cu|Mo|Co|Fe|Cr|Ag)\b", re.IGNORECASE
)
_NEUTRON = re.compile(r"\bneutrons?\b", re.IGNORECASE)


def plausible_wavelength(value: float | None) -> float | None:
    """The wavelength [Å], or None outside the range of x-ray powder work."""
    return value if value is not None and MIN_WAVELENGTH <= value <= MAX_WAVELENGTH else None


def weighted_mean(alpha_1: float, alpha_2: float, *, ratio: float = 0.5) -> float:
    """Wavelength [Å] of unresolved Kα: (λ₁ + r λ₂) / (1 + r), r the intensity of Kα2 over that of Kα1.

    Source: International Tables for Crystallography C, section 4.2.2; r is close to 1/2 for all anodes.
    """
    return (alpha_1 + ratio * alpha_2) / (1 + ratio)


def doublet_wavelength(alpha_1: float | None, alpha_2: float | None, *, ratio: float | None = None) -> float | None:
    """Wavelength [Å] of a doublet as a header gives it: the mean, Kα1 without a Kα2, or None without a Kα1.

    ratio: of Kα2 to Kα1; 0 behind a monochromator that removes Kα2, None where the header does not state it.
    """
    first, second = plausible_wavelength(alpha_1), plausible_wavelength(alpha_2)
    if first is None or second is None or ratio == 0:
        return first
    return weighted_mean(first, second, ratio=ratio if ratio is not None and 0 < ratio <= 1 else 0.5)


def wavelength_in_text(header: str) -> float | None:
    """Wavelength [Å] that the header of a text file states, as a number (Å or nm) or as a named radiation."""
    first, second = _ALPHA_1.search(header), _ALPHA_2.search(header)
    if first and second:
        return plausible_wavelength(weighted_mean(_to_float(first[1]), _to_float(second[1])))
    labelled = _LABELLED.search(header)
    if labelled:
        value = _to_float(labelled[1])
        return plausible_wavelength(value * 10 if labelled[2].lower() == "nm" else value)
    named = _NAMED.search(header)
    if named:
        both = named[2] is None or named[3] is not None
        return WAVELENGTHS[f"{named[1].capitalize()}Ka{'' if both else named[2]}"]
    return None


def anode_in_text(header: str) -> str | None:
    """Element of the anode that a header names; it suggests a radiation but does not state it."""
    match = _ANODE.search(header)
    return match[1].capitalize() if match else None


def refuse_neutrons(text: str, *, name: str) -> None:
    """Refuse a file whose header, or whose name of the radiation, mentions neutrons.

    Raises:
        PatternError: it does (E_RADIATION).
    """
    if _NEUTRON.search(text):
        msg = f"{name}: the file states that neutrons were used; expected x-rays"
        raise PatternError(msg, code="E_RADIATION")


def _to_float(text: str) -> float:
    return float(text.replace(",", "."))


# ------------------------------------------------------------------------------------------------------------ metadata
_ANODE_SYMBOL = re.compile(r"(Cu|Mo|Co|Fe|Cr|Ag|W|Ni|Ga|In)\b", re.IGNORECASE)


def scan_metadata(
    *,
    anode: str | None = None,
    alpha_2: float | None = None,
    ratio: float | None = None,
    axis: str | None = None,
    seconds: float | str | None = None,
    sample: str | None = None,
    scans: int = 1,
) -> dict[str, str]:
    """Metadata of a scan, under the same keys for every format; keys without a stated value are left out.

    Args:
        anode: element symbol of the tube → `anode`.
        alpha_2: wavelength of Kα2 [Å] → `kalpha2`, where no ratio is stated.
        ratio: intensity of Kα2 over that of Kα1, 0 behind a monochromator that removes Kα2 → `kalpha2`, as `ratio 0.5`.
        axis: scan axis as the file calls it → `scan_axis`.
        seconds: counting time per step [s] → `step_seconds`.
        sample: name of the sample → `sample`.
        scans: number of scans in the file → `scans`.
    """
    metadata = {"scans": str(scans)}
    symbol = _ANODE_SYMBOL.match((anode or "").strip("\0 "))
    if symbol:
        metadata["anode"] = symbol[1].capitalize()
    if ratio is not None and 0 <= ratio <= 1:
        metadata["kalpha2"] = f"ratio {ratio:g}"
    elif plausible_wavelength(alpha_2) is not None:
        metadata["kalpha2"] = f"{alpha_2:.6g}"
    if axis and axis.strip():
        metadata["scan_axis"] = shorten(axis.strip(), limit=40)
    try:
        duration = math.nan if seconds is None else float(seconds)
    except ValueError:
        duration = math.nan
    if 0 < duration < math.inf:
        metadata["step_seconds"] = f"{duration:g}"
    sample_name = shorten((sample or "").replace("\0", " ").strip())
    if sample_name:
        metadata["sample"] = sample_name
    return metadata


# -------------------------------------------------------------------------------------------------------------- geddes
_TRUNCATION = re.compile(r"truncat|unexpected end|eof|too short|incomplete", re.IGNORECASE)
_OTHER_AXIS = re.compile(r"2theta (?:axis|scan)|not 2theta", re.IGNORECASE)


def read_with_geddes(
    data: bytes,
    *,
    suffix: str,
    name: str,
    label: str,
    wavelength: float | None,
    scan: int,
    warnings: tuple[str, ...],
    metadata: Mapping[str, str],
) -> MeasuredPoints:
    """Points of one scan, counted from 0, that geddes reads from a file in the format of `suffix`.

    Raises:
        PatternError: the file is truncated (E_TRUNCATED), runs over another axis (E_AXIS), or is not in that format
            (E_FORMAT).
    """
    import geddes  # noqa: PLC0415 - slow to import, and text files are read without it

    try:
        pattern = geddes.read_bytes(data, f"pattern.{suffix}", index=scan)
    except ValueError as error:
        reason = str(error)
        code = "E_TRUNCATED" if _TRUNCATION.search(reason) else "E_AXIS" if _OTHER_AXIS.search(reason) else "E_FORMAT"
        msg = f"{name}: not readable as {label} ({shorten(reason.removeprefix('Parse error: '))})"
        raise PatternError(msg, code=code) from None
    return MeasuredPoints(
        positions=np.array(pattern.x, dtype=np.float64),
        intensity=np.array(pattern.y, dtype=np.float64),
        format=label,
        wavelength=wavelength,
        warnings=warnings,
        metadata=metadata,
    )


# ---------------------------------------------------------------------------------------------------- points → Pattern
def points_to_pattern(points: MeasuredPoints, *, name: str, wavelength: float | None = None) -> Pattern:
    """The pattern of the points, angles increasing; its warnings list what was changed.

    Positions in q or d are converted to 2θ at `wavelength`, or at Cu Kα where none is given: q is a property of the
    material, so no radiation is assumed. Values below 0 stay (background-subtracted data have them) and become 0 on
    the grid.

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
    if positions.size < MIN_POINTS:
        msg = f"{name}: holds {positions.size} points; expected at least {MIN_POINTS}"
        raise PatternError(msg, code="E_VALUES" if positions.size else "E_EMPTY")
    notes = list(points.warnings)
    found = points.wavelength if wavelength is None else wavelength
    if points.kind != "two_theta":
        found = CU_K_ALPHA if found is None else found
        positions, intensity, places = _to_two_theta(positions, intensity, places, points.kind, found, notes)
    _check_range(positions, places, name=name, place=points.place)
    if positions.size > 1 and (np.diff(positions) < 0).all():
        positions, intensity, places = positions[::-1], intensity[::-1], places[::-1]
        notes.append("the angles decreased and were reversed")
    _check_order(positions, places, name=name, place=points.place)
    positions, intensity = _average_duplicates(positions, intensity, name=name, notes=notes)
    if positions.size < MIN_POINTS:
        msg = f"{name}: holds {positions.size} different angles; expected at least {MIN_POINTS}"
        raise PatternError(msg, code="E_VALUES")
    if intensity.max() <= 0:
        scans = points.metadata.get("scans", "1")
        others = "" if scans == "1" else f"; the file holds {scans} scans: try another one, such as scan=1"
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
    notes.append(f"the axis is {kind}: converted to 2θ at {wavelength:g} Å")
    if not kept.all():
        notes.append(f"{int((~kept).sum())} points cannot be reached with {wavelength:g} Å and were left out")
    if not kept.any():
        msg = f"no {kind} of the file can be reached with {wavelength:g} Å"
        raise PatternError(msg, code="E_AXIS")
    return angles[kept], intensity[kept], places[kept]


def _check_range(positions: np.ndarray, places: np.ndarray, *, name: str, place: str) -> None:
    low, high = int(np.argmin(positions)), int(np.argmax(positions))
    if positions[high] > 180:  # noqa: PLR2004 - the largest scattering angle
        looks = (
            "time of flight or channel numbers"
            if positions[high] > _MAX_HUNDREDTHS
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
            f"expected angles that only increase, or only decrease"
        )
        raise PatternError(msg, code="E_AXIS")


def _average_duplicates(
    positions: np.ndarray, intensity: np.ndarray, *, name: str, notes: list[str]
) -> tuple[np.ndarray, np.ndarray]:
    angles, index, counts = np.unique(positions, return_inverse=True, return_counts=True)
    repeated = positions.size - angles.size
    if not repeated:
        return positions, intensity
    if repeated > MAX_DUPLICATE_FRACTION * positions.size:
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
    if median > LARGE_STEP:
        notes.append(f"the step is {median:.3g}°: narrower peaks may be missed")
    elif steps.max() > _UNEVEN_STEPS * steps.min() and steps.max() - steps.min() > 0.001:  # noqa: PLR2004 - rounding
        notes.append(f"the step size varies ({steps.min():.3g}-{steps.max():.3g}°)")
    if positions[-1] < _SMALLEST_RANGE:
        notes.append(f"angles end at {positions[-1]:.3g}: expected 2θ in degrees, not radians, q or d")
    below = int((intensity < 0).sum())
    if below:
        notes.append(f"{below} intensities are below 0 (a background was subtracted?); they become 0 on the grid")
    return notes
