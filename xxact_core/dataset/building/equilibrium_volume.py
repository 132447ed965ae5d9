"""Structures → the isotropic scale at which a teacher's energy is lowest, in few evaluations."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from xxact_core.dataset.building.teacher import Teacher, plausible_energies
from xxact_core.structures.structure import Structure

FIRST_VOLUMES = (1.0, 1.1)
"""Volumes of the first two evaluations, relative to the first guess. Ours."""

STIFFNESS = 6.0
"""Bulk modulus times volume per atom [eV] that the third evaluation assumes. Ours: 60 GPa and 16 Å³ give 6.0."""

MOST_CHANGE = 1.35
"""Largest factor between a volume and those that were evaluated before. Ours."""

CONVERGED = 0.02
"""Relative change of the volume of the minimum by its own evaluation, below which it is found. Ours: with 60 GPa
it leaves an error of 1 meV/atom."""

MOST_EVALUATIONS = 7
"""Evaluations of a structure, after which no minimum is expected. Ours."""

VOLUME_RANGE = (0.4, 2.5)
"""Volumes relative to the first guess within which a minimum is sought. Ours."""


@dataclass
class Scan:
    """Energies of one structure at several volumes."""

    volumes: list[float] = field(default_factory=list)
    """Volumes relative to the first guess."""
    energies: list[float] = field(default_factory=list)
    """Energies per atom [eV]."""
    pending: list[float] = field(default_factory=lambda: list(FIRST_VOLUMES))
    """Volumes to evaluate next."""
    reason: str = ""
    """Why there is no minimum, if so."""

    @property
    def done(self) -> bool:
        """Whether nothing is left to evaluate."""
        return not self.pending or bool(self.reason)

    @property
    def lowest(self) -> int:
        """Position of the lowest energy."""
        return int(np.argmin(self.energies))

    def take(self, volume: float, energy: float, reason: str) -> None:
        """Add an evaluation; `reason` tells why it failed, if so."""
        self.pending.remove(volume)
        self.reason = self.reason or reason
        self.volumes.append(volume)
        self.energies.append(energy)

    def proceed(self) -> None:
        """Decide what to evaluate next, once nothing is pending."""
        if self.reason:
            return
        volume = self._next_volume()
        best = self.volumes[self.lowest]
        if len(self.volumes) > len(FIRST_VOLUMES) and abs(volume / best - 1) < CONVERGED:
            return
        if len(self.volumes) >= MOST_EVALUATIONS or not VOLUME_RANGE[0] <= volume <= VOLUME_RANGE[1]:
            low, high = min(self.volumes), max(self.volumes)
            self.reason = f"no minimum of the energy between {low:.2f} and {high:.2f} of the expected volume"
            return
        self.pending = [volume]

    def _next_volume(self) -> float:
        """Where the energy is expected to be lowest."""
        order = np.argsort(self.energies, kind="stable")[:3]
        order = order[np.argsort(np.array(self.volumes)[order])]
        volumes, energies = np.array(self.volumes)[order], np.array(self.energies)[order]
        found = fitted_minimum(volumes, energies)
        low, high = min(self.volumes) / MOST_CHANGE, max(self.volumes) * MOST_CHANGE
        return float(np.clip(found, low, high))


def fitted_minimum(volumes: np.ndarray, energies: np.ndarray) -> float:
    """Volume at the minimum of a parabola in V^(-2/3) through two or three points, in ascending order of volume.

    With two points, or where three have no minimum, its curvature is that of `STIFFNESS`.
    Source: the second-order Birch-Murnaghan equation of state is such a parabola, 9/8 B V ((V/V')^(2/3) - 1)².
    """
    x = volumes ** (-2 / 3)
    slopes = np.diff(energies) / np.diff(x)
    middle = (x[1:] + x[:-1]) / 2
    curvature = float(np.diff(slopes)[0] / np.diff(middle)[0]) if len(slopes) > 1 else 0.0
    if not curvature > 0:
        curvature = 9 / 4 * STIFFNESS / float(x.mean()) ** 2
    steepest = int(np.argmin(np.abs(slopes)))
    best = middle[steepest] - slopes[steepest] / curvature
    return float(best**-1.5) if best > 0 else float(np.inf)


def find_equilibrium(structures: Sequence[Structure], teacher: Teacher) -> list[tuple[float, float, str]]:
    """Scale on lengths and energy per atom [eV] at the minimum of each structure, or the reason why there is none.

    Every structure is evaluated at two volumes, then where the fit to the evaluations expects the minimum, until that
    no longer moves; the lowest of all energies is taken, so that it belongs to a structure that was evaluated.
    """
    scans = [Scan() for _ in structures]
    while running := [place for place, scan in enumerate(scans) if not scan.done]:
        asked = [(place, volume) for place in running for volume in scans[place].pending]
        scaled = [scale_structure(structures[place], volume ** (1 / 3)) for place, volume in asked]
        energies, reasons = plausible_energies(teacher, scaled)
        for (place, volume), energy, reason in zip(asked, energies.tolist(), reasons, strict=True):
            scans[place].take(volume, energy, reason)
        for place in running:
            scans[place].proceed()
    return [
        (np.nan, np.nan, scan.reason)
        if scan.reason
        else (scan.volumes[scan.lowest] ** (1 / 3), scan.energies[scan.lowest], "")
        for scan in scans
    ]


def scale_structure(structure: Structure, scale: float) -> Structure:
    """The structure with all lengths multiplied."""
    cell = structure.cell.copy()
    cell[:3] *= scale
    return replace(structure, cell=cell)
