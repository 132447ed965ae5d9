"""What finished runs predict for each test material, and how sure differences between models are."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from xxact_core.errors import DatasetError, shorten
from xxact_core.evaluation.intervals import RESAMPLES
from xxact_core.paper.experiments import ENERGY, GAP, SYSTEM
from xxact_core.paper.runs import PREDICTIONS, TestMaterials
from xxact_core.plain_hdf5 import open_plain

ENERGY_ERROR, DFT_ERROR, GAP_ERROR, WRONG = "energy", "energy by DFT", "band gap", "crystal system"
"""Kinds of errors of a material: of the formation energy [meV/atom], also with regard to DFT, of the band gap [eV],
and 100 where the crystal system is wrong, else 0, so that the mean is in %."""

FROM_FORMULA = "median of the formula"
"""Difference [meV/atom] of the true formation energy from the median of the test materials with its formula."""

MEDIAN_ERROR, DIFFERENCE_ERROR, PREDICTED_DIFFERENCE = "error of medians", "error of differences", "differences"
"""Parts of the error of the formation energy [meV/atom]: of the median of the formula; of the difference of a material
from that median, which composition does not tell; and the size of the predicted difference."""

SILHOUETTE = "silhouette"
"""Silhouette of a material by crystal system, -1 to 1."""

_SILHOUETTE_SAMPLE = 4000
_NORMAL = 1.96
"""Quantile of the normal distribution for 95 % intervals."""


@dataclass(frozen=True)
class Errors:
    """A number for each of some test materials."""

    id: np.ndarray
    """Ids, shape (materials,)."""

    value: np.ndarray
    """The numbers, shape (materials,)."""


@dataclass(frozen=True)
class RunResults:
    """A finished run, material by material."""

    errors: Mapping[str, Errors] = field(default_factory=dict)
    """Kind of error, or `SILHOUETTE`, → numbers."""


def read_results(run: Path, materials: TestMaterials | None = None, *, silhouette: bool = False) -> RunResults:
    """The errors of a finished run.

    Args:
        run: its folder.
        materials: the test materials, for `DFT_ERROR`.
        silhouette: also compute silhouettes of the embedding, of a seeded sample.

    Raises:
        DatasetError: the predictions are damaged.
    """
    found: dict[str, Errors] = {}
    try:
        with open_plain(run / PREDICTIONS) as file:
            ids = np.array([one.decode() for one in file["id"][...]], dtype=object)
            read = {name: (file[f"predicted/{name}"][...], file[f"true/{name}"][...]) for name in file["predicted"]}
            embedding = file["embedding"][...] if silhouette else None
    except (OSError, KeyError) as error:
        msg = f"{run / PREDICTIONS} is not a file of predictions: {shorten(error)}"
        raise DatasetError(msg, code="E_PREDICTIONS") from error
    for name, kind, factor in ((ENERGY, ENERGY_ERROR, 1000.0), (GAP, GAP_ERROR, 1.0)):
        if name in read:
            found[kind] = _known(ids, factor * np.abs(read[name][0] - read[name][1]))
    if ENERGY in read and materials is not None and materials.dft:
        by_dft = np.array([materials.dft.get(one, np.nan) for one in ids])
        found[DFT_ERROR] = _known(ids, 1000 * np.abs(read[ENERGY][0] - by_dft))
    if ENERGY in read and materials is not None:
        predicted, true = (1000 * values for values in read[ENERGY])
        known = ~np.isnan(true)
        own, of_label = (_from_median(values, ids, materials.formula, known=known) for values in (predicted, true))
        found[FROM_FORMULA] = _known(ids, np.abs(of_label))
        found[MEDIAN_ERROR] = _known(ids, np.abs((predicted - own) - (true - of_label)))
        found[DIFFERENCE_ERROR] = _known(ids, np.abs(own - of_label))
        found[PREDICTED_DIFFERENCE] = _known(ids, np.abs(own))
    if SYSTEM in read:
        logits, true = read[SYSTEM]
        found[WRONG] = _known(ids, np.where(np.isnan(true), np.nan, 100.0 * (logits.argmax(axis=1) != true)))
        if embedding is not None:
            found[SILHOUETTE] = _silhouettes(ids, embedding, true)
    return RunResults({kind: errors for kind, errors in found.items() if len(errors.value)})


def _from_median(values: np.ndarray, ids: np.ndarray, formulas: Mapping[str, str], *, known: np.ndarray) -> np.ndarray:
    """Differences of the known values from the median of those of the same formula; NaN elsewhere."""
    group = _group_numbers(ids, formulas)
    found = np.full(len(values), np.nan)
    order = np.flatnonzero(known)[np.argsort(group[known], kind="stable")]
    for rows in np.split(order, np.flatnonzero(np.diff(group[order])) + 1):
        found[rows] = values[rows] - np.median(values[rows]) if len(rows) else np.nan
    return found


def _known(ids: np.ndarray, values: np.ndarray) -> Errors:
    known = ~np.isnan(values)
    return Errors(ids[known], values[known])


def _silhouettes(ids: np.ndarray, embedding: np.ndarray, true: np.ndarray) -> Errors:
    """Silhouettes of a seeded sample, which is the same for all models; Euclidean distance."""
    from sklearn.metrics import silhouette_samples  # noqa: PLC0415 - slow to import

    known = np.flatnonzero(~np.isnan(true))
    chosen = np.sort(np.random.default_rng(0).permutation(known)[:_SILHOUETTE_SAMPLE])
    systems = true[chosen].astype(int)
    if not 1 < len(np.unique(systems)) < len(chosen):
        return Errors(ids[:0], np.zeros(0))
    return Errors(ids[chosen], silhouette_samples(embedding[chosen], systems))


@dataclass(frozen=True)
class Estimate:
    """A number with its 95 % interval."""

    value: float
    low: float
    high: float

    seeds: int = 1
    """Number of seeds; with one, the interval covers the choice of test materials alone."""

    @property
    def is_positive(self) -> bool | None:
        """Whether the number is above 0; None where the interval contains 0."""
        return True if self.low > 0 else False if self.high < 0 else None


def mean_of(runs: Iterable[RunResults], kind: str, groups: Mapping[str, str]) -> Estimate | None:
    """Mean of an error over the test materials and seeds; `groups` are the formulas by id. None without runs."""
    found = [run.errors[kind] for run in runs if kind in run.errors]
    if not found:
        return None
    ids = _common(found)
    values = np.stack([_aligned(one, ids) for one in found])
    return _estimate(
        values.mean(axis=0), _group_numbers(ids, groups), variance=_seed_variance(values), seeds=len(values)
    )


def difference_of(
    first: Sequence[RunResults], second: Sequence[RunResults], kind: str, groups: Mapping[str, str]
) -> Estimate | None:
    """Mean over materials of the error of the second model minus that of the first: above 0 the first is better.

    Seeds are averaged; where both models have as many, those of the same place are compared. None without runs.
    """
    ours, theirs = ([run.errors[kind] for run in runs if kind in run.errors] for runs in (first, second))
    if not ours or not theirs:
        return None
    ids = _common([*ours, *theirs])
    if not len(ids):
        return None
    a, b = (np.stack([_aligned(one, ids) for one in found]) for found in (ours, theirs))
    group = _group_numbers(ids, groups)
    if len(a) == len(b):
        return _estimate((b - a).mean(axis=0), group, variance=_seed_variance(b - a), seeds=len(a))
    variance = _seed_variance(a) + _seed_variance(b)
    return _estimate(b.mean(axis=0) - a.mean(axis=0), group, variance=variance, seeds=min(len(a), len(b)))


def _seed_variance(values: np.ndarray) -> float:
    """Variance of the mean over seeds, for values of shape (seeds, materials); 0 for one seed."""
    return float(values.mean(axis=1).var(ddof=1)) / len(values) if len(values) > 1 else 0.0


def _estimate(of_materials: np.ndarray, group: np.ndarray, *, variance: float, seeds: int) -> Estimate:
    """Mean of values of shape (materials,), with the interval over groups of materials and seeds.

    The variance of a bootstrap over groups is added to that of the mean over seeds.
    """
    totals, counts = np.bincount(group, weights=of_materials), np.bincount(group)
    random = np.random.default_rng(0)
    means = np.empty(RESAMPLES)
    for number in range(RESAMPLES):
        drawn = random.integers(len(counts), size=len(counts))
        means[number] = totals[drawn].sum() / counts[drawn].sum()
    value, half = float(of_materials.mean()), _NORMAL * (variance + float(means.var())) ** 0.5
    return Estimate(value, value - half, value + half, seeds=seeds)


def _common(found: Sequence[Errors]) -> np.ndarray:
    """Ids that all have, in the order of the first."""
    shared = set(found[0].id.tolist()).intersection(*(one.id.tolist() for one in found[1:]))
    return np.array([one for one in found[0].id if one in shared], dtype=object)


def _aligned(errors: Errors, ids: np.ndarray) -> np.ndarray:
    place = {one: number for number, one in enumerate(errors.id)}
    return errors.value[[place[one] for one in ids]]


def _group_numbers(ids: np.ndarray, groups: Mapping[str, str]) -> np.ndarray:
    _, numbers = np.unique([groups.get(one, one) for one in ids], return_inverse=True)
    return numbers
