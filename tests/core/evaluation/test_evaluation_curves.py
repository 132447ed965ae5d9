"""Convergence, scaling, embeddings and distributions: known answers come back."""

from __future__ import annotations

import re

import numpy as np
import pytest
from sklearn.decomposition import PCA

from xxact_core.dataset.splits import with_training_rows
from xxact_core.dataset.table import StickTable
from xxact_core.errors import DatasetError, InputError
from xxact_core.evaluation.convergence import lower_is_better, metric_at_share, steps_to_threshold, validation_curve
from xxact_core.evaluation.distributions import crystal_system_counts, element_counts, element_place
from xxact_core.evaluation.projection import embedding_to_components
from xxact_core.evaluation.scaling import fit_power_law
from xxact_core.quantities import CRYSTAL_SYSTEMS

MAE, ACCURACY = "formation_energy_per_atom_mae_mev_per_atom", "crystal_system_accuracy"


def journal(maes: list[float], accuracies: list[float]) -> list[dict]:
    """A run of 100 steps, validated after every 10."""
    events: list[dict] = [{"event": "started", "step": 0, "steps": 100, "materials": 50}]
    for number, (mae, accuracy) in enumerate(zip(maes, accuracies, strict=True), start=1):
        events.append({"event": "step", "step": 10 * number, "loss": 1.0})
        events.append({"event": "validation", "step": 10 * number, "metrics": {MAE: mae, ACCURACY: accuracy}})
    return events


EVENTS = journal([90, 40, 60, 45, 30, 29, 28, 27, 26, 25], [0.1, 0.6, 0.4, 0.5, 0.7, 0.7, 0.8, 0.8, 0.8, 0.8])


def test_threshold_is_passed_downwards_by_an_error_and_upwards_by_an_accuracy() -> None:
    assert steps_to_threshold(EVENTS, MAE, 45) == 20
    assert steps_to_threshold(EVENTS, ACCURACY, 0.6) == 20
    assert steps_to_threshold(EVENTS, MAE, 25) == 100
    assert steps_to_threshold(EVENTS, MAE, 24.9) is None


def test_errors_of_values_and_of_probabilities_are_better_when_lower() -> None:
    assert all(map(lower_is_better, (MAE, "density_mae_g_per_cm3", "space_group_calibration_error")))
    assert not any(map(lower_is_better, (ACCURACY, "space_group_class_mean_accuracy", "space_group_top_3_accuracy")))


def test_smoothed_metric_passes_later_where_one_validation_was_lucky() -> None:
    assert steps_to_threshold(EVENTS, MAE, 45, smooth=3) == 50  # mean of 60, 45 and 30
    assert steps_to_threshold(EVENTS, ACCURACY, 0.6, smooth=3) == 60
    assert steps_to_threshold(EVENTS, MAE, 1000, smooth=11) is None


def test_metric_at_a_share_is_linear_between_validations() -> None:
    assert metric_at_share(EVENTS, MAE, 0.25) == pytest.approx(50)
    assert metric_at_share(EVENTS, MAE, 1.0) == 25
    assert metric_at_share(EVENTS, MAE, 0.05) is None, "nothing was validated so early"
    assert metric_at_share(EVENTS, "band_gap_mae_ev", 0.5) is None
    assert validation_curve(EVENTS, MAE)[0].tolist() == list(range(10, 101, 10))


def test_scaling_fit_recovers_a_known_law() -> None:
    sizes = np.array([5e3, 1e4, 2e4, 4e4, 8e4])
    law = fit_power_law(sizes, 70 * (sizes / 1e6) ** -0.335)
    assert (law.factor, law.exponent) == pytest.approx((70, -0.335))
    np.testing.assert_allclose(law.at(sizes), 70 * (sizes / 1e6) ** -0.335)


def test_interval_of_the_exponent_holds_the_truth_19_times_of_20() -> None:
    random, sizes = np.random.default_rng(0), np.repeat([5e3, 1e4, 2e4, 4e4, 8e4], 2)
    held = []
    for _ in range(300):
        law = fit_power_law(sizes, 70 * (sizes / 1e6) ** -0.335 * np.exp(0.05 * random.normal(size=len(sizes))))
        low, high = law.band(np.array([1e4]))
        held.append(
            (
                law.exponent_interval[0] <= -0.335 <= law.exponent_interval[1],
                law.factor_interval[0] <= 70 <= law.factor_interval[1],
                low[0] <= 70 * 0.01**-0.335 <= high[0],
            )
        )
    np.testing.assert_allclose(np.mean(held, axis=0), 0.95, atol=0.04)


def test_two_sizes_make_no_law() -> None:
    with pytest.raises(InputError, match="power law"):
        fit_power_law(np.array([1e4, 2e4]), np.array([100.0, 90.0]))


def test_components_are_principal_and_without_loss_in_a_plane() -> None:
    random = np.random.default_rng(0)
    plane = random.normal(size=(200, 2)) * [5, 1] @ np.linalg.qr(random.normal(size=(16, 2)))[0].T
    components, shares = embedding_to_components(plane)
    assert shares.sum() == pytest.approx(1)
    assert shares[0] > 0.9
    assert components.var(axis=0) == pytest.approx(PCA(2).fit(plane).explained_variance_ * 199 / 200)


@pytest.mark.parametrize(
    ("atomic_number", "place"),
    [
        (1, (1, 1)),
        (2, (1, 18)),
        (5, (2, 13)),
        (21, (4, 3)),
        (26, (4, 8)),
        (56, (6, 2)),
        (57, (8, 3)),
        (71, (8, 17)),
        (72, (6, 4)),
        (86, (6, 18)),
        (92, (9, 6)),
        (103, (9, 17)),
        (118, (7, 18)),
    ],
)
def test_element_has_its_place_in_the_periodic_table(atomic_number: int, place: tuple[int, int]) -> None:
    assert element_place(atomic_number) == place


def test_no_two_elements_share_a_place() -> None:
    assert len({element_place(number) for number in range(1, 119)}) == 118


def test_elements_are_counted_once_a_material(small_table: StickTable) -> None:
    counts = element_counts(small_table, "train")
    formulas = small_table.formula[small_table.rows("train")]
    contained = [set(re.findall(r"[A-Z][a-z]?", str(formula))) for formula in formulas]
    assert len(counts) == 118
    assert counts["O"] > 20
    for symbol, count in counts.items():
        assert count == sum(symbol in elements for elements in contained)


def test_crystal_systems_add_up_to_the_split(small_table: StickTable) -> None:
    counts = crystal_system_counts(small_table, "test")
    assert tuple(counts) == CRYSTAL_SYSTEMS
    assert sum(counts.values()) == len(small_table.rows("test"))


def test_fewer_training_materials_are_part_of_more_and_nothing_else_moves(small_table: StickTable) -> None:
    few, more = (with_training_rows(small_table, rows=rows, seed=3) for rows in (20, 60))
    assert len(few.rows("train")) == 20
    assert set(few.rows("train")) < set(more.rows("train")) < set(small_table.rows("train"))
    for split in ("validation", "test"):
        assert few.rows(split).tolist() == small_table.rows(split).tolist()
    assert set(few.rows("train")) != set(with_training_rows(small_table, rows=20, seed=4).rows("train"))
    assert with_training_rows(small_table, rows=None, seed=0) is small_table
    with pytest.raises(DatasetError, match="training materials were requested"):
        with_training_rows(small_table, rows=10_000, seed=0)
