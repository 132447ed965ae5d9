"""What a reader finds in a file (points, axis, radiation, metadata) and the checks that make a `Pattern` of it.

Also what the readers of several vendors share: even angles, the axis that a title names, the radiation that a header
states, metadata under the same names for every format, and reading with geddes.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, NoReturn

import numpy as np

from xxact_core.errors import PatternError, WavelengthError, shorten
from xxact_core.patterns.conversions import (
    CU_K_ALPHA,
    MAX_WAVELENGTH,
    MIN_WAVELENGTH,
    WAVELENGTHS,
    d_to_two_theta,
    is_wavelength_unit,
    q_to_two_theta,
    quantity_to_wavelength,
)
from xxact_core.patterns.pattern import Pattern
from xxact_core.readers.content import MAX_POINTS, MAX_SCANS

AxisKind = Literal["two_theta", "q", "d", "tangent"]
"""2θ [deg], q [Å⁻¹], d [Å], or tan 2θ: the radius on a flat detector over its distance."""

MIN_POINTS = 10
LARGE_STEP = 0.1
"""A step above this [deg] is wider than a reflection: peaks fall between the points."""

MAX_DUPLICATE_FRACTION = 0.1
"""Fraction of repeated angles above which a file is not one scan."""

_REVERSED = "the angles decreased and were reversed"
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
    """Axis of the positions."""

    wavelength: float | None = None
    """Wavelength that the file states [Å]."""

    place: str = "point"
    """What a point is called in messages: "line" of a text, else "point"."""

    places: np.ndarray | None = None
    """Line or point number of each point, shape (points,); None counts from 1."""

    gaps: bool = False
    """Whether an intensity of NaN is a point that was not measured, as in the gaps of a detector."""

    warnings: tuple[str, ...] = ()
    """Notes for the user."""

    metadata: Mapping[str, str] = field(default_factory=dict)
    """Metadata of the scan, as `scan_metadata` gives them."""


# --------------------------------------------------------------------------------------------------- scans of one file
def select_scans(scan: int | None, *, count: int, name: str) -> list[int]:
    """Indices of the scans to read, from 0: the requested one of `count`, or all for None.

    Raises:
        PatternError: there is no such scan (E_SCAN), or there are more than `MAX_SCANS` (E_TOO_LARGE).
    """
    if count > MAX_SCANS:
        msg = f"{name}: holds {count} scans; expected at most {MAX_SCANS}"
        raise PatternError(msg, code="E_TOO_LARGE")
    if scan is None:
        return list(range(count))
    if not 0 <= scan < count:
        msg = f"{name}: there is no scan {scan}; the file holds {count}, counted from 0"
        raise PatternError(msg, code="E_SCAN")
    return [scan]


def note_scans(scan: int | None, *, count: int) -> tuple[str, ...]:
    """A note that the file holds further scans, where the first was read by default."""
    if scan != 0 or count <= 1:
        return ()
    return (
        f"holds {count} scans; the first was read (others: scan=1; all: scan='join' for ranges, 'sum' for repeats)",
    )


def check_points(points: int, *, stated: float | None, name: str, where: str) -> None:
    """Hold the number of points that were read against the one that the file states, None where it states none.

    Raises:
        PatternError: there are fewer (E_TRUNCATED) or more (E_FORMAT).
    """
    if stated is not None and stated > 0 and points != stated:
        code = "E_TRUNCATED" if points < stated else "E_FORMAT"
        msg = f"{name}: holds {points} points; {where} says {stated:g}"
        raise PatternError(msg, code=code)


def note_limits(
    angles: np.ndarray, *, start: float | None, stop: float | None, step: float | None, where: str
) -> tuple[str, ...]:
    """Notes where the angles of the points [deg] are not those that a header states, as of a scan ended early.

    Args:
        angles: of the points.
        start: stated first angle, None for what is not stated.
        stop: stated last angle.
        step: stated step.
        where: the statement stands, for the note.
    """
    if angles.size < MIN_POINTS:
        return ()
    own = float(np.median(np.abs(np.diff(angles))))
    first, last = sorted((float(angles[0]), float(angles[-1])))
    limits = sorted(limit for limit in (start, stop) if limit is not None)
    notes = []
    if len(limits) == 2 and (abs(limits[0] - first) > 1.5 * own + 1e-3 or abs(limits[1] - last) > 1.5 * own + 1e-3):  # noqa: PLR2004 - a step
        notes.append(f"the points are on {first:g}-{last:g}°; {where} says {limits[0]:g}-{limits[1]:g}°")
    if step and abs(abs(step) - own) > 0.02 * own + 1e-4:
        notes.append(f"the step of the points is {own:.4g}°; {where} says {abs(step):g}°")
    return tuple(notes)


def count_even_points(start: float, step: float, stop: float, *, name: str) -> int:
    """Number of points from `start` to `stop` [deg] in steps of `step` [deg].

    Raises:
        PatternError: the three do not define a range of angles (E_FORMAT), or one of more than `MAX_POINTS`
            (E_TOO_LARGE).
    """
    if not (all(map(math.isfinite, (start, step, stop))) and step > 0 and -90 <= start < stop <= 180):  # noqa: PLR2004 - 2θ
        msg = f"{name}: the header gives {start:g}° to {stop:g}° in steps of {step:g}°; expected a range within 0-180°"
        raise PatternError(msg, code="E_FORMAT")
    if stop - start > step * MAX_POINTS:
        msg = (
            f"{name}: the header gives steps of {step:g}° and so more points than {MAX_POINTS}; expected at most these"
        )
        raise PatternError(msg, code="E_TOO_LARGE")
    return round((stop - start) / step) + 1


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


# ------------------------------------------------------------------------------------ axis: as a title and unit name it
_NEVER = (
    (re.compile(r"time of flight|\btof\b|\bμs\b|microsec"), "a time of flight"),
    (
        re.compile(r"^(?:q|d|s|1 ?/ ?d) ?\^? ?[234]\b|^(?:log ?10|log|ln|lg|sqrt)\b"),
        "a power, root or logarithm",
    ),
)
"""Titles of axes that are no 2θ, q or d even if they name one."""

_TWO_THETA = re.compile(r"2\s?[-*·.]?\s?(?:th|θ|ϑ)|two ?-?th|ttheta|\btth\b|scattering angle|\bgonio")
_ANGLE_UNITS = (
    (re.compile(r"\bm(?:illi)?rad"), 1e-3 * 180 / math.pi),
    (re.compile(r"\brad(?:ians?)?\b"), 180 / math.pi),
    (re.compile(r"\bcenti-?deg|0\.01 ?(?:deg|°)|\bhundredth|deg\w* ?[*x×] ?100\b"), 0.01),
    (re.compile(r"\barc ?min"), 1 / 60),
    (re.compile(r"\barc ?sec"), 1 / 3600),
)
_RECIPROCAL_UNITS = (
    (re.compile(r"nm|nanomet"), 0.1),
    (re.compile(r"pm\b|picomet"), 100.0),
    (re.compile(r"å|ang|\baa?\b ?\^?\(? ?-|/ ?aa?\b|[(\[]aa?[)\]]|\ba-1|invers\w* ?a\b"), 1.0),
    (re.compile(r"\bm ?\^?\(? ?- ?1|1 ?/ ?m\b"), 1e-10),
)
_LENGTH_UNITS = ((re.compile(r"nm|nanomet"), 10.0), (re.compile(r"pm\b|picomet"), 0.01), (re.compile(r"\bm\b"), 1e10))
_POWER_OF_TEN = re.compile(
    r"(?<![0-9.])10 ?(?:\^|e|-|\+)? ?[-+]?[0-9]{0,2} ?[*x×·]? ?(?:å|ang|nm|nano|pm|pico|m\b|a\b)|[*x×] ?10\b"
)
_MILLIMETRES = (
    (re.compile(r"\bmm\b|millimet"), 1.0),
    (re.compile(r"\bcm\b|centimet"), 10.0),
    (re.compile(r"[μu]m\b|micromet|micron"), 1e-3),
    (re.compile(r"\bm\b|\bmet(?:er|re)s?\b"), 1e3),
)
_NO_PATTERN = (
    (re.compile(r"\bg ?\( ?r"), "a pair distribution function G(r)"),
    (re.compile(r"^r\b.*(?:å|ang|\ba\b)"), "a pair distribution function over r"),
    (re.compile(r"^[fs] ?\( ?q"), "a structure function of total scattering"),
    (re.compile(r"\benergy\b|\bk?ev\b"), "an energy"),
    (re.compile(r"raman|wave ?number|\bcm ?\^?- ?1\b|1 ?/ ?cm\b"), "a wavenumber"),
    (re.compile(r"^wave ?length|^λ|^lambda"), "a wavelength"),
    (re.compile(r"^m ?/ ?z\b|chemical shift|\bppm\b"), "no diffraction axis"),
    (re.compile(r"^(?:chi|χ|azim\w*|phi|φ|psi|ψ|omega|ω|kappa|rocking)\b"), "another angle than 2θ"),
    (re.compile(r"^(?:time|epoch|seconds|sec|elapsed)\b"), "a time"),
    (re.compile(r"^(?:temp\w*|t ?\(?\[?k)\b"), "a temperature"),
    (re.compile(r"^(?:channel|pixel|bin)s?\b"), "a number of channels"),
    (re.compile(r"^(?:index|points?|row|no\.?|n)(?: ?(?:number|no\.?))?$"), "a number of points"),
)
"""Titles of axes that are no 2θ, q or d, and what they are."""

_FUNCTION = re.compile(r"(?:g ?\( ?r|r ?g ?\(|[fs] ?\( ?q|i ?\( ?q ?\) ?- ?1|q ?\(? ?s ?\( ?q)")
_DISTANCE = re.compile(
    r"(?:distance|\bsdd\b|\bdist\b)([^0-9\n]{0,50}?)([0-9]{1,6}(?:\.[0-9]{0,12})?(?:e[+-]?[0-9]{1,2})?) ?([a-zμ]{0,12})"
)


@dataclass(frozen=True)
class Axis:
    """The axis that a title names."""

    kind: AxisKind
    factor: float = 1.0
    """From the numbers of the file to the unit of `kind`."""

    notes: tuple[str, ...] = ()
    """Notes for the user."""


def plain_title(title: str) -> str:
    r"""A title in lower case without markup: `Q($\AA^{-1}$)` becomes `q(å^-1)`, `q_nm^-1` becomes `q nm^-1`."""
    text = (
        re.sub(r"\\(?:mathrm|text|rm)|[${}]", "", title).replace("\\AA", "Å").replace("\\theta", "θ").replace("\\", "")
    )
    text = unicodedata.normalize("NFKC", text).lower().replace("\u2212", "-").replace("\u207b", "-")
    return re.sub(r"[\s_]+", " ", text.replace("**", "^")).strip(" \"'#")


def axis_of_title(title: str, *, name: str, header: str = "") -> Axis:  # noqa: PLR0911 - one per kind of axis
    """The axis that the title of a column names, with its unit; 2θ [deg] for a title that names none.

    header: of the file, for the distance of a detector.

    Raises:
        PatternError: another axis, a q, s or 1/d without a unit, or a radius without a distance (E_AXIS).
    """
    shown = shorten(title, limit=40)
    text = plain_title(title)
    if never := next((what for pattern, what in _NEVER if pattern.search(text)), None):
        _refuse_axis(name, shown, never)
    if re.search(r"sin.{0,12}/ ?(?:λ|lambda)", text):
        times = math.pi * (2 if "2" in text else 4)
        return _reciprocal(text, shown, "sin θ/λ", 1.0 if re.match(r"q\b|4", text) else times, name=name)
    if re.search(r"\b(?:sin|cos|tan)", text):
        _refuse_axis(name, shown, "a function of the angle")
    if _TWO_THETA.search(text):
        return _angle(text, shown)
    if re.match(r"1 ?/ ?d\b|d ?\*|d-?star\b|d ?\^? ?\(?-1\b", text):
        return _reciprocal(text, shown, "1/d", 2 * math.pi, name=name)
    what = next((what for pattern, what in _NO_PATTERN if pattern.search(text)), None)
    if what is not None:
        _refuse_axis(name, shown, what)
    if re.match(r"(?:q|s?cattering vector|momentum transfer)(?![a-z])", text):
        return _reciprocal(text, shown, "q", 1.0, name=name)
    if re.match(r"s(?![a-z])", text) and (text == "s" or any(unit.search(text) for unit, _ in _RECIPROCAL_UNITS)):
        msg = f"{name}: the first column is s ({shown!r}), which is 1/d or 4π sin θ/λ; name the column '1/d' or 'q'"
        raise PatternError(msg, code="E_AXIS")
    if re.match(r"d(?![a-z])|(?:lattice|interplanar) ?-?(?:spacing|distance)|d-?(?:spacing|value)", text):
        _refuse_power_of_ten(text, shown, "d", name=name)
        return Axis("d", next((factor for unit, factor in _LENGTH_UNITS if unit.search(text)), 1.0))
    if re.match(r"(?:r|radius|radial(?: distance)?)(?![a-z])", text):
        return _radius(text, shown, header, name=name)
    if re.match(r"(?:theta|θ|th)(?![a-z])", text):
        factor = next((factor for unit, factor in _ANGLE_UNITS if unit.search(text)), 1.0)
        return Axis("two_theta", factor, ("the first column is called theta; its angles were read as 2θ",))
    return _angle(text, shown, name=name)


_OTHER_UNIT = re.compile(
    r"1 ?/ ?(?:å|aa?\b|nm|pm|m\b)|(?:å|\baa?|\bnm) ?\^?\(? ?- ?1\b|"
    r"[(\[/] ?(?:å|aa?|nm|pm|mm|cm|[μu]m|px|pixels?|s|ms|k?ev|hz) ?(?:$|[)\]])"
)
"""Units of lengths, reciprocal lengths, times and energies behind a title that names no axis: `k (1/Å)`, `x [mm]`."""


def _angle(text: str, shown: str, *, name: str = "") -> Axis:
    """2θ in the unit that a title states, or in degrees; other units are refused if a name of the file is given."""
    if name and _OTHER_UNIT.search(text):
        _refuse_axis(name, shown, "in a unit that is none of an angle")
    factor = next((factor for unit, factor in _ANGLE_UNITS if unit.search(text)), 1.0)
    return Axis("two_theta", factor, () if factor == 1 else (f"the angles ({shown}) were converted to degrees",))


def refuse_functions(titles: Sequence[str], *, name: str) -> None:
    """Refuse the functions of total scattering, G(r), S(Q) and F(Q), by the titles of their columns.

    Raises:
        PatternError: one of the titles is such a function (E_AXIS).
    """
    for title in titles:
        if _FUNCTION.match(plain_title(title)):
            msg = (
                f"{name}: the column {shorten(title, limit=40)!r} is a pair distribution function or a structure "
                f"function of total scattering; expected the measured intensities, I(Q)"
            )
            raise PatternError(msg, code="E_AXIS")


def _refuse_axis(name: str, shown: str, what: str) -> NoReturn:
    msg = f"{name}: the first column is {what} ({shown!r}); expected 2θ, q or d of x-rays"
    raise PatternError(msg, code="E_AXIS")


def _reciprocal(text: str, shown: str, label: str, factor: float, *, name: str) -> Axis:
    _refuse_power_of_ten(text, shown, label, name=name)
    unit = next((factor for pattern, factor in _RECIPROCAL_UNITS if pattern.search(text)), None)
    if unit is None:
        msg = f"{name}: the first column is {label} without a unit ({shown!r}); expected 1/Å or 1/nm"
        raise PatternError(msg, code="E_AXIS")
    return Axis("q", factor * unit, () if label == "q" else (f"the axis {label} was converted to q",))


def _refuse_power_of_ten(text: str, shown: str, label: str, *, name: str) -> None:
    """Refuse a unit with a power of ten, `10^-1 nm`, which may multiply or have multiplied the numbers."""
    if _POWER_OF_TEN.search(text):
        msg = f"{name}: the unit of {label} has a power of ten ({shown!r}); expected Å, nm, 1/Å or 1/nm"
        raise PatternError(msg, code="E_AXIS")


def _radius(text: str, shown: str, header: str, *, name: str) -> Axis:
    """A radius on a flat detector, where the header gives the distance: tan 2θ = r/D."""
    unit = next((factor for pattern, factor in _MILLIMETRES if pattern.search(text)), None)
    found = _DISTANCE.search(header.lower())
    if unit is None or found is None:
        missing = "the unit of length" if unit is None else "the distance of the detector"
        msg = f"{name}: the first column is a radius ({shown!r}) and {missing} is not stated; expected 2θ, q or d"
        raise PatternError(msg, code="E_AXIS")
    stated = f"{found[1]} {found[3]}"
    scale = next((factor for pattern, factor in _MILLIMETRES if pattern.search(stated)), None)
    if scale is None or float(found[2]) == 0:
        msg = f"{name}: the first column is a radius ({shown!r}) and the distance has no unit; expected 2θ, q or d"
        raise PatternError(msg, code="E_AXIS")
    distance = scale * float(found[2])
    return Axis("tangent", unit / distance, (f"the radius was converted to 2θ at a distance of {distance:g} mm",))


_TIME_TITLE = re.compile(r"\W*(?:time|count(?:ing)? ?time|sec|seconds|live ?time|timeperstep|step ?time)")
_MONITOR_TITLE = re.compile(r"\W*(?:monitor|mon\b|i0\b|io\b|ic[0-9]?\b|ion ?chamber)")


def over_time_or_monitor(
    values: np.ndarray, titles: Sequence[str], intensity: np.ndarray, *, own: int
) -> tuple[np.ndarray, list[str]]:
    """Intensities over the counting time and the monitor of each point, where these vary, and notes.

    Args:
        values: of the table, shape (rows, columns).
        titles: of its columns, in lower case.
        intensity: shape (rows,).
        own: column of the intensities.
    """
    notes = []
    for pattern, what in ((_TIME_TITLE, "counting time"), (_MONITOR_TITLE, "monitor")):
        column = next((i for i, title in enumerate(titles) if pattern.match(title) and i != own), None)
        if column is None:
            continue
        divisor = values[:, column]
        usable = np.isfinite(divisor).all() and divisor.min() > 0 and divisor.max() > (1 + 1e-6) * divisor.min()
        if usable and not (what == "counting time" and (np.diff(divisor) > 0).all()):  # not the time of day
            intensity = intensity / divisor * (1.0 if what == "counting time" else float(divisor.mean()))
            notes.append(
                f"the counts were divided by the {what}, which varies ({divisor.min():g} to {divisor.max():g})"
            )
    return intensity, notes


# ----------------------------------------------------------------------------- radiation: as stated, never a likely one
_VALUE = (
    r"((?:[0-9]{1,6}(?:[.,][0-9]{0,14})?|\.[0-9]{1,14})"
    r"(?:[eE][+-]?[0-9]{1,3}|[ ]?[x×*·][ ]?10(?:\^|\*\*)?[(]?[-−⁻][0-9⁰¹²³⁴-⁹]{1,2}[)]?)?)"
)
_UNIT_AFTER = r"[\s\"')\]]{0,3}([^\W\d_]{0,12})"
_LABELLED = re.compile(
    r"(?:wave[\s_-]?length(?:[ _]?[12](?=[ _]?[:=]))?|wellenl(?:ä|ae)nge|longueur d.onde|\blambda\b|λ|\bWL1?\b)"
    rf"([^0-9\n]{{0,60}}?){_VALUE}{_UNIT_AFTER}",
    re.IGNORECASE,
)
_ALPHA_1 = re.compile(
    rf"(?:alpha[\s_]?1|α\s?1|ka1|(?<![A-Za-z])WL1)([^0-9\n]{{0,40}}?){_VALUE}{_UNIT_AFTER}", re.IGNORECASE
)
_ALPHA_2 = re.compile(
    rf"(?:alpha[\s_]?2|α\s?2|ka2|(?<![A-Za-z])WL2)([^0-9\n]{{0,40}}?){_VALUE}{_UNIT_AFTER}", re.IGNORECASE
)
_ENERGY = re.compile(rf"\benergy((?:[\s:=_\"'()\[\]/,]|in|k?eV){{0,12}}?){_VALUE}{_UNIT_AFTER}", re.IGNORECASE)
_OTHER_ENERGY = re.compile(r"thresh|detect|window|cut|resol|lower|upper|range|gap|bind|form|band", re.IGNORECASE)
_SECOND = re.compile(rf"(?:\s{{0,2}}[,;/&]\s{{0,2}}|[ \t]{{1,4}}){_VALUE}")
_WORDS = re.compile(r"[^\W\d_]+")
_NAMED = re.compile(
    r"\b(Cu|Mo|Co|Fe|Cr|Ag)[\s_-]{0,3}K[\s_\-\\]{0,3}(?:alpha|α|a)[\s_]{0,2}([12])?(?![a-z0-9]|[.,][0-9]{2})([\s_,+/~]{0,3}2\b)?",
    re.IGNORECASE,
)
_ANODE = re.compile(
    r"\b(?:anode|target|tube)(?:[ _-]{0,3}(?:material|element|name))?[^A-Za-z\n]{0,10}(Cu|Mo|Co|Fe|Cr|Ag)\b",
    re.IGNORECASE,
)
_NEUTRON = re.compile(r"\bneutrons?\b", re.IGNORECASE)
_NEUTRON_SOURCE = re.compile(
    r"\b(?:radiation|probe|source|beam)(?:[ _]type)?[\"']?\s{0,3}[:=]\s{0,3}[\"']?neutron", re.IGNORECASE
)
_XRAY = re.compile(r"\bx-?\s?rays?\b", re.IGNORECASE)
_SURE_NEUTRONS = re.compile(
    r"\bneutrons?[ -](?:powder|diffract|radiation|source|beam|scatter|wavelength)", re.IGNORECASE
)
_DOUBLET, _SAME_LENGTH = 1.02, 1.001
"""Largest ratio of the wavelengths of Kα2 and Kα1 (0.9 % for Ag), and of one wavelength with fewer digits. Ours."""

_SAME_LINE = 0.005
"""Relative difference within which a wavelength is that of a line. Ours: programs round to three decimals."""

_KNOWN = sorted(value for name, value in WAVELENGTHS.items() if "Ka" in name)


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
    """Wavelength [Å] that the header of a text file states; see `stated_wavelength`."""
    return stated_wavelength(header)[0]


def stated_wavelength(header: str) -> tuple[float | None, tuple[str, ...]]:  # noqa: PLR0911 - one per kind of statement
    """Wavelength [Å] that a header states, with notes: a length or photon energy with its unit, or a named radiation.

    The unit stands before or after the number; without one it is Å, or metres for a number below any wavelength in Å.
    A number that is the wavelength of an anode in nanometres, or that no unit makes a wavelength, is not read but
    noted, because half of such guesses would be wrong by a factor of ten.
    """
    first, second = (_first_of_line(pattern, header) for pattern in (_ALPHA_1, _ALPHA_2))
    if first and second and abs(second / first - 1) < 0.02:  # noqa: PLR2004 - a doublet
        return plausible_wavelength(weighted_mean(first, second)), ()
    values, notes = _labelled_wavelengths(header)
    if values and values[-1] > _DOUBLET * values[0]:
        stated = f"{values[0]:g} and {values[-1]:g} Å"
        return None, (f"the header states several wavelengths, {stated}; state the one of the scan",)
    if values:
        same = values[-1] < _SAME_LENGTH * values[0]
        return values[0] if same else weighted_mean(values[0], values[-1]), ()
    if notes:
        return None, notes
    named = _NAMED.search(header)
    if first:
        line = WAVELENGTHS[f"{named[1].capitalize()}Ka"] if named else first
        if abs(first / line - 1) > _DOUBLET - 1:
            return None, (
                f"the header names {named[1] if named else ''} Kα and states {first:g} Å; state the wavelength",
            )
        return plausible_wavelength(first), ()
    for match in _ENERGY.finditer(header):
        units = [word.lower() for word in (*_WORDS.findall(match[1]), match[3]) if word.lower() in {"ev", "kev"}]
        before = header[max(0, match.start() - 30) : match.start()].rpartition("\n")[2]
        if units and not _OTHER_ENERGY.search(before):
            return plausible_wavelength(quantity_to_wavelength(_to_float(match[2]), units[0])), ()
    if named:
        both = named[2] is None or named[3] is not None
        return WAVELENGTHS[f"{named[1].capitalize()}Ka{'' if both else named[2]}"], ()
    return None, ()


def _labelled_wavelengths(header: str) -> tuple[list[float], tuple[str, ...]]:
    """The wavelengths [Å] that a header states by this name, increasing, and a note on the first that is not read."""
    values, notes = [], []
    for match in _LABELLED.finditer(header):
        value, note = _stated_value(match)
        before = header[max(0, match.start() - 12) : match.start(2)].lower()
        if (value is None and not note) or "beta" in before or "β" in before:
            continue
        if value is None or plausible_wavelength(value) is None:
            limits = f"{MIN_WAVELENGTH}-{MAX_WAVELENGTH:g} Å"
            notes.append(note or f"the stated wavelength, {value:g} Å, is outside {limits}")
            continue
        values.append(value)
        following = _SECOND.match(header, match.end(2))
        other = _to_float(following[1]) * value / _to_float(match[2]) if following else value
        if value < other < _DOUBLET * value:
            values.append(other)
    return sorted(values), tuple(notes[:1])


def _stated_value(match: re.Match[str]) -> tuple[float | None, str]:
    """Value [Å] of a match of `_LABELLED`, or None with a note why it is not read."""
    before = [word for word in _WORDS.findall(match[1]) if is_wavelength_unit(word)]
    after = match[3] if is_wavelength_unit(match[3]) else ""
    number = _to_float(match[2])
    shown = f"{match[2]} {after}".strip()
    if not (before or after) and not re.search(r"[.,eE]", match[2]):
        return None, ""  # a count or an index
    unit = after or (before[-1] if before else "")
    if (
        before
        and after
        and not math.isclose(quantity_to_wavelength(number, before[-1]), quantity_to_wavelength(number, after))
    ):
        return None, f"the wavelength {shown} has two units, {before[-1]} and {after}; state it"
    value = quantity_to_wavelength(number, unit)
    if not unit and any(abs(10 * number / known - 1) < 5e-4 for known in _KNOWN):  # noqa: PLR2004 - last digit
        return None, f"the wavelength {shown} has no unit and would be that of an anode in nm; state it in Å"
    if not unit and plausible_wavelength(value) is None:
        return None, f"the wavelength {shown} has no unit and is not one in Å; state it"
    return value, ""


def _first_of_line(pattern: re.Pattern[str], header: str) -> float | None:
    """The first plausible wavelength [Å] of a line that the pattern matches, ratios of intensities left out."""
    for match in pattern.finditer(header):
        line = header[header.rfind("\n", 0, match.start()) + 1 : match.start()].lower()
        units = [word for word in (*_WORDS.findall(match[1]), match[3]) if is_wavelength_unit(word)]
        value = quantity_to_wavelength(_to_float(match[2]), units[-1] if units else "")
        written = units or re.search(r"[.,eE]", match[2])  # not the 2 of Kα1,2
        if written and "ratio" not in line[-60:] and plausible_wavelength(value) is not None:
            return value
    return None


def anode_in_text(header: str) -> str | None:
    """Element of the anode that a header names; it suggests a radiation but does not state it."""
    match = _ANODE.search(header)
    return match[1].capitalize() if match else None


def refuse_neutrons(text: str, *, name: str) -> tuple[str, ...]:
    """Refuse a file whose header, or whose name of the radiation, says that it is of neutrons; else notes for the user.

    A header that names an x-ray anode or an x-ray radiation is of x-rays even if a sample or a remark has the word.

    Raises:
        PatternError: it is of neutrons (E_RADIATION).
    """
    if not _NEUTRON.search(text):
        return ()
    tube = anode_in_text(text) is not None or _NAMED.search(text) is not None
    if not _NEUTRON_SOURCE.search(text) and (tube or (_XRAY.search(text) and not _SURE_NEUTRONS.search(text))):
        return ("the header has the word neutron, but names an x-ray source",)
    msg = f"{name}: the file states that neutrons were used; expected x-rays (a header that names the anode is read)"
    raise PatternError(msg, code="E_RADIATION")


def _to_float(text: str) -> float:
    """The number of a text that `_VALUE` matches: 1,5406 and 1.5406 x 10^-10, too."""
    mantissa, *power = re.split(r"\s?[x×*·]\s?10", text.replace(",", "."))
    exponent = re.sub(r"[^0-9-]", "", unicodedata.normalize("NFKC", power[0]).replace("−", "-")) if power else ""
    return float(f"{mantissa}e{exponent}" if exponent else mantissa)


# ------------------------------------------------------------------------------------------------------------ metadata
_ANODE_SYMBOL = re.compile(r"(Cu|Mo|Co|Fe|Cr|Ag|W|Ni|Ga|In)\b", re.IGNORECASE)

_TEMPERATURE = re.compile(r"([-+]?[0-9]{1,5}(?:\.[0-9]{1,6})?)(?:\([0-9]+\))? ?(K|C|°C|degC)", re.IGNORECASE)


def scan_metadata(
    *,
    anode: str | None = None,
    alpha_2: float | None = None,
    ratio: float | None = None,
    axis: str | None = None,
    seconds: float | str | None = None,
    sample: str | None = None,
    temperature: str | None = None,
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
        temperature: of the sample, a number with its unit → `temperature`, as `550 °C`.
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
    degrees = _TEMPERATURE.fullmatch((temperature or "").strip())
    if degrees:
        metadata["temperature"] = f"{float(degrees[1]):g} {'K' if degrees[2].upper() == 'K' else '°C'}"
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
    decreasing: bool = False,
) -> MeasuredPoints:
    """Points of one scan, counted from 0, that geddes reads from a file in the format of `suffix`.

    decreasing: whether the file states a scan from larger to smaller angles, which geddes reverses without a word.

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
        warnings=(*warnings, _REVERSED) if decreasing else warnings,
        metadata=metadata,
    )


