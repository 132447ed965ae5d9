"""Does search-match name the phases, weigh them and refine their cells, and how long does it take?

    python benchmarks/quality/search_match.py [--collection FOLDER]    # writes docs/results/search_match.md
    python benchmarks/quality/search_match.py --quick                  # part of the patterns, at most three minutes
    python benchmarks/quality/search_match.py --only cpd --verbose     # one part, pattern by pattern

FOLDER (default: the environment variable XXACT_SHARED_DATA, else ../shared/data) has `experimental/labels.csv` with
measured files as for `benchmarks/quality/measured.py`, `common_phases.csv`, and, optionally, `experimental_dev` with
patterns that must not be redistributed: of these, only totals are written. Right is a match of the formula and the
space group that a pattern is labelled with, or, for mixtures, of the formula.

JSON: `identify_top1`, `identify_top5` and `blind_top1` are shares of the patterns whose phase is in the reference
table; `phases_named` is the share of phases of mixtures found, `wrong_phases` the share of wrong ones above 3 wt% among
those named, `weight_error` the mean absolute error of the CPD round robin [wt%], `false_mixture` the share of single
phases called a mixture, `cell_error_percent` the median error of cell lengths, `common_phases_missing` a number.
A figure is null where its data are missing.
"""

from __future__ import annotations

import os

for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):  # before numpy is imported
    os.environ.setdefault(_name, "1")

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # the repository


import json
import re
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache, partial
from itertools import pairwise
from typing import Any, TypeVar

import numpy as np
from scipy.signal import find_peaks

from benchmarks.harness import (
    EXAMPLES,
    REPOSITORY,
    Figure,
    argument_parser,
    cpu_time,
    figures_to_table,
    finish,
    markdown_table,
    seconds_of,
)
from benchmarks.quality.known_phases import COMMON_PHASES, CPD_WEIGHTS, PUBLISHED_CELLS, SOLID_SOLUTIONS
from benchmarks.quality.measured import is_single, read_file, read_labels
from benchmarks.quality.simulated_series import simulate_heating, write_xy
from xxact_core.compositions.formula import parse_formula
from xxact_core.errors import FormulaError, InputError, StructureError
from xxact_core.patterns.conversions import CU_K_ALPHA
from xxact_core.patterns.pattern import Pattern
from xxact_core.peak_profiles.reference import broaden_sticks
from xxact_core.processing.gridding import put_on_grid
from xxact_core.search_match.certainty import judge_phases, phase_probability
from xxact_core.search_match.identify import Identification, Identifier
from xxact_core.search_match.phases import find_phases
from xxact_core.series.frames import read_frames
from xxact_core.series.phases import find_phases_of_series

SHARED = "XXACT_SHARED_DATA"

SAME = 0.003
"""Largest difference in atomic fractions between two formulas that count as one."""

COUNTED = 0.03
"""Weight fraction above which a wrong phase counts. Source: the target below."""

SEED = 20261129

QUICK_SECONDS = 25.0
"""CPU time for a part with `--quick` [s]."""

QUICK_DEVELOPMENT = 40
"""Development patterns with `--quick`."""

PARTS = ("table", "singles", "mixtures", "cpd", "time", "series", "no match", "alternatives")

THREE_ELEMENTS = {
    "corundum.prn": ("Al", "O", "Si"),
    "zincite.prn": ("Zn", "O", "Ti"),
    "fluorite.prn": ("Ca", "F", "O"),
    "zircon.prn": ("Zr", "Si", "O"),
    "anglesite.csv": ("Pb", "S", "O"),
}
"""Shipped example → the three elements of a timed search."""

FIGURES = {
    "common_phases_missing": Figure("common laboratory phases missing in the table, of 86", at_most=2),
    "identify_top1": Figure("formula and space group first, elements given", "{:.1f} %", 100, at_least=92),
    "identify_top5": Figure("… among the first five", "{:.1f} %", 100, at_least=98),
    "blind_top1": Figure("formula and space group first, without elements", "{:.1f} %", 100, at_least=75),
    "blind_top5": Figure("… among the first five", "{:.1f} %", 100),
    "seconds_three_elements": Figure("search with three elements, CPU time, warm", "{:.2f} s", at_most=0.5),
    "seconds_blind": Figure("search without elements, CPU time, warm", "{:.2f} s", at_most=1),
    "seconds_three_elements_phases": Figure("… with phases, fractions and cells", "{:.2f} s"),
    "seconds_first": Figure("first search without elements in a new process, CPU time", "{:.2f} s"),
    "memory_mb": Figure("memory of the process that searches, peak", "{:.0f} MB", at_most=400),
    "phases_named": Figure(
        "phases of the Dara mixtures named by formula, elements given", "{:.1f} %", 100, at_least=80
    ),
    "phases_named_held": Figure("… of those whose formula is in the table", "{:.1f} %", 100),
    "wrong_phases": Figure("named phases above 3 wt% that are wrong", "{:.1f} %", 100, at_most=10),
    "dara_weight_error": Figure("weight fractions of the weighed Dara mixtures, mean absolute error", "{:.1f} wt%"),
    "seconds_mixture": Figure("phases of a Dara mixture, CPU time, median", "{:.2f} s"),
    "weight_error": Figure("weight fractions of the CPD round robin, mean absolute error", "{:.2f} wt%", at_most=3),
    "weight_error_without_4": Figure("… without sample 4, chosen for its microabsorption", "{:.2f} wt%"),
    "false_mixture": Figure("single phases called a mixture", "{:.1f} %", 100, at_most=5),
    "mixtures_recognised": Figure("mixtures recognised", "{:.1f} %", 100, at_least=92),
    "cell_error_percent": Figure("cell lengths, median error", "{:.3f} %", at_most=0.05),
    "cells_compared": Figure("cell lengths compared"),
    "series_seconds_per_frame": Figure("series, CPU time a frame", "{:.2f} s", at_most=0.3),
    "series_fraction_error": Figure("weight fractions of the simulated series, mean absolute error", "{:.2f} wt%"),
    "series_cell_error_percent": Figure("cell lengths of the simulated series, median error", "{:.3f} %", at_most=0.05),
    "probability_error": Figure("calibration error of the probability of the first match", "{:.3f}"),
    "likely_share": Figure("single phases whose identification is likely, elements given", "{:.1f} %", 100),
    "likely_right": Figure("… of these, the phase is right", "{:.1f} %", 100, at_least=90),
    "no_match_recognised": Figure("“no match” where the formula was taken out of the table", "{:.1f} %", 100),
    "no_match_wrong": Figure("“no match” where the table holds the phase", "{:.1f} %", 100),
}
"""Figures of the page, with their targets."""

