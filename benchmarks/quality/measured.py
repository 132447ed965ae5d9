"""How good are predictions, search-match and the detection of mixtures on measured patterns?

    python benchmarks/quality/measured.py [--labels LABELS] [--trees DATASET] [--collection FOLDER]
    python benchmarks/quality/measured.py --quick    # the first files only, writes nothing
    python benchmarks/quality/measured.py --development FOLDER --only-development --model RUN/model [--found FILE]

LABELS is a table of measured files like `examples.csv` of the shipped examples (the default), of which the columns file
(or path), name, formula, crystal_system, space_group, wavelength and notes are read. A single phase is a row with
formula and crystal system whose column benchmark_single_phase, if present, is "yes". A mixture is a row whose crystal
system is "mixture" or whose name says so, and whose name, formula or notes state the components, so that its elements
are known. The model predicts with the formula given, search-match with the elements. With --trees, ExtraTrees are
trained on the visible peaks of DATASET for comparison. With --collection, the files of
`benchmarks/quality/readers.py` are read, too; `files_right` and `files_total` are null without.

With patterns for development in FOLDER (default: `experimental_dev` of the folder in the environment variable
XXACT_SHARED_DATA), of which only totals are stated, they are predicted as measured, smoothed and rebinned, with their
formulas and without, by the model alone and combined with reference materials; matches are kept in the FILE of --found.
Without --quick, --model and --only-development, docs/results/measured.md is written.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # the repository

import argparse
import csv
import json
import os
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from scipy.signal import find_peaks
from sklearn.ensemble import ExtraTreesClassifier
from sklearn.metrics import roc_auc_score

from benchmarks.harness import EXAMPLES, argument_parser, finish, markdown_table
from benchmarks.quality.development_patterns import development_to_page, measure_development
from benchmarks.quality.readers import judge_all
from xxact_core.compositions.formula import parse_formula
from xxact_core.compositions.formula_format import format_formula
from xxact_core.dataset.table import StickTable, read_dataset
from xxact_core.errors import FormulaError, InputError, StructureError
from xxact_core.evaluation.baselines import PEAKS, TREES, first_reflections
from xxact_core.evaluation.metrics import calibration_error_by_chance, expected_calibration_error
from xxact_core.patterns.conversions import CU_K_ALPHA, parse_wavelength
from xxact_core.patterns.pattern import GriddedPattern, Pattern
from xxact_core.prediction.prediction import ranked_to_probabilities
from xxact_core.prediction.predictor import Predictor
from xxact_core.processing.gridding import put_on_grid
from xxact_core.quantities import CRYSTAL_SYSTEM, CRYSTAL_SYSTEMS
from xxact_core.readers.read import read_pattern
from xxact_core.search_match.combine import combine_with_matches, composition_distance
from xxact_core.search_match.identify import Identification, Identifier
from xxact_core.simulation.symmetry import find_symmetry

LABELS = EXAMPLES / "examples.csv"
VISIBLE = 1.0
"""Weakest peaks that count for ExtraTrees [% of the strongest], calculated and measured."""

ANSWERED = 0.7
"""Fraction of the patterns, those with the most certain predictions, whose accuracy is also stated."""

DEVELOPMENT_EVERY = 20
"""Every nth development pattern, with `--quick`."""

SAME = 0.003
"""Largest fraction of atoms that differ in two formulas that count as one. Ours."""

QUICK = 3
"""Single phases, and mixtures, with `--quick`."""


@dataclass(frozen=True)
class Single:
    """A measured single phase and its predictions."""

    formula: str
    crystal_system: str
    probabilities: np.ndarray
    """Of the crystal systems, by the model."""

    with_known: np.ndarray
    """The same, combined with matching reference materials."""

    milliseconds: float
    """Wall time of the prediction."""

    found: Identification
    place: int | None
    """Rank of the true material among the matches, 0 the best; None where it is not found."""

    held: bool
    """Whether the reference table has the true material."""

    @property
    def true(self) -> int:
        """Index of the true crystal system."""
        return CRYSTAL_SYSTEMS.index(self.crystal_system)


def read_labels(path: Path) -> list[dict[str, str]]:
    """All rows of a table of labels."""
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def is_single(row: dict[str, str]) -> bool:
    """Whether the row is a single phase with known structure."""
    known = row["formula"] and row["crystal_system"] in CRYSTAL_SYSTEMS
    return bool(known) and row.get("benchmark_single_phase", "yes") == "yes"


def mixed_elements(row: dict[str, str]) -> tuple[str, ...]:
    """Elements of a mixture's components, or none where the row is no mixture or does not state them."""
    if row["crystal_system"] != "mixture" and "mixture" not in row["name"]:
        return ()
    if "+" not in row["formula"] and "weighed" not in row["name"] + row["notes"]:
        return ()
    for text in (row["formula"], row["name"], row["notes"]):
        symbols = {symbol for word in re.split(r"[^A-Za-z0-9().]+", text) for symbol in _elements_of(word)}
        if symbols:
            return tuple(sorted(symbols))
    return ()


