"""The main metrics of a model, by short names."""

from __future__ import annotations

from collections.abc import Mapping

SUMMARY = {
    "formation_energy_mae_mev": ("formation_energy_per_atom_mae_mev_per_atom", "formation energy, MAE [meV/atom]", 1),
    "band_gap_mae_ev": ("band_gap_mae_ev", "band gap, MAE [eV]", 3),
    "crystal_system_accuracy": ("crystal_system_accuracy", "crystal system, accuracy", 3),
    "crystal_system_class_mean": ("crystal_system_class_mean_accuracy", "crystal system, class mean", 3),
    "space_group_accuracy": ("space_group_accuracy", "space group, accuracy", 3),
    "calibration_error": ("crystal_system_calibration_error", "crystal system, calibration error", 3),
    "coverage_90": ("coverage_90", "coverage of 90 % intervals and sets", 3),
}
"""Short name → name in `metrics_of`, label with unit, digits that are shown.

calibration_error: the expected calibration error of the crystal system (0-1). coverage_90: mean over the targets of the
fraction of materials (0-1) whose label lies in the 90 % interval or prediction set.
"""

MIN_WIDTH = 7
"""Characters of the narrowest column."""


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


def columns_to_text(columns: Mapping[str, Mapping[str, float | None]]) -> str:
    """A table for a terminal, with a line for each metric and a column for each model; missing values are dashes."""
    wide = max(len(label) for _, label, _ in SUMMARY.values())
    lines = [" " * wide + "".join(f"  {title:>{MIN_WIDTH}}" for title in columns)]
    for short, (_, label, digits) in SUMMARY.items():
        line = label.ljust(wide)
        for title, column in columns.items():
            value = column[short]
            line += "  " + ("-" if value is None else f"{value:.{digits}f}").rjust(max(len(title), MIN_WIDTH))
        lines.append(line)
    return "\n".join(lines)
