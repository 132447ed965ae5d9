"""Linear layers that are faster on a CPU than torch's."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional

_BY_ONEDNN = torch.backends.mkldnn.is_available() and hasattr(torch.ops.mkldnn, "_linear_pointwise")
"""Whether torch was built with oneDNN, and with the name under which `torch.compile` calls its linear map."""

MIN_ROWS = 1024
"""Fewest rows for which oneDNN is used; below it is no faster. Source: docs/results/linear.md."""


class Linear(nn.Linear):
    """torch's linear layer, computed by `linear`."""

    def forward(self, input: Float[Tensor, "*batch before"]) -> Float[Tensor, "*batch after"]:  # noqa: A002 - torch's signature
        """The affine map x Wᵀ + b."""
        return linear(input, self.weight, self.bias)


def linear(
    values: Float[Tensor, "*batch before"], weight: Float[Tensor, "after before"], bias: Float[Tensor, " after"] | None
) -> Float[Tensor, "*batch after"]:
    """`functional.linear`, on a CPU by oneDNN instead of MKL for `MIN_ROWS` or more rows in single precision.

    oneDNN compiles its loops for the shapes and the CPU; `benchmarks/studies/linear.py` measures the gain.
    Lower precisions torch gives to it anyway.
    """
    if (
        _BY_ONEDNN
        and values.device.type == "cpu"
        and values.dtype == weight.dtype == torch.float32
        and values.numel() >= MIN_ROWS * values.shape[-1]
        and not torch.is_autocast_enabled("cpu")
        and not torch.compiler.is_compiling()
    ):
        return by_onednn(values, weight, bias)
    return functional.linear(values, weight, bias)


def by_onednn(
    values: Float[Tensor, "*batch before"], weight: Float[Tensor, "after before"], bias: Float[Tensor, " after"] | None
) -> Float[Tensor, "*batch after"]:
    """The linear map and its gradients by oneDNN, for any number of rows; single precision, on a CPU."""
    return _apply_linear(values, weight, bias)


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


_apply_linear: Callable[..., Tensor] = _Linear.apply


def _product(values: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    product: Tensor = torch.ops.mkldnn._linear_pointwise(values, weight, bias, "none", [], "")  # noqa: SLF001 - it has no other name
    return product
