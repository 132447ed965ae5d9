"""One training step: batch → forward → losses of the recipe's objectives."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from xxact_core.dataset.batches import Batch
from xxact_core.dataset.tasks import draw_tasks
from xxact_core.model.model import Model
from xxact_core.model.pattern_tokens import scale_intensity
from xxact_core.model.xxact import Xxact
from xxact_core.objectives.contrastive import ContrastiveLoss
from xxact_core.objectives.masked_patterns import draw_mask, reconstruction_loss
from xxact_core.objectives.targets import target_losses, to_z_scores
from xxact_core.training.config import Recipe


class Trainee(nn.Module):
    """A model and what its objectives learn besides (the contrastive temperature)."""

    def __init__(self, model: Model, recipe: Recipe) -> None:
        super().__init__()
        self.model = model
        self.contrastive = ContrastiveLoss() if "contrastive" in recipe.objectives else None
        self.frozen = recipe.freeze
        if self.frozen:
            self.model.requires_grad_(requires_grad=False)
            self.model.heads.requires_grad_()

    def train(self, mode: bool = True) -> Trainee:  # noqa: FBT001, FBT002 - torch's signature
        """Training mode; a frozen model stays in evaluation mode, without dropout and with fixed batch statistics."""
        super().train(mode)
        if self.frozen:
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
    if set(recipe.objectives) == {"targets"}:
        embedding = model.embed(batch.intensity, batch.hidden, batch.atomic_numbers, batch.fractions)
        return _supervised_losses(model, embedding, batch, recipe, statistics, generator=generator)
    assert isinstance(model, Xxact), "recipes refuse these objectives for other kinds of model"
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
        losses |= _supervised_losses(model, fused[:, 0], batch, recipe, statistics, generator=generator)
    return losses


def _supervised_losses(
    model: Model,
    embedding: Tensor,
    batch: Batch,
    recipe: Recipe,
    statistics: Mapping[str, tuple[float, float]],
    *,
    generator: torch.Generator,
) -> dict[str, Tensor]:
    chosen = draw_tasks(batch.targets, model.config.targets, sampling=recipe.task_sampling, generator=generator)
    return target_losses(model.heads(embedding), to_z_scores(batch.targets, statistics), chosen)
