"""Conversions between 2θ, q and d, between wavelengths, and from the names of wavelengths."""

from __future__ import annotations

import math
import re
import unicodedata
from typing import Literal, get_args

import numpy as np

from xxact_core.errors import WavelengthError, shorten

WAVELENGTHS = {
    "CuKa": 1.54184,
    "CuKa1": 1.54056,
    "CuKa2": 1.54439,
    "CuKb1": 1.39222,
    "MoKa": 0.71073,
    "MoKa1": 0.70930,
    "MoKa2": 0.71359,
    "MoKb1": 0.63229,
    "CrKa": 2.29100,
    "CrKa1": 2.28970,
    "CrKa2": 2.29361,
    "CrKb1": 2.08487,
    "FeKa": 1.93735,
    "FeKa1": 1.93604,
    "FeKa2": 1.93998,
    "FeKb1": 1.75661,
    "CoKa": 1.79026,
    "CoKa1": 1.78896,
    "CoKa2": 1.79285,
    "CoKb1": 1.63079,
    "AgKa": 0.560885,
    "AgKa1": 0.559421,
    "AgKa2": 0.563813,
    "AgKb1": 0.497082,
}
"""Named wavelengths [Å]; Ka without a number is the mean of Ka1 and Ka2 weighted 2:1.

Source: pymatgen.analysis.diffraction.xrd.WAVELENGTHS (release 2026.10), the simulator of the paper's section 3.3.
"""

CU_K_ALPHA = WAVELENGTHS["CuKa"]
"""Wavelength of the shared grid [Å]. Source: XxaCT-NN section 3.3 (Cu Kα, pymatgen's value)."""

MIN_WAVELENGTH, MAX_WAVELENGTH = 0.1, 5.0
"""Wavelengths of x-ray powder work [Å]; `Pattern` holds the same limits."""

AxisKind = Literal["two_theta", "theta", "two_theta_radians", "theta_radians", "q", "q_per_nm", "d"]
AXIS_KINDS: tuple[AxisKind, ...] = get_args(AxisKind)
"""Axes of a pattern: 2θ or θ [deg], the same in radians, q [Å⁻¹] or [nm⁻¹], d [Å]."""

_DEGREES = {"two_theta": 1.0, "theta": 2.0, "two_theta_radians": 180 / math.pi, "theta_radians": 360 / math.pi}
_PER_ANGSTROM = {"q": 1.0, "q_per_nm": 0.1}

MIN_SCAN_END = 25.0
"""Laboratory scans over 2θ end above this [deg]; q and d of powder patterns end below."""

_BY_LOWER_NAME = {name.lower(): wavelength for name, wavelength in WAVELENGTHS.items()}


HC = 12.398419843
"""Product of photon energy and wavelength [keV Å]. Source: CODATA 2018, exact by definition."""

_LENGTHS = {
    **dict.fromkeys(("å", "a", "ang", "angs", "angstrom", "angstroms", "ångström", "ångstrom", "angström"), 1.0),
    "kx": 1.00207697,  # Source: CODATA 2018, 10³ copper x units
    **dict.fromkeys(("nm", "nanometer", "nanometers", "nanometre", "nanometres"), 10.0),
    **dict.fromkeys(("pm", "picometer", "picometers", "picometre", "picometres"), 0.01),
    **dict.fromkeys(("m", "meter", "meters", "metre", "metres"), 1e10),
    **dict.fromkeys(("μm", "um", "micron", "microns", "micrometer", "micrometre"), 1e4),
    "mm": 1e7,
    "cm": 1e8,
}
"""Units of length in lower case → Å."""

_ENERGIES = {"ev": 1e-3, "kev": 1.0}
"""Units of photon energy in lower case → keV."""

_METRES = 1e-6
"""A wavelength below this that has no unit is in metres: no other unit gives an X-ray wavelength. Ours."""

_QUANTITY = re.compile(r"([0-9]+(?:[.,][0-9]*)?(?:e[+-]?[0-9]+)?|[.,][0-9]+(?:e[+-]?[0-9]+)?)\s*([^\W\d_]*)")


