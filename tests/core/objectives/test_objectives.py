"""The objectives: known values, and the cases in which a naive one fails."""

from __future__ import annotations

import math

import pytest
import torch
from torch.nn import functional

from xxact_core.objectives.contrastive import ContrastiveLoss, SigmoidContrastiveLoss
from xxact_core.objectives.masked_patterns import draw_mask, reconstruction_loss, sharp_reconstruction_loss
from xxact_core.objectives.polymorphs import difference_loss
from xxact_core.objectives.symmetry_contrast import symmetry_contrast
from xxact_core.objectives.targets import from_z_scores, nonmetal_loss, target_losses, to_z_scores


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@torch.no_grad()
def test_contrastive_loss_of_unrelated_embeddings_is_the_logarithm_of_the_batch() -> None:
    same = torch.ones(16, 8)
    assert float(ContrastiveLoss()(same, same)) == pytest.approx(math.log(16), rel=1e-5)


@torch.no_grad()
def test_contrastive_loss_is_near_zero_for_aligned_and_large_for_swapped_pairs() -> None:
    pairs = torch.eye(8)
    loss = ContrastiveLoss()
    assert float(loss(pairs, 3 * pairs)) < 1e-4
    assert float(loss(pairs, pairs.roll(1, dims=0))) > 10


def test_contrastive_loss_is_symmetric_and_ignores_lengths() -> None:
    pattern, composition = torch.randn(5, 6, generator=generator()), torch.randn(5, 6, generator=generator(1))
    loss = ContrastiveLoss()
    torch.testing.assert_close(loss(pattern, composition), loss(composition, pattern))
    torch.testing.assert_close(loss(pattern, composition), loss(pattern * 7, composition * 0.1))


def test_temperature_starts_at_the_papers_and_is_learned() -> None:
    loss = ContrastiveLoss()
    assert float(loss.temperature.detach()) == pytest.approx(0.07)
    loss(torch.randn(5, 6, generator=generator()), torch.randn(5, 6, generator=generator(1))).backward()
    assert float(loss.log_inverse_temperature.grad.abs()) > 0


@torch.no_grad()
def test_contrastive_loss_is_exact_under_autocast() -> None:
    pattern, composition = torch.randn(32, 16, generator=generator()), torch.randn(32, 16, generator=generator(1))
    for loss in (ContrastiveLoss(), SigmoidContrastiveLoss()):
        wanted = loss(pattern, composition)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            assert torch.equal(loss(pattern, composition), wanted)


def test_sigmoid_loss_is_the_sum_of_the_logistic_losses_of_all_pairs() -> None:
    pattern, composition = torch.randn(5, 6, generator=generator()), torch.randn(5, 6, generator=generator(1))
    wanted = 0.0
    for row, left in enumerate(functional.normalize(pattern, dim=1)):
        for column, right in enumerate(functional.normalize(composition, dim=1)):
            score = 10 * float(left @ right) - 10
            wanted += math.log1p(math.exp(-score if row == column else score)) / 5
    assert float(SigmoidContrastiveLoss()(pattern, composition).detach()) == pytest.approx(wanted, rel=1e-5)


def test_sigmoid_loss_learns_its_scale_and_bias() -> None:
    loss = SigmoidContrastiveLoss()
    loss(torch.randn(5, 6, generator=generator()), torch.randn(5, 6, generator=generator(1))).backward()
    assert all(float(value.grad.abs()) > 0 for value in loss.parameters())


def test_every_pattern_has_a_masked_window_and_only_visible_ones_are_masked() -> None:
    visible = torch.rand(2000, 17, generator=generator()) < 0.6
    visible[0] = False
    visible[1] = False
    visible[1, 3] = True
    masked = draw_mask(visible, torch.rand(2000, 17, generator=generator(1)))
    assert not bool((masked & ~visible).any())
    assert bool(masked[1:].any(dim=1)[visible[1:].any(dim=1)].all())
    assert not bool(masked[0].any())
    assert masked[1].nonzero().flatten().tolist() == [3]


def test_mask_ratio_is_met_where_it_is_above_one_window() -> None:
    masked = draw_mask(torch.ones(4000, 17, dtype=torch.bool), torch.rand(4000, 17, generator=generator()), ratio=0.4)
    assert float(masked.float().mean()) == pytest.approx(0.4, abs=0.01)
    small = draw_mask(torch.ones(4000, 17, dtype=torch.bool), torch.rand(4000, 17, generator=generator()))
    # 1 - 0.95^17 have at least one of their own, the others get one.
    expected = 0.05 + 0.95**17 / 17
    assert float(small.float().mean()) == pytest.approx(expected, abs=0.003)
    assert (small.float().mean(dim=0) > 0.05).all()


def test_reconstruction_loss_is_the_mean_over_masked_windows_of_each_pattern() -> None:
    truth = torch.zeros(2, 17 * 250)
    rebuilt = torch.zeros(2, 17, 250)
    rebuilt[0, 0] = 1.0
    rebuilt[0, 1] = 3.0
    rebuilt[0, 2] = 100.0  # not masked: must not count
    masked = torch.zeros(2, 17, dtype=torch.bool)
    masked[0, :2] = True
    assert float(reconstruction_loss(rebuilt, truth, masked)) == pytest.approx((1 + 9) / 4)  # the second has none
    masked[1, 5] = True
    assert float(reconstruction_loss(rebuilt, truth, masked)) == pytest.approx((1 + 9) / 4)
    pieces = [reconstruction_loss(rebuilt[row], truth[row], masked[row]) for row in (slice(1), slice(1, 2))]
    assert float(sum(pieces) / 2) == pytest.approx((1 + 9) / 4)
    assert float(reconstruction_loss(rebuilt, truth, torch.zeros_like(masked))) == 0


