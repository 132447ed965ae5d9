"""Dropout on a processor: as many values as it says, none in use, and attention that is otherwise torch's own."""

from __future__ import annotations

import pytest
import torch

from xxact_core.model.attention import Attention
from xxact_core.model.dropout import Dropout


@pytest.mark.parametrize("share", [0.1, 0.37, 0.5])
def test_share_is_dropped_and_the_mean_stays(share: float) -> None:
    torch.manual_seed(0)
    left = Dropout(share)(torch.ones(301, 997))
    assert float((left == 0).float().mean()) == pytest.approx(share, abs=0.004)
    assert float(left.mean()) == pytest.approx(1, abs=0.005)
    assert left.unique().numel() == 2


def test_values_are_dropped_independently_of_their_neighbours() -> None:
    """Four masks come from one random number: none of them tells of another."""
    torch.manual_seed(0)
    dropped = (Dropout(0.3)(torch.ones(100_000, 8)) == 0).float()
    together = torch.corrcoef(dropped.T) - torch.eye(8)
    assert float(together.abs().max()) < 0.015


def test_gradient_passes_where_the_value_does() -> None:
    values = torch.randn(5, 7, requires_grad=True)
    left = Dropout(0.5)(values)
    left.sum().backward()
    assert torch.equal(values.grad, left.detach().ne(0) * 2.0)


def test_random_state_decides_and_use_drops_nothing() -> None:
    values, dropout = torch.randn(6, 3), Dropout(0.5)
    torch.manual_seed(1)
    first = dropout(values)
    torch.manual_seed(1)
    assert torch.equal(dropout(values), first)
    assert torch.equal(dropout.eval()(values), values)


def test_attention_that_trains_is_that_in_use_but_for_what_it_drops() -> None:
    attention = Attention(width=16, heads=4, dropout=1e-6)  # rounds to no value at all
    tokens, context = torch.randn(2, 5, 16), torch.randn(2, 3, 16)
    present = torch.tensor([[True, True, False], [True, True, True]])
    training = attention.train()(tokens, context, present)
    torch.testing.assert_close(training, attention.eval()(tokens, context, present))
