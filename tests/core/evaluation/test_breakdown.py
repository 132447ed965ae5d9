"""Metrics by groups of materials, with values that can be added up by hand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from xxact_core.dataset.splits import SPLITS
from xxact_core.dataset.table import StickTable
from xxact_core.evaluation.breakdown import breakdown, energy_groups, seen_prototypes
from xxact_core.evaluation.labelled import Predictions
from xxact_core.quantities import ENERGY_KINDS

FORMULAS = ("Ti1O2", "Ti1O2", "Zr1O2", "Zn1O1", "Si1C1", "Si1C1", "Ti1O2")
KINDS = ("teacher", "teacher", "unique", "megnet2018", "stated", "approximate", "none")
GROUPS = (136, 141, 136, 186, 186, 216, 61)
ENERGY = np.array([-3.0, -2.9, -3.2, -1.5, -0.3, -0.2, np.nan], dtype=np.float32)
NAME = "formation_energy_per_atom"


@pytest.fixture
def table(small_table: StickTable) -> StickTable:
    """Seven materials of the test split, and one of the training split with the prototype of rutile."""
    groups = np.array([*GROUPS, 136], dtype=np.float32) - 1
    return replace(
        small_table,
        formula=np.array([*FORMULAS, "Sn1O2"]),
        split=np.array([SPLITS.index("test")] * 7 + [SPLITS.index("train")], dtype=np.int8),
        energy_kind=np.array([ENERGY_KINDS.index(kind) for kind in (*KINDS, "unique")], dtype=np.int8),
        targets={
            NAME: np.append(ENERGY, np.float32(-2)),
            "space_group": groups,
            "crystal_system": np.array([3, 3, 3, 5, 5, 6, 2, 3], dtype=np.float32),
        },
    )


def predicted(energy: np.ndarray, systems: list[int]) -> Predictions:
    logits = {"crystal_system": 10.0 * np.eye(7)[systems]}
    return Predictions(np.arange(7), {NAME: energy}, logits, np.zeros((7, 2)), None)


def test_materials_are_grouped_by_label_polymorphs_and_prototype(table: StickTable) -> None:
    rows = np.arange(7)
    seen = seen_prototypes(table, rows)
    assert seen.tolist() == [True, False, True, False, False, False, False]
    groups = {name: np.flatnonzero(mask).tolist() for name, mask in energy_groups(table, rows, seen)}
    assert {name: groups[name] for name in KINDS} == {
        "teacher": [0, 1], "unique": [2], "megnet2018": [3], "stated": [4], "approximate": [5], "none": [],
    }  # fmt: skip
    assert groups["teacher_polymorphs"] == [0, 1]
    assert groups["1_polymorph"] == [2, 3]  # SiC has two, of which one has an exact energy
    assert groups["2_to_4_polymorphs"] == [4]
    assert (groups["seen_prototype"], groups["unseen_prototype"]) == ([2], [3, 4])


def test_errors_are_means_over_the_groups_and_over_those_without_the_pattern(table: StickTable) -> None:
    error = np.array([0.1, -0.1, 0.2, 0.4, 0.0, 0.3, 0.0])
    known = np.nan_to_num(ENERGY)
    hidden = predicted(known + np.array([0.2, -0.3, 0.2, 0.4, 0.1, 0.0, 0.0]), [3] * 7)
    metrics = breakdown(predicted(known + error, [3, 2, 3, 5, 5, 5, 2]), table, temperatures={}, hidden=hidden)
    assert metrics[f"{NAME}_unique_mae_mev_per_atom"] == pytest.approx(200, rel=1e-5)
    assert metrics[f"{NAME}_teacher_mae_mev_per_atom"] == pytest.approx(100, rel=1e-5)
    assert metrics[f"{NAME}_unseen_prototype_mae_mev_per_atom"] == pytest.approx(200, rel=1e-5)
    assert metrics[f"without_pattern_{NAME}_teacher_mae_mev_per_atom"] == pytest.approx(250, rel=1e-5)
    assert metrics["teacher_polymorphs_error_ratio"] == pytest.approx(0.4, rel=1e-5)
    assert metrics["crystal_system_seen_prototype_accuracy"] == 1.0
    assert metrics["crystal_system_unseen_prototype_accuracy"] == pytest.approx(3 / 5)
    assert metrics["polymorph_pairs"] == 1  # SiC; the two of TiO2 are of the teacher
    assert metrics["polymorph_pair_accuracy"] == 1.0
    assert metrics["polymorph_slope"] == pytest.approx(4.0, rel=1e-4)
    assert metrics["teacher_polymorph_pairs"] == 1
    assert metrics["teacher_polymorph_slope"] == pytest.approx(-1.0, rel=1e-4)  # -2.9 and -3.0 for -3.0 and -2.9
    assert metrics["without_pattern_polymorph_slope"] == pytest.approx(0.0, abs=1e-4)


def test_no_labels_give_no_metrics(table: StickTable) -> None:
    nothing = replace(table, targets={**table.targets, NAME: np.full(8, np.nan), "crystal_system": np.full(8, np.nan)})
    assert breakdown(predicted(np.zeros(7), [0] * 7), nothing, temperatures={}) == {}