def _elements_of(word: str) -> tuple[str, ...]:
    try:
        return parse_formula(word).symbols if len(word) > 1 else ()
    except FormulaError:
        return ()


def read_file(row: dict[str, str], folder: Path) -> Pattern | None:
    """The file of a row, or None where it cannot be read; Cu Kα where no wavelength is stated."""
    try:
        pattern = read_pattern(folder / (row.get("file") or row["path"]))
        stated = row["wavelength"] if "file" in row and row["wavelength"] else None
        return Pattern(
            pattern.two_theta,
            pattern.intensity,
            wavelength=parse_wavelength(stated) if stated else pattern.wavelength or CU_K_ALPHA,
            name=pattern.name,
        )
    except InputError as error:
        print(f"skipped: {error}", file=sys.stderr)
        return None


def holds(identifier: Identifier, formula: str, space_group: int) -> bool:
    """Whether the reference table has a material of this formula and space group."""
    composition = parse_formula(formula)
    for row in identifier.references.rows_within(composition.symbols):
        structure = identifier.references.structure(int(row))
        if composition_distance(composition, structure.composition) > SAME:
            continue
        try:
            if find_symmetry(structure).space_group == space_group:
                return True
        except StructureError:
            continue
    return False


def measure_single(row: dict[str, str], pattern: Pattern, predictor: Predictor, identifier: Identifier) -> Single:
    """Predict and identify one single phase."""
    formula = row["formula"]
    began = time.perf_counter()
    prediction = predictor.predict(pattern, formula, override_coverage=True)
    milliseconds = 1000 * (time.perf_counter() - began)
    found = identifier.identify(pattern, elements=parse_formula(formula).symbols)
    target = (format_formula(parse_formula(formula)), int(row["space_group"]))
    names = [(one.formula, one.space_group) for one in found.matches]
    return Single(
        formula=formula,
        crystal_system=row["crystal_system"],
        probabilities=ranked_to_probabilities(prediction.crystal_system, CRYSTAL_SYSTEM),
        with_known=ranked_to_probabilities(
            combine_with_matches(prediction, found.matches).crystal_system, CRYSTAL_SYSTEM
        ),
        milliseconds=milliseconds,
        found=found,
        place=names.index(target) if target in names else None,
        held=target in names or holds(identifier, formula, target[1]),
    )


def place_of_true(probabilities: np.ndarray, true: int) -> int:
    """Rank of the true class, 0 the most probable."""
    return int((probabilities > probabilities[true]).sum())


