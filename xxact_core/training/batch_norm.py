"""Batch normalisation over the materials of all processes that train together."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from xxact_core.training.distributed import all_reduce_sum


def synchronise_batch_norm(module: nn.Module, *, device: torch.device) -> None:
    """Give every batch normalisation inside a module the statistics of all processes.

    Parameters and buffers stay the same objects under the same names. On GPUs it is torch's own, which has none for
    CPUs.
    """
    if device.type == "cuda":
        nn.SyncBatchNorm.convert_sync_batchnorm(module)  # replaces children in place
        return
    for parent in list(module.modules()):
        for name, part in parent.named_children():
            if type(part) is nn.BatchNorm2d:
                setattr(parent, name, SynchronisedBatchNorm.from_batch_norm(part))


class SynchronisedBatchNorm(nn.BatchNorm2d):
    """torch's batch normalisation, in training with mean and variance over the batches of all processes."""

    @classmethod
    def from_batch_norm(cls, other: nn.BatchNorm2d) -> SynchronisedBatchNorm:
        """The same layer, with its parameters and buffers."""
        made = cls(other.num_features, eps=other.eps, momentum=other.momentum)
        made.weight, made.bias = other.weight, other.bias
        made.running_mean, made.running_var = other.running_mean, other.running_var
        made.num_batches_tracked = other.num_batches_tracked
        return made.train(other.training)

    def forward(
        self,
        input: Float[Tensor, "batch channels rows points"],  # noqa: A002 - torch's signature
    ) -> Float[Tensor, "batch channels rows points"]:
        """Normalised features; the running statistics are updated in training."""
        if not self.training:
            return super().forward(input)
        mean, variance, count = batch_statistics(input)
        with torch.no_grad():
            assert self.num_batches_tracked is not None
            assert self.running_mean is not None
            assert self.running_var is not None
            assert self.momentum is not None
            self.num_batches_tracked.add_(1)
            self.running_mean.lerp_(mean, self.momentum)
            self.running_var.lerp_(variance * (count / (count - 1)), self.momentum)
        return _normalise(input, self.weight, self.bias, mean, variance, count, self.eps)


@torch.no_grad()
def batch_statistics(features: Float[Tensor, "batch channels rows points"]) -> tuple[Tensor, Tensor, float]:
    """Mean and variance of each channel over the batches of all processes, and the number of values.

    Sums over a pattern are products with ones, which take a seventh of the time of `torch.var_mean`; over patterns
    and processes they are added in double precision, in which the difference of E[x²] and E[x]² is exact enough.
    """
    values = features.permute(0, 2, 3, 1).flatten(1, 2).float()  # a view where the channels are last in memory
    ones = values.new_ones(1, values.shape[1])
    sums = torch.stack([(ones @ power).squeeze(1).double().sum(dim=0) for power in (values, values.square())])
    moments = torch.cat([sums.flatten(), sums.new_tensor([values[..., 0].numel()])])
    all_reduce_sum([moments])
    count = float(moments[-1])
    first, second = (moments[:-1] / count).view(2, -1).unbind()
    return first.float(), (second - first.square()).clamp(min=0).float(), count


class _Normalise(torch.autograd.Function):
    """(x - mean) / √(variance + ε) · weight + bias, whose gradient includes that of mean and variance."""

    @staticmethod
    def forward(  # noqa: PLR0917 - autograd passes arguments by place
        ctx: Any,  # noqa: ANN401 - torch's context
        features: Tensor,
        weight: Tensor,
        bias: Tensor,
        mean: Tensor,
        variance: Tensor,
        count: float,
        eps: float,
    ) -> Tensor:
        ctx.save_for_backward(features, weight, mean, variance)
        ctx.count, ctx.eps = count, eps
        return functional.batch_norm(features, mean, variance, weight, bias, training=False, eps=eps)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:  # noqa: ANN401 - torch's context
        """As of fixed statistics, which torch computes in one pass, and then what they contribute.

        With n values of a channel, x̂ = (x - mean) / σ, and sums over all processes, this is
        - weight / (σ n) · (Σ g + x̂ Σ g x̂).
        """
        features, weight, mean, variance = ctx.saved_tensors
        of_features, of_weight, of_bias = torch.ops.aten.native_batch_norm_backward(
            gradient, features, weight, mean, variance, None, None, train=False, eps=ctx.eps, output_mask=[True] * 3
        )
        sums = torch.stack([of_bias, of_weight]).double()
        all_reduce_sum([sums])
        inverse = (variance + ctx.eps).rsqrt()
        scale = weight * inverse / ctx.count
        slope = -scale * inverse * sums[1].float()
        offset = -scale * sums[0].float() - slope * mean
        shape = (1, -1, 1, 1)
        of_features = of_features.addcmul_(features, slope.view(shape).to(of_features.dtype))
        of_features += offset.view(shape).to(of_features.dtype)
        return of_features, of_weight, of_bias, None, None, None, None


_normalise: Callable[..., Tensor] = _Normalise.apply
