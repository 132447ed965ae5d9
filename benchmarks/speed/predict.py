"""How long a user waits: import, loading, one prediction; each beside a plain alternative in the same run.

    python benchmarks/speed/predict.py [--quick]

The prediction (file → answer) is timed beside gridding alone and beside one pattern simulated by pymatgen, which is
what every comparison with a known structure costs. One core. The last line printed is a JSON object.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch

from xxact_core.evaluation.provenance import file_to_line

REPOSITORY = Path(__file__).resolve().parents[2]
RESULTS = REPOSITORY / "docs" / "results" / "predict.md"
EXAMPLE = REPOSITORY / "xxact_core" / "data" / "examples" / "corundum.prn"


def median_seconds(work: Callable[[], object], *, repeats: int) -> float:
    """Median time of a call after one unmeasured one."""
    work()
    times = []
    for _ in range(repeats):
        began = time.perf_counter()
        work()
        times.append(time.perf_counter() - began)
    return statistics.median(times)


def import_seconds(statement: str, *, repeats: int) -> float:
    """Median time of a fresh interpreter that runs one statement, less that of an empty one."""

    def fresh(code: str) -> float:
        return median_seconds(
            lambda: subprocess.run([sys.executable, "-c", code], check=True, capture_output=True), repeats=repeats
        )

    return fresh(statement) - fresh("pass")


def measure(*, repeats: int) -> dict[str, float]:
    """Every time in seconds."""
    from pymatgen.analysis.diffraction.xrd import XRDCalculator
    from pymatgen.core import Lattice, Structure

    from xxact_core.prediction.predictor import Predictor
    from xxact_core.processing.gridding import put_on_grid
    from xxact_core.readers.read import read_pattern

    torch.set_num_threads(1)
    predictor = Predictor.load()
    pattern = read_pattern(EXAMPLE, wavelength="CuKa")
    gridded = put_on_grid(pattern)
    corundum = Structure.from_spacegroup(
        167, Lattice.hexagonal(4.7593, 12.9918), ["Al", "O"], [[0, 0, 0.3522], [0.3063, 0, 0.25]]
    )
    return {
        "import_predict_seconds": import_seconds("import xxact_core.prediction.predictor", repeats=3),
        "import_torch_seconds": import_seconds("import torch", repeats=3),
        "load_seconds": median_seconds(Predictor.load, repeats=repeats),
        "read_seconds": median_seconds(lambda: read_pattern(EXAMPLE, wavelength="CuKa"), repeats=repeats),
        "predict_measured_seconds": median_seconds(lambda: predictor.predict(pattern, "Al2O3"), repeats=repeats),
        "predict_gridded_seconds": median_seconds(lambda: predictor.predict(gridded, "Al2O3"), repeats=repeats),
        "grid_seconds": median_seconds(lambda: put_on_grid(pattern), repeats=repeats),
        "pymatgen_one_pattern_seconds": median_seconds(lambda: XRDCalculator().get_pattern(corundum), repeats=repeats),
    }


def main() -> None:
    """Measure, print, and write the table unless in a hurry."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    arguments = parser.parse_args()
    figures = measure(repeats=5 if arguments.quick else 30)
    figures["import_ratio_to_torch"] = figures["import_predict_seconds"] / figures["import_torch_seconds"]
    figures["predict_ratio_to_pymatgen_pattern"] = (
        figures["predict_measured_seconds"] / figures["pymatgen_one_pattern_seconds"]
    )
    table = "| what | |\n|---|---|\n"
    for name, value in figures.items():
        shown = f"{value:.2f}" if "ratio" in name else f"{1000 * value:.1f} ms"
        table += f"| {name.removesuffix('_seconds').replace('_', ' ')} | {shown} |\n"
    print(table)
    if not arguments.quick:
        RESULTS.parent.mkdir(parents=True, exist_ok=True)
        head = "# What a prediction costs\n\nOne core, corundum, medians. Made by `benchmarks/speed/predict.py`.\n\n"
        RESULTS.write_text(head + file_to_line(EXAMPLE) + "\n\n" + table, encoding="utf-8")
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
