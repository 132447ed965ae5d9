"""Linear maps that cost less on a processor than torch's."""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional

_BY_ONEDNN = torch.backends.mkldnn.is_available() and hasattr(torch.ops.mkldnn, "_linear_pointwise")
"""Whether torch was built with oneDNN, and with the name under which `torch.compile` calls its linear map."""

MANY = 256
"""Rows from which on it pays: a call costs oneDNN 35 µs more, as much as all of the product for a single pattern."""


class Linear(nn.Linear):
    """torch's linear map, by `linear`."""

    def forward(self, input: Float[Tensor, "*batch before"]) -> Float[Tensor, "*batch after"]:  # noqa: A002 - torch's signature
        """The input times the weights, and the bias added."""
        return linear(input, self.weight, self.bias)


def linear(
    values: Float[Tensor, "*batch before"], weight: Float[Tensor, "after before"], bias: Float[Tensor, " after"] | None
) -> Float[Tensor, "*batch after"]:
    """`functional.linear`; `MANY` rows in single precision on a processor by oneDNN, where torch by itself takes MKL.

    oneDNN writes its loops for the very shapes and the very processor. On an AMD EPYC with AVX-512 it does 1.1 to 1.5
    times as many products a second, `benchmarks/training.py` says what that is worth; lower precisions torch gives to
    it anyway.
    """
    if (
        _BY_ONEDNN
        and values.device.type == "cpu"
        and values.dtype == weight.dtype == torch.float32
        and values.numel() >= MANY * values.shape[-1]
        and not torch.is_autocast_enabled("cpu")
        and not torch.compiler.is_compiling()
    ):
        return _Linear.apply(values, weight, bias)
    return functional.linear(values, weight, bias)


class _Linear(torch.autograd.Function):
    """oneDNN's linear map and its gradients."""

    @staticmethod
    def forward(ctx: Any, values: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:  # noqa: ANN401 - torch's signature
        ctx.save_for_backward(values, weight)
        return _product(values, weight, bias)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:  # noqa: ANN401 - torch's signature
        values, weight = ctx.saved_tensors
        of_values, of_weight, of_bias = ctx.needs_input_grad
        rows = gradient.flatten(0, -2)
        return (
            _product(gradient, weight.t(), None) if of_values else None,
            rows.t() @ values.flatten(0, -2) if of_weight else None,
            rows.sum(dim=0) if of_bias else None,
        )


def _product(values: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    return torch.ops.mkldnn._linear_pointwise(values, weight, bias, "none", [], "")  # noqa: SLF001 - it has no other name