def test_target_losses_equal_torchs_over_the_chosen_rows() -> None:
    outputs = {"band_gap": torch.randn(4, 1, generator=generator()), "crystal_system": torch.randn(4, 7)}
    truth = {
        "band_gap": torch.tensor([0.1, float("nan"), -1.0, 2.0]),
        "crystal_system": torch.tensor([0.0, 6.0, float("nan"), 3.0]),
    }
    chosen = {
        "band_gap": torch.tensor([True, False, True, False]),
        "crystal_system": torch.tensor([False, True, False, True]),
    }
    losses = target_losses(outputs, truth, chosen)
    value = functional.mse_loss(outputs["band_gap"][[0, 2], 0], truth["band_gap"][[0, 2]], reduction="sum") / 4
    classes = functional.cross_entropy(outputs["crystal_system"][[1, 3]], torch.tensor([6, 3]), reduction="sum") / 4
    torch.testing.assert_close(losses["band_gap"], value)
    torch.testing.assert_close(losses["crystal_system"], classes)
    absolute = target_losses(outputs, truth, chosen, regression_loss="absolute", regression_weight=3.0)
    distance = functional.l1_loss(outputs["band_gap"][[0, 2], 0], truth["band_gap"][[0, 2]], reduction="sum") / 4
    torch.testing.assert_close(absolute["band_gap"], 3 * distance)
    torch.testing.assert_close(absolute["crystal_system"], classes)


def test_target_nobody_was_chosen_for_costs_nothing() -> None:
    outputs = {"band_gap": torch.randn(2, 1, requires_grad=True)}
    nothing = {"band_gap": torch.zeros(2, dtype=torch.bool)}
    losses = target_losses(outputs, {"band_gap": torch.full((2,), float("nan"))}, nothing)
    assert float(losses["band_gap"].detach()) == 0


def test_z_scores_round_trip() -> None:
    values = {"band_gap": torch.tensor([0.0, 2.5]), "crystal_system": torch.tensor([1.0, 2.0])}
    scores = to_z_scores(values, {"band_gap": (1.0, 2.0)})
    torch.testing.assert_close(scores["band_gap"], torch.tensor([-0.5, 0.75]))
    torch.testing.assert_close(scores["crystal_system"], values["crystal_system"])
    torch.testing.assert_close(from_z_scores(scores["band_gap"][:, None], (1.0, 2.0)), values["band_gap"])


def test_difference_loss_of_a_hand_made_batch() -> None:
    true = torch.tensor([0.0, 1.0, 3.0, 5.0, math.nan])
    predicted = torch.tensor([10.0, 10.5, 13.0, -7.0, 0.0])
    group = torch.tensor([0, 0, 0, 1, 0])
    usable = torch.tensor([True, True, True, True, False])
    # Errors 10, 9.5 and 10: material 0 differs from its partners by 0.5 and 0, 1 by 0.5 and 0.5, 2 by 0 and 0.5.
    assert float(difference_loss(predicted, true, group, usable)) == pytest.approx((0.25 + 0.5 + 0.25) / 5)


def test_difference_loss_ignores_a_shift_of_a_formula_and_is_0_without_partners() -> None:
    true, group = torch.randn(6, generator=generator()), torch.tensor([0, 0, 1, 1, 2, 3])
    usable = torch.ones(6, dtype=torch.bool)
    shifted = true + 0.7 * group
    assert float(difference_loss(shifted, true, group, usable)) == pytest.approx(0, abs=1e-6)
    assert float(difference_loss(torch.zeros(6), true, torch.arange(6), usable)) == 0
    predicted = torch.zeros(6, requires_grad=True)
    difference_loss(predicted, true, group, usable).backward()
    assert torch.isfinite(predicted.grad).all()
    assert predicted.grad[4:].tolist() == [0, 0]


def test_symmetry_contrast_is_lower_when_classes_lie_apart() -> None:
    classes = torch.tensor([0.0, 0.0, 1.0, 1.0, math.nan])
    apart = torch.tensor([[1.0, 0.0], [1.0, 0.1], [-1.0, 0.0], [-1.0, 0.1], [0.0, 1.0]])
    mixed = apart[[0, 2, 1, 3, 4]]
    assert float(symmetry_contrast(apart, classes)) < 0.01
    assert float(symmetry_contrast(mixed, classes)) > 5
    assert float(symmetry_contrast(mixed, torch.arange(5.0))) == 0
    embedding = mixed.clone().requires_grad_()
    symmetry_contrast(embedding, classes).backward()
    assert torch.isfinite(embedding.grad).all()


def test_sharp_reconstruction_loss_adds_intensities_and_roots_of_masked_windows() -> None:
    scaled = torch.zeros(2, 4)
    scaled[0, 1] = 0.5
    rebuilt = torch.zeros(2, 2, 2)
    masked = torch.tensor([[True, False], [False, True]])
    wanted = (50 * 0.25**2 + 5 * 0.5**2) / 2 / 2  # mean over two points, then over two patterns
    assert float(sharp_reconstruction_loss(rebuilt, scaled, masked)) == pytest.approx(wanted)
    assert float(sharp_reconstruction_loss(scaled.unflatten(1, (2, 2)), scaled, masked)) == 0


def test_nonmetal_loss_counts_gaps_above_0_of_chosen_materials() -> None:
    gap, chosen = torch.tensor([0.0, 2.0, math.nan]), torch.tensor([True, True, False])
    right = nonmetal_loss(torch.tensor([-20.0, 20.0, 5.0]), gap, chosen)
    assert float(right) == pytest.approx(0, abs=1e-6)
    assert float(nonmetal_loss(torch.zeros(3), gap, chosen)) == pytest.approx(2 * math.log(2) / 3)
