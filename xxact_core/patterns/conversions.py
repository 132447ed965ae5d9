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


def parse_wavelength(text: str | float) -> float:
    """Wavelength [Å] from a number or a name: 1.5406, "1.5406 Å", "CuKa", "Cu Kα1", "Mo K-alpha".

    Raises:
        WavelengthError: the text is neither a number within 0.1-5 Å nor a known name; the message lists the names.
    """
    if isinstance(text, str):
        plain = unicodedata.normalize("NFKC", text).strip()
        key = re.sub(r"[\s_\-]", "", plain.lower().replace("alpha", "a").replace("beta", "b"))
        key = key.replace("α", "a").replace("β", "b")
        key = key + "1" if key.endswith("kb") else key
        if key in _BY_LOWER_NAME:
            return _BY_LOWER_NAME[key]
        match = re.fullmatch(r"([0-9]+(?:[.,][0-9]*)?|[.,][0-9]+)\s*(?:å|a|angstroms?)?", plain.lower())
        if match is None:
            msg = (
                f"wavelength {shorten(text, limit=40)!r} is not known; expected a number in Å "
                f"({MIN_WAVELENGTH}-{MAX_WAVELENGTH:g}) or one of {', '.join(WAVELENGTHS)}"
            )
            raise WavelengthError(msg, code="E_WAVELENGTH")
        value = float(match[1].replace(",", "."))
    else:
        value = float(text)
    if not (math.isfinite(value) and MIN_WAVELENGTH <= value <= MAX_WAVELENGTH):
        expected = f"{MIN_WAVELENGTH}-{MAX_WAVELENGTH:g} Å"
        msg = f"wavelength {value:g} Å is outside {expected}; 1 Å is 0.1 nm, Cu Kα is {CU_K_ALPHA} Å"
        raise WavelengthError(msg, code="E_WAVELENGTH")
    return value


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
