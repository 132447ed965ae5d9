"""Quantities that are measured or predicted: names, labels and units, each defined once."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

CRYSTAL_SYSTEMS = ("triclinic", "monoclinic", "orthorhombic", "tetragonal", "trigonal", "hexagonal", "cubic")
"""The seven crystal systems in order of symmetry.

Source: International Tables for Crystallography A; trigonal space groups (143-167) are a system of their own.
"""

CRYSTAL_SYSTEM_COLOURS = ("#5F5F5F", "#0072B2", "#3B9BD0", "#009E73", "#C98500", "#D55E00", "#B5488A")
"""A colour for each crystal system, distinguishable with all common colour vision deficiencies.

Source: Okabe and Ito (2008); with a darker yellow, for contrast on white, and grey instead of black.
"""

PHASE_COLOURS = (
    *("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000", "#8C6D31", "#999999", "#7570B3"),
)
"""Colours of phases, distinguishable with any colour vision. Source: the first seven, Okabe and Ito (2008)."""

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


SYSTEM_OF_GROUP = tuple(
    CRYSTAL_SYSTEMS.index(space_group_to_crystal_system(number)) for number in range(1, SPACE_GROUP_COUNT + 1)
)
"""Index of the crystal system of each space group, in the order of the classes."""


@dataclass(frozen=True)
class Quantity:
    """A property of materials that models predict."""

    name: str
    """Name in datasets, recipes and files."""

    label: str
    """Name for users."""

    unit: str
    """Unit; empty for classification."""

    kind: Literal["value", "class"]
    """Regression (`value`) or classification (`class`)."""

    classes: tuple[str, ...] = ()
    """Names of the classes, in the order of their indices."""

    plausible: tuple[float, float] = (-math.inf, math.inf)
    """Lowest and highest plausible label; labels outside are wrong or in another unit."""

    @property
    def width(self) -> int:
        """Number of outputs of the target's head."""
        return len(self.classes) if self.kind == "class" else 1


LATTICE_ANGLES = {"alpha": "α", "beta": "β", "gamma": "γ"}

FORMATION_ENERGY = Quantity(
    "formation_energy_per_atom", "Formation energy", "eV/atom", "value", plausible=(-10.0, 10.0)
)
BAND_GAP = Quantity("band_gap", "Band gap", "eV", "value", plausible=(0.0, 25.0))
CRYSTAL_SYSTEM = Quantity("crystal_system", "Crystal system", "", "class", CRYSTAL_SYSTEMS)
SPACE_GROUP = Quantity(
    "space_group", "Space group", "", "class", tuple(str(number) for number in range(1, SPACE_GROUP_COUNT + 1))
)

DENSITY = Quantity("density", "Density", "g/cm³", "value", plausible=(0.0, 50.0))
VOLUME_PER_ATOM = Quantity("volume_per_atom", "Volume per atom", "Å³/atom", "value", plausible=(0.0, 1000.0))
LATTICE = (
    *(Quantity(f"lattice_{axis}", f"Lattice parameter {axis}", "Å", "value") for axis in "abc"),
    *(Quantity(f"lattice_{name}", f"Lattice angle {sign}", "°", "value") for name, sign in LATTICE_ANGLES.items()),
)
"""Lattice parameters of the conventional cell, which is unique; there are many primitive cells."""

TARGETS = {
    target.name: target
    for target in (FORMATION_ENERGY, BAND_GAP, CRYSTAL_SYSTEM, SPACE_GROUP, DENSITY, VOLUME_PER_ATOM, *LATTICE)
}
"""All targets that a dataset can hold and a model can learn."""

TEACHER = "teacher"
"""Kind of the formation energies that a teacher computed, see `ENERGY_KINDS`."""

ENERGY_KINDS = ("none", "unique", "megnet2018", "approximate", "stated", TEACHER)
"""Where the formation energy of a material comes from.

`none`: it has no formation energy. `unique`, `megnet2018`: calculated for this structure, see the README of the data.
`approximate`: of a similar structure, or a mean over polymorphs. `stated`: as a source states it, of which no more is
known. `teacher`: computed by a teacher, such as CHGNet, for this structure.
"""

EXACT_ENERGY_KINDS = ("unique", "megnet2018", "stated")
"""Kinds of formation energies by which a model is judged: those that a source states for the structure itself."""

PREDICTED = tuple(target.name for target in (FORMATION_ENERGY, BAND_GAP, CRYSTAL_SYSTEM, SPACE_GROUP))
"""Default targets, those that a prediction shows."""


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
