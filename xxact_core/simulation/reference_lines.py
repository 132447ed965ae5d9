"""Structure → the powder lines of a reference, with their Miller indices, for any wavelength."""

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
"""Lines are made of these spacings d [Å]: from 3.5° on with Cu Kα, up to 56° with Mo Kα."""

LARGEST_ANGLE = 150.0
"""Lines are shown up to here [deg 2θ]: few goniometers go further, and at 180° the Lorentz factor has no end."""

_WAVELENGTH = WAVELENGTHS["MoKa"]


@dataclass(frozen=True, eq=False)
class ReferenceLines:
    """Powder lines of a structure, the widest spacing first.

    d: [Å], shape (lines,). hkl: one of the indices of each line, in the cell of the file, shape (lines, 3).
    multiplicity: how many reflections are equivalent to it, shape (lines,). strength: intensity without the Lorentz and
    polarisation factors, shape (lines,). formula: reduced, as chemists write it. space_group: number, 1-230.
    """

    d: np.ndarray
    hkl: np.ndarray
    multiplicity: np.ndarray
    strength: np.ndarray
    formula: str
    space_group: int

    def at(self, wavelength: float) -> Sticks:
        """The lines as a wavelength [Å] shows them, the strongest 100; those beyond `LARGEST_ANGLE` are left out."""
        angles = d_to_two_theta(self.d, wavelength=wavelength)
        reached = angles <= LARGEST_ANGLE  # NaN is left out, too
        intensity = self.strength[reached] * lorentz_polarisation((wavelength / (2 * self.d[reached])) ** 2)
        strongest = intensity.max(initial=0.0)
        scaled = intensity * (100 / strongest) if strongest > 0 else intensity
        return Sticks(angles[reached], scaled, wavelength=wavelength, hkl=self.hkl[reached])


def structure_to_reference_lines(structure: Structure) -> ReferenceLines:
    """Lines of a structure whose spacings lie between `SMALLEST_SPACING` and `LARGEST_SPACING`.

    Raises:
        StructureError: the structure scatters nothing there, is too large, or spglib finds no symmetry in it.
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
    return ReferenceLines(
        d=_WAVELENGTH / (2 * sine),
        hkl=np.array([family[0] for family in families], dtype=np.int64).reshape(-1, 3),
        multiplicity=np.array([len(family) for family in families], dtype=np.int64),
        strength=sticks.intensity / lorentz_polarisation(sine**2),
        formula=format_formula(structure.composition),
        space_group=symmetry.space_group,
    )


def hkl_to_family(hkl: np.ndarray, rotations: np.ndarray) -> np.ndarray:
    """All the indices equivalent to one, shape (3,) to (members, 3); that by which the family is called comes first.

    It is the one with the fewest negative indices, among these the one with the largest h, then k, then l.

    rotations: of the Laue group without inversion, shape (rotations, 3, 3); see `symmetry.Symmetry`.
    """
    half = hkl @ rotations.astype(np.int64)
    members = np.unique(np.concatenate([half, -half]), axis=0)
    keys = (-members[:, 2], -members[:, 1], -members[:, 0], (members < 0).sum(axis=1))
    return members[np.lexsort(keys)]
