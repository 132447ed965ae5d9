"""What is measured and what is predicted: names, labels, units and directions, each said once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

CRYSTAL_SYSTEMS = ("triclinic", "monoclinic", "orthorhombic", "tetragonal", "trigonal", "hexagonal", "cubic")
"""The seven crystal systems in order of symmetry.

Source: International Tables for Crystallography A; trigonal space groups (143-167) are a system of their own.
"""

SPACE_GROUP_COUNT = 230

CRYSTAL_SYSTEM_LAST_GROUP = (2, 15, 74, 142, 167, 194, 230)
"""Number of the last space group of each crystal system, in the order of `CRYSTAL_SYSTEMS`."""


def space_group_to_crystal_system(number: int) -> str:
    """Crystal system of a space group number (1-230)."""
    if not 1 <= number <= SPACE_GROUP_COUNT:
        msg = f"space group number {number} is not in 1..{SPACE_GROUP_COUNT}"
        raise ValueError(msg)
    index = next(index for index, last in enumerate(CRYSTAL_SYSTEM_LAST_GROUP) if number <= last)
    return CRYSTAL_SYSTEMS[index]


@dataclass(frozen=True)
class Quantity:
    """A target that a material has: what it is called, in what unit, and of what kind."""

    name: str
    label: str
    unit: str
    kind: Literal["value", "class"]
    classes: tuple[str, ...] = ()

    @property
    def width(self) -> int:
        """Outputs that a head needs for this target."""
        return len(self.classes) if self.kind == "class" else 1


FORMATION_ENERGY = Quantity("formation_energy_per_atom", "Formation energy", "eV/atom", "value")
BAND_GAP = Quantity("band_gap", "Band gap", "eV", "value")
CRYSTAL_SYSTEM = Quantity("crystal_system", "Crystal system", "", "class", CRYSTAL_SYSTEMS)
SPACE_GROUP = Quantity(
    "space_group", "Space group", "", "class", tuple(str(number) for number in range(1, SPACE_GROUP_COUNT + 1))
)

TARGETS = {target.name: target for target in (FORMATION_ENERGY, BAND_GAP, CRYSTAL_SYSTEM, SPACE_GROUP)}


SURE = 0.5
"""A most probable class below this probability is worded as "not sure"."""


@dataclass(frozen=True)
class Axis:
    """A horizontal axis of a diffraction pattern."""

    name: str
    label: str
    unit: str


TWO_THETA = Axis("two_theta", "2θ", "°")
Q = Axis("q", "q", "Å⁻¹")
D_SPACING = Axis("d", "d", "Å")
AXES = {axis.name: axis for axis in (TWO_THETA, Q, D_SPACING)}