# ---------------------------------------------------------------------------------------------------- points → Pattern
def points_to_pattern(
    points: MeasuredPoints, *, name: str, wavelength: float | None = None, may_be_zero: bool = False
) -> Pattern:
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
    notes = list(points.warnings)
    if points.gaps:
        positions, intensity, places = _without_gaps(positions, intensity, places, notes=notes)
    for label, values in (("angle", positions), ("intensity", intensity)):
        bad = np.flatnonzero(~np.isfinite(values))
        if bad.size:
            where = f"{points.place} {places[bad[0]]}"
            msg = f"{name}, {where}: the {label} is {values[bad[0]]}; expected a finite number"
            raise PatternError(msg, code="E_VALUES")
    if positions.size < MIN_POINTS:
        msg = f"{name}: holds {positions.size} points; expected at least {MIN_POINTS}"
        raise PatternError(msg, code="E_VALUES" if positions.size else "E_EMPTY")
    found = _stated_wavelength_of(points, name=name) if wavelength is None else wavelength
    if points.kind == "tangent":
        positions = np.rad2deg(np.arctan(positions))
    elif points.kind != "two_theta":
        found = CU_K_ALPHA if found is None else found
        positions, intensity, places = _to_two_theta(positions, intensity, places, points.kind, found, notes)
    _check_range(positions, places, name=name, place=points.place)
    if positions.min() < 0:
        kept = positions >= 0
        notes.append(f"{int((~kept).sum())} points below 0° were left out")
        positions, intensity, places = positions[kept], intensity[kept], places[kept]
    if positions.size > 1 and (np.diff(positions) < 0).all():
        positions, intensity, places = positions[::-1], intensity[::-1], places[::-1]
        notes.append(_REVERSED)
    _check_order(positions, places, name=name, place=points.place)
    if points.kind == "two_theta":
        positions = _spread_rounded(positions, notes=notes)
    positions, intensity = _average_duplicates(positions, intensity, name=name, notes=notes)
    if positions.size < MIN_POINTS:
        msg = f"{name}: holds {positions.size} different angles; expected at least {MIN_POINTS}"
        raise PatternError(msg, code="E_VALUES")
    if intensity.max() <= 0 and not may_be_zero:
        _refuse_zero(intensity, scans=points.metadata.get("scans", "1"), name=name)
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