T = TypeVar("T", "SinglePhase", "MixedPhases")


# ---- measured patterns and what is known of them


@dataclass(frozen=True, eq=False)
class SinglePhase:
    """A measured pattern of one phase."""

    name: str
    group: str
    """`shared`, or a group of the development patterns."""
    formula: str
    space_group: int
    pattern: Pattern

    @property
    def elements(self) -> tuple[str, ...]:
        """Elements of the formula."""
        return parse_formula(self.formula).symbols

    @property
    def pure(self) -> bool:
        """Whether the specimen is one phase as far as known; clays often hold an internal standard or an impurity."""
        return self.group != "clay laboratory"


@dataclass(frozen=True, eq=False)
class MixedPhases:
    """A measured pattern of a mixture of known phases."""

    name: str
    group: str
    weights: dict[str, float]
    """Formula → weighed fraction (0-1)."""
    pattern: Pattern

    @property
    def elements(self) -> tuple[str, ...]:
        """Elements of all phases."""
        return tuple(sorted({symbol for formula in self.weights for symbol in parse_formula(formula).symbols}))


@dataclass(frozen=True)
class NamedPhase:
    """A phase that the search names."""

    formula: str
    space_group: int | None
    weight: float | None
    """Weight fraction (0-1)."""
    cell: tuple[float, ...]
    """a, b, c [Å], α, β, γ [deg]."""


@dataclass(frozen=True)
class Answer:
    """What a search says of a pattern."""

    ranked: tuple[tuple[str, int | None], ...]
    """Formula and space group of the matches, best first."""
    phases: tuple[NamedPhase, ...]
    """Empty where no phases were asked for."""
    verdict: str | None
    """`single`, `mixture` or `no match`; None where no phases were asked for."""
    probability: float | None
    """Of the first match."""
    certainty: str | None
    """`likely`, `uncertain` or `no match`; None where no phases were asked for."""
    seconds: float
    """CPU time."""

    def rank(self, formula: str, space_group: int) -> int | None:
        """Rank of a phase, 0 the best; None where it is not among the matches."""
        places = (
            place
            for place, (other, group) in enumerate(self.ranked)
            if group == space_group and same_formula(other, formula)
        )
        return next(places, None)

    def named(self, formula: str) -> bool:
        """Whether a phase of this formula is named."""
        return any(same_formula(phase.formula, formula) for phase in self.phases)


def read_singles(collection: Path | None, development: Path | None) -> list[SinglePhase]:
    """Single phases of the collection (of the shipped examples without one) and of the development patterns."""
    labels = EXAMPLES / "examples.csv" if collection is None else collection / "experimental" / "labels.csv"
    found = [
        SinglePhase(row["name"], "shared", row["formula"], int(row["space_group"]), pattern)
        for row in read_labels(labels)
        if is_single(row) and row["space_group"] and (pattern := read_file(row, labels.parent))
    ]
    if development is None:
        return found
    with np.load(development / "patterns.npz") as patterns:
        for row in read_labels(development / "labels.csv"):
            if row["formula_known"] == "yes" and row["space_group"]:
                two_theta, intensity = patterns[row["id"]]
                pattern = Pattern(two_theta, intensity, wavelength=CU_K_ALPHA, name=row["id"])
                found.append(SinglePhase(row["id"], row["group"], row["formula"], int(row["space_group"]), pattern))
    return found


