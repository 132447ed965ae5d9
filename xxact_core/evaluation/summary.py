"""The main metrics of a model, by short names."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence

SUMMARY = {
    "formation_energy_mae_mev": ("formation_energy_per_atom_mae_mev_per_atom", "formation energy, MAE [meV/atom]", 1),
    "band_gap_mae_ev": ("band_gap_mae_ev", "band gap, MAE [eV]", 3),
    "crystal_system_accuracy": ("crystal_system_accuracy", "crystal system, accuracy", 3),
    "crystal_system_class_mean": ("crystal_system_class_mean_accuracy", "crystal system, class mean", 3),
    "space_group_accuracy": ("space_group_accuracy", "space group, accuracy", 3),
    "calibration_error": ("crystal_system_calibration_error", "crystal system, calibration error", 3),
    "coverage_90": ("coverage_90", "coverage of 90 % intervals and sets", 3),
    "formation_energy_unique_mae_mev": (
        "formation_energy_per_atom_unique_mae_mev_per_atom",
        "formation energy of single formulas, MAE [meV/atom]",
        1,
    ),
    "polymorph_pair_accuracy": ("polymorph_pair_accuracy", "polymorph pairs in the right order", 3),
    "polymorph_slope": ("polymorph_slope", "slope of energy differences", 2),
    "silhouette_crystal_system": ("silhouette_mean", "silhouette by crystal system", 2),
    "reconstruction_gain": ("reconstruction_gain", "error saved in masked windows", 2),
    "crystal_system_unseen_prototype": (
        "crystal_system_unseen_prototype_accuracy",
        "crystal system, new prototypes",
        3,
    ),
}
"""Short name → name in `measure_rows`, label with unit, digits that are shown.

calibration_error: the expected calibration error of the crystal system (0-1). coverage_90: mean over the targets of the
fraction of materials (0-1) whose label lies in the 90 % interval or prediction set. formation_energy_unique_mae_mev:
over formulas that occur once, whose labels are exact. polymorph_pair_accuracy: fraction (0-1) of pairs of one formula
whose DFT energies differ by 20 meV/atom or more and are predicted in the right order; polymorph_slope: slope of their
predicted against their true differences (1 is right). silhouette_crystal_system: of the embedding (-1 to 1).
reconstruction_gain: part by which the error in masked windows, a quarter of all, lies below that of an empty window.
crystal_system_unseen_prototype: accuracy for prototypes that are not in the training split.
"""

SHOWN_TOGETHER = 7
"""Columns of a table for a terminal; the others follow in a second one."""

BASELINES = {
    "constant": "training mean / majority class",
    "formula": "bound: median / majority class of the formula in the test split",
    "trees_visible_lines": "ExtraTrees, reflections > 1 %",
    "trees_all_sticks": "ExtraTrees, all reflections (not measurable)",
    "extra-trees": "ExtraTrees of the recipe",
    "crabnet": "CrabNet, composition only, 15.5 epochs",
    "crabnet-energy": "CrabNet, formation energy only, 3 epochs",
    "crabnet-deep": "CrabNet with deep heads, 8 epochs",
    "crabnet-alike": "CrabNet with the same heads (10 epochs)",
    "crabnet-deep-energy": "CrabNet with a deep head, formation energy only, 8 epochs",
    "xrd-transformer": "XRD transformer, pattern only, 2 epochs",
    "small": "XxaCT as in the paper, preset `small`, 2 epochs",
    "fcn": "FCN, pattern only, 1 epoch",
    "fcn-mlp": "FCN + MLP, 1 epoch",
}
"""Name in `checkpoint.json` → what is shown, for the baselines of the shipped checkpoint."""

COLUMN_WIDTH = 11
"""Characters of a column of numbers; longer headings are wrapped."""


def summarise(metrics: Mapping[str, float], distorted: Mapping[str, float] | None = None) -> dict[str, float | None]:
    """The summary of the metrics of a split; None where a metric is missing.

    `distorted` are metrics on augmented patterns, where they were measured. They give `calibration_error` and
    `coverage_90`, because models are calibrated on augmented patterns; the coverage of ideal ones is higher.
    """
    calibrated = metrics if distorted is None else distorted
    held = [value for name, value in calibrated.items() if name.endswith(("_interval_coverage", "_set_coverage"))]
    error = SUMMARY["calibration_error"][0]
    known = {**metrics, error: calibrated.get(error), "coverage_90": sum(held) / len(held) if held else None}
    return {short: known.get(name) for short, (name, _, _) in SUMMARY.items()}


def rows_to_text(rows: Mapping[str, Mapping[str, float | None]]) -> str:
    """A table for a terminal, with a line for each model and a column for each metric; missing values are dashes."""
    columns = list(SUMMARY)
    parts = [columns[:SHOWN_TOGETHER], columns[SHOWN_TOGETHER:]]
    shown = [part for part in parts if any(row.get(short) is not None for row in rows.values() for short in part)]
    return "\n\n".join(_to_text(rows, part) for part in shown or parts[:1])


def _to_text(rows: Mapping[str, Mapping[str, float | None]], columns: Sequence[str]) -> str:
    wide = max(map(len, rows))
    headings = [textwrap.wrap(SUMMARY[short][1], COLUMN_WIDTH) for short in columns]
    tallest = max(map(len, headings))
    padded = [[""] * (tallest - len(heading)) + heading for heading in headings]
    lines = [" " * wide + "".join(f"  {part:>{COLUMN_WIDTH}}" for part in parts) for parts in zip(*padded, strict=True)]
    for name, row in rows.items():
        values = ((row.get(short), SUMMARY[short][2]) for short in columns)
        cells = ("-" if value is None else f"{value:.{digits}f}" for value, digits in values)
        lines.append(name.ljust(wide) + "".join(f"  {cell:>{COLUMN_WIDTH}}" for cell in cells))
    return "\n".join(lines)
