"""Linear layers and dropout that are faster on a CPU than torch's."""

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


_DROPOUT_LEVELS = 2**16
"""Random numbers have 16 bits, so that one draw of torch's generator gives four; p is rounded to 1/65536."""


class Dropout(nn.Dropout):
    """torch's dropout; on a CPU with masks from 16 random bits a value, which is five times as fast.

    On a CPU, torch draws its masks by Bernoulli trials in single precision, which take a seventh of a training step of
    the preset `small`. Remaining values are scaled by 1 / (1 - p), as torch does.
    """

    def forward(self, input: Float[Tensor, "..."]) -> Float[Tensor, "..."]:  # noqa: A002 - torch's signature
        """Zero random values in training mode; the identity in evaluation mode."""
        if not self.training or self.p == 0 or input.device.type != "cpu" or torch.compiler.is_compiling():
            return super().forward(input)
        dropped = round(self.p * _DROPOUT_LEVELS)
        numbers = torch.empty(-(-input.numel() // 4), dtype=torch.int64).random_(-(2**63), None)
        bits = numbers.view(torch.int16)[: input.numel()].view(input.shape)
        kept = bits.ge_(dropped - _DROPOUT_LEVELS // 2)  # in place: comparisons that return booleans are slow
        return input * kept.to(input.dtype).mul_(_DROPOUT_LEVELS / (_DROPOUT_LEVELS - dropped))