def probabilities_to_figures(probabilities: np.ndarray, true: np.ndarray) -> dict[str, float]:
    """Top-1 and top-2 accuracy (0-1), top-1 accuracy of the most certain predictions, calibration error."""
    ranks = np.array([place_of_true(*one) for one in zip(probabilities, true, strict=True)])
    surest = np.argsort(-probabilities.max(axis=1), kind="stable")[: max(1, round(ANSWERED * len(true)))]
    return {
        "top1": float((ranks < 1).mean()),
        "top2": float((ranks < 2).mean()),
        "top1_at_70_percent_answered": float((ranks[surest] < 1).mean()),
        "calibration_error": expected_calibration_error(probabilities, true),
    }


def singles_to_figures(singles: Sequence[Single]) -> dict[str, float]:
    """Figures of all single phases; accuracies are 0-1."""
    probabilities = np.stack([single.probabilities for single in singles])
    true = np.array([single.true for single in singles])
    alone = probabilities_to_figures(probabilities, true)
    with_known = probabilities_to_figures(np.stack([single.with_known for single in singles]), true)
    held = [single for single in singles if single.held]
    by_chance, at_most = calibration_error_by_chance(probabilities)
    return {
        "patterns": len(singles),
        **{f"crystal_system_{name}": alone.pop(name) for name in ("top1", "top2")},
        **alone,
        **{f"with_known_{name}": value for name, value in with_known.items()},
        "calibration_error_by_chance": by_chance,
        "calibration_error_by_chance_at_most": at_most,
        "milliseconds_per_pattern": float(np.median([single.milliseconds for single in singles])),
        "identify_held": len(held),
        "identify_top1": float(np.mean([single.place == 0 for single in held])),
        "identify_top5": float(np.mean([single.place is not None and single.place < 5 for single in held])),
    }


def mixtures_to_figures(singles: Sequence[Identification], mixtures: Sequence[Identification]) -> dict[str, float]:
    """How well the evidence for a second phase separates mixtures from single phases."""
    verdicts = [[one.mixture for one in group] for group in (singles, mixtures)]
    evidence = [[0.0 if verdict is None else verdict.evidence for verdict in group] for group in verdicts]
    likely = [np.mean([verdict is not None and verdict.likely for verdict in group]) for group in verdicts]
    truth = np.repeat([0, 1], [len(group) for group in evidence])
    return {
        "mixtures": len(mixtures),
        "mixture_auc": float(roc_auc_score(truth, np.concatenate(evidence))),
        "likely_of_single_phases": float(likely[0]),
        "likely_of_mixtures": float(likely[1]),
    }


def trees_on_visible_lines(table: StickTable) -> ExtraTreesClassifier:
    """The trees of `tree_baseline`, trained on every material."""
    features = np.stack([first_reflections(table, row, weakest=VISIBLE) for row in range(len(table))])
    trees = ExtraTreesClassifier(n_estimators=TREES, n_jobs=1, random_state=0)
    return trees.fit(features, table.targets["crystal_system"].astype(int))


def other_model_to_figures(model: Path, phases: Sequence[tuple[dict[str, str], Pattern]]) -> dict[str, float]:
    """Top-1 and top-2 accuracy of the crystal system of another checkpoint."""
    predictor, ranks = Predictor.load(model), []
    for row, pattern in phases:
        ranked = predictor.predict(pattern, row["formula"], override_coverage=True).crystal_system
        ranks.append([entry.label for entry in ranked].index(row["crystal_system"]))
    return {"top1": float(np.mean(np.array(ranks) < 1)), "top2": float(np.mean(np.array(ranks) < 2))}


def visible_peaks(pattern: GriddedPattern) -> np.ndarray:
    """Features of a measured pattern for the trees: sin θ of the first maxima above `VISIBLE`, and their number."""
    maxima, _ = find_peaks(pattern.intensity, height=VISIBLE, prominence=VISIBLE)
    features = np.zeros(PEAKS + 1, dtype=np.float32)
    first = np.sin(np.radians(pattern.grid.two_theta[maxima[:PEAKS]] / 2))
    features[: len(first)] = first
    features[PEAKS] = len(maxima)
    return features


