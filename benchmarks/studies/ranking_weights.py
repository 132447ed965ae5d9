"""How likely is a reference phase, given its fit and its properties, and how likely that the table lacks the phase?

    python benchmarks/studies/ranking_weights.py [--collection FOLDER] [--found FILE] [--reference TABLE]
    python benchmarks/studies/ranking_weights.py --quick    # on some patterns, writes nothing

The answer are the constants `FIT_WEIGHTS`, `FIT_WEIGHTS_OF_ALL`, `NO_MATCH` and `NO_MATCH_OF_ALL` of
`xxact_core.search_match.plausibility`, to be fitted again whenever fits or the reference table change. FOLDER has
measured single phases as for `benchmarks/quality/search_match.py`. Each pattern is searched for with its elements
given and without; the weights maximise the likelihood of the phase that it is labelled with. Where the table has the
phase, it is also taken out, for the probability that the table lacks a phase. All figures are of patterns whose
formulas were left out of the fit (five parts). Fitted phases are stored in FILE, so that an interrupted run continues.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # the repository

import hashlib
import json
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.optimize import minimize
from sklearn.metrics import roc_auc_score

from benchmarks.harness import REPOSITORY, argument_parser, finish, markdown_table
from benchmarks.quality.search_match import SHARED, SinglePhase, read_singles, same_formula
from xxact_core.errors import InputError
from xxact_core.processing.gridding import put_on_grid
from xxact_core.search_match.element_states import parse_element_states
from xxact_core.search_match.fit import pattern_to_distribution
from xxact_core.search_match.identify import Identifier
from xxact_core.search_match.plausibility import (
    FIT_WEIGHTS,
    FIT_WEIGHTS_OF_ALL,
    NO_MATCH,
    NO_MATCH_OF_ALL,
    NoMatchWeights,
    PlausibilityWeights,
    best_of_each,
    no_match_features,
)

FOUND = REPOSITORY / "build" / "ranking_weights.jsonl"
FOLDS = 5
RIDGE = 1e-3
"""Penalty on squared weights. Ours."""

HELD = 0.8
"""Share of specimens whose phase the table is assumed to have, on which the probability of no match depends. Ours."""

DOUBT = 0.05
"""Probability that a label or a reference structure is wrong, so that no single pattern decides the weights. Ours."""

QUICK = 12


@dataclass(frozen=True, eq=False)
class Case:
    """The fitted phases of one pattern; `right` is all False where the table lacks the phase or it was not fitted."""

    formula: str
    features: np.ndarray
    keys: list[tuple[str, int | None]]
    right: np.ndarray

    @property
    def fold(self) -> int:
        """Part of the cross-validation; patterns of one formula belong to one part."""
        return int(hashlib.sha256(self.formula.encode()).hexdigest(), 16) % FOLDS

    def without(self) -> Case:
        """The same without the right phase."""
        kept = np.flatnonzero(~self.right)
        return Case(self.formula, self.features[kept], [self.keys[place] for place in kept], self.right[kept])


def search(phase: SinglePhase, identifier: Identifier, *, given: bool) -> dict[str, Any] | None:
    """The fitted phases of one pattern as plain values; None where the pattern cannot be used."""
    states = parse_element_states(elements=phase.elements if given else None)
    try:
        measured = pattern_to_distribution(put_on_grid(phase.pattern, override_coverage=True))
    except InputError as error:
        print(f"skipped: {error}", file=sys.stderr)
        return None
    fitted = identifier.fit_phases(measured, states, states.rows(identifier.references))
    return {
        "name": phase.name,
        "given": given,
        "formula": phase.formula,
        "space_group": phase.space_group,
        "keys": [identifier.key(candidate) for candidate in fitted],
        "features": np.round(identifier.features(fitted, states), 5).tolist(),
    }


def search_all(phases: Sequence[SinglePhase], identifier: Identifier, found: Path | None) -> list[dict[str, Any]]:
    """The same for all patterns, with elements and without; what FILE has is not searched again."""
    lines = found.read_text(encoding="utf-8").splitlines() if found and found.is_file() else []
    stored = [json.loads(line) for line in lines]
    todo = [(phase, given) for given in (True, False) for phase in phases][len(stored) :]
    if found:
        found.parent.mkdir(parents=True, exist_ok=True)
    for number, (phase, given) in enumerate(todo):
        stored.append(search(phase, identifier, given=given))
        if found:
            with found.open("a", encoding="utf-8") as to:
                to.write(json.dumps(stored[-1]) + "\n")
        if number % 20 == 0:
            print(f"{number} of {len(todo)} searches", file=sys.stderr)
    return [one for one in stored if one is not None]


def to_case(stored: dict[str, Any]) -> Case:
    """Stored values of one pattern as arrays."""
    keys = [(formula, group) for formula, group in stored["keys"]]
    right = [group == stored["space_group"] and same_formula(formula, stored["formula"]) for formula, group in keys]
    return Case(stored["formula"], np.array(stored["features"], dtype=np.float64), keys, np.array(right, dtype=bool))


def fit_phase_weights(cases: Sequence[Case]) -> np.ndarray:
    """Weights of `PlausibilityWeights` of highest likelihood, shape (features,)."""
    known = [case for case in cases if case.right.any()]

    def loss(weights: np.ndarray) -> tuple[float, np.ndarray]:
        total, slope = RIDGE * len(known) * float(weights @ weights), 2 * RIDGE * len(known) * weights
        for case in known:
            logits = case.features @ weights
            odds = np.exp(logits - logits.max())
            odds /= odds.sum()
            right = np.where(case.right, odds, 0)
            likelihood = (1 - DOUBT) * right.sum() + DOUBT / len(odds)
            total -= float(np.log(likelihood))
            slope -= case.features.T @ (right - right.sum() * odds) * ((1 - DOUBT) / likelihood)
        return total / len(known), slope / len(known)

    start = np.zeros(cases[0].features.shape[1])
    start[0] = 1
    weights: np.ndarray = minimize(loss, start, jac=True, method="L-BFGS-B").x
    return weights


def best_match(case: Case, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Distinct phases in the order of their probability: probability if held, whether right, no-match features."""
    log_odds = case.features @ weights
    best = best_of_each(case.keys, log_odds)
    odds = np.exp(log_odds[best] - log_odds.max())
    within = odds / odds.sum()
    return within, case.right[best], no_match_features(within, case.features[best])


