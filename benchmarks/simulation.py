"""Sticks from structures: ours beside pymatgen's `XRDCalculator`, same structures, same run, one core.

    python benchmarks/simulation.py [--quick]

Structures are drawn from the shipped table. The last line printed is a JSON object.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import numpy as np
from pymatgen.analysis.diffraction.xrd import XRDCalculator
from pymatgen.core import Lattice
from pymatgen.core import Structure as PymatgenStructure

from xxact_core.compositions.element_table import SYMBOLS
from xxact_core.simulation.diffraction import arrays_to_sticks
from xxact_core.simulation.structures import Structure, read_table, table_rows

REPOSITORY = Path(__file__).resolve().parents[1]
TABLE = REPOSITORY / "data" / "materials_project.parquet"
RESULTS = REPOSITORY / "docs" / "results" / "simulation.md"


def draw_structures(count: int) -> list[Structure]:
    """Structures of the shipped table, seeded, in blocks so that the table is read once."""
    starts = np.sort(np.random.default_rng(0).choice(table_rows(TABLE) // 10, count // 10, replace=False)) * 10
    drawn = [item for start in starts for item in read_table(TABLE, start=int(start), stop=int(start) + 10)]
    return [item for item in drawn if isinstance(item, Structure)]


def compare(structures: list[Structure]) -> dict[str, float]:
    """Times of both, their ratio, and the largest difference of any stick."""
    calculator = XRDCalculator("CuKa")
    ours, theirs, largest_angle, largest_intensity, unequal = [], [], 0.0, 0.0, 0
    for structure in structures:
        species = [SYMBOLS[number - 1] for number in structure.atomic_numbers]
        crystal = PymatgenStructure(Lattice.from_parameters(*structure.cell), species, structure.frac_coords)
        began = time.perf_counter()
        reference = calculator.get_pattern(crystal, two_theta_range=(5, 90))
        middle = time.perf_counter()
        sticks = arrays_to_sticks(
            cell=structure.cell, atomic_numbers=structure.atomic_numbers, frac_coords=structure.frac_coords
        )
        theirs.append(middle - began)
        ours.append(time.perf_counter() - middle)
        if len(sticks.two_theta) != len(reference.x):
            unequal += 1
            continue
        largest_angle = max(largest_angle, float(np.abs(sticks.two_theta - reference.x).max()))
        largest_intensity = max(largest_intensity, float(np.abs(sticks.intensity - reference.y).max()))
    return {
        "structures": len(structures),
        "pymatgen_seconds": sum(theirs),
        "xxact_seconds": sum(ours),
        "speed_ratio": sum(theirs) / sum(ours),
        "median_speed_ratio": float(np.median(np.array(theirs) / np.array(ours))),
        "structures_of_other_stick_count": unequal,
        "largest_angle_difference_degree": largest_angle,
        "largest_intensity_difference": largest_intensity,
    }


def main() -> None:
    """Measure, print, and write the table unless in a hurry."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    arguments = parser.parse_args()
    figures = compare(draw_structures(150 if arguments.quick else 2000))
    table = "| what | |\n|---|---|\n" + "".join(
        f"| {name.replace('_', ' ')} | {value:.4g} |\n" for name, value in figures.items()
    )
    print(table)
    if not arguments.quick:
        RESULTS.parent.mkdir(parents=True, exist_ok=True)
        RESULTS.write_text(
            f"# Sticks beside pymatgen's\n\nMade by `benchmarks/simulation.py`.\n\n{table}", encoding="utf-8"
        )
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
