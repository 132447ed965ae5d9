"""Predictions of measured patterns for development: as measured, smoothed and rebinned, with and without formulas.

The patterns must not be redistributed, so that only totals are returned. `measure_development` is the entry.
"""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from scipy.ndimage import gaussian_filter1d

from benchmarks.harness import markdown_table
from xxact_core.compositions.formula import parse_formula
from xxact_core.errors import InputError
from xxact_core.evaluation.metrics import calibration_error_by_chance, expected_calibration_error
from xxact_core.patterns.conversions import CU_K_ALPHA
from xxact_core.patterns.pattern import GriddedPattern, Pattern
from xxact_core.prediction.prediction import UNLIKE, Prediction, ranked_to_probabilities
from xxact_core.prediction.predictor import Predictor
from xxact_core.processing.gridding import put_on_grid
from xxact_core.quantities import CRYSTAL_SYSTEM, CRYSTAL_SYSTEMS
from xxact_core.search_match.combine import combine_with_matches
from xxact_core.search_match.identify import Identifier
from xxact_core.search_match.match import Match

SMOOTHED, REBINNED = 0.08, 0.05
"""Standard deviation of the smoothing and step of the rebinned patterns [deg], as instrument software does both."""

_NO_LINES = np.empty(0)

Found = dict[str, list[tuple[str, int, float]]]
"""Formula, space group and probability of the matches of each pattern and version."""


def smooth(pattern: Pattern, *, sigma: float = SMOOTHED) -> Pattern:
    """The pattern convolved with a normal distribution of this standard deviation [deg]."""
    step = float(np.median(np.diff(pattern.two_theta)))
    return replace(pattern, intensity=gaussian_filter1d(pattern.intensity.astype(float), sigma / step))


def rebin(pattern: Pattern, *, step: float = REBINNED) -> Pattern:
    """The pattern with its points averaged over steps of this width [deg]."""
    place = np.floor((pattern.two_theta - pattern.two_theta[0]) / step + 1e-6).astype(int)
    count = np.bincount(place)
    filled = count > 0
    two_theta, intensity = (
        np.bincount(place, values)[filled] / count[filled] for values in (pattern.two_theta, pattern.intensity)
    )
    return replace(pattern, two_theta=two_theta, intensity=intensity)


def smooth_on_grid(pattern: Pattern, *, sigma: float = SMOOTHED) -> GriddedPattern:
    """The pattern on the grid, without background, and then smoothed, which leaves no noise at all."""
    gridded = put_on_grid(pattern, override_coverage=True)
    smoothed = gaussian_filter1d(gridded.intensity.astype(float), sigma / gridded.grid.step) * gridded.coverage
    return replace(gridded, intensity=(100 * smoothed / smoothed.max()).astype(gridded.intensity.dtype))


VERSIONS: dict[str, Callable[[Pattern], Pattern | GriddedPattern]] = {
    "as measured": lambda pattern: pattern,
    "smoothed": smooth,
    "smoothed on the grid": smooth_on_grid,
    "rebinned": rebin,
}


@dataclass(frozen=True, eq=False)
class Label:
    """What is known of a pattern."""

    id: str
    formula: str
    """Empty where it is unknown."""
    system: int
    """Index of the crystal system."""
    space_group: int


@dataclass(frozen=True, eq=False)
class Answers:
    """Predictions of the crystal system of several patterns by one way, with the truth."""

    probabilities: np.ndarray
    """Shape (patterns, 7)."""
    true: np.ndarray
    """Index of the true crystal system, shape (patterns,)."""
    in_set: np.ndarray
    """Whether the 90 % set has it, shape (patterns,)."""
    set_size: np.ndarray
    """Crystal systems in the set, shape (patterns,)."""
    doubtful: np.ndarray
    """Whether the prediction is flagged, shape (patterns,)."""
    held: np.ndarray
    """Whether the reference table has the phase, shape (patterns,)."""

    @property
    def right(self) -> np.ndarray:
        """Whether the most probable system is right, shape (patterns,)."""
        right: np.ndarray = self.probabilities.argmax(axis=1) == self.true
        return right

    def figures(self) -> dict[str, float | None]:
        """Accuracies, coverage of sets and shares, 0-1; None where no pattern counts."""
        right, held, doubtful = self.right, self.held, self.doubtful
        by_chance, at_most = calibration_error_by_chance(self.probabilities)
        return {
            "patterns": len(right),
            "top1": _mean(right),
            "top1_held": _mean(right[held]),
            "top1_not_held": _mean(right[~held]),
            "calibration_error": expected_calibration_error(self.probabilities, self.true),
            "calibration_error_by_chance": by_chance,
            "calibration_error_by_chance_at_most": at_most,
            "set_coverage_held": _mean(self.in_set[held]),
            "set_coverage_not_held": _mean(self.in_set[~held]),
            "set_size": _mean(self.set_size),
            "flagged": _mean(doubtful),
            "top1_flagged": _mean(right[doubtful]),
            "top1_not_flagged": _mean(right[~doubtful]),
            "not_held": int((~held).sum()),
        }


def _mean(values: np.ndarray) -> float | None:
    return float(values.mean()) if len(values) else None


def read_development(folder: Path) -> dict[str, tuple[Label, Pattern]]:
    """Labels and patterns by id; those of unknown symmetry are left out."""
    with (folder / "labels.csv").open(encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["crystal_system"] and row["space_group"]]
    found = {}
    with np.load(folder / "patterns.npz") as patterns:
        for row in rows:
            two_theta, intensity = patterns[row["id"]]
            formula = row["formula"] if row["formula_known"] == "yes" else ""
            system = CRYSTAL_SYSTEMS.index(row["crystal_system"])
            label = Label(row["id"], formula, system, int(row["space_group"]))
            found[row["id"]] = (label, Pattern(two_theta, intensity, wavelength=CU_K_ALPHA, name=row["id"]))
    return found