def read_mixtures(collection: Path) -> list[MixedPhases]:
    """Weighed mixtures and equal weights of the Dara project, and the CPD round robin."""
    labels = collection / "experimental" / "labels.csv"
    found = []
    for row in read_labels(labels):
        group, weights = "", {}
        if row["path"].startswith("dara/") and "weighed mixture" in row["notes"]:
            group = "weighed"
            parts = re.findall(r"([A-Z][A-Za-z0-9()]*)_0p([0-9]+)", row["name"])
            weights = {formula: float(f"0.{digits}") for formula, digits in parts}
        elif row["path"].startswith("dara_precursors/"):
            group = "equal weights"
            # A polymorph is named after its formula, as in Bi2O3-beta; water, as in NaAlO2-1.5H2O.
            names = [re.sub(r"-(alpha|beta)$", "", part) for part in row["name"].split("+")]
            formulas = [re.sub(r"^(\w+)-([0-9.]+)H2O$", r"\1(H2O)\2", name) for name in names]
            weights = dict.fromkeys(formulas, 1 / len(formulas))
        elif (stem := Path(row["path"]).stem) in CPD_WEIGHTS:
            group = "CPD"
            weights = {formula: percent / 100 for formula, percent in CPD_WEIGHTS[stem].items()}
        pattern = read_file(row, labels.parent) if weights else None
        if pattern is not None:
            found.append(MixedPhases(Path(row["path"]).stem, group, weights, pattern))
    return found


@cache
def fractions(formula: str) -> dict[str, float]:
    """Atomic fractions; empty where the formula cannot be read."""
    try:
        composition = parse_formula(formula)
    except FormulaError:
        return {}
    return dict(zip(composition.symbols, map(float, composition.fractions), strict=True))


def same_formula(one: str, other: str, *, tolerance: float = SAME) -> bool:
    """Whether two formulas are the same composition."""
    mine, theirs = fractions(one), fractions(other)
    return (
        bool(mine)
        and mine.keys() == theirs.keys()
        and all(abs(mine[symbol] - theirs[symbol]) <= tolerance for symbol in mine)
    )


# ---- search


def rows_of(identifier: Identifier, formula: str, *, tolerance: float = SAME) -> list[int]:
    """Rows of the reference table with a formula."""
    references = identifier.references
    elements = set(parse_formula(formula).symbols)
    rows = [int(row) for row in references.rows_within(elements) if set(references.symbols(int(row))) == elements]
    return [row for row in rows if same_formula(references.formula(row), formula, tolerance=tolerance)]


def holds(identifier: Identifier, formula: str, space_groups: Sequence[int], *, tolerance: float = SAME) -> bool:
    """Whether the reference table has a phase of this formula and one of these space groups."""
    for row in rows_of(identifier, formula, tolerance=tolerance):
        try:
            if identifier.references.symmetry(row)[0] in space_groups:
                return True
        except StructureError:
            continue
    return False


def ask(identifier: Identifier, pattern: Pattern, elements: Iterable[str] | None, *, phases: bool = True) -> Answer:
    """Search, find the phases unless told otherwise, and put the answer into the terms of this benchmark."""
    began = cpu_time()
    found = identifier.identify(pattern, elements=elements)
    told: dict[str, Any] = found.to_dict() if phases else {}
    seconds = cpu_time() - began
    return Answer(
        ranked=tuple((match.formula, match.space_group) for match in found.matches),
        phases=tuple(
            NamedPhase(phase["formula"], phase["space_group"], phase["weight_fraction"], tuple(phase["cell"]))
            for phase in told.get("phases", ())
        ),
        verdict=told.get("verdict"),
        probability=found.matches[0].probability if found.matches else None,
        certainty=certainty_of(found) if phases else None,
        seconds=seconds,
    )


def certainty_of(found: Identification) -> str:
    """How sure the phases of an identification are, without a model."""
    probabilities = [
        phase_probability(
            phase.probability, phase.formula, phase.space_group,
            matches=found.matches, verdict=found.verdict, no_match=found.no_match_probability,
        )
        for phase in found.phases
    ]  # fmt: skip
    return judge_phases(found.verdict, probabilities, found.unexplained_fraction, restricted=bool(found.elements))[0]


def names_phase(answer: Answer, phase: SinglePhase) -> bool:
    """Whether the phase of largest weight fraction has the formula and the space group of a pattern."""
    first = answer.phases[0] if answer.phases else None
    return first is not None and first.space_group == phase.space_group and same_formula(first.formula, phase.formula)


# ---- parts


class Stopwatch:
    """Items of a part, in random order and only until the time of the part is used where times are limited."""

    def __init__(self, *, quick: bool, verbose: bool, seconds: float | None) -> None:
        """`seconds`: CPU time that a part may take; `quick`: fewer items, too; `verbose`: print each item."""
        self.quick, self.verbose, self.seconds = quick, verbose, seconds

    def within(self, items: Sequence[T], *, parts: float = 1.0) -> Iterator[T]:
        """The items that there is time for, at least one; a part may take `parts` times as long as others."""
        if self.seconds is not None:
            items = [items[index] for index in np.random.default_rng(SEED).permutation(len(items))]
        began = cpu_time()
        for item in items:
            yield item
            if self.seconds is not None and cpu_time() - began > parts * self.seconds:
                return

    def say(self, text: str) -> None:
        """Print to stderr with `--verbose`."""
        if self.verbose:
            print(text, file=sys.stderr, flush=True)


def measure_table(identifier: Identifier, collection: Path | None) -> tuple[dict[str, Any], str]:
    """Common phases in the table, with the right polymorph."""
    if collection is None:
        return {"common_phases_missing": None}, ""
    missing = [
        f"{row['name']} ({row['formula']})"
        for row in read_labels(collection / "common_phases.csv")
        if not holds(
            identifier,
            row["formula"],
            COMMON_PHASES[row["name"]],
            tolerance=SOLID_SOLUTIONS.get(row["name"], SAME),
        )
    ]
    told = f"Missing: {', '.join(missing)}." if missing else "None is missing."
    return {"common_phases_missing": len(missing), "missing": missing}, told


