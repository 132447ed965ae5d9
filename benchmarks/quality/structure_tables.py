"""Do the tables of asymmetric units hold the same materials as the tables that they were made from?

    python benchmarks/quality/structure_tables.py --before materials_project_0.1.0.parquet   # writes the page
    python benchmarks/quality/structure_tables.py --quick     # 133 rows that come with the tests, writes nothing

Every `--step`th row of the table of version 0.1.0 is compared with the same row of the shipped one: reduced formula,
space group by spglib, and the calculated pattern broadened by σ = 0.05°. The shipped reference table is measured for
size, time and memory.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # the repository

import json
import os
import subprocess
import time
from collections.abc import Iterator
from itertools import islice

import numpy as np

from benchmarks.harness import REPOSITORY, TABLE, Figure, argument_parser, figures_to_table, finish
from xxact_core.dataset.store import file_digest
from xxact_core.errors import StructureError
from xxact_core.peak_profiles.reference import broaden_sticks
from xxact_core.quantities import space_group_to_crystal_system
from xxact_core.search_match.opening import open_references
from xxact_core.search_match.reference_table import ReferenceTable
from xxact_core.shipped import REFERENCE_TABLE, shipped_path
from xxact_core.simulation.diffraction import arrays_to_sticks
from xxact_core.simulation.symmetry import find_symmetry
from xxact_core.structures.structure import Structure
from xxact_core.structures.tables import read_table

SAMPLE = REPOSITORY / "tests" / "fixtures" / "structures_of_0_1_0.parquet"
ALIKE = 0.999
"""Cosine similarity of broadened patterns above which they count as the same."""

FIGURES = {
    "rows": Figure("rows compared"),
    "other_formula": Figure("rows with another reduced formula", at_most=0),
    "other_space_group": Figure("rows with another space group [%]", "{:.3f} %", 100, at_most=0.001),
    "other_crystal_system": Figure("rows with another crystal system [%]", "{:.3f} %", 100, at_most=0.001),
    "other_pattern": Figure(f"rows whose patterns are less alike than {ALIKE} [%]", "{:.3f} %", 100, at_most=0.001),
    "similarity_median": Figure("similarity of the patterns, median", "{:.6f}"),
    "megabytes_labelled": Figure("size of the table with labels [MB]", "{:.1f} MB", at_most=10),
    "megabytes_reference": Figure("size of the reference table [MB]", "{:.1f} MB", at_most=20),
    "phases": Figure("phases of the reference table"),
    "read_seconds": Figure("reading the reference table, CPU time [s]", "{:.2f} s", at_most=1),
    "lines_seconds": Figure("strongest reflections of all phases as arrays, CPU time [s]", "{:.2f} s"),
    "read_megabytes": Figure("memory for both [MB]", "{:.0f} MB", at_most=200),
    "expand_ms": Figure("expanding one structure, CPU time [ms]", "{:.2f} ms"),
    "simulate_ms": Figure("calculating the reflections of one phase, CPU time [ms]", "{:.2f} ms"),
}

_READ = """
import json, time, resource
import pyarrow.parquet
from xxact_core.search_match.opening import open_references
def rss(): return int(open("/proc/self/statm").read().split()[1]) * 4096 / 1e6
before, start = rss(), time.process_time()
table = open_references()
read = time.process_time()
table.lines, table.element_bits
print(json.dumps({"read_seconds": read - start, "lines_seconds": time.process_time() - read,
                  "read_megabytes": rss() - before}))
"""


def compared_rows(before: Path, *, step: int) -> Iterator[tuple[Structure, Structure]]:
    """Structures of the former table, each with that of the shipped table."""
    if before == SAMPLE:
        from pyarrow import parquet

        rows = parquet.read_table(before, columns=["row"])["row"].to_pylist()
        shipped = (next(read_table(TABLE, start=row, stop=row + 1)) for row in rows)
        pairs = zip(read_table(before), shipped, strict=True)
    else:
        pairs = zip(*(islice(read_table(path), 0, None, step) for path in (before, TABLE)), strict=True)
    for first, second in pairs:
        if isinstance(first, Structure) and isinstance(second, Structure):
            yield first, second


def compare(before: Structure, after: Structure) -> tuple[bool, bool, bool, float]:
    """Whether formula, space group and crystal system are the same, and the similarity of the patterns."""
    groups: list[int] = []
    profiles: list[np.ndarray] = []
    for one in (before, after):
        try:
            groups.append(find_symmetry(one).space_group)
        except StructureError:
            groups.append(1)
        sticks = arrays_to_sticks(cell=one.cell, atomic_numbers=one.atomic_numbers, frac_coords=one.frac_coords)
        profiles.append(broaden_sticks(sticks, sigma=0.05).intensity)
    systems = [space_group_to_crystal_system(group) for group in groups]
    likeness = float(profiles[0] @ profiles[1] / np.linalg.norm(profiles[0]) / np.linalg.norm(profiles[1]))
    same_formula = before.reduced_formula == after.reduced_formula
    return same_formula, groups[0] == groups[1], systems[0] == systems[1], likeness


def measure_reference_table() -> dict[str, float]:
    """Size, time and memory of the shipped reference table."""
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": "1"}
    run = subprocess.run(
        [sys.executable, "-c", _READ], capture_output=True, text=True, check=True, env=environment, cwd=REPOSITORY
    )
    measured: dict[str, float] = json.loads(run.stdout)
    references = open_references()
    assert isinstance(references, ReferenceTable)
    rows = np.random.default_rng(0).choice(len(references), 300, replace=False).tolist()
    for name, work in (("expand_ms", references.structure), ("simulate_ms", references.sticks)):
        start = time.process_time()
        for row in rows:
            work(row)
        measured[name] = (time.process_time() - start) / len(rows) * 1000
    path = shipped_path(REFERENCE_TABLE)
    return {**measured, "phases": len(references), "megabytes_reference": path.stat().st_size / 1e6}


def main() -> None:
    """Compare the tables, print, and write the page unless --quick is given."""
    parser = argument_parser(__doc__)
    parser.add_argument("--before", type=Path, default=SAMPLE, help="structure table of version 0.1.0")
    parser.add_argument("--step", type=int, default=10, help="compare every how many rows")
    arguments = parser.parse_args()
    os.environ["SPGLIB_WARNING"] = "OFF"
    pairs = compared_rows(SAMPLE if arguments.quick else arguments.before, step=arguments.step)
    results = np.array([compare(*pair) for pair in pairs])
    alike = results[:, 3]
    values = {
        "rows": len(results),
        "other_formula": int((results[:, 0] == 0).sum()),
        "other_space_group": float((results[:, 1] == 0).mean()),
        "other_crystal_system": float((results[:, 2] == 0).mean()),
        "other_pattern": float((alike < ALIKE).mean()),
        "similarity_median": float(np.median(alike)),
        "megabytes_labelled": TABLE.stat().st_size / 1e6,
        **measure_reference_table(),
    }
    finish(
        __file__,
        figures_to_table(values, FIGURES),
        values,
        quick=arguments.quick,
        title="Tables of asymmetric units",
        introduction="The shipped table with labels stores its structures as asymmetric units, quantised. Rows of "
        "it are compared with those of version 0.1.0: formula, space group by spglib, and calculated patterns "
        "broadened by σ = 0.05°. A few structures are so near the tolerance of spglib that the last digit of the cell "
        "decides on their space group.",
        data_digest=file_digest(TABLE),
    )


if __name__ == "__main__":
    main()