def search(
    label: Label,
    pattern: Pattern | GriddedPattern,
    version: str,
    identifier: Identifier,
    known: Found,
) -> list[Match]:
    """Matching reference phases, searched for where `known` lacks them."""
    key = f"{label.id} {version}"
    if key not in known:
        matches = identifier.identify(pattern, elements=parse_formula(label.formula).symbols).matches
        known[key] = [
            (match.formula, match.space_group, match.probability or 0.0)
            for match in matches
            if match.space_group is not None
        ]
    return [_match(*one) for one in known[key]]


def _match(formula: str, space_group: int, probability: float) -> Match:
    return Match(
        id="", formula=formula, space_group=space_group, score=probability, shift=0.0, scale=1.0,
        two_theta=_NO_LINES, intensity=_NO_LINES, probability=probability,
    )  # fmt: skip


def to_answers(predictions: Sequence[tuple[Label, Prediction, bool]]) -> Answers:
    """The crystal systems of labels with their predictions, and whether the table has the phase."""
    true = np.array([label.system for label, _, _ in predictions])
    names = [CRYSTAL_SYSTEMS[system] for system in true]
    sets = [prediction.crystal_system_set or () for _, prediction, _ in predictions]
    return Answers(
        np.stack([ranked_to_probabilities(one.crystal_system, CRYSTAL_SYSTEM) for _, one, _ in predictions]),
        true,
        np.array([name in labels for name, labels in zip(names, sets, strict=True)]),
        np.array([len(labels) for labels in sets]),
        np.array([any(UNLIKE in warning for warning in one.warnings) for _, one, _ in predictions]),
        np.array([held for *_, held in predictions]),
    )


def measure_development(
    folder: Path,
    predictor: Predictor,
    identifier: Identifier | None,
    *,
    holds: Callable[[str, int], bool],
    found: Path | None = None,
    every: int = 1,
) -> dict[str, dict[str, float | None]]:
    """Figures of `Answers` by the way of predicting.

    Args:
        folder: with `labels.csv` and `patterns.npz`.
        predictor: the model.
        identifier: of reference phases; None to leave out predictions combined with them.
        holds: whether the reference table has a formula and space group.
        found: file in which matches are kept, because the search takes longest and does not depend on the model.
        every: use only every nth pattern.
    """
    known = json.loads(found.read_text(encoding="utf-8")) if found and found.is_file() else {}
    labelled = list(read_development(folder).values())[::every]
    held = {label.id: holds(label.formula, label.space_group) for label, _ in labelled if label.formula}
    figures: dict[str, dict[str, float | None]] = {}
    for version, change in VERSIONS.items():
        alone, combined = [], []
        for number, (label, pattern) in enumerate(one for one in labelled if one[0].formula):
            changed = change(pattern)
            try:
                prediction = predictor.predict(changed, label.formula, override_coverage=True)
                alone.append((label, prediction, held[label.id]))
                if identifier is not None:
                    matches = search(label, changed, version, identifier, known)
                    combined.append((label, combine_with_matches(prediction, matches), held[label.id]))
            except InputError as error:
                print(f"skipped a pattern {version}: {error.code}", file=sys.stderr)
            if found and number % 20 == 0:
                found.write_text(json.dumps(known), encoding="utf-8")
        figures[f"{version}, model alone"] = to_answers(alone).figures()
        if combined:
            figures[f"{version}, with reference materials"] = to_answers(combined).figures()
    if found:
        found.write_text(json.dumps(known), encoding="utf-8")
    for name, has_formula in (("formula unknown, model alone", False), ("formula withheld, model alone", True)):
        blind = [
            (label, predictor.predict(pattern, "?", override_coverage=True), held.get(label.id, False))
            for label, pattern in labelled
            if bool(label.formula) is has_formula
        ]
        if blind:
            figures[name] = to_answers(blind).figures()
    return figures


def development_to_page(figures: Mapping[str, Mapping[str, float | None]]) -> str:
    """Tables of the figures, totals only."""

    def percent(value: float | None) -> str:
        return "" if value is None else f"{value:.0%}"

    def number(value: float | None) -> str:
        return "" if value is None else f"{value:.3f}"

    accuracy = [
        [name, f"{one['patterns']:.0f}", *(percent(one[f"top1{part}"]) for part in ("", "_held", "_not_held"))]
        for name, one in figures.items()
    ]
    reliability = [
        [
            name,
            f"{number(one['calibration_error'])} ({number(one['calibration_error_by_chance'])} by chance)",
            *(percent(one[f"set_coverage{part}"]) for part in ("_held", "_not_held")),
            f"{one['set_size'] or 0:.2f}",
            *(percent(one[part]) for part in ("flagged", "top1_flagged", "top1_not_flagged")),
        ]
        for name, one in figures.items()
        if not name.startswith("formula")
    ]
    first = next(iter(figures.values()))
    return "\n\n".join(
        [
            (
                "Measured patterns for development, which are not part of the repository. *In the table*: the "
                f"reference table has formula and space group; it lacks {first['not_held']:.0f} of them. Smoothed by a "
                f"standard deviation of {SMOOTHED}°, before processing or on the grid; rebinned to steps of "
                f"{REBINNED}° before processing."
            ),
            markdown_table(["crystal system, top-1", "patterns", "all", "in the table", "not in the table"], accuracy),
            markdown_table(
                ["", "calibration error", "90 % sets hold, in the table", "not in the table", "size of the sets",
                 "flagged as doubtful", "right where flagged", "right where not flagged"],
                reliability,
            ),
        ]
    )  # fmt: skip