@dataclass(frozen=True)
class Searched:
    """A single phase and the answers."""

    phase: SinglePhase
    held: bool
    given: Answer
    """Elements given."""
    blind: Answer | None
    """Without elements."""


def measure_singles(
    identifier: Identifier, phases: Sequence[SinglePhase], watch: Stopwatch
) -> tuple[dict[str, Any], str]:
    """Ranks with and without elements, verdicts, cells, and the calibration of probabilities."""
    if watch.quick:
        others = [phase for phase in phases if phase.group != "shared"]
        chosen = np.random.default_rng(SEED).permutation(len(others))[:QUICK_DEVELOPMENT]
        phases = [*(phase for phase in phases if phase.group == "shared"), *(others[index] for index in chosen)]
    found = []
    for phase in watch.within(phases, parts=2.5):
        held = holds(identifier, phase.formula, [phase.space_group])
        try:
            given = ask(identifier, phase.pattern, phase.elements)
            blind = ask(identifier, phase.pattern, None, phases=False) if held else None
        except InputError as error:
            print(f"skipped: {phase.name}: {error}", file=sys.stderr)
            continue
        found.append(Searched(phase, held, given, blind))
        target = (phase.formula, phase.space_group)
        ranks = (given.rank(*target), blind and blind.rank(*target))
        watch.say(
            f"{phase.group:16} {phase.formula:24} {phase.space_group:4} {'held' if held else 'not held':9} "
            f"ranks {ranks}, {given.verdict}, {given.ranked[:1]}, blind {blind and blind.ranked[:1]}, "
            f"{given.seconds:.2f} s, blind {blind and round(blind.seconds, 2)} s"
        )
    figures: dict[str, Any] = {**ranks_to_figures([one for one in found if one.held])}
    likely = [one for one in found if one.given.certainty == "likely"]
    figures["likely_share"] = share(one.given.certainty == "likely" for one in found)
    figures["likely_right"] = share(names_phase(one.given, one.phase) for one in likely)
    rows = []
    for label, chosen in (
        ("all", found),
        ("shared", [one for one in found if one.phase.group == "shared"]),
        ("development", [one for one in found if one.phase.group != "shared"]),
    ):
        part = ranks_to_figures([one for one in chosen if one.held])
        verdicts = [one.given.verdict for one in chosen if one.phase.pure]
        false = share(verdict == "mixture" for verdict in verdicts if verdict)
        if chosen:
            names = ("identify_top1", "identify_top5", "blind_top1", "blind_top5")
            numbers = [percent(part[name]) for name in names]
            rows.append([label, str(len(chosen)), str(part["held"]), *numbers, percent(false)])
        figures |= {f"{label}_{name}": value for name, value in part.items() if label != "all"}
        figures["false_mixture" if label == "all" else f"{label}_false_mixture"] = false
    text = markdown_table(
        [
            "single phases", "patterns", "held", "first, elements given", "first five", "first, without elements",
            "first five", "called a mixture",
        ],
        rows,
    )  # fmt: skip
    held = [one for one in found if one.held]
    figures["no_match_wrong"] = share(one.given.verdict == "no match" for one in held if one.given.verdict)
    calibration, table = probabilities_to_figures(held)
    cells, table_of_cells = cells_to_figures(found)
    return {**figures, **calibration, **cells}, "\n\n".join(part for part in (text, table, table_of_cells) if part)


def ranks_to_figures(held: Sequence[Searched]) -> dict[str, Any]:
    """Shares of right first matches, and of right ones among five."""
    figures: dict[str, Any] = {"held": len(held)}
    for name, answers in (
        ("identify", [(one, one.given) for one in held]),
        ("blind", [(one, one.blind) for one in held if one.blind is not None]),
    ):
        ranks = [answer.rank(one.phase.formula, one.phase.space_group) for one, answer in answers]
        figures |= {f"{name}_top{most}": share(rank is not None and rank < most for rank in ranks) for most in (1, 5)}
    return figures


def probabilities_to_figures(held: Sequence[Searched]) -> tuple[dict[str, Any], str]:
    """Calibration of the probability of the first match, elements given and without."""
    pairs = [
        (answer.probability, answer.rank(one.phase.formula, one.phase.space_group) == 0)
        for one in held
        for answer in (one.given, one.blind)
        if answer is not None and answer.probability is not None
    ]
    if not pairs:
        return {"probability_error": None}, ""
    stated, right = (np.array(values, dtype=float) for values in zip(*pairs, strict=True))
    edges = [0, 0.25, 0.5, 0.75, 0.9, 1.0]
    rows, error = [], 0.0
    for low, high in pairwise(edges):
        inside = (stated >= low) & ((stated < high) | (high == edges[-1]))
        if inside.any():
            error += inside.mean() * abs(stated[inside].mean() - right[inside].mean())
            rows.append(
                [
                    f"{low:g}-{high:g}",
                    str(int(inside.sum())),
                    f"{stated[inside].mean():.2f}",
                    f"{right[inside].mean():.2f}",
                ]
            )
    table = markdown_table(["probability of the first match", "searches", "mean", "right"], rows)
    return {"probability_error": float(error)}, table


