"""Muon for CPUs: updates of hidden weight matrices are made orthogonal in single precision, as fast on every CPU."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from xxact_core.training.distributed import all_reduce_sum, current_ranks

FIRST_TERM = 0.961940
POLES = (1.896082e-5, 9.186060e-3)
WEIGHTS = (9.218832e-3, 0.1852775)
"""The function x (a + Σ wᵢ / (x² + cᵢ)) that differs from 1 by at most 0.155 for x in [0.002, 1].

No other function of this form is as close. The five Newton-Schulz steps of torch's Muon are between 0.68 and 1.2 there,
and both multiply much smaller x by about 500. Source: Zolotarev's best rational approximation of the sign function,
e.g. Nakatsukasa & Freund 2016, SIAM Review 58, 461, with l = 0.002 and r = 2.
"""

_TINY = 1e-7
"""Smallest norm that a matrix is divided by, as in torch's Muon."""


def orthogonalise(matrices: Float[Tensor, "count rows columns"]) -> Float[Tensor, "count rows columns"]:
    """Matrices with the same singular vectors, and singular values near 1; the smallest ones stay smaller.

    With X of Frobenius norm 1, at most as many rows as columns, and G = X Xᵀ, the result is
    (a 1 + Σ wᵢ (G + cᵢ 1)⁻¹) X. The inverses are computed by Cholesky decomposition. This takes as long as two of the
    five steps of Newton and Schulz, which are usually computed in bfloat16; only few CPUs multiply that fast.
    """
    if matrices.shape[1] > matrices.shape[2]:
        return orthogonalise(matrices.mT).mT
    normed = matrices / torch.linalg.matrix_norm(matrices, keepdim=True).clamp(min=_TINY)
    gram = normed @ normed.mT
    factor = torch.zeros_like(gram)
    factor.diagonal(dim1=1, dim2=2).fill_(FIRST_TERM)
    for weight, pole in zip(WEIGHTS, POLES, strict=True):
        shifted = gram.clone()
        shifted.diagonal(dim1=1, dim2=2).add_(pole)
        factor.add_(torch.cholesky_inverse(torch.linalg.cholesky_ex(shifted).L), alpha=weight)
    directions: Tensor = factor @ normed
    return directions


class Muon(torch.optim.Muon):
    """torch's Muon, whose steps on a CPU are computed by `orthogonalise`, for all matrices of one shape at a time.

    The state is that of torch's Muon. On a GPU the steps are torch's own, in bfloat16.
    """

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:  # noqa: ANN401 - torch's signature
        """Update the matrices that have a gradient."""
        if any(value.device.type != "cpu" for group in self.param_groups for value in group["params"]):
            return super().step(closure)  # type: ignore[no-untyped-call]  # torch's has no types
        assert closure is None, "gradients are computed before the step"
        for group in self.param_groups:
            by_shape: dict[torch.Size, list[tuple[Tensor, Tensor]]] = {}
            for matrix in group["params"]:
                if matrix.grad is None:
                    continue
                update = self._update(matrix, momentum=group["momentum"])
                matrix.mul_(1 - group["lr"] * group["weight_decay"])
                wide, update = (matrix.T, update.T) if matrix.shape[0] > matrix.shape[1] else (matrix, update)
                by_shape.setdefault(wide.shape, []).append((wide, update))
            stacks = [torch.stack([update for _, update in members]) for members in by_shape.values()]
            for members, directions in zip(by_shape.values(), _orthogonalise_all(stacks), strict=True):
                size = 0.2 * directions.shape[2] ** 0.5  # Liu et al. 2025: entries as large as those of AdamW's updates
                for (matrix, _), direction in zip(members, directions, strict=True):
                    matrix.add_(direction, alpha=-group["lr"] * size)
        return None

    def _update(self, matrix: Tensor, *, momentum: float) -> Tensor:
        """Nesterov's momentum of a matrix, after its gradient was added to its running mean."""
        state = self.state[matrix]
        if "momentum_buffer" not in state:
            state["momentum_buffer"] = torch.zeros_like(matrix)
        mean, gradient = state["momentum_buffer"], matrix.grad
        assert gradient is not None
        mean.lerp_(gradient, 1 - momentum)
        return gradient.lerp(mean, momentum)


def _orthogonalise_all(stacks: Sequence[Float[Tensor, "..."]]) -> list[Tensor]:
    """`orthogonalise` of each stack of matrices; processes that train together divide the matrices among them."""
    ranks, first, directions = current_ranks(), 0, []
    for stack in stacks:
        own = torch.arange(len(stack)) % ranks.world == (ranks.rank - first) % ranks.world
        made = torch.zeros_like(stack)
        if own.any():
            made[own] = orthogonalise(stack[own])
        directions.append(made)
        first += len(stack)
    all_reduce_sum(directions)
    return directions