def is_wavelength_unit(unit: str) -> bool:
    """Whether a word is a unit of length or photon energy, such as `nm`, `Å`, `Angstroms` or `keV`."""
    unit = unicodedata.normalize("NFKC", unit).lower()
    return unit in _LENGTHS or unit in _ENERGIES


def quantity_to_wavelength(value: float, unit: str) -> float:
    """Wavelength [Å] of a length or photon energy in a unit that `is_wavelength_unit` knows; NaN for an energy of 0.

    Without a unit the value is in Å, or in metres where it is smaller than any wavelength in Å.
    """
    unit = unicodedata.normalize("NFKC", unit).lower()
    if unit in _ENERGIES:
        return HC / (value * _ENERGIES[unit]) if value else math.nan
    return value * (_LENGTHS[unit] if unit else 1e10 if 0 < value < _METRES else 1.0)


def parse_wavelength(text: object) -> float:
    """Wavelength [Å] from a number, a name, a quantity, or the two of a doublet.

    A number is in Å; a text may have a unit or be a name: 1.5406, "1.5406 Å", "0.15406 nm", "1.5406e-10 m",
    "8.048 keV", "CuKa", "Cu Kα1", "Mo K-alpha". A pair is a value and its unit, (0.15406, "nm"), or the wavelengths of
    Kα1 and Kα2, of which the mean weighted 2:1 is taken. Objects with `magnitude` and `units` (pint) are read, too.

    Raises:
        WavelengthError: it is none of these, or not within 0.1-5 Å; the message lists the names.
    """
    value = _to_wavelength(text)
    if value is None:
        msg = (
            f"wavelength {shorten(text, limit=40)!r} is not known; expected a number in Å "
            f"({MIN_WAVELENGTH}-{MAX_WAVELENGTH:g}), a number with a unit (0.15406 nm, 8.048 keV) or one of "
            f"{', '.join(WAVELENGTHS)}"
        )
        raise WavelengthError(msg, code="E_WAVELENGTH")
    if not (math.isfinite(value) and MIN_WAVELENGTH <= value <= MAX_WAVELENGTH):
        expected = f"{MIN_WAVELENGTH}-{MAX_WAVELENGTH:g} Å"
        msg = f"wavelength {value:g} Å is outside {expected}; 1 Å is 0.1 nm, Cu Kα is {CU_K_ALPHA} Å"
        raise WavelengthError(msg, code="E_WAVELENGTH")
    return value


def _to_wavelength(value: object) -> float | None:
    """Wavelength [Å] in any range, or None for what is no wavelength."""
    if hasattr(value, "magnitude") and hasattr(value, "units"):
        value = f"{value.magnitude} {value.units}"
    elif isinstance(value, tuple | list) and len(value) == 2 and isinstance(value[1], str):  # noqa: PLR2004 - with unit
        value = f"{value[0]} {value[1]}"
    if isinstance(value, str):
        return _text_to_wavelength(value)
    try:
        numbers = np.asarray(value, dtype=np.float64).ravel()
    except (TypeError, ValueError):
        return None
    if isinstance(value, bool) or numbers.size not in {1, 2}:
        return None
    lengths = [quantity_to_wavelength(float(number), "") for number in numbers]
    if len(lengths) == 1:
        return lengths[0]
    first, second = sorted(lengths)
    return (2 * first + second) / 3 if 0 < second - first < 0.02 * first else None


def _text_to_wavelength(text: str) -> float | None:
    plain = unicodedata.normalize("NFKC", text).strip()
    key = re.sub(r"[\s_\-]", "", plain.lower().replace("alpha", "a").replace("beta", "b"))
    key = key.replace("α", "a").replace("β", "b")
    key = key + "1" if key.endswith("kb") else key
    if key in _BY_LOWER_NAME:
        return _BY_LOWER_NAME[key]
    match = _QUANTITY.fullmatch(plain.lower())
    if match is None or (match[2] and not is_wavelength_unit(match[2])):
        return None
    return quantity_to_wavelength(float(match[1].replace(",", ".")), match[2])