def _stated_wavelength_of(points: MeasuredPoints, *, name: str) -> float | None:
    """The wavelength that a file states, held against the lines of the anode that it names.

    Raises:
        WavelengthError: it is none of them.
    """
    anode, found = points.metadata.get("anode"), points.wavelength
    lines = [WAVELENGTHS[key] for line in ("Ka", "Ka1", "Ka2", "Kb1") if (key := f"{anode}{line}") in WAVELENGTHS]
    if found is None or not lines or any(abs(found / line - 1) < _SAME_LINE for line in lines):
        return found
    msg = f"{name}: the file states the wavelength {found:g} Å and the anode {anode}, whose Kα is {lines[0]:g} Å; "
    raise WavelengthError(msg + "expected one of its lines; state the wavelength", code="E_WAVELENGTH")


def _refuse_zero(intensity: np.ndarray, *, scans: str, name: str) -> NoReturn:
    others = "" if scans == "1" else f"; the file holds {scans} scans: try another one, such as scan=1"
    msg = f"{name}: no intensity is above 0 (the largest is {intensity.max():g}){others}"
    raise PatternError(msg, code="E_VALUES")


def _without_gaps(
    positions: np.ndarray, intensity: np.ndarray, places: np.ndarray, *, notes: list[str]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The points whose intensity is not NaN; rows without an angle and an intensity are blank."""
    blank = np.isnan(positions) & np.isnan(intensity)
    missing = np.isnan(intensity) & ~blank
    if missing.any():
        notes.append(f"{int(missing.sum())} points without an intensity (NaN or blank) were left out")
    kept = ~(blank | missing)
    return positions[kept], intensity[kept], places[kept]


def _spread_rounded(angles: np.ndarray, *, notes: list[str]) -> np.ndarray:
    """Angles at even steps, where those of the file are these, rounded to fewer digits than the step has.

    Such angles differ by one of two neighbouring multiples of the last digit, and are nowhere more than half of it from
    a straight line. Others are returned as they are.
    """
    steps = np.diff(angles)
    spread = float(steps.max() - steps.min()) if angles.size >= MIN_POINTS else 0.0
    if spread < 5e-4 or (spread < 5e-3 and steps.min() > 0):  # noqa: PLR2004 - too fine to matter
        return angles
    last = 10.0 ** math.floor(math.log10(spread) + 0.01)
    larger = np.count_nonzero(steps > steps.min() + spread / 2) / steps.size
    whole = np.abs(angles / last - np.rint(angles / last)).max() < 1e-3  # noqa: PLR2004 - multiples of the last digit
    if abs(spread / last - 1) > 0.01 or not whole or not 0.05 < larger < 0.95:  # noqa: PLR2004 - two kinds of steps
        return angles
    numbers = np.arange(angles.size)
    slope, start = np.polyfit(numbers, angles, 1)
    even: np.ndarray = start + slope * numbers
    if np.abs(even - angles).max() > 0.6 * last or slope <= 0:
        return angles
    notes.append(f"the angles are rounded to {last:g}° and were spread evenly, in steps of {slope:.5g}°")
    even[even < 0] = 0.0
    return even


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
    if positions[low] < 0 and not (positions >= 0).sum() > max(MIN_POINTS - 1, positions.size // 2):
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
    if intensity.max() <= 0:
        notes.append("no intensity is above 0")
    below = int((intensity < 0).sum())
    if below:
        notes.append(f"{below} intensities are below 0 (a background was subtracted?); they become 0 on the grid")
    return notes