def fit_no_match_weights(features: np.ndarray, lacking: np.ndarray) -> np.ndarray:
    """Weights of `NoMatchWeights` of highest likelihood, with `HELD` of the specimens held; shape (features,)."""
    importance = np.where(lacking, (1 - HELD) / lacking.mean(), HELD / (~lacking).mean())

    def loss(weights: np.ndarray) -> float:
        logits = features @ weights
        return float(
            (importance * (np.logaddexp(0, logits) - lacking * logits)).mean() + RIDGE * weights[1:] @ weights[1:]
        )

    weights: np.ndarray = minimize(loss, np.zeros(features.shape[1]), method="L-BFGS-B").x
    return weights


def calibration_error(stated: np.ndarray, true: np.ndarray, importance: np.ndarray, *, bins: int = 10) -> float:
    """Expected calibration error of weighted answers."""
    places = np.minimum((stated * bins).astype(int), bins - 1)
    differences = importance * (stated - true)
    return float(sum(abs(differences[places == place].sum()) for place in range(bins)) / importance.sum())


def cross_validate(cases: Sequence[Case]) -> dict[str, float]:
    """Ranks, and calibration of both probabilities, of patterns left out of the fit."""
    ranks: list[int] = []
    stated, right = [], []
    no_match, lacking = [], []
    for fold in range(FOLDS):
        others = [case for case in cases if case.fold != fold]
        weights = fit_phase_weights(others)
        features, gone = no_match_table(others, weights)
        odds = fit_no_match_weights(features, gone)
        for case in (case for case in cases if case.fold == fold):
            for version in [case, case.without()] if case.right.any() else [case]:
                if not len(version.right):
                    continue
                within, rights, properties = best_match(version, weights)
                held = bool(rights.any())
                probability = 1 / (1 + np.exp(-properties @ odds))
                no_match.append(probability)
                lacking.append(not held)
                stated.append(within[0] * (1 - probability))
                right.append(bool(rights[0]))
                if held:
                    ranks.append(int(np.flatnonzero(rights)[0]))
    gone = np.array(lacking)
    importance = np.where(gone, (1 - HELD) / gone.mean(), HELD / (~gone).mean())
    places = np.array(ranks)
    return {
        "patterns": len(cases),
        "held": len(ranks),
        "top1": float((places < 1).mean()),
        "top5": float((places < 5).mean()),
        "probability_error": calibration_error(np.array(stated), np.array(right, dtype=float), importance),
        "no_match_error": calibration_error(np.array(no_match), gone.astype(float), importance),
        "no_match_auc": float(roc_auc_score(gone, no_match)),
    }