def cells_to_figures(found: Sequence[Searched]) -> tuple[dict[str, Any], str]:
    """Errors of the cell lengths of single phases with a published cell."""
    rows, errors = [], []
    for one in found:
        key = (one.phase.formula, one.phase.space_group)
        if key not in PUBLISHED_CELLS or one.phase.group != "shared":
            continue
        published = PUBLISHED_CELLS[key]
        named = [phase for phase in one.given.phases if same_formula(phase.formula, key[0])]
        if not named:
            rows.append([one.phase.name, key[0], "not named", "", published.source])
            continue
        lengths = distinct_lengths(named[0].cell)
        shown = [" ".join(f"{length:.4f}" for length in values) for values in (lengths, published.lengths)]
        if len(lengths) != len(published.lengths):
            rows.append([one.phase.name, key[0], shown[0], "another cell", published.source])
            errors += [np.inf] * len(published.lengths)
            continue
        relative = [100 * (mine / theirs - 1) for mine, theirs in zip(lengths, published.lengths, strict=True)]
        errors += [abs(value) for value in relative]
        rows.append(
            [one.phase.name, key[0], shown[0], " ".join(f"{value:+.3f}" for value in relative), published.source]
        )
    if not rows:
        return {"cell_error_percent": None, "cells_compared": 0}, ""
    table = markdown_table(["cell of", "formula", "refined a b c [Å]", "error [%]", "published in"], rows)
    return {
        "cell_error_percent": float(np.median(errors)) if errors else None,
        "cells_compared": len(errors),
        "cells_not_named": sum(row[2] == "not named" for row in rows),
    }, table


def distinct_lengths(cell: Sequence[float]) -> list[float]:
    """The different lengths of a cell, ascending; those equal to 1e-5 count once."""
    found: list[float] = []
    for length in sorted(cell[:3]):
        if not found or length > found[-1] * (1 + 1e-5):
            found.append(length)
    return found


def measure_mixtures(
    identifier: Identifier, mixtures: Sequence[MixedPhases], watch: Stopwatch
) -> tuple[dict[str, Any], str]:
    """Phases of the Dara mixtures named, wrong phases, and mixtures recognised."""
    answers: list[tuple[MixedPhases, Answer]] = []
    held: dict[str, bool] = {}
    for mixture in watch.within(mixtures, parts=1.5):
        answer = ask(identifier, mixture.pattern, mixture.elements)
        answers.append((mixture, answer))
        held |= {formula: bool(rows_of(identifier, formula)) for formula in mixture.weights if formula not in held}
        shown = [
            f"{phase.formula} {phase.space_group} {phase.weight:.2f}"
            for phase in answer.phases
            if phase.weight is not None
        ]
        missed = [formula for formula in mixture.weights if not answer.named(formula)]
        watch.say(
            f"{mixture.group:14} {mixture.name:48} {answer.verdict}: {shown}; missed {missed}; {answer.seconds:.2f} s"
        )
    figures: dict[str, Any] = {}
    rows = []
    for group in ("weighed", "equal weights", "all"):
        part = [(mixture, answer) for mixture, answer in answers if group in (mixture.group, "all")]
        part_figures = mixtures_to_figures(part, held)
        if part:
            names = ("phases_named", "phases_named_held", "wrong_phases", "mixtures_recognised")
            rows.append([group, str(len(part)), *(percent(part_figures[name]) for name in names)])
        key = {"weighed": "weighed_", "equal weights": "equal_", "all": ""}[group]
        figures |= {f"{key}{name}": value for name, value in part_figures.items()}
    errors = [
        error for mixture, answer in answers if mixture.group == "weighed" for error in weight_errors(mixture, answer)
    ]
    figures["dara_weight_error"] = float(np.mean(errors)) if errors else None
    figures["seconds_mixture"] = float(np.median([answer.seconds for _, answer in answers])) if answers else None
    missed_formulas = sorted(formula for formula, known in held.items() if not known)
    text = markdown_table(
        ["Dara mixtures", "scans", "phases named", "… of those held", "wrong above 3 wt%", "called a mixture"], rows
    )
    if missed_formulas:
        text += f"\n\nThe table has no entry of {', '.join(missed_formulas)}."
    return figures, text


def mixtures_to_figures(part: Sequence[tuple[MixedPhases, Answer]], held: dict[str, bool]) -> dict[str, Any]:
    """Shares of phases named, of wrong phases, and of scans called a mixture."""
    named = [(formula, answer.named(formula)) for mixture, answer in part for formula in mixture.weights]
    told = [
        any(same_formula(phase.formula, formula) for formula in mixture.weights)
        for mixture, answer in part
        for phase in answer.phases
        if phase.weight is None or phase.weight > COUNTED
    ]
    return {
        "phases_named": share(found for _, found in named),
        "phases_named_held": share(found for formula, found in named if held[formula]),
        "wrong_phases": share(not right for right in told),
        "mixtures_recognised": share(answer.verdict == "mixture" for _, answer in part if answer.verdict),
    }


def weight_errors(mixture: MixedPhases, answer: Answer) -> list[float]:
    """Absolute errors of the weight fractions [wt%]; a phase that is not named counts as 0."""
    return [
        100 * abs(weighed - sum(phase.weight or 0 for phase in answer.phases if same_formula(phase.formula, formula)))
        for formula, weighed in mixture.weights.items()
    ]


