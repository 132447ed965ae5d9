"""The contrastive loss of a batch that passes through the model in pieces: every piece is told what all of them want.

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
    """The contrastive loss of a whole batch, and its gradients with respect to the two [CLS] of each material."""

    loss: Float[Tensor, ""]
    pattern: Float[Tensor, "batch width"]
    composition: Float[Tensor, "batch width"]

    def part(self, chosen: slice) -> Alignment:
        """The same for a piece: as if its loss were a mean over its own materials, as other losses are."""
        share = len(self.pattern[chosen]) / len(self.pattern)
        return Alignment(self.loss, self.pattern[chosen] / share, self.composition[chosen] / share)

    def loss_of(self, encoded: Encoded) -> Float[Tensor, ""]:
        """The loss of the whole batch, with the gradient that it has for this piece."""
        pulls = ((encoded.pattern[:, 0], self.pattern), (encoded.composition[:, 0], self.composition))
        return self.loss + sum(((cls - cls.detach()) * gradient).sum() for cls, gradient in pulls)


def leading_tokens(encoded: Encoded) -> tuple[Float[Tensor, "batch width"], Float[Tensor, "batch width"]]:
    """The [CLS] of pattern and composition, without what they were made from: it may be forgotten."""
    return encoded.pattern[:, 0].detach().clone(), encoded.composition[:, 0].detach().clone()


def align(
    contrastive: ContrastiveLoss | SigmoidContrastiveLoss,
    pattern: Float[Tensor, "batch width"],
    composition: Float[Tensor, "batch width"],
    *,
    share: float,
) -> Alignment:
    """Loss and gradients of a batch from its leading tokens; leaves the temperature's own gradient in `contrastive`.

    share: of the materials of this process in those of all.
    """
    pattern, composition = pattern.requires_grad_(), composition.requires_grad_()
    loss = contrastive(gather(pattern), gather(composition))
    (loss * share).backward()
    assert pattern.grad is not None
    assert composition.grad is not None
    return Alignment(loss.detach(), pattern.grad / share, composition.grad / share)
