"""Reference phase → reflections on the absolute scale, in the conventional cell and with the strains that it allows."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from xxact_core.compositions.element_table import ATOMIC_MASSES
from xxact_core.errors import StructureError
from xxact_core.peak_profiles.corrections import entries_to_metric, lorentz_polarisation
from xxact_core.search_match.database import ReferenceDatabase
from xxact_core.search_match.strain_modes import cell_strain_modes
from xxact_core.simulation.diffraction import arrays_to_powers
from xxact_core.simulation.lattice import cell_to_reciprocal_metric, cell_volume
from xxact_core.simulation.symmetry import find_symmetry
from xxact_core.structures.structure import Structure

WEAKEST_POWER = 1e-4
"""Reflections whose intensity relative to the strongest is smaller are left out. Ours."""

MOST_REFLECTIONS = 1500
"""Largest number of reflections of a phase; the weakest of phases with more are left out. Ours."""

COMPUTED_SCALE, COMPUTED_SPREAD = 0.989, 0.005
"""Measured over computed cell length: mean and standard deviation between materials.

Source: benchmarks/quality/search_match.py; PBE lattice constants are 1 % too large on average (Haas, Tran & Blaha
(2009), Phys. Rev. B 79, 085104)."""

MEASURED_SCALE, MEASURED_SPREAD = 1.0, 0.003
"""The same for cells that were measured: composition and temperature differ. Source: as above."""

SHEAR_SPREAD = 0.004
"""Standard deviation of strains that keep the volume. Ours."""

_SAME = 1e-7
_WEIGHTS = np.array([1.0, 0.7548776662, 0.5698402910, 0.4301597090, 0.3247179572, 0.2451223338, 0.1850398532])
"""Incommensurate weights, so that reflections with equal weighted sums coincide for every strain. Ours."""


@dataclass(frozen=True, eq=False)
class PhaseLines:
    """The reflections of a reference phase at one wavelength, on the absolute scale."""

    row: int
    """Row of the database."""
    space_group: int | None
    """Number, 1-230; None where unknown."""
    metric: np.ndarray
    """Reciprocal metric of the conventional cell [Å⁻²], shape (3, 3)."""
    metric_change: np.ndarray
    """Its derivative by each strain that the symmetry allows, shape (strains, 3, 3); the first is isotropic."""
    hkl: np.ndarray
    """Miller indices in the conventional cell, shape (reflections, 3)."""
    inverse_d_squared: np.ndarray
    """1/d² [Å⁻²], shape (reflections,)."""
    change: np.ndarray
    """Its derivative by each strain, shape (strains, reflections)."""
    power: np.ndarray
    """Σ |F|² over the reflections of equal 1/d² over the volume squared [electrons² Å⁻⁶], shape (reflections,)."""
    mass_density: float
    """Mass of the atoms over volume [u Å⁻³]; NaN where the atoms are unknown."""
    usual_strain: float
    """Mean isotropic strain from the cell of the database to that measured."""
    strain_spread: np.ndarray
    """Standard deviations of the strains, shape (strains,)."""
    elements: tuple[str, ...]
    """Symbols of the elements."""

    @cached_property
    def rank(self) -> np.ndarray:
        """Reflections in order of power with Lorentz factor, strongest first."""
        return np.argsort(-self.power / np.maximum(self.inverse_d_squared, 1e-6), kind="stable")

    def cell(self, strain: np.ndarray) -> np.ndarray:
        """Conventional cell a, b, c [Å], α, β, γ [deg] with these strains, shape (6,)."""
        return metric_to_cell(self.metric + np.tensordot(strain, self.metric_change, axes=1))

    def strains_of(self, cell: np.ndarray) -> np.ndarray:
        """Strains that lead to this conventional cell, shape (strains,)."""
        wanted = entries_to_metric(cell_to_reciprocal_metric(cell)) - self.metric
        modes = self.metric_change.reshape(len(self.metric_change), -1)
        strains: np.ndarray = np.linalg.lstsq(modes.T, wanted.ravel(), rcond=None)[0]
        return strains


def metric_to_cell(reciprocal_metric: np.ndarray) -> np.ndarray:
    """Cell a, b, c [Å], α, β, γ [deg] of a reciprocal metric, shape (3, 3) to (6,)."""
    metric = np.linalg.inv(reciprocal_metric)
    lengths = np.sqrt(np.diag(metric))
    cosines = np.array([metric[1, 2], metric[0, 2], metric[0, 1]])
    cosines /= np.array([lengths[1] * lengths[2], lengths[0] * lengths[2], lengths[0] * lengths[1]])
    angles = np.degrees(np.arccos(np.clip(cosines, -1, 1)))
    return np.concatenate([lengths, np.where(np.isin(np.round(angles, 7), [90, 120]), np.round(angles), angles)])


def read_phase_lines(
    references: ReferenceDatabase, row: int, *, wavelength: float, two_theta_range: tuple[float, float]
) -> PhaseLines:
    """The reflections of one phase of a database.

    A dataset stores no atoms: its reflections are on a relative scale, and the mass density is NaN.

    Raises:
        StructureError: the phase has no reflection in the range.
    """
    try:
        structure = references.structure(row)
    except StructureError:
        return _from_sticks(references, row, wavelength=wavelength, two_theta_range=two_theta_range)
    measured = bool(references.experimental[row])
    if not references.space_group[row]:  # the symmetry is not stored, and the cell is any
        return structure_to_phase_lines(
            structure, wavelength=wavelength, two_theta_range=two_theta_range, measured=measured, row=row
        )
    group, rotations = references.symmetry(row)
    inverse_d_squared, power, hkl = _structure_to_powers(structure, wavelength, two_theta_range)
    return _join(
        row=row,
        space_group=group,
        cell=structure.cell,
        rotations=rotations,
        hkl=hkl.astype(np.float64),
        power=power,
        inverse_d_squared=inverse_d_squared,
        wavelength=wavelength,
        mass_density=_mass_density(structure),
        measured=measured,
        elements=references.symbols(row),
    )


def structure_to_phase_lines(
    structure: Structure,
    *,
    wavelength: float,
    two_theta_range: tuple[float, float],
    measured: bool,
    row: int = -1,
) -> PhaseLines:
    """The reflections of a structure, in its conventional cell.

    Args:
        structure: in any cell.
        wavelength: of the measurement [Å].
        two_theta_range: first and last angle [deg].
        measured: whether the cell was measured, not computed.
        row: of the database.

    Raises:
        StructureError: there is no reflection in the range, or no symmetry is found.
    """
    inverse_d_squared, power, hkl = _structure_to_powers(structure, wavelength, two_theta_range)
    found = find_symmetry(structure)
    inverse = np.linalg.inv(found.to_conventional)
    return _join(
        row=row,
        space_group=found.space_group,
        cell=_transformed_cell(structure.cell, inverse),
        rotations=found.conventional_rotations,
        hkl=hkl @ inverse,
        power=power,
        inverse_d_squared=inverse_d_squared,
        wavelength=wavelength,
        mass_density=_mass_density(structure),
        measured=measured,
        elements=structure.composition.symbols,
    )


def _structure_to_powers(
    structure: Structure, wavelength: float, two_theta_range: tuple[float, float]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """1/d² [Å⁻²], Σ |F|² over the volume squared [electrons² Å⁻⁶] and Miller indices in the structure's own cell."""
    inverse_d_squared, power, hkl = arrays_to_powers(
        cell=structure.cell,
        atomic_numbers=structure.atomic_numbers,
        frac_coords=structure.frac_coords,
        occupancies=None if (structure.occupancies == 1).all() else structure.occupancies,
        wavelength=wavelength,
        two_theta_range=two_theta_range,
    )
    return inverse_d_squared, power / float(cell_volume(structure.cell)) ** 2, hkl