def no_match_table(cases: Sequence[Case], weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Properties of the best matches with and without the right phase, and whether it is lacking."""
    versions = [one for case in cases for one in ([case, case.without()] if case.right.any() else [case])]
    found = [best_match(version, weights) for version in versions if len(version.right)]
    return np.stack([features for *_, features in found]), np.array([not right.any() for _, right, _ in found])


def show(name: str, weights: np.ndarray, kind: Callable[..., Any]) -> str:
    """Weights as they are written in the code."""
    fields = ", ".join(f"{field}={value:.2f}" for field, value in zip(kind.__annotations__, weights, strict=True))
    return f"{name} = {kind.__name__}({fields})"


def main() -> None:
    """Search, fit, print, and write the page unless --quick is given."""
    parser = argument_parser(__doc__)
    default = Path(os.environ.get(SHARED, REPOSITORY.parent / "shared" / "data"))
    parser.add_argument("--collection", type=Path, default=default, metavar="FOLDER", help="measured patterns")
    parser.add_argument("--found", type=Path, default=FOUND, metavar="FILE", help="where fitted phases are stored")
    parser.add_argument(
        "--reference", type=Path, metavar="TABLE", help="reference phases; by default the shipped table"
    )
    arguments = parser.parse_args()
    collection = arguments.collection if (arguments.collection / "experimental" / "labels.csv").is_file() else None
    development = arguments.collection / "experimental_dev"
    phases = read_singles(collection, development if (development / "labels.csv").is_file() else None)
    identifier = Identifier.load(arguments.reference)
    if arguments.quick:
        phases = phases[:QUICK]
    stored = search_all(phases, identifier, None if arguments.quick else arguments.found)
    figures: dict[str, Any] = {}
    rows, text = [], []
    for given, label, names, now in (
        (True, "elements given", ("FIT_WEIGHTS", "NO_MATCH"), (FIT_WEIGHTS, NO_MATCH)),
        (False, "no elements", ("FIT_WEIGHTS_OF_ALL", "NO_MATCH_OF_ALL"), (FIT_WEIGHTS_OF_ALL, NO_MATCH_OF_ALL)),
    ):
        cases = [case for one in stored if one["given"] is given if len((case := to_case(one)).right)]
        one = cross_validate(cases)
        weights = fit_phase_weights(cases)
        odds = fit_no_match_weights(*no_match_table(cases, weights))
        text += [show(names[0], weights, PlausibilityWeights), show(names[1], odds, NoMatchWeights)]
        print(*text[-2:], f"now: {now}", sep="\n", file=sys.stderr)
        shown = [f"{one[name]:.0f}" for name in ("patterns", "held")]
        shown += [f"{one[name]:.1%}" for name in ("top1", "top5")]
        shown += [f"{one[name]:.3f}" for name in ("probability_error", "no_match_error", "no_match_auc")]
        rows.append([label, *shown])
        figures |= {f"{'given' if given else 'blind'}_{name}": value for name, value in one.items()}
    header = ["search", "patterns", "phase fitted", "first", "first five", "calibration error of probabilities",
              "of no match", "ROC AUC of no match"]  # fmt: skip
    body = "\n\n".join(
        [markdown_table(header, rows), "Weights of all patterns:", "```python\n" + "\n".join(text) + "\n```"]
    )
    finish(
        __file__,
        body,
        figures,
        quick=arguments.quick,
        title="Ranking of reference phases",
        introduction=(
            "Cross-validated figures of measured single phases; calibration counts patterns whose phase was taken out "
            f"of the table as {1 - HELD:.0%} of all."
        ),
        data_digest=identifier.references.digest,
    )


if __name__ == "__main__":
    main()
