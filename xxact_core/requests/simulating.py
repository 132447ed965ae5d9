"""Structure → calculated reflections, as JSON."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from xxact_core.errors import InputError, PatternError
from xxact_core.patterns.conversions import d_to_two_theta, parse_wavelength
from xxact_core.patterns.grid import TwoThetaGrid
from xxact_core.peak_profiles.reference import sum_peaks
from xxact_core.peak_profiles.shapes import fwhm_to_sigma
from xxact_core.simulation.cif_reading import read_untrusted_cif
from xxact_core.simulation.reference_reflections import LARGEST_ANGLE

STEP = 0.02
"""Step of a calculated curve [deg 2θ]."""

_ROUNDING = 1e-6
"""Share of a step by which the last angle may lie beyond the range, as steps are no binary fractions."""

NARROWEST, BROADEST = 0.02, 5.0
"""Width of the peaks of a calculated curve [deg 2θ]. Ours: a step of the curve, and broader than any peak."""


@dataclass(frozen=True, kw_only=True)
class SimulateRequest:
    """How the pattern of a structure is calculated.

    Raises:
        InputError: range, width or number of the structure is out of range (E_INPUT).
        WavelengthError: the wavelength is not known.
    """

    wavelength: str | float = "CuKa"
    """Wavelength in Å, with a unit, or a name such as CuKa."""

    two_theta_range: tuple[float, float] = (5.0, 90.0)
    """First and last angle [deg 2θ], within 0-150."""

    least_intensity: float = 0.0
    """Intensity, relative to the strongest reflection (0-100), below which reflections are left out."""

    width: float | None = None
    """Full width at half maximum of the peaks of a continuous curve [deg 2θ], 0.02-5; by default reflections alone."""

    index: int = 0
    """Number of the structure in a file with several, from 0."""

    def __post_init__(self) -> None:
        """Check the ranges."""
        parse_wavelength(self.wavelength)
        low, high = self.two_theta_range
        if not 0 <= low < high <= LARGEST_ANGLE:
            msg = f"two_theta_range is {low:g} to {high:g}; expected degrees within 0-{LARGEST_ANGLE:g}, ascending"
            raise InputError(msg, code="E_INPUT")
        if self.width is not None and not NARROWEST <= self.width <= BROADEST:
            msg = f"width is {self.width:g}; expected {NARROWEST:g}-{BROADEST:g} degrees"
            raise InputError(msg, code="E_INPUT")
        if self.index < 0:
            msg = f"index is {self.index}; structures are counted from 0"
            raise InputError(msg, code="E_INPUT")


def simulate_cif(content: bytes, request: SimulateRequest, *, name: str) -> dict[str, Any]:
    """Calculated reflections of a structure in a CIF of unknown origin, parsed in a separate process within limits.

    Intensities are relative to the strongest reflection of all angles up to 150°, 0-100, with Lorentz and polarisation
    factors.

    Raises:
        PatternError: no reflection lies in the range (E_RANGE).
        StructureError: the structure cannot be used.
    """
    reflections = read_untrusted_cif(content, name=name, index=request.index)
    wavelength, (low, high) = parse_wavelength(request.wavelength), request.two_theta_range
    sticks = reflections.at(wavelength)
    with np.errstate(invalid="ignore"):
        reached = d_to_two_theta(reflections.d, wavelength=wavelength) <= LARGEST_ANGLE
    d, multiplicity = reflections.d[reached], reflections.multiplicity[reached]
    kept = (sticks.two_theta >= low) & (sticks.two_theta <= high) & (sticks.intensity >= request.least_intensity)
    if not kept.any():
        msg = f"{name}: no reflection lies within {low:g}-{high:g}° 2θ at {wavelength:g} Å"
        raise PatternError(msg, code="E_RANGE")
    assert sticks.hkl is not None, "reflections of a structure have indices"
    return {
        "formula": reflections.formula,
        "space_group": reflections.space_group,
        "wavelength": wavelength,
        "two_theta": sticks.two_theta[kept].tolist(),
        "d": d[kept].tolist(),
        "intensity": sticks.intensity[kept].tolist(),
        "hkl": sticks.hkl[kept].tolist(),
        "multiplicity": multiplicity[kept].tolist(),
        "structures": list(reflections.blocks),
        "notes": list(reflections.notes),
        **({} if request.width is None else {"curve": _curve(sticks.two_theta, sticks.intensity, request)}),
    }


def _curve(two_theta: np.ndarray, intensity: np.ndarray, request: SimulateRequest) -> dict[str, Any]:
    """Gaussian peaks of one width over the range, the highest point 100."""
    assert request.width is not None, "there is a curve only with a width"
    low, high = request.two_theta_range
    points = int((high - low) / STEP + _ROUNDING) + 1
    grid = TwoThetaGrid(start=low, step=STEP, points=points, windows=1)
    sigma = np.full(two_theta.shape, fwhm_to_sigma(request.width))
    total = sum_peaks(two_theta, intensity, sigma, grid=grid)
    highest = total.max()
    scaled = 100 * total / highest if highest > 0 else total
    return {"two_theta": grid.two_theta.tolist(), "intensity": scaled.tolist()}
