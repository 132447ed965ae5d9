"""How fast are sticks simulated from structures, compared with pymatgen, xrd-rust and gemmi, and do they agree?

    python benchmarks/speed/simulation.py            # writes docs/results/simulation.md
    python benchmarks/speed/simulation.py --quick    # 110 structures, writes nothing

Random structures of the shipped table, and disordered variants of every tenth. One core; the tools take turns.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # the repository

import time
from collections.abc import Callable

import gemmi
import numpy as np
from pymatgen.analysis.diffraction.xrd import XRDCalculator
from pymatgen.core import Lattice
from pymatgen.core import Structure as PymatgenStructure
from xrd_rust_calculator import XRDCalculatorRust

from benchmarks.harness import TABLE, Figure, argument_parser, figures_to_table, finish
from benchmarks.speed.broadening import FIGURES as BROADENING_FIGURES
from benchmarks.speed.broadening import measure_broadening
from xxact_core.compositions.element_table import SYMBOLS
from xxact_core.dataset.store import file_digest
from xxact_core.patterns.conversions import CU_K_ALPHA
from xxact_core.patterns.pattern import Sticks
from xxact_core.peak_profiles.reference import broaden_sticks
from xxact_core.simulation.diffraction import MERGE_TOLERANCE, WEAKEST_REFLECTION, arrays_to_sticks
from xxact_core.simulation.symmetry import find_symmetry
from xxact_core.structures.structure import Structure
from xxact_core.structures.tables import read_table, table_rows

RANGE = (5.0, 90.0)
BLOCK = 50
"""Structures that each tool simulates before the next one takes its turn."""


def draw_structures(count: int) -> list[Structure]:
    """Random structures of the shipped table (seed 0), in blocks, so that the table is read once."""
    starts = np.sort(np.random.default_rng(0).choice(table_rows(TABLE) // 10, count // 10, replace=False)) * 10
    drawn = [item for start in starts for item in read_table(TABLE, start=int(start), stop=int(start) + 10)]
    return [item for item in drawn if isinstance(item, Structure)]


def make_disordered(structure: Structure, *, seed: int) -> Structure:
    """The structure with one of its elements partly replaced by another and by vacancies."""
    generator = np.random.default_rng(seed)
    present = np.unique(structure.atomic_numbers)
    mixed = structure.atomic_numbers == generator.choice(present)
    stranger = int(generator.choice(np.setdiff1d(np.arange(3, 93), present)))
    share = float(generator.uniform(0.2, 0.8))
    return Structure(
        structure.id,
        structure.cell,
        np.concatenate([structure.atomic_numbers, np.full(mixed.sum(), stranger)]),
        np.concatenate([structure.frac_coords, structure.frac_coords[mixed]]),
        np.concatenate([np.where(mixed, share, 1.0), np.full(mixed.sum(), 0.9 * (1 - share))]),
    )


def to_pymatgen(structure: Structure) -> PymatgenStructure:
    """The structure as a pymatgen object, partly occupied sites as mixed species."""
    sites: dict[tuple[float, ...], dict[str, float]] = {}
    for coords, number, occupancy in zip(
        structure.frac_coords, structure.atomic_numbers, structure.occupancies, strict=True
    ):
        sites.setdefault(tuple(coords), {})[SYMBOLS[number - 1]] = float(occupancy)
    return PymatgenStructure(Lattice.from_parameters(*structure.cell), list(sites.values()), list(sites))


def ours(structure: Structure) -> tuple[np.ndarray, np.ndarray]:
    """Sticks by this package."""
    sticks = arrays_to_sticks(
        cell=structure.cell,
        atomic_numbers=structure.atomic_numbers,
        frac_coords=structure.frac_coords,
        occupancies=None if (structure.occupancies == 1).all() else structure.occupancies,
        two_theta_range=RANGE,
    )
    return sticks.two_theta, sticks.intensity


def gemmi_sticks(structure: gemmi.SmallStructure) -> tuple[np.ndarray, np.ndarray]:
    """Sticks by gemmi: its structure factors, then the same intensity formula and merging of reflections."""
    longest, shortest = (CU_K_ALPHA / (2 * np.sin(np.radians(angle / 2))) for angle in RANGE)
    calculator = gemmi.StructureFactorCalculatorX(structure.cell)
    hkl = gemmi.make_miller_array(structure.cell, structure.spacegroup, shortest, longest, unique=True)
    power = np.array([abs(calculator.calculate_sf_from_small_structure(structure, index)) ** 2 for index in hkl])
    sine = CU_K_ALPHA / 2 * np.sqrt(structure.cell.calculate_1_d2_array(hkl))
    theta = np.arcsin(np.minimum(sine, 1))
    intensity = power * (1 + np.cos(2 * theta) ** 2) / (sine**2 * np.cos(theta))
    two_theta = np.degrees(2 * theta)
    order = np.argsort(two_theta)
    two_theta, intensity = two_theta[order], intensity[order]
    first = np.flatnonzero(np.diff(np.round(two_theta / MERGE_TOLERANCE), prepend=-1))
    summed = np.add.reduceat(intensity, first)
    kept = summed > WEAKEST_REFLECTION / 100 * summed.max()
    return two_theta[first][kept], 100 * summed[kept] / summed.max()


def to_gemmi(structure: Structure) -> gemmi.SmallStructure:
    """The structure as a gemmi object in P 1, with every atom of the cell."""
    small = gemmi.SmallStructure()
    small.cell = gemmi.UnitCell(*structure.cell)
    small.spacegroup = gemmi.SpaceGroup("P 1")
    for coords, number, occupancy in zip(
        structure.frac_coords, structure.atomic_numbers, structure.occupancies, strict=True
    ):
        site = gemmi.SmallStructure.Site()
        site.fract = gemmi.Fractional(*coords)
        site.element = gemmi.Element(int(number))
        site.occ = float(occupancy)
        small.add_site(site)
    small.setup_cell_images()
    return small


def _simulate_block(
    block: list[Structure], tools: dict[str, tuple[Callable, Callable]], seconds: dict[str, list[float]]
) -> list[tuple[Structure, dict[str, object]]]:
    """Sticks of each structure of a block by each tool; the tools take turns block by block."""
    answers: list[dict[str, object]] = [{} for _ in block]
    for name, (convert, simulate) in tools.items():
        crystals = [convert(structure) for structure in block]
        for crystal, answer in zip(crystals, answers, strict=True):
            began = time.perf_counter()
            answer[name] = simulate(crystal)
            seconds[name].append(time.perf_counter() - began)
    return list(zip(block, answers, strict=True))


def compare(structures: list[Structure]) -> dict[str, float]:
    """Times, their ratios, and the deviations of our sticks and gridded patterns from pymatgen's."""
    reference, rust = XRDCalculator("CuKa"), XRDCalculatorRust("CuKa")
    tools: dict[str, tuple[Callable, Callable]] = {
        "xxact": (lambda structure: structure, ours),
        "pymatgen": (to_pymatgen, lambda crystal: reference.get_pattern(crystal, two_theta_range=RANGE)),
        "xrd_rust": (to_pymatgen, lambda crystal: rust.get_pattern(crystal, two_theta_range=RANGE)),
        "gemmi": (to_gemmi, gemmi_sticks),
    }
    seconds: dict[str, list[float]] = {name: [] for name in tools}
    angle, intensity, gridded, unequal, systems, elements = 0.0, 0.0, 0.0, 0, set(), set()
    blocks = [structures[first : first + BLOCK] for first in range(0, len(structures), BLOCK)]
    for structure, answers in (pair for block in blocks for pair in _simulate_block(block, tools, seconds)):
        theirs = answers["pymatgen"].x, answers["pymatgen"].y
        mine = answers["xxact"]
        patterns = [broaden_sticks(Sticks(*sticks, wavelength=CU_K_ALPHA)).intensity for sticks in (mine, theirs)]
        gridded = max(gridded, float(np.abs(patterns[0] - patterns[1]).max()))
        if len(mine[0]) == len(theirs[0]):
            angle = max(angle, float(np.abs(mine[0] - theirs[0]).max()))
            intensity = max(intensity, float(np.abs(mine[1] - theirs[1]).max()))
        else:
            unequal += 1
        systems.add(find_symmetry(structure).crystal_system)
        elements.update(structure.atomic_numbers.tolist())
    times = {name: np.array(values) for name, values in seconds.items()}
    return {
        "structures": len(structures),
        "disordered_structures": sum(bool((structure.occupancies < 1).any()) for structure in structures),
        "crystal_systems": len(systems),
        "elements": len(elements),
        "xxact_milliseconds_mean": 1e3 * float(times["xxact"].mean()),
        "speedup_sum": float(times["pymatgen"].sum() / times["xxact"].sum()),
        "speedup_median": float(np.median(times["pymatgen"] / times["xxact"])),
        "xrd_rust_speedup": float(times["pymatgen"].sum() / times["xrd_rust"].sum()),
        "gemmi_speedup": float(times["pymatgen"].sum() / times["gemmi"].sum()),
        "max_deviation": gridded,
        "structures_of_other_stick_count": unequal,
        "largest_angle_difference_degree": angle,
        "largest_intensity_difference": intensity,
    }


