"""Measured patterns: is the crystal system right, is the material found, is a mixture seen?

    python benchmarks/quality/measured.py [--labels LABELS] [--trees DATASET] [--collection FOLDER] [--quick]

LABELS is a table of measured files like data/examples/examples.csv (the default): its columns file (or path), name,
formula, crystal_system, space_group, wavelength and notes are read. A single phase is a row with a formula and a
crystal system whose column benchmark_single_phase, where there is one, is "yes". A mixture is a row whose crystal
system is "mixture", or whose name says so, where name, formula or notes state what was weighed in: its elements are
known then. The model is asked with the formula, the known materials with the elements. With --trees, ExtraTrees that
learn from DATASET the lines that can be seen answer beside the model. --quick takes the first files only. The last line
printed is a JSON object; files_right and files_total are those of benchmarks/quality/readers.py on FOLDER, null
without one.
"""

from __future__ import annotations

import argparse
import csv
import json
import re
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from scipy.signal import find_peaks
from sklearn.ensemble import ExtraTreesClassifier
from sklearn.metrics import roc_auc_score

from xxact_core.compositions.formula import parse_formula
from xxact_core.compositions.formula_format import format_formula
from xxact_core.dataset.table import StickTable, read_dataset
from xxact_core.errors import FormulaError, InputError, StructureError
from xxact_core.evaluation.baselines import LINES, TREES, first_lines
from xxact_core.evaluation.metrics import calibration_error_by_chance, expected_calibration_error
from xxact_core.evaluation.provenance import provenance, provenance_to_line
from xxact_core.patterns.conversions import CU_K_ALPHA, parse_wavelength
from xxact_core.patterns.pattern import GriddedPattern, Pattern
from xxact_core.prediction.prediction import ranked_to_probabilities
from xxact_core.prediction.predictor import Predictor
from xxact_core.processing.gridding import put_on_grid
from xxact_core.quantities import CRYSTAL_SYSTEM, CRYSTAL_SYSTEMS
from xxact_core.readers.read import read_pattern
from xxact_core.search_match.combine import weigh_known
from xxact_core.search_match.identify import Identification, Identifier
from xxact_core.simulation.symmetry import find_symmetry

REPOSITORY = Path(__file__).resolve().parents[2]
RESULTS = REPOSITORY / "docs" / "results" / "measured.md"
EXAMPLES = REPOSITORY / "xxact_core" / "data" / "examples" / "examples.csv"
VISIBLE = 1.0
"""Lines weaker than this [% of the strongest] do not count, in training as in the measured pattern."""

ANSWERED = 0.7
QUICK = 3


@dataclass(frozen=True)
class Single:
    """A measured single phase and what was said of it; with_known: the same probabilities with known materials."""

    formula: str
    crystal_system: str
    probabilities: np.ndarray
    with_known: np.ndarray
    milliseconds: float
    found: Identification
    place: int | None
    held: bool

    @property
    def true(self) -> int:
        """Index of the true crystal system."""
        return CRYSTAL_SYSTEMS.index(self.crystal_system)


def read_labels(path: Path) -> list[dict[str, str]]:
    """All rows of the table."""
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def is_single(row: dict[str, str]) -> bool:
    """Whether the row is of one phase that is known."""
    known = row["formula"] and row["crystal_system"] in CRYSTAL_SYSTEMS
    return bool(known) and row.get("benchmark_single_phase", "yes") == "yes"


def mixed_elements(row: dict[str, str]) -> tuple[str, ...]:
    """Elements of what was weighed in, or none where the row is no mixture or does not say."""
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
    """The file of a row, or None where it cannot be read; where no wavelength is known, the labels say Cu."""
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
        print(f"left out: {error}")
        return None


def holds(identifier: Identifier, formula: str, space_group: int) -> bool:
    """Whether the table has a material of this formula and space group."""
    composition = parse_formula(formula)
    wanted = format_formula(composition)
    for row in identifier.references.rows_within(composition.symbols):
        structure = identifier.references.structure(int(row))
        if format_formula(structure.composition) != wanted:
            continue
        try:
            if find_symmetry(structure).space_group == space_group:
                return True
        except StructureError:
            continue
    return False


def measure_single(row: dict[str, str], pattern: Pattern, predictor: Predictor, identifier: Identifier) -> Single:
    """Ask both."""
    formula = row["formula"]
    began = time.perf_counter()
    prediction = predictor.predict(pattern, formula, override_coverage=True)
    milliseconds = 1000 * (time.perf_counter() - began)
    found = identifier.identify(pattern, elements=parse_formula(formula).symbols)
    target = (format_formula(parse_formula(formula)), int(row["space_group"]))
    names = [(one.formula, one.space_group) for one in found.neighbours]
    return Single(
        formula=formula,
        crystal_system=row["crystal_system"],
        probabilities=ranked_to_probabilities(prediction.crystal_system, CRYSTAL_SYSTEM),
        with_known=ranked_to_probabilities(weigh_known(prediction, found.neighbours).crystal_system, CRYSTAL_SYSTEM),
        milliseconds=milliseconds,
        found=found,
        place=names.index(target) if target in names else None,
        held=target in names or holds(identifier, formula, target[1]),
    )


