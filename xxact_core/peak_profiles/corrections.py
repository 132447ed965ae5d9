"""Corrections of the positions and intensities of ideal reflections for sample and diffractometer.

Operators only, as in `shapes`, so that the functions accept numbers, arrays and tensors.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, TypeVar

import numpy as np

if TYPE_CHECKING:
    from torch import Tensor

Numbers = TypeVar("Numbers", float, np.ndarray, "Tensor")
Arrays = TypeVar("Arrays", np.ndarray, "Tensor")

_DEGREES = 180 / math.pi


def displacement_shift(cos_theta: Numbers, *, displacement: float | Numbers, radius: float | Numbers) -> Numbers:
    """Shift Δ2θ = -2 s cos θ / R [deg] of a sample that is s [mm] off the axis of a goniometer of radius R [mm].

    s is above 0 for a sample below the axis, away from source and detector: its peaks move to lower angles.
    Source: Klug & Alexander (1974), X-ray Diffraction Procedures, 2nd ed., section 5-1.
    """
    return -2 * _DEGREES * displacement / radius * cos_theta


AXIAL_NODES = 6
"""Parts that stand for the distribution of axial offsets. Ours: for the divergences of diffractometers, the profile is
within 6 % of the height of that of 200 parts."""


def axial_divergence_parts(
    cotangent: Numbers, *, divergence: float | Numbers, part: int, parts: int = AXIAL_NODES
) -> tuple[Numbers, Numbers, float]:
    """Shift Δ2θ [deg], additional width σ [deg] and fraction of the intensity of one part of an asymmetric peak.

    A ray that leaves the plane of the goniometer by the angle φ is detected at 2θ - φ² cot(2θ) / 2. With equal sizes of
    sample and slit, S/L = H/L = d, the offset u = φ / 2d has the density 2 (1 - u); a part is an equal interval of u.

    Source: Finger, Cox & Jephcoat (1994), J. Appl. Cryst. 27, 892-900, to second order in the offset.

    Args:
        cotangent: cot 2θ of the peaks.
        divergence: S/L = H/L.
        part: number of the part, from 0.
        parts: number of parts.
    """
    low, high = part / parts, (part + 1) / parts
    largest = _DEGREES * 2 * divergence**2 * cotangent
    fraction = (high - low) * (2 - low - high)
    return -(low**2 + high**2) / 2 * largest, (high**2 - low**2) / 12**0.5 * largest, fraction


def lorentz_polarisation(sine_squared: Numbers) -> Numbers:
    """Factor (1 + cos² 2θ) / (sin²θ cos θ) of powder reflections, from sin²θ; no monochromator.

    Source: International Tables for Crystallography C, sections 6.2.2 and 6.2.5.
    """
    factor: Numbers = (1 + (1 - 2 * sine_squared) ** 2) / (sine_squared * (1 - sine_squared) ** 0.5)
    return factor


def thermal_factor(inverse_d_squared: Numbers, *, b: float | Numbers) -> Numbers:
    """Factor exp(-2 B sin²θ / λ²) = exp(-B / 2d²) of reflections of 1/d² [Å⁻²], B [Å²] equal for all atoms.

    Source: Debye (1913), Ann. Phys. 348, 49-92; Waller (1923), Z. Phys. 17, 398-408.
    """
    factor: Numbers = math.e ** (-0.5 * b * inverse_d_squared)
    return factor


def march_dollase_factor(cos_squared: Numbers, *, r: float | Numbers) -> Numbers:
    """Density (r² cos²α + sin²α / r)^(-3/2) of crystallites whose texture axis is tilted by α; 1 for r = 1.

    r below 1: plates parallel to the surface in reflection geometry; above 1: needles. Its mean over all
    directions is 1. The factor of a powder reflection is the mean over its equivalent reflections.

    Source: March (1932), Z. Kristallogr. 81, 285-297; Dollase (1986), J. Appl. Cryst. 19, 267-272.
    """
    density: Numbers = (r**2 * cos_squared + (1 - cos_squared) / r) ** -1.5
    return density


def entries_to_metric(entries: Arrays) -> Arrays:
    """The six entries G*₁₁, G*₂₂, G*₃₃, G*₁₂, G*₁₃, G*₂₃ of shape (..., 6) as matrices of shape (..., 3, 3)."""
    matrices: Arrays = entries[..., [0, 3, 4, 3, 1, 5, 4, 5, 2]].reshape((*entries.shape[:-1], 3, 3))
    return matrices


def strain_to_metric_change(frame: Arrays, strain: Arrays, rotations: Arrays, *, weights: Arrays) -> Arrays:
    """Change of a reciprocal metric [Å⁻²] by a strain, averaged over rotations so that the crystal system is kept.

    With G* = L Lᵀ (Miller indices h as rows have the Cartesian vector h L), a strain ε makes it L (1 - ε)² Lᵀ: spacings
    along a direction of strain grow. The mean of W (change) Wᵀ over the rotations W of the Laue group is what every
    equivalent reflection sees.

    Args:
        frame: L, shape (..., 3, 3) [Å⁻¹].
        strain: ε, symmetric, shape (..., 3, 3).
        rotations: W of the Laue group, shape (..., rotations, 3, 3); Miller indices turn as h W.
        weights: of the rotations, adding up to 1, shape (..., rotations).

    Returns:
        Shape (..., 3, 3).
    """
    change = strain @ strain - 2 * strain
    turned = rotations @ frame[..., None, :, :]
    mean: Arrays = ((turned @ change[..., None, :, :] @ turned.mT) * weights[..., None, None]).sum(-3)
    return mean
