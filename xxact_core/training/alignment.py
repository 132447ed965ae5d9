"""The contrastive loss of a whole batch that passes through the model in micro-batches (gradient caching).

Source: GradCache, Gao et al. 2021, arXiv:2101.06983.
"""

from __future__ import annotations

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from xxact_core.model.xxact import Encoded
from xxact_core.objectives.contrastive import ContrastiveLoss, SigmoidContrastiveLoss
from xxact_core.training.distributed import gather


@dataclass(frozen=True)
class Alignment:
    """The contrastive loss of a whole batch, and its gradients with respect to the [CLS] of each input."""

    loss: Float[Tensor, ""]
    pattern: Float[Tensor, "batch width"]
    composition: Float[Tensor, "batch width"]

    def part(self, chosen: slice) -> Alignment:
        """The gradients of a micro-batch, scaled as if the loss were the mean over its own materials."""
        share = len(self.pattern[chosen]) / len(self.pattern)
        return Alignment(self.loss, self.pattern[chosen] / share, self.composition[chosen] / share)

    def loss_of(self, encoded: Encoded) -> Float[Tensor, ""]:
        """The loss of the whole batch, whose gradient is that with respect to this micro-batch."""
        pairs = ((encoded.pattern[:, 0], self.pattern), (encoded.composition[:, 0], self.composition))
        return self.loss + sum(((cls - cls.detach()) * gradient).sum() for cls, gradient in pairs)


def cls_tokens(encoded: Encoded) -> tuple[Float[Tensor, "batch width"], Float[Tensor, "batch width"]]:
    """Detached copies of the [CLS] of pattern and composition."""
    return encoded.pattern[:, 0].detach().clone(), encoded.composition[:, 0].detach().clone()


def align(
    contrastive: ContrastiveLoss | SigmoidContrastiveLoss,
    pattern: Float[Tensor, "batch width"],
    composition: Float[Tensor, "batch width"],
    *,
    share: float,
) -> Alignment:
    """Loss and gradients of a batch from its [CLS] tokens; the gradient of the temperature goes into `contrastive`.

    `share` is the fraction of the batch's materials that belongs to this process.
    """
    pattern, composition = pattern.requires_grad_(), composition.requires_grad_()
    loss = contrastive(gather(pattern.float()), gather(composition.float()))
    (loss * share).backward()
    assert pattern.grad is not None
    assert composition.grad is not None
    return Alignment(loss.detach(), pattern.grad / share, composition.grad / share)