def measure_cpd(
    identifier: Identifier, mixtures: Sequence[MixedPhases], watch: Stopwatch
) -> tuple[dict[str, Any], str]:
    """Weight fractions of the CPD round robin."""
    rows, errors = [], {}
    for mixture in watch.within(mixtures, parts=2):
        answer = ask(identifier, mixture.pattern, mixture.elements)
        errors[mixture.name] = weight_errors(mixture, answer)
        found = ", ".join(f"{phase.formula} {100 * (phase.weight or 0):.1f}" for phase in answer.phases)
        weighed = ", ".join(f"{formula} {100 * weight:.1f}" for formula, weight in mixture.weights.items())
        rows.append([mixture.name, weighed, found, f"{np.mean(errors[mixture.name]):.2f}"])
        watch.say(" | ".join(rows[-1]))
    rows.sort()
    every = [error for values in errors.values() for error in values]
    others = [error for name, values in errors.items() if name != "cpd-4" for error in values]
    return {
        "weight_error": float(np.mean(every)) if every else None,
        "weight_error_without_4": float(np.mean(others)) if others else None,
    }, markdown_table(["sample", "weighed [wt%]", "found [wt%]", "mean absolute error"], rows)


MEMORY_AND_FIRST_SEARCH = """
import json, re, time
began = time.process_time()
from xxact_core import Identifier, example_path, read_pattern
pattern = read_pattern(example_path("corundum.prn"), wavelength="CuKa")
identifier = Identifier.load()
loaded = time.process_time()
identifier.identify(pattern)
searched = time.process_time()
identifier.identify(pattern, elements=["Al", "O", "Si"]).to_dict()
peak = re.search(r"VmHWM:\\s*([0-9]+) kB", open("/proc/self/status").read())
print(json.dumps([loaded - began, searched - loaded, int(peak[1]) / 1024]))
"""
"""Run in a new process; `ru_maxrss` would count the memory of this one, too, which starts it."""


def measure_time(identifier: Identifier, watch: Stopwatch) -> tuple[dict[str, Any], str]:
    """Time of a warm search with three elements and without, and time and memory of a new process."""
    labels = {row["file"]: row for row in read_labels(EXAMPLES / "examples.csv")}
    patterns = {name: read_file(labels[name], EXAMPLES) for name in THREE_ELEMENTS}
    given, blind, with_phases = [], [], []
    for name, elements in list(THREE_ELEMENTS.items())[: 3 if watch.quick else None]:
        pattern = patterns[name]
        assert pattern is not None, name
        for seconds, wanted in ((given, elements), (blind, None)):
            search = partial(identifier.identify, pattern, elements=wanted)
            search()
            seconds.append(min(seconds_of(search, clock=cpu_time) for _ in range(2)))
        with_phases.append(ask(identifier, pattern, elements).seconds)
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    run = subprocess.run(
        [sys.executable, "-c", MEMORY_AND_FIRST_SEARCH], env=environment, check=True, stdout=subprocess.PIPE, text=True
    )
    loading, first, memory = json.loads(run.stdout)
    figures = {
        "seconds_three_elements": float(np.median(given)),
        "seconds_blind": float(np.median(blind)),
        "seconds_three_elements_phases": float(np.median(with_phases)),
        "seconds_loading": loading,
        "seconds_first": first,
        "memory_mb": memory,
    }
    return figures, f"Imports and reading of the reference table take {loading:.1f} s of CPU time in a new process."


def measure_series(identifier: Identifier, watch: Stopwatch) -> tuple[dict[str, Any], str]:
    """Time, fractions and cells of a simulated heating series of 100 patterns, from the files to the result."""
    truth = simulate_heating(np.linspace(25, 1015, 20 if watch.quick else 100).tolist(), seed=SEED)
    with tempfile.TemporaryDirectory() as scratch:
        for frame in truth:
            write_xy(frame.pattern, Path(scratch) / f"{frame.pattern.name}.xy")
        began = cpu_time()
        references, index = identifier.references, identifier.index
        series = find_phases_of_series(
            read_frames(Path(scratch), by="temperature", wavelength="CuKa1"),
            lambda pattern, *, rows, start: find_phases(
                pattern, references, rows=rows, elements=["Ca", "C", "O"], index=index, start=start
            ),
        )
        seconds = (cpu_time() - began) / len(truth)
    errors, relative = [], []
    for frame, result in zip(truth, series.results, strict=True):
        found = [(phase.formula, round(phase.weight_fraction, 3)) for phase in result.phases]
        watch.say(f"{frame.temperature:.0f} °C, {frame.calcite:.3f} calcite: {found} {result.error}")
        for formula, weight in (("CaCO3", frame.calcite), ("CaO", 1 - frame.calcite)):
            mine = [phase for phase in result.phases if same_formula(phase.formula, formula)]
            errors.append(100 * abs(sum(phase.weight_fraction for phase in mine) - weight))
            true, lengths = sorted(set(frame.cells[formula])), distinct_lengths(mine[0].cell) if mine else []
            if weight > 2 * COUNTED and len(lengths) == len(true):
                relative += [abs(one / other - 1) for one, other in zip(lengths, true, strict=True)]
    figures = {
        "series_seconds_per_frame": seconds,
        "series_fraction_error": float(np.mean(errors)),
        "series_cell_error_percent": float(100 * np.median(relative)) if relative else None,
    }
    changes = "; ".join(series.changes()) or "no changes found"
    return figures, f"Series: {len(truth)} simulated patterns of calcite that decomposes to lime: {changes}."


