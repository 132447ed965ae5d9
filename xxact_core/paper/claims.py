"""The claims of XxaCT-NN, judged by the runs in a folder: holds, does not hold at this size, or cannot be decided."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from xxact_core.evaluation.scaling import fit_power_law
from xxact_core.paper.experiments import EXPERIMENTS, INFORMED, SINGLE, STRATEGIES, VARIANT
from xxact_core.paper.figures import MODELS, scaling_rows
from xxact_core.paper.layouts import ACCURACY, MAE, steps_to
from xxact_core.paper.results import (
    DFT_ERROR,
    DIFFERENCE_ERROR,
    ENERGY_ERROR,
    FROM_FORMULA,
    GAP_ERROR,
    MEDIAN_ERROR,
    PREDICTED_DIFFERENCE,
    SILHOUETTE,
    WRONG,
    Estimate,
    RunResults,
    difference_of,
    mean_of,
    read_results,
)
from xxact_core.paper.runs import read_materials
from xxact_core.paper.tables import add_steps_to_thresholds, finished_runs

Verdict = Literal["holds", "does not hold at this size", "cannot be decided"]
HOLDS: Verdict = "holds"
FAILS: Verdict = "does not hold at this size"
UNKNOWN: Verdict = "cannot be decided"

_QUANTILES = {2: 12.71, 3: 4.30, 4: 3.18, 5: 2.78}
"""Quantiles of Student's t for 95 % intervals over so many seeds."""

FUSED = "xxact-multi-target"
_UNITS = {
    ENERGY_ERROR: "meV/atom",
    FROM_FORMULA: "meV/atom",
    DFT_ERROR: "meV/atom",
    GAP_ERROR: "eV",
    WRONG: "% wrong",
    SILHOUETTE: "",
}
_NAMES = {
    FUSED: "both (multi-task)",
    **dict.fromkeys(SINGLE, "both (single-task)"),
    "crabnet-formation-energy": "composition",
    "crabnet-crystal-system": "composition",
    "xrd-transformer-formation-energy": "pattern",
    "xrd-transformer-crystal-system": "pattern",
    INFORMED: "both (single-task, from the model of crystal systems)",
    VARIANT: "our variant",
    **{run: strategy for strategy, run in STRATEGIES.items() if run != FUSED},
}
_PRETRAINED = tuple(run for run in STRATEGIES.values() if run != FUSED)


@dataclass(frozen=True)
class Number:
    """A number that a verdict is based on."""

    label: str
    value: float
    low: float
    high: float
    unit: str = ""
    seeds: int = 1


@dataclass(frozen=True)
class Claim:
    """A claim of the paper, and whether it holds here."""

    title: str
    """The claim, one sentence."""

    paper: str
    """The paper's numbers; empty where the claim is ours."""

    verdict: Verdict
    numbers: tuple[Number, ...]
    figure: str = ""
    """Name of the table or figure that shows it."""

    needs: tuple[str, ...] = ()
    """Experiments that it is based on."""

    parts: tuple[ErrorParts, ...] = ()
    """Why: where the error of each model comes from."""


@dataclass(frozen=True)
class ErrorParts:
    """How the error of a model for the formation energy is made up [meV/atom]."""

    label: str
    """The model."""

    of_median: Estimate
    """Error of the median of a formula."""

    of_difference: Estimate
    """Error of the difference of a material from the median of its formula."""

    predicted_difference: Estimate
    """Mean size of the predicted difference; 0 for a model that does not use the pattern."""


