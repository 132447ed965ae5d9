"""Crystal systems of measured patterns: the shipped model beside trees on the peaks that can be seen.

    python benchmarks/measured.py [--labels LABELS] [--dataset DATASET] [--quick]

LABELS is a table of measured files like data/examples/examples.csv (the default): its columns file (or path), formula,
crystal_system and wavelength are read; rows without a formula or a crystal system are left out, and so are rows whose
column benchmark_single_phase, where there is one, is not "yes". The trees learn from DATASET, made from the shipped
table on the first call (--quick: from its first 600 materials). The last line printed is a JSON object.
"""

from __future__ import annotations

import argparse
import csv
import json
import tempfile
from pathlib import Path

import numpy as np
import torch
from scipy.signal import find_peaks
from shipped_checkpoint import read_or_build
from sklearn.ensemble import ExtraTreesClassifier

from xxact_core.dataset.table import StickTable
from xxact_core.errors import InputError
from xxact_core.evaluation.baselines import LINES, TREES, first_lines
from xxact_core.evaluation.provenance import provenance, provenance_to_line
from xxact_core.patterns.conversions import CU_K_ALPHA, parse_wavelength
from xxact_core.patterns.gridding import put_on_grid
from xxact_core.patterns.pattern import GriddedPattern
from xxact_core.patterns.readers import read_pattern
from xxact_core.predict import Predictor
from xxact_core.quantities import CRYSTAL_SYSTEMS

REPOSITORY = Path(__file__).resolve().parents[1]
RESULTS = REPOSITORY / "docs" / "results" / "measured.md"
EXAMPLES = REPOSITORY / "data" / "examples" / "examples.csv"
VISIBLE = 1.0
"""Lines weaker than this [% of the strongest] do not count, in training as in the measured pattern."""


def read_labels(path: Path) -> list[dict[str, str]]:
    """Rows with a formula and a crystal system."""
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    known = [row for row in rows if row["formula"] and row["crystal_system"] in CRYSTAL_SYSTEMS]
    return [row for row in known if row.get("benchmark_single_phase", "yes") == "yes"]


def grid_files(rows: list[dict[str, str]], folder: Path) -> list[GriddedPattern | None]:
    """Each file on the grid, or None where it cannot be used; where no wavelength is known, the labels say Cu."""
    gridded: list[GriddedPattern | None] = []
    for row in rows:
        try:
            pattern = read_pattern(folder / (row.get("file") or row["path"]))
            stated = row["wavelength"] if "file" in row and row["wavelength"] else None
            wavelength = parse_wavelength(stated) if stated else pattern.wavelength or CU_K_ALPHA
            gridded.append(put_on_grid(pattern, wavelength=wavelength))
        except InputError as error:
            print(f"left out: {error}")
            gridded.append(None)
    return gridded


def trees_on_visible_lines(table: StickTable) -> ExtraTreesClassifier:
    """The trees of `tree_baseline`, trained on every material."""
    features = np.stack([first_lines(table, row, weakest=VISIBLE) for row in range(len(table))])
    trees = ExtraTreesClassifier(n_estimators=TREES, n_jobs=1, random_state=0)
    return trees.fit(features, table.targets["crystal_system"].astype(int))


def seen_lines(pattern: GriddedPattern) -> np.ndarray:
    """The same features of a measured pattern: sin θ of the first maxima above `VISIBLE`, and their number."""
    maxima, _ = find_peaks(pattern.intensity, height=VISIBLE, prominence=VISIBLE)
    features = np.zeros(LINES + 1, dtype=np.float32)
    first = np.sin(np.radians(pattern.grid.two_theta[maxima[:LINES]] / 2))
    features[: len(first)] = first
    features[LINES] = len(maxima)
    return features


def compare(rows: list[dict[str, str]], gridded: list[GriddedPattern | None], table: StickTable) -> dict[str, float]:
    """Shares of right crystal systems, first and among the first two, of the model and of the trees."""
    predictor, trees = Predictor.load(), trees_on_visible_lines(table)
    ranks: dict[str, list[int]] = {"model": [], "trees": []}
    for row, pattern in zip(rows, gridded, strict=True):
        if pattern is None:
            continue
        ranked = [entry.label for entry in predictor.predict(pattern, row["formula"]).crystal_system]
        by_trees = [
            CRYSTAL_SYSTEMS[label]
            for label in trees.classes_[np.argsort(-trees.predict_proba([seen_lines(pattern)])[0])]
        ]
        ranks["model"].append(ranked.index(row["crystal_system"]))
        ranks["trees"].append(by_trees.index(row["crystal_system"]) if row["crystal_system"] in by_trees else 99)
        print(f"{row['formula']:16} {row['crystal_system']:13} model: {ranked[0]:13} trees: {by_trees[0]}")
    figures: dict[str, float] = {"patterns": len(ranks["model"])}
    for name, places in ranks.items():
        figures[f"{name}_top_1"] = float(np.mean([place < 1 for place in places]))
        figures[f"{name}_top_2"] = float(np.mean([place < 2 for place in places]))
    return figures


def main() -> None:
    """Compare, print, and write the table unless in a hurry."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--labels", type=Path, default=EXAMPLES)
    parser.add_argument("--dataset", type=Path, default=REPOSITORY / "build" / "materials_project")
    parser.add_argument("--quick", action="store_true")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as scratch:
        table = read_or_build(Path(scratch) / "set" if arguments.quick else arguments.dataset, quick=arguments.quick)
    rows = read_labels(arguments.labels)
    figures = compare(rows, grid_files(rows, arguments.labels.parent), table)
    lines = ["| crystal system | right first | among the first two |", "|---|---|---|"]
    for name, label in (("model", "the shipped model, formula given"), ("trees", "ExtraTrees on the visible lines")):
        lines.append(f"| {label} | {figures[f'{name}_top_1']:.0%} | {figures[f'{name}_top_2']:.0%} |")
    print("\n".join(lines))
    if not arguments.quick:
        RESULTS.parent.mkdir(parents=True, exist_ok=True)
        head = f"# Measured patterns\n\n{figures['patterns']} measured single phases of `{arguments.labels.name}`, "
        head += "default preparation. Made by `benchmarks/measured.py`.\n\n"
        head += provenance_to_line(provenance(table_digest=table.digest, seeds=[0])) + "\n\n"
        RESULTS.write_text(head + "\n".join(lines) + "\n", encoding="utf-8")
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