FIGURES = {
    "structures": Figure("structures"),
    "disordered_structures": Figure("of these, disordered"),
    "crystal_systems": Figure("crystal systems among them"),
    "elements": Figure("elements among them"),
    "xxact_milliseconds_mean": Figure("time per structure, mean", "{:.2f} ms"),
    "speedup_sum": Figure("speed-up over pymatgen, all structures together"),
    "speedup_median": Figure("speed-up over pymatgen, median of structures"),
    "xrd_rust_speedup": Figure("speed-up of xrd-rust over pymatgen"),
    "gemmi_speedup": Figure("speed-up of gemmi over pymatgen"),
    "max_deviation": Figure("largest deviation of a gridded pattern from pymatgen's, 0-100 scale"),
    "structures_of_other_stick_count": Figure("structures with a different number of sticks"),
    "largest_angle_difference_degree": Figure("largest difference of an angle [deg]"),
    "largest_intensity_difference": Figure("largest difference of a stick's intensity, 0-100 scale"),
}


def main() -> None:
    """Measure, print, and write the page unless --quick is given."""
    arguments = argument_parser(__doc__).parse_args()
    structures = draw_structures(100 if arguments.quick else 2000)
    structures += [make_disordered(structure, seed=seed) for seed, structure in enumerate(structures[::10])]
    figures = compare(structures) | measure_broadening(quick=arguments.quick)
    finish(
        __file__,
        figures_to_table(figures, FIGURES | BROADENING_FIGURES),
        figures,
        quick=arguments.quick,
        title="Simulating sticks and patterns",
        introduction=f"One core; the tools take turns, {BLOCK} structures at a time. Speed-ups are ratios of times in "
        "the same run; converting structures to objects of pymatgen and gemmi is not counted.",
        data_digest=file_digest(TABLE),
    )


if __name__ == "__main__":
    main()