def two_theta_to_q(two_theta: np.ndarray, *, wavelength: float) -> np.ndarray:
    """Scattering vector q = 4π sin(θ) / λ [Å⁻¹] of angles 2θ [deg] at a wavelength λ [Å]; same shape, float64."""
    return 4 * np.pi * np.sin(np.deg2rad(np.asarray(two_theta, dtype=np.float64)) / 2) / wavelength


def q_to_two_theta(q: np.ndarray, *, wavelength: float) -> np.ndarray:
    """Angles 2θ = 2 asin(q λ / 4π) [deg] of q [Å⁻¹] at a wavelength λ [Å]; same shape, NaN where λ cannot reach q."""
    sine = np.asarray(q, dtype=np.float64) * wavelength / (4 * np.pi)
    reachable = np.abs(sine) <= 1
    return np.where(reachable, 2 * np.rad2deg(np.arcsin(np.where(reachable, sine, 0))), np.nan)


def q_to_d(q: np.ndarray) -> np.ndarray:
    """Lattice spacing d = 2π / q [Å] of q [Å⁻¹]; same shape, infinite at q = 0."""
    q = np.asarray(q, dtype=np.float64)
    d: np.ndarray = np.divide(2 * np.pi, q, out=np.full_like(q, np.inf), where=q != 0)
    return d


def d_to_q(d: np.ndarray) -> np.ndarray:
    """Scattering vector q = 2π / d [Å⁻¹] of spacings d [Å]; same shape, infinite at d = 0."""
    return q_to_d(d)


def two_theta_to_d(two_theta: np.ndarray, *, wavelength: float) -> np.ndarray:
    """Lattice spacing d = λ / (2 sin θ) [Å] of angles 2θ [deg] at a wavelength λ [Å]; same shape, infinite at 0°."""
    return q_to_d(two_theta_to_q(two_theta, wavelength=wavelength))


def d_to_two_theta(d: np.ndarray, *, wavelength: float) -> np.ndarray:
    """Angles 2θ [deg] of spacings d [Å] at a wavelength λ [Å]; same shape, NaN where 2d < λ."""
    return q_to_two_theta(d_to_q(d), wavelength=wavelength)


def change_wavelength(two_theta: np.ndarray, *, measured: float, target: float) -> np.ndarray:
    """Angles 2θ [deg] at the target wavelength [Å] of the reflections that the measured one [Å] shows at `two_theta`.

    Converts through q, a property of the material. Same shape; NaN where the target wavelength cannot reach q.
    """
    if measured == target:
        return np.array(two_theta, dtype=np.float64)
    return q_to_two_theta(two_theta_to_q(two_theta, wavelength=measured), wavelength=target)


def axis_to_two_theta(positions: np.ndarray, *, kind: AxisKind, wavelength: float) -> np.ndarray:
    """Angles 2θ [deg] of positions on an axis, shape (points,), in their order; NaN where λ [Å] cannot reach q or d.

    Only q and d need the wavelength.
    """
    positions = np.asarray(positions, dtype=np.float64)
    if kind == "d":
        return d_to_two_theta(positions, wavelength=wavelength)
    if kind in _PER_ANGSTROM:
        return q_to_two_theta(_PER_ANGSTROM[kind] * positions, wavelength=wavelength)
    return _DEGREES[kind] * positions


def other_axes(positions: np.ndarray) -> tuple[AxisKind, ...]:
    """Axes that positions read as 2θ [deg] may have instead, judged by the largest; empty if there is no sign of one.

    θ in degrees cannot be distinguished from 2θ.
    """
    last = float(np.max(positions, initial=0.0))
    if last <= math.pi:
        return ("two_theta_radians", "theta_radians", "q", "d")
    return ("q", "d") if last < MIN_SCAN_END else ()