def trees_to_figures(trees: ExtraTreesClassifier, phases: Sequence[tuple[dict[str, str], Pattern]]) -> dict[str, float]:
    """Top-1 and top-2 accuracy of the crystal system of the trees."""
    gridded = [put_on_grid(pattern, override_coverage=True) for _, pattern in phases]
    order = np.argsort(-trees.predict_proba([visible_peaks(pattern) for pattern in gridded]), axis=1)
    true = np.array([CRYSTAL_SYSTEMS.index(row["crystal_system"]) for row, _ in phases])
    right = trees.classes_[order] == true[:, None]
    return {"trees_top1": float(right[:, 0].mean()), "trees_top2": float(right[:, :2].any(axis=1).mean())}


def judge_instrument_files(collection: Path | None) -> dict[str, float | None]:
    """Correctly read files of a collection (`benchmarks/quality/readers.py`); None without one."""
    if collection is None:
        return {"files_right": None, "files_total": None}
    _, figures = judge_all(collection / "formats")
    return {name: figures[name] for name in ("files_right", "files_total")}


def to_page(figures: dict[str, float | None], others: Mapping[str, Mapping[str, float]]) -> str:
    """The tables of the page."""
    labels = {
        "crystal_system": "shipped model",
        "with_known": "shipped model combined with matching reference materials",
        "trees": "ExtraTrees on the visible peaks",
    }
    rows = [
        (label, figures[f"{name}_top1"], figures[f"{name}_top2"])
        for name, label in labels.items()
        if f"{name}_top1" in figures
    ]
    rows += [(name, of_one["top1"], of_one["top2"]) for name, of_one in others.items()]
    parts = [
        markdown_table(
            ["crystal system, formula given", "top-1 accuracy", "top-2 accuracy"],
            [[label, f"{first:.0%}", f"{second:.0%}"] for label, first, second in rows],
        ),
        (
            f"Of the {ANSWERED:.0%} most certain predictions of the model, "
            f"{figures['top1_at_70_percent_answered']:.0%} are correct. Its calibration error is "
            f"{figures['calibration_error']:.2f}; perfectly calibrated probabilities would give "
            f"{figures['calibration_error_by_chance']:.2f} on average for so few patterns, and more than "
            f"{figures['calibration_error_by_chance_at_most']:.2f} in one of twenty such sets. A prediction takes "
            f"{figures['milliseconds_per_pattern']:.0f} ms. Combined with reference materials, "
            f"{figures['with_known_top1_at_70_percent_answered']:.0%} of the {ANSWERED:.0%} most certain predictions "
            f"are correct, and the calibration error is {figures['with_known_calibration_error']:.2f}."
        ),
        markdown_table(
            ["search-match, elements given", "top-1 accuracy", "top-5 accuracy"],
            [
                [
                    f"formula and space group, {figures['identify_held']} patterns whose phase is in the table",
                    f"{figures['identify_top1']:.0%}",
                    f"{figures['identify_top5']:.0%}",
                ]
            ],
        ),
    ]
    if "mixture_auc" in figures:
        parts.append(
            f"A mixture is called likely for {figures['likely_of_mixtures']:.0%} of {figures['mixtures']} mixtures "
            f"with known elements and for {figures['likely_of_single_phases']:.0%} of the single phases; the area "
            f"under the ROC curve is {figures['mixture_auc']:.3f}."
        )
    if figures["files_total"] is not None:
        parts.append(f"{figures['files_right']} of {figures['files_total']} instrument files are read correctly.")
    return "\n\n".join(parts)


def log_single(single: Single) -> None:
    """Print the outcome for one single phase."""
    best = single.found.matches[0] if single.found.matches else None
    ranks = [place_of_true(one, single.true) + 1 for one in (single.probabilities, single.with_known)]
    if single.place is not None:
        rank = f"rank {single.place + 1}"
    else:
        rank = "not found" if single.held else "not in the table"
    print(
        f"{single.formula:14} {single.crystal_system:13} rank {ranks[0]}, combined {ranks[1]} "
        f"({single.with_known.max():.0%} for the first); best match {best and (best.formula, best.space_group)}, true "
        f"material {rank}; {single.found.mixture and single.found.mixture.sentence}",
        file=sys.stderr,
    )