def place_of_true(probabilities: np.ndarray, true: int) -> int:
    """Place of the true class, 0 the most probable."""
    return int((probabilities > probabilities[true]).sum())


def probabilities_to_figures(probabilities: np.ndarray, true: np.ndarray) -> dict[str, float]:
    """Shares of right crystal systems (0-1): first, among two, first of those that are the surest; calibration."""
    ranks = np.array([place_of_true(*one) for one in zip(probabilities, true, strict=True)])
    surest = np.argsort(-probabilities.max(axis=1), kind="stable")[: max(1, round(ANSWERED * len(true)))]
    return {
        "top1": float((ranks < 1).mean()),
        "top2": float((ranks < 2).mean()),
        "top1_at_70_percent_answered": float((ranks[surest] < 1).mean()),
        "calibration_error": expected_calibration_error(probabilities, true),
    }


def singles_to_figures(singles: Sequence[Single]) -> dict[str, float]:
    """Shares of single phases that are right (0-1)."""
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
    """How well the evidence for a second phase tells mixtures from single phases."""
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
    features = np.stack([first_lines(table, row, weakest=VISIBLE) for row in range(len(table))])
    trees = ExtraTreesClassifier(n_estimators=TREES, n_jobs=1, random_state=0)
    return trees.fit(features, table.targets["crystal_system"].astype(int))


def other_model_to_figures(model: Path, asked: Sequence[tuple[dict[str, str], Pattern]]) -> dict[str, float]:
    """Shares of right crystal systems of another checkpoint."""
    predictor, ranks = Predictor.load(model), []
    for row, pattern in asked:
        ranked = predictor.predict(pattern, row["formula"], override_coverage=True).crystal_system
        ranks.append([entry.label for entry in ranked].index(row["crystal_system"]))
    return {"top1": float(np.mean(np.array(ranks) < 1)), "top2": float(np.mean(np.array(ranks) < 2))}


def seen_lines(pattern: GriddedPattern) -> np.ndarray:
    """The same features of a measured pattern: sin θ of the first maxima above `VISIBLE`, and their number."""
    maxima, _ = find_peaks(pattern.intensity, height=VISIBLE, prominence=VISIBLE)
    features = np.zeros(LINES + 1, dtype=np.float32)
    first = np.sin(np.radians(pattern.grid.two_theta[maxima[:LINES]] / 2))
    features[: len(first)] = first
    features[LINES] = len(maxima)
    return features


def trees_to_figures(trees: ExtraTreesClassifier, asked: Sequence[tuple[dict[str, str], Pattern]]) -> dict[str, float]:
    """Shares of right crystal systems of the trees."""
    gridded = [put_on_grid(pattern, override_coverage=True) for _, pattern in asked]
    order = np.argsort(-trees.predict_proba([seen_lines(pattern) for pattern in gridded]), axis=1)
    true = np.array([CRYSTAL_SYSTEMS.index(row["crystal_system"]) for row, _ in asked])
    right = trees.classes_[order] == true[:, None]
    return {"trees_top1": float(right[:, 0].mean()), "trees_top2": float(right[:, :2].any(axis=1).mean())}


def read_instrument_files(collection: Path | None) -> dict[str, int | None]:
    """What benchmarks/quality/readers.py finds, where it and a collection of files with their truth are there."""
    script = REPOSITORY / "benchmarks" / "quality" / "readers.py"
    if collection is None or not script.is_file():
        return {"files_right": None, "files_total": None}
    command = [sys.executable, str(script), "--collection", str(collection), "--quick"]
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    last = json.loads(printed.splitlines()[-1])
    return {name: last[name] for name in ("files_right", "files_total")}


