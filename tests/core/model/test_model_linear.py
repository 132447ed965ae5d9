"""oneDNN's linear map is torch's, with its gradients, and only where it is meant to be taken."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from xxact_core.model import linear as module
from xxact_core.model.linear import MIN_ROWS, Linear, linear

SHAPES = [(MIN_ROWS, 24), (3, MIN_ROWS // 2, 24), (7, 24), (24,), (0, 24)]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("with_bias", [True, False])
def test_answer_and_gradients_are_those_of_torch(shape: tuple[int, ...], *, with_bias: bool) -> None:
    torch.manual_seed(0)
    ours = Linear(24, 40, bias=with_bias)
    theirs = torch.nn.Linear(24, 40, bias=with_bias)
    theirs.load_state_dict(ours.state_dict())
    weighing = torch.randn(*shape[:-1], 40)
    asked = [torch.randn(shape, generator=torch.Generator().manual_seed(1)).requires_grad_() for _ in range(2)]
    answers = [layer(values) for layer, values in zip((ours, theirs), asked, strict=True)]
    torch.testing.assert_close(*answers)
    for answer in answers:
        (answer * weighing).sum().backward()
    torch.testing.assert_close(asked[0].grad, asked[1].grad)
    for mine, other in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(mine.grad, other.grad)


def test_values_that_lie_otherwise_in_memory_are_taken_as_they_are() -> None:
    values, weight = torch.randn(24, MIN_ROWS).t(), torch.randn(24, 40).t()
    torch.testing.assert_close(linear(values, weight, None), functional.linear(values, weight))
    every_other = torch.randn(MIN_ROWS, 48)[:, ::2]
    torch.testing.assert_close(linear(every_other, weight, None), functional.linear(every_other, weight))


def test_many_rows_in_single_precision_alone_go_to_onednn(monkeypatch: pytest.MonkeyPatch) -> None:
    taken = []
    monkeypatch.setattr(module, "_BY_ONEDNN", True)  # what is asked is what is taken, wherever the test runs
    monkeypatch.setattr(module, "by_onednn", lambda *given: taken.append(given) or functional.linear(*given))
    layer, values = Linear(4, 4), torch.randn(MIN_ROWS, 4)
    layer(values)
    layer(values[1:])
    assert len(taken) == 1
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert layer(values).dtype == torch.bfloat16
    assert layer.double()(values.double()).dtype == torch.float64
    assert len(taken) == 1