def _mass_density(structure: Structure) -> float:
    """Mass of the atoms over volume [u Å⁻³]."""
    masses = np.array(ATOMIC_MASSES)[structure.atomic_numbers - 1]
    return float(masses @ structure.occupancies) / float(cell_volume(structure.cell))


def _from_sticks(
    references: ReferenceDatabase, row: int, *, wavelength: float, two_theta_range: tuple[float, float]
) -> PhaseLines:
    sticks = references.sticks(row)
    group, rotations = references.symmetry(row)
    assert sticks.hkl is not None
    inverse_d_squared = (2 * np.sin(np.radians(sticks.two_theta / 2)) / sticks.wavelength) ** 2
    power = sticks.intensity / lorentz_polarisation(inverse_d_squared * (sticks.wavelength / 2) ** 2)
    low, high = ((2 * np.sin(np.radians(angle / 2)) / wavelength) ** 2 for angle in two_theta_range)
    inside = (inverse_d_squared >= low) & (inverse_d_squared <= high)
    if not inside.any():
        msg = f"{references.id[row]}: no reflection lies between {two_theta_range[0]:g}° and {two_theta_range[1]:g}°"
        raise StructureError(msg, code="E_STRUCTURE")
    return _join(
        row=row,
        space_group=group,
        cell=np.asarray(references.cell[row], dtype=np.float64),
        rotations=rotations.astype(np.float64),
        hkl=sticks.hkl[inside].astype(np.float64),
        power=power[inside],
        inverse_d_squared=inverse_d_squared[inside],
        wavelength=wavelength,
        mass_density=np.nan,
        measured=bool(references.experimental[row]),
        elements=references.symbols(row),
    )