def judge_development(
    arguments: argparse.Namespace, predictor: Predictor, identifier: Identifier
) -> dict[str, dict[str, float | None]]:
    """Figures of the patterns for development; empty where there are none."""
    shared = os.environ.get("XXACT_SHARED_DATA")
    folder = arguments.development or (Path(shared) / "experimental_dev" if shared else None)
    if folder is None or not (folder / "labels.csv").is_file():
        return {}
    return measure_development(
        folder,
        predictor,
        None if arguments.alone else identifier,
        holds=partial(holds, identifier),
        found=arguments.found,
        every=DEVELOPMENT_EVERY if arguments.quick else 1,
    )


def main() -> None:
    """Measure, print, and write the page unless --quick is given."""
    parser = argument_parser(__doc__)
    parser.add_argument("--labels", type=Path, default=LABELS, help="table of measured files")
    parser.add_argument("--trees", type=Path, metavar="DATASET", help="also train ExtraTrees on this dataset")
    parser.add_argument("--collection", type=Path, metavar="FOLDER", help="also read these instrument files")
    parser.add_argument(
        "--compare", "--beside", action="append", default=[], metavar="NAME=CHECKPOINT", help="another model"
    )
    parser.add_argument("--model", type=Path, metavar="CHECKPOINT", help="another model than the shipped one")
    parser.add_argument("--development", type=Path, metavar="FOLDER", help="patterns for development alone")
    parser.add_argument("--only-development", action="store_true", help="predict nothing else")
    parser.add_argument("--found", type=Path, metavar="FILE", help="where matches of these patterns are kept")
    parser.add_argument("--alone", action="store_true", help="without reference materials for these patterns")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    predictor, identifier = Predictor.load(arguments.model), Identifier.load()
    development = judge_development(arguments, predictor, identifier)
    if arguments.only_development:
        print(development_to_page(development))
        print(json.dumps({"development": development}))
        return
    rows, folder = read_labels(arguments.labels), arguments.labels.parent
    most = QUICK if arguments.quick else None
    single_phases = [(row, pattern) for row in rows if is_single(row) and (pattern := read_file(row, folder))][:most]
    mixed = [
        (row, elements, pattern)
        for row in rows
        if (elements := mixed_elements(row)) and (pattern := read_file(row, folder))
    ][:most]
    singles = []
    for row, pattern in single_phases:
        singles.append(measure_single(row, pattern, predictor, identifier))
        log_single(singles[-1])
    mixtures = []
    for row, elements, pattern in mixed:
        found = identifier.identify(pattern, elements=elements)
        print(f"{row['name']:40} {' '.join(elements)}: {found.mixture and found.mixture.sentence}", file=sys.stderr)
        mixtures.append(found)
    figures: dict[str, float | None] = {**judge_instrument_files(arguments.collection), **singles_to_figures(singles)}
    if mixtures:
        figures |= mixtures_to_figures([single.found for single in singles], mixtures)
    if arguments.trees is not None:
        figures |= trees_to_figures(trees_on_visible_lines(read_dataset(arguments.trees)), single_phases)
    others = {
        name: other_model_to_figures(Path(checkpoint), single_phases)
        for name, _, checkpoint in (text.partition("=") for text in arguments.compare)
    }
    finish(
        __file__,
        "\n\n".join([to_page(figures, others), *([development_to_page(development)] if development else [])]),
        {**figures, "beside": others, "development": development},
        quick=arguments.quick or arguments.model is not None,
        title="Measured patterns",
        introduction=f"{figures['patterns']} measured single phases of `{arguments.labels.name}`, default processing.",
        data_digest=predictor.checkpoint.about["data_digest"],
    )


if __name__ == "__main__":
    main()