class WithoutFormula:
    """A reference database without the phases of one formula."""

    def __init__(self, references: Any, formula: str) -> None:  # noqa: ANN401 - whatever the identifier has
        """Hide the phases of `formula` of `references`."""
        self._references = references
        self._formula = formula

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - any attribute of the database
        """Everything else is that of the database."""
        return getattr(self._references, name)

    def __len__(self) -> int:
        """Number of phases of the database, hidden ones included: rows keep their numbers."""
        return len(self._references)

    def rows_within(self, *elements: Any, **states: Any) -> np.ndarray:  # noqa: ANN401 - as of the database
        """Rows within these elements whose formula is another."""
        rows = self._references.rows_within(*elements, **states)
        kept = [row for row in rows if not same_formula(self._references.formula(int(row)), self._formula)]
        return np.array(kept, dtype=rows.dtype)


def measure_no_match(
    identifier: Identifier, phases: Sequence[SinglePhase], watch: Stopwatch
) -> tuple[dict[str, Any], str]:
    """How often “no match” is answered where the formula was taken out of the table, elements given."""
    verdicts = []
    for phase in watch.within(phases[::2]):
        if not holds(identifier, phase.formula, [phase.space_group]):
            continue
        without = Identifier(WithoutFormula(identifier.references, phase.formula))
        try:
            answer = ask(without, phase.pattern, phase.elements)
        except InputError as error:
            print(f"skipped: {phase.name}: {error}", file=sys.stderr)
            continue
        if answer.verdict is not None:
            verdicts.append(answer.verdict)
        watch.say(f"without {phase.formula}: {answer.verdict}, {answer.ranked[:1]}, {answer.probability}")
    return {"no_match_recognised": share(verdict == "no match" for verdict in verdicts)}, ""


# ---- what one would use otherwise

STRONGEST = 8
"""Lines of a card that are compared, as in the search by Hanawalt, Rinn & Frevel (1938)."""

WINDOW = 0.15
"""Largest distance of a line from a peak [deg 2θ]."""

SCALES = np.arange(-0.03, 0.011, 0.005)
"""Relative changes of the cell that both alternatives try, because calculated cells are 1 % too large."""


def measure_alternatives(
    identifier: Identifier, phases: Sequence[SinglePhase], watch: Stopwatch
) -> tuple[dict[str, Any], str]:
    """The same candidates ranked by their strongest lines, and by the cosine similarity of simulated patterns."""
    references = identifier.references
    ranks: dict[str, list[int | None]] = {"search-match": [], "strongest lines": [], "cosine similarity": []}
    times: dict[str, list[float]] = {name: [] for name in ranks}
    shared = [phase for phase in phases if phase.group == "shared"][::3]
    for phase in watch.within(shared, parts=1.5):
        if not holds(identifier, phase.formula, [phase.space_group]):
            continue
        sticks, labels = [], []
        for row in map(int, references.rows_within(phase.elements)):
            try:
                sticks.append(references.sticks(row))
                labels.append((references.formula(row), references.symmetry(row)[0]))
            except StructureError:
                continue
        gridded = put_on_grid(phase.pattern, override_coverage=True)
        began = cpu_time()
        lines = [_card_agreement(gridded.intensity, gridded.grid.two_theta, one) for one in sticks]
        times["strongest lines"].append(cpu_time() - began)
        began = cpu_time()
        cosine = [_cosine_similarity(gridded.intensity, one) for one in sticks]
        times["cosine similarity"].append(cpu_time() - began)
        answer = ask(identifier, phase.pattern, phase.elements)
        times["search-match"].append(answer.seconds)
        ranks["search-match"].append(answer.rank(phase.formula, phase.space_group))
        for name, scores in (("strongest lines", lines), ("cosine similarity", cosine)):
            ordered = list(
                dict.fromkeys(labels[index] for index in np.argsort([-score for score in scores], kind="stable"))
            )
            places = (
                place
                for place, (formula, group) in enumerate(ordered)
                if group == phase.space_group and same_formula(formula, phase.formula)
            )
            ranks[name].append(next(places, None))
    if not ranks["search-match"]:
        return {}, ""
    rows, figures = [], {}
    for name, places in ranks.items():
        first, five = (share(place is not None and place < most for place in places) for most in (1, 5))
        seconds = float(np.median(times[name]))
        rows.append([name, percent(first), percent(five), f"{seconds:.2f} s"])
        figures |= {f"{name}_top1": first, f"{name}_top5": five, f"{name}_seconds": seconds}
    body = markdown_table(["elements given, the same candidates", "first", "first five", "CPU time"], rows)
    return {"alternatives": figures}, (
        f"{body}\n\nThe alternatives rank {len(ranks['search-match'])} single phases by the {STRONGEST} strongest "
        "lines of calculated cards (a Hanawalt search) and by the cosine similarity of simulated patterns with the "
        "measured one, the better of several cell scales each; calculating the reflections is not in their time."
    )


