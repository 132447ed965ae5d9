"""Structure → calculated powder reflections with Miller indices, for any wavelength."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from xxact_core.compositions.formula_format import format_formula
from xxact_core.patterns.conversions import WAVELENGTHS, d_to_two_theta
from xxact_core.patterns.pattern import Sticks
from xxact_core.peak_profiles.corrections import lorentz_polarisation
from xxact_core.simulation.diffraction import arrays_to_sticks
from xxact_core.simulation.symmetry import find_symmetry
from xxact_core.structures.structure import Structure

LARGEST_SPACING = 25.0
SMALLEST_SPACING = 0.75
"""Range of lattice spacings d [Å]: from 3.5° with Cu Kα, to 56° with Mo Kα."""

LARGEST_ANGLE = 150.0
"""Largest angle [deg 2θ]: few goniometers reach further, and the Lorentz factor diverges at 180°."""

_WAVELENGTH = WAVELENGTHS["MoKa"]


@dataclass(frozen=True, eq=False)
class ReferenceReflections:
    """Calculated powder reflections of a structure, by descending lattice spacing."""

    d: np.ndarray
    """Lattice spacings [Å], shape (reflections,)."""
    hkl: np.ndarray
    """Miller indices in the cell of the file, shape (reflections, 3)."""
    multiplicity: np.ndarray
    """Number of equivalent reflections, shape (reflections,)."""
    strength: np.ndarray
    """Intensity without Lorentz and polarisation factors, shape (reflections,)."""
    formula: str
    """Reduced formula, as chemists write it."""
    space_group: int
    """Number, 1-230."""
    notes: tuple[str, ...] = ()
    """What was assumed, left out or moved when the structure was read."""
    blocks: tuple[str, ...] = ("",)
    """Data blocks of all structures in the file; one empty name where there is one."""

    def at(self, wavelength: float) -> Sticks:
        """Stick pattern at a wavelength [Å] up to `LARGEST_ANGLE`, the strongest reflection 100."""
        angles = d_to_two_theta(self.d, wavelength=wavelength)
        reached = angles <= LARGEST_ANGLE  # NaN is left out, too
        intensity = self.strength[reached] * lorentz_polarisation((wavelength / (2 * self.d[reached])) ** 2)
        strongest = intensity.max(initial=0.0)
        scaled = intensity * (100 / strongest) if strongest > 0 else intensity
        return Sticks(angles[reached], scaled, wavelength=wavelength, hkl=self.hkl[reached])


def structure_to_reflections(structure: Structure) -> ReferenceReflections:
    """Calculate the reflections with spacings between `SMALLEST_SPACING` and `LARGEST_SPACING`.

    Raises:
        StructureError: there are no reflections in this range, the structure is too large, or spglib finds no symmetry.
    """
    first, last = d_to_two_theta(np.array([LARGEST_SPACING, SMALLEST_SPACING]), wavelength=_WAVELENGTH)
    sticks = arrays_to_sticks(
        cell=structure.cell,
        atomic_numbers=structure.atomic_numbers,
        frac_coords=structure.frac_coords,
        occupancies=structure.occupancies,
        wavelength=_WAVELENGTH,
        two_theta_range=(float(first), float(last)),
    )
    symmetry = find_symmetry(structure)
    sine = np.sin(np.deg2rad(sticks.two_theta) / 2)
    families = [hkl_to_family(hkl, symmetry.rotations) for hkl in np.asarray(sticks.hkl, dtype=np.int64)]
    return ReferenceReflections(
        d=_WAVELENGTH / (2 * sine),
        hkl=np.array([family[0] for family in families], dtype=np.int64).reshape(-1, 3),
        multiplicity=np.array([len(family) for family in families], dtype=np.int64),
        strength=sticks.intensity / lorentz_polarisation(sine**2),
        formula=format_formula(structure.stated_composition),
        space_group=symmetry.space_group,
        notes=structure.notes,
    )


def hkl_to_family(hkl: np.ndarray, rotations: np.ndarray) -> np.ndarray:
    """All equivalent Miller indices, shape (3,) to (members, 3); the representative of the family comes first.

    The representative has the fewest negative indices, and among these the largest h, then k, then l.

    Args:
        hkl: Miller indices, shape (3,).
        rotations: of the Laue group without inversion, shape (rotations, 3, 3); see `symmetry.Symmetry`.
    """
    half = hkl @ rotations.astype(np.int64)
    members = np.unique(np.concatenate([half, -half]), axis=0)
    keys = (-members[:, 2], -members[:, 1], -members[:, 0], (members < 0).sum(axis=1))
    return members[np.lexsort(keys)]
