"""Metrics by what is known of a material: kind of its energy label, number of polymorphs, prototype seen or not.

They show what the headline metrics hide: how much a model reads from the pattern, and how it does on new structure
types.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from xxact_core.dataset.splits import prototypes
from xxact_core.dataset.table import StickTable
from xxact_core.evaluation.labelled import Predictions, labelled_rows, probabilities_of
from xxact_core.evaluation.metrics import accuracy, mean_absolute_error
from xxact_core.evaluation.polymorphs import pair_metrics, polymorph_counts
from xxact_core.quantities import CRYSTAL_SYSTEM, ENERGY_KINDS, FORMATION_ENERGY, TEACHER

ENERGY = FORMATION_ENERGY.name

POLYMORPHS = {"1_polymorph": (1, 1), "2_to_4_polymorphs": (2, 4), "5_or_more_polymorphs": (5, None)}
"""Groups of formulas by the number of their materials in the dataset, from and to."""

WITHOUT_PATTERN = "without_pattern_"
"""Prefix of the metrics of a model that is not given the pattern."""


def breakdown(
    predictions: Predictions,
    table: StickTable,
    *,
    temperatures: Mapping[str, float],
    hidden: Predictions | None = None,
) -> dict[str, float]:
    """The metrics by groups of materials; those without a material are left out.

    Names: `formation_energy_per_atom_GROUP_mae_mev_per_atom` for each group of `energy_groups`; those of
    `polymorphs.pair_metrics`, over DFT labels of any kind, and with the prefix `teacher_` over those of a teacher;
    `crystal_system_seen_prototype_accuracy` and `crystal_system_unseen_prototype_accuracy` (0-1). With `hidden` also
    those of the energies with the prefix `without_pattern_`, and `teacher_polymorphs_error_ratio`: the error on teacher
    energies of formulas with two or more such materials, over the error without the pattern.

    Args:
        predictions: of some rows of the table.
        table: the dataset, whose training split tells which prototypes were seen.
        temperatures: of the class heads.
        hidden: predictions of the same rows without the pattern.
    """
    rows = predictions.rows
    metrics: dict[str, float] = {}
    seen = seen_prototypes(table, rows)
    if ENERGY in predictions.values:
        metrics |= energy_metrics(_comparable(predictions, table), table, rows, seen)
    probabilities = probabilities_of(predictions, temperatures).get(CRYSTAL_SYSTEM.name)
    if probabilities is not None:
        true = table.targets[CRYSTAL_SYSTEM.name][rows]
        chosen = probabilities.argmax(axis=1)
        for name, members in (("seen", seen), ("unseen", ~seen)):
            known = members & ~np.isnan(true)
            if known.any():
                metrics[f"crystal_system_{name}_prototype_accuracy"] = accuracy(chosen[known], true[known].astype(int))
    if hidden is not None and ENERGY in hidden.values:
        without = energy_metrics(_comparable(hidden, table), table, rows, seen)
        metrics |= {f"{WITHOUT_PATTERN}{name}": value for name, value in without.items()}
        of_teacher = _name("teacher_polymorphs")
        if without.get(of_teacher):
            metrics["teacher_polymorphs_error_ratio"] = metrics[of_teacher] / without[of_teacher]
    return metrics


def energy_metrics(energy: np.ndarray, table: StickTable, rows: np.ndarray, seen: np.ndarray) -> dict[str, float]:
    """Errors of formation energies by group, and the metrics of polymorph pairs over labels of DFT and of a teacher.

    Args:
        energy: predicted values [eV/atom], shape (rows,).
        table: the dataset.
        rows: of the predictions.
        seen: whether the prototype of each row is in the training split, shape (rows,).
    """
    true = table.targets[ENERGY][rows]
    metrics = {}
    for name, members in energy_groups(table, rows, seen):
        if members.any():
            metrics[_name(name)] = 1000 * mean_absolute_error(energy[members], true[members])
    by_teacher = table.energy_kind[rows] == ENERGY_KINDS.index(TEACHER)
    metrics |= pair_metrics(energy, np.where(by_teacher, np.nan, true), table.formula[rows])
    of_teacher = pair_metrics(energy, np.where(by_teacher, true, np.nan), table.formula[rows])
    return metrics | {f"{TEACHER}_{name}": value for name, value in of_teacher.items()}


def _comparable(predictions: Predictions, table: StickTable) -> np.ndarray:
    """Formation energies [eV/atom]; for rows labelled by a teacher, those that the model expects of the teacher."""
    energy = predictions.values[ENERGY]
    if predictions.teacher_offset is None:
        return energy
    by_teacher = table.energy_kind[predictions.rows] == ENERGY_KINDS.index(TEACHER)
    comparable: np.ndarray = energy + by_teacher * predictions.teacher_offset
    return comparable


def energy_groups(table: StickTable, rows: np.ndarray, seen: np.ndarray) -> Iterator[tuple[str, np.ndarray]]:
    """Names and masks, shape (rows,), of the groups of materials over which the error of the energy is averaged.

    The kinds of labels; `teacher_polymorphs`, teacher labels of formulas that have two or more of them in the dataset;
    and of the exact DFT labels the groups of `POLYMORPHS`, and seen and unseen prototypes.
    """
    labelled = ~np.isnan(table.targets[ENERGY][rows])
    kinds = table.energy_kind[rows]
    for number, kind in enumerate(ENERGY_KINDS):
        yield kind, labelled & (kinds == number)
    by_teacher = (table.energy_kind == ENERGY_KINDS.index(TEACHER)) & ~np.isnan(table.targets[ENERGY])
    formula = np.asarray(table.formula, dtype=str)
    _, which = np.unique(formula, return_inverse=True)
    counts = np.bincount(which, weights=by_teacher)[which]
    yield "teacher_polymorphs", (by_teacher & (counts > 1))[rows]
    exact = labelled_rows(table, ENERGY, rows)
    polymorphs = polymorph_counts(formula)[rows]
    for name, (low, high) in POLYMORPHS.items():
        yield name, exact & (polymorphs >= low) & (polymorphs <= (high or np.inf))
    yield "seen_prototype", exact & seen
    yield "unseen_prototype", exact & ~seen


def seen_prototypes(table: StickTable, rows: np.ndarray) -> np.ndarray:
    """Whether the prototype (`dataset.splits.prototypes`) of each row is in the training split, shape (rows,)."""
    names = prototypes(table).astype(str)
    known: np.ndarray = np.isin(names[rows], np.unique(names[table.rows("train")]))
    return known


def _name(group: str) -> str:
    return f"{ENERGY}_{group}_mae_mev_per_atom"
