"""How long does a prediction take: importing, loading the model, and predicting from a file?

    python benchmarks/speed/predict.py            # writes docs/results/predict.md
    python benchmarks/speed/predict.py --quick    # a few repeats, writes nothing

A prediction is compared with gridding alone and with one pattern simulated by pymatgen, which is what every comparison
with a known structure costs. One core, medians.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # the repository

import subprocess

import torch

from benchmarks.harness import EXAMPLES, Figure, argument_parser, figures_to_table, finish, median_seconds
from xxact_core.dataset.store import file_digest

EXAMPLE = EXAMPLES / "corundum.prn"
FIGURES = {
    "import_predict_seconds": Figure("`import xxact_core.prediction.predictor`", "{:.1f} ms", factor=1000),
    "import_torch_seconds": Figure("`import torch`", "{:.1f} ms", factor=1000),
    "import_ratio_to_torch": Figure("ratio of these two", "{:.2f}"),
    "load_seconds": Figure("loading the model", "{:.1f} ms", factor=1000),
    "read_seconds": Figure("reading the file", "{:.1f} ms", factor=1000),
    "predict_measured_seconds": Figure("predicting from the measured pattern", "{:.1f} ms", factor=1000),
    "predict_gridded_seconds": Figure("predicting from the gridded pattern", "{:.1f} ms", factor=1000),
    "grid_seconds": Figure("gridding", "{:.1f} ms", factor=1000),
    "pymatgen_one_pattern_seconds": Figure("simulating one pattern by pymatgen", "{:.1f} ms", factor=1000),
    "predict_ratio_to_pymatgen_pattern": Figure("predicting from the measured pattern over that", "{:.2f}"),
}


def import_seconds(statement: str, *, repeats: int) -> float:
    """Median time of a fresh interpreter that runs one statement, less that of an empty one [s]."""

    def fresh(code: str) -> float:
        return median_seconds(
            lambda: subprocess.run([sys.executable, "-c", code], check=True, capture_output=True), repeats=repeats
        )

    return fresh(statement) - fresh("pass")


def measure(*, repeats: int) -> dict[str, float]:
    """All times [s] and their ratios."""
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
    timed = {
        "load_seconds": Predictor.load,
        "read_seconds": lambda: read_pattern(EXAMPLE, wavelength="CuKa"),
        "predict_measured_seconds": lambda: predictor.predict(pattern, "Al2O3"),
        "predict_gridded_seconds": lambda: predictor.predict(gridded, "Al2O3"),
        "grid_seconds": lambda: put_on_grid(pattern),
        "pymatgen_one_pattern_seconds": lambda: XRDCalculator().get_pattern(corundum),
    }
    imports = 1 if repeats < 10 else 3
    figures = {
        "import_predict_seconds": import_seconds("import xxact_core.prediction.predictor", repeats=imports),
        "import_torch_seconds": import_seconds("import torch", repeats=imports),
        **{name: median_seconds(work, repeats=repeats) for name, work in timed.items()},
    }
    figures["import_ratio_to_torch"] = figures["import_predict_seconds"] / figures["import_torch_seconds"]
    figures["predict_ratio_to_pymatgen_pattern"] = (
        figures["predict_measured_seconds"] / figures["pymatgen_one_pattern_seconds"]
    )
    return figures


def main() -> None:
    """Measure, print, and write the page unless --quick is given."""
    arguments = argument_parser(__doc__).parse_args()
    figures = measure(repeats=5 if arguments.quick else 30)
    finish(
        __file__,
        figures_to_table(figures, FIGURES),
        figures,
        quick=arguments.quick,
        title="Time of a prediction",
        introduction="One core, the example corundum, medians.",
        data_digest=file_digest(EXAMPLE),
    )


if __name__ == "__main__":
    main()