@dataclass
class _Runs:
    """Results of the experiments in a folder, read once."""

    folder: Path
    groups: Mapping[str, str] = field(default_factory=dict)
    found: dict[str, list[RunResults]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.materials = read_materials(self.folder)
        self.groups = self.materials.formula if self.materials else {}

    def of(self, name: str) -> list[RunResults]:
        """Results of the seeds of an experiment, in their order."""
        if name not in self.found:
            shown = name in _NAMES and name.endswith(("system", "multi-target", "contrastive", "mxm"))
            runs = finished_runs(self.folder, name).values()
            self.found[name] = [read_results(run, self.materials, silhouette=shown) for run in runs]
        return self.found[name]

    def mean(self, name: str, kind: str) -> Estimate | None:
        """Mean of an error."""
        return mean_of(self.of(name), kind, self.groups)

    def gain(self, better: str, worse: str, kind: str) -> Estimate | None:
        """By how much an error of the second is larger than that of the first; None without runs."""
        return difference_of(self.of(better), self.of(worse), kind, self.groups)


def folder_to_claims(folder: Path) -> list[Claim]:
    """The claims, judged by the finished runs in a folder.

    A claim that compares errors holds where the 95 % interval of every difference lies on its side of 0, does not hold
    where one lies on the other side, and cannot be decided otherwise.
    """
    runs = _Runs(folder)
    return [
        *_fusion(runs),
        *_pretraining(runs),
        _speed(folder),
        _mxm(runs),
        _clusters(runs),
        _scaling(folder),
        _transfer(runs),
        _attention(runs),
        *_variant(runs),
    ]


def _compare(
    runs: _Runs,
    title: str,
    paper: str,
    kind: str,
    order: Sequence[tuple[str, str]],
    *,
    figure: str,
    larger_is_better: bool = False,
    beside: str | None = None,
) -> Claim:
    """A claim that the first of each pair of experiments is better than the second; `beside` is shown, not judged."""
    names = list(dict.fromkeys(name for pair in order for name in pair))
    shown = [*names, beside] if beside else names
    numbers = [_number(_shown(name), mean, kind) for name in shown if (mean := runs.mean(name, kind)) is not None]
    gains = []
    for better, worse in order:
        gain = runs.gain(worse, better, kind) if larger_is_better else runs.gain(better, worse, kind)
        gains.append(gain)
        if gain is not None:
            first, second = (worse, better) if not larger_is_better else (better, worse)
            label = f"{_shown(first)} minus {_shown(second)}"
            numbers.append(_number(label, gain, kind))
    return Claim(title, paper, _verdict(gains), tuple(numbers), figure, tuple(names))


def _shown(name: str) -> str:
    """Name of an experiment in a table."""
    return _NAMES.get(name.removesuffix("-to-band-gap"), name)


def _verdict(gains: Sequence[Estimate | None]) -> Verdict:
    signs = [None if gain is None else gain.is_positive for gain in gains]
    return FAILS if False in signs else UNKNOWN if None in signs or not signs else HOLDS


def _number(label: str, estimate: Estimate, kind: str) -> Number:
    return Number(label, estimate.value, estimate.low, estimate.high, _UNITS[kind], estimate.seeds)


def _fusion(runs: _Runs) -> Iterator[Claim]:
    composition, pattern = "crabnet-formation-energy", "xrd-transformer-formation-energy"
    order = ((composition, pattern), (SINGLE[0], composition))
    paper = "pattern 422, composition 131, both 28 (multi-task 40) meV/atom"
    claim = _compare(
        runs, "Formation energy: composition alone is better than the pattern alone, and both together are best.",
        paper, ENERGY_ERROR, order, figure="Table 1", beside=FUSED,
    )  # fmt: skip
    claim = _with_best_of_composition(claim, runs)
    asked = (composition, pattern, SINGLE[0], FUSED, *_PRETRAINED, INFORMED, VARIANT)
    yield replace(claim, parts=tuple(_error_parts(runs, asked)))
    yield _compare(
        runs, "The same with regard to DFT labels, by which the models were not trained.",
        paper, DFT_ERROR, order, figure="Table 1", beside=FUSED,
    )  # fmt: skip
    composition, pattern = "crabnet-crystal-system", "xrd-transformer-crystal-system"
    yield _compare(
        runs, "Crystal system: the pattern alone is better than composition alone, and both together are best.",
        "wrong: composition 32.2, pattern 7.9, both 3.2 (multi-task 2.8) %", WRONG,
        ((pattern, composition), (SINGLE[1], pattern)), figure="Table 1", beside=FUSED,
    )  # fmt: skip


def _with_best_of_composition(claim: Claim, runs: _Runs) -> Claim:
    """The claim with the error of a model that would know the median energy of each formula."""
    floor = runs.mean("crabnet-formation-energy", FROM_FORMULA)  # of the labels, the same for every model
    if floor is None:
        return claim
    number = _number("best that composition alone can reach: the median of each formula", floor, FROM_FORMULA)
    return replace(claim, numbers=(*claim.numbers, replace(number, seeds=1)))


def _error_parts(runs: _Runs, names: Sequence[str]) -> Iterator[ErrorParts]:
    """The parts of the error of those models that have finished runs."""
    for name in names:
        kinds = (MEDIAN_ERROR, DIFFERENCE_ERROR, PREDICTED_DIFFERENCE)
        parts = [part for kind in kinds if (part := runs.mean(name, kind)) is not None]
        if len(parts) == len(kinds):
            yield ErrorParts(_shown(name), *parts)


def _pretraining(runs: _Runs) -> Iterator[Claim]:
    yield _compare(
        runs, "Every pretraining lowers the final error of the formation energy.",
        "45.7 without, 44.5 contrastive, 43.5 MXM, 43.8 meV/atom both", ENERGY_ERROR,
        [(run, FUSED) for run in _PRETRAINED], figure="Table 2",
    )  # fmt: skip
    yield _compare(
        runs, "Every pretraining raises the final accuracy of the crystal system.",
        "wrong: 2.81 without, 2.79 contrastive, 2.79 MXM, 2.68 % both", WRONG,
        [(run, FUSED) for run in _PRETRAINED], figure="Table 2",
    )  # fmt: skip


def _speed(folder: Path) -> Claim:
    """Ratio of the steps to the threshold, contrastive + MXM to none, of each seed."""
    names = tuple(STRATEGIES.values())
    both = STRATEGIES["contrastive + MXM"]
    runs = {name: finished_runs(folder, name) for name in names}
    found: dict[str, dict[int, dict[str, Any]]] = {name: {seed: {} for seed in of} for name, of in runs.items()}
    add_steps_to_thresholds(found, runs)
    numbers, ends = [], []
    seeds = [seed for seed in found[both] if seed in found[FUSED]]
    for metric, label in ((MAE, "formation energy"), (ACCURACY, "crystal system")):
        ratios = [
            found[both][seed][steps_to(metric)].value / found[FUSED][seed][steps_to(metric)].value
            for seed in seeds
            if all(steps_to(metric) in found[name][seed] for name in (both, FUSED))
        ]
        if ratios:
            estimate = _over_seeds(ratios)
            numbers.append(Number(f"steps with pretraining / without, {label}", *estimate, seeds=len(ratios)))
            known = 1 < len(ratios) == len(seeds)  # every seed reached the threshold
            ends.append(estimate[1:] if known else (-np.inf, np.inf))
    verdict = UNKNOWN
    if numbers and all(high < 1 for _, high in ends):
        verdict = HOLDS
    elif any(low > 1 for low, _ in ends):
        verdict = FAILS
    title = "Contrastive + MXM pretraining reaches the threshold of table 2 in fewer steps."
    return Claim(title, "4.2 times faster, a ratio of 0.24", verdict, tuple(numbers), "Figure 6", names)


def _over_seeds(values: Sequence[float]) -> tuple[float, float, float]:
    """Mean with its 95 % interval over seeds; for one seed the interval is the number itself."""
    mean = float(np.mean(values))
    if len(values) == 1:
        return mean, mean, mean
    error = float(np.std(values, ddof=1)) / len(values) ** 0.5
    half = _QUANTILES.get(len(values), 2.0) * error
    return mean, mean - half, mean + half


def _mxm(runs: _Runs) -> Claim:
    return _compare(
        runs, "MXM pretraining lowers the error of the formation energy more than contrastive pretraining.",
        "43.5 instead of 44.5 meV/atom", ENERGY_ERROR, [(STRATEGIES["MXM"], STRATEGIES["contrastive"])],
        figure="Table 2",
    )  # fmt: skip


def _clusters(runs: _Runs) -> Claim:
    order = [("xrd-transformer-crystal-system", "crabnet-crystal-system"), (FUSED, "xrd-transformer-crystal-system")]
    return _compare(
        runs, "The embedding is ordered by crystal system: composition < pattern < both.",
        "silhouettes 0.08, 0.29, 0.42; with pretraining 0.45 to 0.50", SILHOUETTE, order,
        figure="Figure 2 and table 5", larger_is_better=True, beside=SINGLE[1],
    )  # fmt: skip


def _scaling(folder: Path) -> Claim:
    """Exponents of the two models, and their difference with the errors of the fits."""
    rows, _ = scaling_rows(folder)
    fits = {}
    for model, label in MODELS.items():
        points = [(row["materials"], row["mae"]) for row in rows if row["model"] == label]
        if len({size for size, _ in points}) >= 3:  # noqa: PLR2004 - a line with an error
            sizes, errors = np.array(points, dtype=float).T
            fits[model] = fit_power_law(sizes, errors)
    numbers = [
        Number(f"exponent, {MODELS[model]}", fit.exponent, *fit.exponent_interval) for model, fit in fits.items()
    ]
    verdict: Verdict = UNKNOWN
    if len(fits) == len(MODELS):
        steep, flat = fits["xxact"], fits["crabnet"]
        halves = [(fit.exponent_interval[1] - fit.exponent_interval[0]) / 2 for fit in (steep, flat)]
        value, half = steep.exponent - flat.exponent, math.hypot(*halves)
        numbers.append(Number("difference of the exponents", value, value - half, value + half))
        verdict = HOLDS if value + half < 0 else FAILS if value - half > 0 else UNKNOWN
    title = "The error of the formation energy falls faster with data for both inputs than for composition alone."
    needs = tuple(name for name in EXPERIMENTS if "-multi-target" in name and name.startswith(("xxact", "crabnet")))
    needs = tuple(name for name in needs if "band-gap" not in name)
    return Claim(title, "exponents -0.335 and -0.046", verdict, tuple(numbers), "Figure 3", needs)


def _transfer(runs: _Runs) -> Claim:
    fused = f"{FUSED}-to-band-gap"
    others = ("crabnet-formation-energy-to-band-gap", "xrd-transformer-crystal-system-to-band-gap")
    return _compare(
        runs, "The band gap, learned by a new head on frozen features, is best from both inputs.",
        "0.063 to 0.139 from both, 0.191 from the pattern, 0.233 eV from composition", GAP_ERROR,
        [(fused, other) for other in others], figure="Table 1",
    )  # fmt: skip


def _attention(runs: _Runs) -> Claim:
    return _compare(
        runs, "Fusion by cross-attention is better than FCN + MLP, which joins the same inputs.",
        "28 and 148 meV/atom", ENERGY_ERROR, [("xxact-formation-energy", "fcn-mlp-formation-energy-100")],
        figure="Table 1",
    )  # fmt: skip


def _variant(runs: _Runs) -> Iterator[Claim]:
    energy = _compare(
        runs, "Not in the paper: our variant predicts the formation energy better than composition alone.",
        "", ENERGY_ERROR, [(VARIANT, "crabnet-formation-energy")], figure="Table 1",
    )  # fmt: skip
    yield _with_best_of_composition(energy, runs)
    yield _compare(
        runs, "Not in the paper: our variant predicts formation energies by DFT better than composition alone.",
        "", DFT_ERROR, [(VARIANT, "crabnet-formation-energy")], figure="Table 1",
    )  # fmt: skip
    yield _compare(
        runs, "Not in the paper: our variant of the model predicts crystal systems better in the same epochs.",
        "", WRONG, [(VARIANT, FUSED)], figure="Table 1",
    )  # fmt: skip
    yield _compare(
        runs, "Not in the paper: the embedding of our variant separates crystal systems more clearly.",
        "", SILHOUETTE, [(VARIANT, FUSED)], figure="Figure 2 and table 5", larger_is_better=True, beside=SINGLE[1],
    )  # fmt: skip
