"""One training step: batch → forward → losses of the recipe's objectives."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from xxact_core.dataset.batches import Batch
from xxact_core.dataset.tasks import draw_tasks
from xxact_core.model.pattern_tokens import scale_intensity
from xxact_core.model.xxact import Xxact
from xxact_core.objectives.contrastive import ContrastiveLoss
from xxact_core.objectives.masked_patterns import draw_mask, reconstruction_loss
from xxact_core.objectives.targets import target_losses, to_z_scores
from xxact_core.training.config import Recipe


class Trainee(nn.Module):
    """A model and what its objectives learn besides (the contrastive temperature)."""

    def __init__(self, model: Xxact, recipe: Recipe) -> None:
        super().__init__()
        self.model = model
        self.contrastive = ContrastiveLoss() if "contrastive" in recipe.objectives else None
        if recipe.freeze:
            self.model.requires_grad_(requires_grad=False)
            self.model.heads.requires_grad_()

    def train(self, mode: bool = True) -> Trainee:  # noqa: FBT001, FBT002 - torch's signature
        """Training mode; a frozen model stays in evaluation mode, without dropout and with fixed batch statistics."""
        super().train(mode)
        if not any(parameter.requires_grad for parameter in self.model.fusion.parameters()):
            self.model.eval()
        return self


def batch_losses(
    trainee: Trainee,
    batch: Batch,
    recipe: Recipe,
    statistics: Mapping[str, tuple[float, float]],
    *,
    generator: torch.Generator,
) -> dict[str, Tensor]:
    """The loss of every objective (and target) of the recipe on one batch; their sum is what is minimised."""
    model, losses = trainee.model, {}
    masked = torch.zeros_like(batch.hidden)
    if "mxm" in recipe.objectives:
        masked = draw_mask(~batch.hidden, ratio=recipe.mask_ratio, generator=generator)
    encoded = model.encode(batch.intensity, batch.hidden | masked, batch.atomic_numbers, batch.fractions)
    if trainee.contrastive is not None:
        losses["contrastive"] = trainee.contrastive(encoded.pattern[:, 0], encoded.composition[:, 0])
    if "mxm" in recipe.objectives or "targets" in recipe.objectives:
        fused = model.fuse(encoded)
    if "mxm" in recipe.objectives:
        scaled = scale_intensity(batch.intensity, intensity_scale=model.config.intensity)
        losses["mxm"] = reconstruction_loss(model.reconstruct(fused), scaled, masked)
    if "targets" in recipe.objectives:
        names = model.config.targets
        chosen = draw_tasks(batch.targets, names, sampling=recipe.task_sampling, generator=generator)
        losses |= target_losses(model.heads(fused[:, 0]), to_z_scores(batch.targets, statistics), chosen)
    return losses