def figures_to_lines(figures: dict[str, float | None], others: Mapping[str, Mapping[str, float]]) -> list[str]:
    """The page's tables."""
    lines = ["| crystal system, formula given | right first | among the first two |", "|---|---|---|"]
    answers = {
        "crystal_system": "the shipped model",
        "with_known": "the model and the known materials",
        "trees": "ExtraTrees on the visible lines",
    }
    for name, label in answers.items():
        if f"{name}_top1" in figures:
            lines.append(f"| {label} | {figures[f'{name}_top1']:.0%} | {figures[f'{name}_top2']:.0%} |")
    lines += [f"| {name} | {shares['top1']:.0%} | {shares['top2']:.0%} |" for name, shares in others.items()]
    lines.append("")
    lines.append(
        f"Of the {ANSWERED:.0%} that the model is surest of, {figures['top1_at_70_percent_answered']:.0%} are right. "
        f"Its calibration error is {figures['calibration_error']:.2f}; if its probabilities were true, chance alone "
        f"would make it {figures['calibration_error_by_chance']:.2f} with so few patterns, and above "
        f"{figures['calibration_error_by_chance_at_most']:.2f} in one of twenty such sets. A prediction takes "
        f"{figures['milliseconds_per_pattern']:.0f} ms. With the known materials, "
        f"{figures['with_known_top1_at_70_percent_answered']:.0%} of the surest {ANSWERED:.0%} are right, and the "
        f"calibration error is {figures['with_known_calibration_error']:.2f}."
    )
    lines += ["", "| known material, elements given | right first | among the first five |", "|---|---|---|"]
    lines.append(
        f"| formula and space group, {figures['identify_held']} patterns whose phase the table holds | "
        f"{figures['identify_top1']:.0%} | {figures['identify_top5']:.0%} |"
    )
    if "mixture_auc" in figures:
        lines.append("")
        lines.append(
            f"More than one phase is called likely for {figures['likely_of_mixtures']:.0%} of {figures['mixtures']} "
            f"mixtures whose elements are known, and for {figures['likely_of_single_phases']:.0%} of the single "
            f"phases: area under the ROC curve {figures['mixture_auc']:.3f}."
        )
    if figures["files_total"] is not None:
        lines += ["", f"{figures['files_right']} of {figures['files_total']} files of instruments are read rightly."]
    return lines


def main() -> None:
    """Measure, print, and write the page unless in a hurry."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--labels", type=Path, default=EXAMPLES)
    parser.add_argument("--trees", type=Path, metavar="DATASET")
    parser.add_argument("--collection", type=Path)
    parser.add_argument("--beside", action="append", default=[], metavar="NAME=CHECKPOINT", help="other models")
    parser.add_argument("--quick", action="store_true")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    rows, folder = read_labels(arguments.labels), arguments.labels.parent
    most = QUICK if arguments.quick else None
    asked = [(row, pattern) for row in rows if is_single(row) and (pattern := read_file(row, folder))][:most]
    mixed = [
        (row, elements, pattern)
        for row in rows
        if (elements := mixed_elements(row)) and (pattern := read_file(row, folder))
    ][:most]
    predictor, identifier = Predictor.load(), Identifier.load()
    singles = []
    for row, pattern in asked:
        single = measure_single(row, pattern, predictor, identifier)
        best = single.found.neighbours[0] if single.found.neighbours else None
        places = [place_of_true(one, single.true) + 1 for one in (single.probabilities, single.with_known)]
        print(
            f"{single.formula:14} {single.crystal_system:13} place {places[0]}, with the known materials {places[1]} "
            f"({single.with_known.max():.0%} for the first); identified as "
            f"{best and (best.formula, best.space_group)}, "
            + ("not held" if not single.held else f"place {single.place + 1}" if single.place is not None else "missed")
            + f"; {single.found.mixture and single.found.mixture.sentence}"
        )
        singles.append(single)
    mixtures = []
    for row, elements, pattern in mixed:
        mixtures.append(identifier.identify(pattern, elements=elements))
        print(f"{row['name']:40} {' '.join(elements)}: {mixtures[-1].mixture and mixtures[-1].mixture.sentence}")
    figures: dict[str, float | None] = {**read_instrument_files(arguments.collection), **singles_to_figures(singles)}
    if mixtures:
        figures |= mixtures_to_figures([single.found for single in singles], mixtures)
    if arguments.trees is not None:
        figures |= trees_to_figures(trees_on_visible_lines(read_dataset(arguments.trees)), asked)
    others = {
        name: other_model_to_figures(Path(folder), asked)
        for name, _, folder in (text.partition("=") for text in arguments.beside)
    }
    lines = figures_to_lines(figures, others)
    print("\n".join(lines))
    if not arguments.quick:
        RESULTS.parent.mkdir(parents=True, exist_ok=True)
        head = f"# Measured patterns\n\n{figures['patterns']} measured single phases of `{arguments.labels.name}`, "
        head += "default preparation. Made by `benchmarks/quality/measured.py`.\n\n"
        digest = predictor.checkpoint.about["data_digest"]
        head += provenance_to_line(provenance(table_digest=digest, seeds=[0])) + "\n\n"
        RESULTS.write_text(head + "\n".join(lines) + "\n", encoding="utf-8")
    print(json.dumps({**figures, "beside": others}))


if __name__ == "__main__":
    main()