def _card_agreement(intensity: np.ndarray, two_theta: np.ndarray, sticks: Any) -> float:  # noqa: ANN401 - Sticks
    """Share of the intensity of the strongest lines at which there is a peak, at the best cell scale."""
    peaks = two_theta[find_peaks(intensity, height=1.0, prominence=1.0)[0]]
    order = np.argsort(-sticks.intensity)[:STRONGEST]
    sines, heights = np.sin(np.radians(sticks.two_theta[order] / 2)), sticks.intensity[order]
    best = 0.0
    for scale in SCALES if peaks.size else ():
        angles = 2 * np.degrees(np.arcsin(np.clip(sines / (1 + scale), 0, 1)))
        inside = (angles > two_theta[0]) & (angles < two_theta[-1])
        near = np.abs(angles[:, None] - peaks).min(axis=1) < WINDOW
        if inside.any():
            best = max(
                best, float((heights * near * inside).sum() / (heights * inside).sum() - 0.1 * abs(scale + 0.01))
            )
    return best


def _cosine_similarity(intensity: np.ndarray, sticks: Any) -> float:  # noqa: ANN401 - Sticks
    """Cosine of the angle between measured and simulated pattern, at the best cell scale."""
    best = 0.0
    sines = np.sin(np.radians(sticks.two_theta / 2))
    for scale in SCALES:
        angles = 2 * np.degrees(np.arcsin(np.clip(sines / (1 + scale), 0, 1)))
        try:
            simulated = broaden_sticks(replace(sticks, two_theta=angles)).intensity
        except InputError:
            continue
        best = max(best, float(simulated @ intensity / np.sqrt((simulated @ simulated) * (intensity @ intensity))))
    return best


# ---- page


def part_of(patterns: Sequence[T], part: float) -> list[T]:
    """A share of the patterns, chosen at random; the shared single phases and the CPD round robin stay complete."""
    kept = np.random.default_rng(SEED).random(len(patterns)) < part
    return [one for one, chosen in zip(patterns, kept, strict=True) if chosen or one.group in ("shared", "CPD")]


def share(right: Iterable[bool]) -> float | None:
    """Fraction of true values (0-1); None of none."""
    values = list(right)
    return float(np.mean(values)) if values else None


def percent(value: float | None) -> str:
    """A share as text."""
    return "-" if value is None else f"{value:.1%}"


def main() -> None:
    """Measure, print, and write the page unless --quick is given."""
    parser = argument_parser(__doc__)
    default = Path(os.environ.get(SHARED, REPOSITORY.parent / "shared" / "data"))
    parser.add_argument("--collection", type=Path, default=default, help="measured patterns and their labels")
    parser.add_argument(
        "--development", type=Path, help="patterns for development alone (default: experimental_dev of the collection)"
    )
    parser.add_argument("--reference", type=Path, help="another reference table")
    parser.add_argument("--only", action="append", choices=PARTS, help="only this part; writes nothing")
    parser.add_argument(
        "--share", type=float, default=1.0, help="share of the patterns to measure, chosen at random (default: 1)"
    )
    parser.add_argument(
        "--seconds",
        type=float,
        help="CPU time for each part, as far as which patterns are measured in random order [s]",
    )
    parser.add_argument("--verbose", action="store_true", help="print the outcome for each pattern")
    arguments = parser.parse_args()
    collection = arguments.collection if (arguments.collection / "experimental" / "labels.csv").is_file() else None
    development = arguments.development or arguments.collection / "experimental_dev"
    development = development if (development / "labels.csv").is_file() else None
    seconds = arguments.seconds or (QUICK_SECONDS if arguments.quick else None)
    watch = Stopwatch(quick=arguments.quick, verbose=arguments.verbose, seconds=seconds)
    identifier = Identifier.load(arguments.reference)
    phases = part_of(read_singles(collection, development), arguments.share)
    mixtures = part_of(read_mixtures(collection) if collection else [], arguments.share)
    dara = [mixture for mixture in mixtures if mixture.group != "CPD"]
    cpd = [mixture for mixture in mixtures if mixture.group == "CPD"]
    parts: dict[str, Callable[[], tuple[dict[str, Any], str]]] = {
        "table": lambda: measure_table(identifier, collection),
        "singles": lambda: measure_singles(identifier, phases, watch),
        "mixtures": lambda: measure_mixtures(identifier, dara, watch),
        "cpd": lambda: measure_cpd(identifier, cpd, watch),
        "time": lambda: measure_time(identifier, watch),
        "series": lambda: measure_series(identifier, watch),
        "no match": lambda: measure_no_match(identifier, phases, watch),
        "alternatives": lambda: measure_alternatives(identifier, phases, watch),
    }
    figures: dict[str, Any] = dict.fromkeys(FIGURES)
    texts = []
    for name, measure in parts.items():
        if arguments.only and name not in arguments.only:
            continue
        if arguments.quick and not arguments.only and name in ("no match", "alternatives"):
            continue
        began = time.perf_counter()
        found, text = measure()
        figures |= found
        texts.append(text)
        watch.say(f"{name}: {time.perf_counter() - began:.0f} s")
    finish(
        __file__,
        "\n\n".join([figures_to_table(figures, FIGURES), *(text for text in texts if text)]),
        figures,
        quick=arguments.quick or bool(arguments.only),
        title="Search-match",
        introduction=f"{'Part of ' if seconds else ''}{len(phases)} measured single phases and {len(dara)} scans of "
        f"mixtures, the CPD round robin, and a reference table of {len(identifier.references):,} phases; elements "
        "given are those of the specimen.",
        data_digest=identifier.references.digest,
        seed=SEED,
    )


if __name__ == "__main__":
    main()