def _transformed_cell(cell: np.ndarray, basis: np.ndarray) -> np.ndarray:
    """Cell of the basis vectors (a b c) P⁻¹, P⁻¹ of shape (3, 3)."""
    a, b, c, alpha, beta, gamma = np.asarray(cell, dtype=np.float64)
    cosines = np.cos(np.radians([alpha, beta, gamma]))
    metric = np.array(
        [
            [a * a, a * b * cosines[2], a * c * cosines[1]],
            [a * b * cosines[2], b * b, b * c * cosines[0]],
            [a * c * cosines[1], b * c * cosines[0], c * c],
        ]
    )
    return metric_to_cell(np.linalg.inv(basis.T @ metric @ basis))


def _join(  # noqa: PLR0913 - the parts of one phase
    *,
    row: int,
    space_group: int | None,
    cell: np.ndarray,
    rotations: np.ndarray,
    hkl: np.ndarray,
    power: np.ndarray,
    inverse_d_squared: np.ndarray,
    wavelength: float,
    mass_density: float,
    measured: bool,
    elements: tuple[str, ...],
) -> PhaseLines:
    """Reflections that coincide for every strain become one; weak ones are left out."""
    height = power * lorentz_polarisation(np.minimum(inverse_d_squared * (wavelength / 2) ** 2, 0.9999))
    strong = height > WEAKEST_POWER * height.max(initial=0.0)
    hkl, power, height = hkl[strong], power[strong], height[strong]
    metric, metric_change = cell_strain_modes(cell, rotations)
    squared = np.einsum("lh,hk,lk->l", hkl, metric, hkl)
    change = np.einsum("lh,shk,lk->sl", hkl, metric_change, hkl)
    key = squared + _WEIGHTS[: len(change)] @ change / 10
    order = np.argsort(key, kind="stable")
    new = np.concatenate([[True], np.diff(key[order]) > _SAME * np.abs(key[order][1:])])
    starts = np.flatnonzero(new)
    summed = np.add.reduceat(power[order], starts)
    first = order[starts]
    if len(starts) > MOST_REFLECTIONS:
        kept = np.sort(np.argsort(-np.add.reduceat(height[order], starts))[:MOST_REFLECTIONS])
        first, summed = first[kept], summed[kept]
    mean, spread = (1 - 1 / MEASURED_SCALE, MEASURED_SPREAD) if measured else (1 - 1 / COMPUTED_SCALE, COMPUTED_SPREAD)
    return PhaseLines(
        row=row,
        space_group=space_group,
        metric=metric,
        metric_change=metric_change,
        hkl=np.rint(hkl[first]).astype(np.int64),
        inverse_d_squared=squared[first],
        change=change[:, first],
        power=summed,
        mass_density=mass_density,
        usual_strain=mean,
        strain_spread=np.array([spread, *[SHEAR_SPREAD] * (len(change) - 1)]),
        elements=elements,
    )
