"""A simulated heating series whose truth is known: calcite expands and decomposes to lime.

Reflections come from pymatgen, so that the truth does not depend on the code that is measured. The two cells expand as
measured ones do; the phases have weight fractions of which the intensities follow by Hill & Howard (1987); counts have
a Kα doublet, a sloping background and Poisson noise.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from pymatgen.analysis.diffraction.xrd import XRDCalculator
from pymatgen.core import Lattice, Structure

from xxact_core.patterns.pattern import Pattern

KALPHA_1, KALPHA_2 = 1.5405929, 1.5444274
"""Wavelengths of Cu Kα1 and Kα2 [Å]. Source: Hölzer et al. (1997), Phys. Rev. A 56, 4554."""

WIDTH, LORENTZIAN = 0.10, 0.5
"""Full width at half maximum [deg 2θ] and Lorentzian share of the peaks."""

COUNTS, BACKGROUND = 8000.0, 60.0
"""Counts of the strongest peak of the series, and background at its lowest angle."""

DISPLACEMENT_B = 0.6
"""Isotropic displacement parameter [Å²] of all atoms."""


@dataclass(frozen=True, eq=False)
class SimulatedFrame:
    """A pattern of the series and its truth."""

    temperature: float
    """[°C]."""
    pattern: Pattern
    calcite: float
    """Weight fraction (0-1); the rest is lime."""
    cells: dict[str, tuple[float, float]]
    """Formula → a and c [Å]."""


def calcite_at(temperature: float) -> Structure:
    """Calcite in its hexagonal cell. Source: Markgraf & Reeder (1985), Am. Mineral. 70, 590, cell and expansion."""
    warmer = temperature - 25
    lattice = Lattice.hexagonal(4.988 * (1 - 2.8e-6 * warmer), 17.061 * (1 + 32.3e-6 * warmer))
    sites = [[0, 0, 0], [0, 0, 0.25], [0.2568, 0, 0.25]]
    return Structure.from_spacegroup("R-3c", lattice, ["Ca", "C", "O"], sites)


def lime_at(temperature: float) -> Structure:
    """Lime. Source: Fiquet et al. (1999), Phys. Chem. Miner. 27, 103, cell and expansion."""
    lattice = Lattice.cubic(4.8105 * (1 + 12.9e-6 * (temperature - 25)))
    return Structure.from_spacegroup("Fm-3m", lattice, ["Ca", "O"], [[0, 0, 0], [0.5, 0.5, 0.5]])


def simulate_heating(
    temperatures: Sequence[float],
    *,
    decomposition: tuple[float, float] = (620.0, 840.0),
    two_theta: tuple[float, float, float] = (18.0, 80.0, 0.02),
    seed: int = 0,
) -> list[SimulatedFrame]:
    """Patterns of calcite that decomposes to lime between two temperatures [°C].

    `two_theta` has start, stop and step [deg].
    """
    generator = np.random.default_rng(seed)
    start, stop, step = two_theta
    angles = start + step * np.arange(round((stop - start) / step) + 1)
    frames, scale = [], 0.0
    for temperature in temperatures:
        reacted = float(np.clip((temperature - decomposition[0]) / (decomposition[1] - decomposition[0]), 0, 1))
        moles = {"CaCO3": 1 - reacted, "CaO": reacted}
        masses = {"CaCO3": moles["CaCO3"] * 100.087, "CaO": moles["CaO"] * 56.077}
        calcite = masses["CaCO3"] / sum(masses.values())
        structures = {"CaCO3": calcite_at(temperature), "CaO": lime_at(temperature)}
        weights = {"CaCO3": calcite, "CaO": 1 - calcite}
        intensity = sum(
            _peaks(structure, angles) * weights[formula] / (structure.composition.weight * structure.volume)
            for formula, structure in structures.items()
            if weights[formula] > 0
        )
        scale = scale or COUNTS / float(np.max(intensity))
        expected = scale * np.asarray(intensity) + BACKGROUND * (1 + np.exp(-(angles - start) / 20))
        counts = generator.poisson(expected).astype(np.float64)
        frames.append(
            SimulatedFrame(
                temperature=temperature,
                pattern=Pattern(angles, counts, wavelength=KALPHA_1, name=f"heating_{temperature:g}C"),
                calcite=calcite,
                cells={formula: (one.lattice.a, one.lattice.c) for formula, one in structures.items()},
            )
        )
    return frames


def _peaks(structure: Structure, angles: np.ndarray) -> np.ndarray:
    """Doublet peaks of the reflections of one cell, shape (points,); areas in units of m |F|² LP."""
    hkl, factors = _structure_factors(structure.composition.reduced_formula)
    spacings = 1 / np.linalg.norm(hkl @ structure.lattice.reciprocal_lattice_crystallographic.matrix, axis=1)
    total = np.zeros_like(angles)
    for share, wavelength in ((2 / 3, KALPHA_1), (1 / 3, KALPHA_2)):
        theta = np.arcsin(np.clip(wavelength / (2 * spacings), 0, 1))
        areas = share * factors * _lorentz_polarisation(theta)
        for centre, area in zip(2 * np.degrees(theta), areas, strict=True):
            near = np.abs(angles - centre) < 30 * WIDTH
            offset = (angles[near] - centre) / WIDTH
            gaussian = np.sqrt(4 * np.log(2) / np.pi) / WIDTH * np.exp(-4 * np.log(2) * offset**2)
            lorentzian = 2 / (np.pi * WIDTH) / (1 + 4 * offset**2)
            total[near] += area * (LORENTZIAN * lorentzian + (1 - LORENTZIAN) * gaussian)
    return total


@cache
def _structure_factors(formula: str) -> tuple[np.ndarray, np.ndarray]:
    """Miller indices, shape (reflections, 3), and m |F|² of the cell at 25 °C."""
    structure = {"CaCO3": calcite_at, "CaO": lime_at}[formula](25)
    displacements = {str(element): DISPLACEMENT_B for element in structure.composition.elements}
    calculator = XRDCalculator(wavelength=KALPHA_1, debye_waller_factors=displacements)
    sticks = calculator.get_pattern(structure, scaled=False, two_theta_range=(5, 100))
    indices = [[family[0]["hkl"][place] for place in (0, 1, -1)] for family in sticks.hkls]  # of h k i l, too
    return np.array(indices), np.asarray(sticks.y) / _lorentz_polarisation(np.radians(np.asarray(sticks.x) / 2))


def _lorentz_polarisation(theta: np.ndarray) -> np.ndarray:
    factor: np.ndarray = (1 + np.cos(2 * theta) ** 2) / (np.sin(theta) ** 2 * np.cos(theta))
    return factor


def write_xy(pattern: Pattern, path: Path) -> None:
    """Write a pattern as a table of angles and counts."""
    np.savetxt(path, np.column_stack([pattern.two_theta, pattern.intensity]), fmt=["%.4f", "%.0f"])
