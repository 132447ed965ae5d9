"""Muon's steps in single precision against singular values, torch's own Muon, and itself one matrix at a time."""

from __future__ import annotations

import pytest
import torch

import xxact_core.training.muon as module
from xxact_core.training.distributed import Ranks
from xxact_core.training.muon import FIRST_TERM, POLES, WEIGHTS, Muon, orthogonalise


def random_matrices(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("shape", [(24, 24), (24, 60), (60, 24)])
def test_singular_values_from_a_five_hundredth_to_one_come_near_one(shape: tuple[int, int]) -> None:
    left, _, right = torch.linalg.svd(random_matrices(*shape), full_matrices=False)
    values = torch.logspace(0, -2.69, 24)  # the smallest is 0.002 of the largest
    matrix = left @ torch.diag(values) @ right
    made = orthogonalise(matrix.unsqueeze(0) * 1e4)[0]  # of any length
    scales = torch.diagonal(left.T @ made @ right.T)
    norm = float(values.norm())
    expected = [
        value * (FIRST_TERM + sum(w / (value**2 + c) for w, c in zip(WEIGHTS, POLES, strict=True)))
        for value in (values.double() / norm).tolist()
    ]
    torch.testing.assert_close(scales, torch.tensor(expected), rtol=0, atol=0.01)
    assert bool((scales[values / norm > 0.002] - 1).abs().max() < 0.16)
    torch.testing.assert_close(made, left @ torch.diag(scales) @ right, rtol=0, atol=0.01)


def test_function_is_as_near_one_as_stated_over_the_whole_range() -> None:
    values = torch.logspace(-2.69897, 0, 5000, dtype=torch.float64)
    images = values * (FIRST_TERM + sum(w / (values**2 + c) for w, c in zip(WEIGHTS, POLES, strict=True)))
    assert float((images - 1).abs().max()) == pytest.approx(0.1547, abs=1e-3)
    # A best approximation reaches its largest deviation at six points, alternately above and below.
    extreme = torch.diff(torch.sign(images - 1)).count_nonzero()
    assert int(extreme) == 5


def test_matrices_without_a_gradient_in_them_stay_zero() -> None:
    assert torch.equal(orthogonalise(torch.zeros(2, 4, 6)), torch.zeros(2, 4, 6))


def test_steps_point_where_those_of_torch_do() -> None:
    shapes = [(16, 16), (16, 40), (40, 16), (16, 40)]
    ours, theirs = (
        [torch.nn.Parameter(random_matrices(*shape, seed=number)) for number, shape in enumerate(shapes)]
        for _ in range(2)
    )
    before = [matrix.detach().clone() for matrix in ours]
    settings = {"lr": 0.01, "weight_decay": 0.1, "adjust_lr_fn": "match_rms_adamw"}
    pair = Muon(ours, **settings), torch.optim.Muon(theirs, **settings)
    for step in range(3):
        for optimiser, matrices in zip(pair, (ours, theirs), strict=True):
            for number, matrix in enumerate(matrices):
                matrix.grad = random_matrices(*matrix.shape, seed=100 + 10 * step + number)
            optimiser.step()
    for first, own, other in zip(before, ours, theirs, strict=True):
        moved, expected = (after.detach() - first for after in (own, other))
        assert float(torch.cosine_similarity(moved.flatten(), expected.flatten(), dim=0)) > 0.97
        assert float(moved.norm() / expected.norm()) == pytest.approx(1, abs=0.15)


def test_matrices_of_one_shape_do_not_influence_each_other() -> None:
    matrices = random_matrices(3, 8, 20)
    alone = [orthogonalise(one.unsqueeze(0)) for one in matrices]
    torch.testing.assert_close(orthogonalise(matrices), torch.cat(alone))


def test_state_of_torchs_muon_can_be_continued() -> None:
    first, second = (torch.nn.Parameter(torch.ones(4, 6)) for _ in range(2))
    former = torch.optim.Muon([first], lr=0.1)
    first.grad = random_matrices(4, 6)
    former.step()
    ours = Muon([second], lr=0.1, adjust_lr_fn="match_rms_adamw")
    ours.load_state_dict(former.state_dict())
    torch.testing.assert_close(ours.state[second]["momentum_buffer"], former.state[first]["momentum_buffer"])
    second.grad = random_matrices(4, 6, seed=1)
    ours.step()
    assert not torch.equal(second, torch.ones(4, 6))


def test_processes_divide_the_matrices_evenly(monkeypatch: pytest.MonkeyPatch) -> None:
    stacks = [random_matrices(count, 6, 9, seed=count) for count in (1, 4, 1, 3)]
    parts: list[list[torch.Tensor]] = []
    for rank in range(2):
        monkeypatch.setattr(module, "current_ranks", lambda rank=rank: Ranks(rank, 2))
        monkeypatch.setattr(module, "all_reduce_sum", parts.append)
        module._orthogonalise_all(stacks)
    for stack, *of_ranks in zip(stacks, *parts, strict=True):
        torch.testing.assert_close(torch.stack(of_ranks).sum(dim=0), orthogonalise(stack))
    made = [sum(int(matrix.any()) for stack in part for matrix in stack) for part in parts]
    assert made == [5, 4]
