"""One training step: modality dropout and masking of a batch, forward pass, and the losses of the objectives."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from xxact_core.compositions.element_table import ATOMIC_NUMBERS, SYMBOLS
from xxact_core.dataset.loading.batches import Batch
from xxact_core.model.dropout import dropout_of_rows
from xxact_core.model.inputs import ModelInput
from xxact_core.model.model import Model
from xxact_core.model.pattern_tokens import scale_intensity
from xxact_core.model.xxact import Encoded, Xxact
from xxact_core.objectives.contrastive import ContrastiveLoss, SigmoidContrastiveLoss
from xxact_core.objectives.masked_patterns import draw_mask, reconstruction_loss, sharp_reconstruction_loss
from xxact_core.objectives.polymorphs import difference_loss
from xxact_core.objectives.symmetry_contrast import symmetry_contrast
from xxact_core.objectives.targets import nonmetal_loss, sample_tasks, target_losses, to_z_scores
from xxact_core.patterns.grid import GRID
from xxact_core.quantities import BAND_GAP, CRYSTAL_SYSTEM, FORMATION_ENERGY
from xxact_core.training.alignment import Alignment
from xxact_core.training.config import Recipe
from xxact_core.training.distributed import GatheredRows, gather

LIGHT_ELEMENTS = tuple(ATOMIC_NUMBERS[symbol] for symbol in ("H", "Li", "C", "O"))
"""Atomic numbers that X-ray fluorescence does not detect, or not well: `drop_light_elements` leaves them out."""


GOLDEN_RATIO = (5**0.5 - 1) / 2
"""Multiples of it, modulo 1, are spread evenly, so that every part of a batch has its share of masked materials; a
process without any would have no gradient of the decoder, for which the others wait."""


@dataclass(frozen=True)
class BatchRandomness:
    """Uniform random numbers (0-1) that decide what is masked, dropped, jittered and trained in a batch."""

    masking: Float[Tensor, "batch windows"]
    """Masking of windows, for the objective `mxm`."""

    tasks: Float[Tensor, "batch tasks"]
    """Task sampling."""

    modality: Float[Tensor, "batch one"]
    """Modality dropout."""

    mask_share: Float[Tensor, "batch one"] | None = None
    """Which materials have masked windows; None where all have."""

    light_elements: Float[Tensor, "batch one"] | None = None
    """Dropping of light elements; None where the recipe has none."""

    jitter: Float[Tensor, "batch elements"] | None = None
    """Jitter of each element's fraction, and in the last column its size; None where the recipe has none."""

    def part(self, chosen: slice) -> BatchRandomness:
        """Those of some of the materials."""
        return BatchRandomness(
            self.masking[chosen],
            self.tasks[chosen],
            self.modality[chosen],
            mask_share=None if self.mask_share is None else self.mask_share[chosen],
            light_elements=None if self.light_elements is None else self.light_elements[chosen],
            jitter=None if self.jitter is None else self.jitter[chosen],
        )


def draw_randomness(batch: int, recipe: Recipe, *, generator: torch.Generator) -> BatchRandomness:
    """Random numbers of a whole batch, so that results do not depend on how it is divided into micro-batches."""

    def draw(columns: int) -> Tensor:
        return torch.rand((batch, columns), generator=generator, device=generator.device)

    count = torch.arange(batch, device=generator.device).unsqueeze(1)
    return BatchRandomness(
        masking=draw(GRID.windows),
        tasks=draw(len(recipe.targets)),
        modality=draw(1),
        mask_share=(draw(1)[:1] + GOLDEN_RATIO * count) % 1 if recipe.mask_share < 1 else None,
        light_elements=draw(1) if recipe.drop_light_elements else None,
        jitter=draw(len(SYMBOLS) + 1) if recipe.fraction_jitter else None,
    )


def modality_dropout(batch: Batch, recipe: Recipe, randomness: BatchRandomness) -> Batch:
    """The batch without the pattern of some materials and the composition of others; fractions are jittered first."""
    batch = replace(batch, fractions=jitter_fractions(batch, recipe, randomness))
    if not recipe.drop_pattern and not recipe.drop_composition:
        return batch
    pattern = randomness.modality < recipe.drop_pattern
    composition = randomness.modality > 1 - recipe.drop_composition
    return replace(
        batch, window_mask=batch.window_mask | pattern, fractions=batch.fractions.masked_fill(composition, 0.0)
    )


def jitter_fractions(batch: Batch, recipe: Recipe, randomness: BatchRandomness) -> Float[Tensor, "batch elements"]:
    """Fractions as measurements give them: without light elements, and with errors; each row is normalised again.

    Light elements stay where there are no others. Half of the fractions stay exact, so that the model keeps what exact
    ones tell; the errors of the others are log-normal, with standard deviations up to `fraction_jitter`.
    """
    fractions = batch.fractions
    if randomness.light_elements is not None:
        light = torch.isin(batch.atomic_numbers, torch.tensor(LIGHT_ELEMENTS, device=fractions.device))
        seen = fractions.masked_fill(light & (randomness.light_elements < recipe.drop_light_elements), 0.0)
        fractions = torch.where(seen.sum(dim=1, keepdim=True) > 0, seen, fractions)
        fractions = fractions / fractions.sum(dim=1, keepdim=True)
    if randomness.jitter is not None:
        normal = torch.special.ndtri(randomness.jitter.clamp(1e-6, 1 - 1e-6))
        deviation = recipe.fraction_jitter * (2 * randomness.jitter[:, -1:] - 1).clamp(min=0)
        factor = (deviation * normal.gather(1, (batch.atomic_numbers - 1).clamp(min=0))).exp()
        fractions = fractions * factor / (fractions * factor).sum(dim=1, keepdim=True)
    return fractions


class TrainingModule(nn.Module):
    """A model with what is trained besides it: the contrastive temperature, and an average (EMA) of the weights."""

    def __init__(self, model: Model, recipe: Recipe) -> None:
        super().__init__()
        self.model = model
        contrastive = ContrastiveLoss if recipe.contrastive_loss == "softmax" else SigmoidContrastiveLoss
        self.contrastive = contrastive() if "contrastive" in recipe.objectives else None
        self.frozen = recipe.freeze_backbone
        if self.frozen:
            self.model.requires_grad_(requires_grad=False)
            self.model.heads.requires_grad_("targets" in recipe.objectives and not recipe.freeze_heads)
            if isinstance(model, Xxact):
                model.reconstruction_head.requires_grad_("mxm" in recipe.objectives)
        self.ema_model = copy.deepcopy(model).requires_grad_(requires_grad=False).eval() if recipe.ema_decay else None
        self.ema_decay = recipe.ema_decay or 0.0

    def train(self, mode: bool = True) -> TrainingModule:  # noqa: FBT001, FBT002 - torch's signature
        """Training mode; a frozen model stays in evaluation mode, without dropout and with fixed batch statistics."""
        super().train(mode)
        if self.frozen:
            self.model.eval()
        if self.ema_model is not None:
            self.ema_model.eval()
        return self

    @property
    def inference_model(self) -> Model:
        """The model that is validated and saved: the average of the weights where there is one."""
        return self.model if self.ema_model is None else self.ema_model

    @torch.no_grad()
    def ema_update(self, *, step: int) -> None:
        """Update the average of the weights after a step; its decay is smaller in the first steps.

        Source: Polyak & Juditsky 1992; the warm-up (1 + t) / (10 + t) is that of TensorFlow's ExponentialMovingAverage.
        """
        if self.ema_model is None:
            return
        decay = min(self.ema_decay, (1 + step) / (10 + step))
        for mean, value in zip(self.ema_model.state_dict().values(), self.model.state_dict().values(), strict=True):
            if mean.is_floating_point():
                mean.lerp_(value, 1 - decay)
            else:
                mean.copy_(value)


def encode_batch(
    model: Model, batch: Batch, recipe: Recipe, randomness: BatchRandomness
) -> tuple[Encoded, Bool[Tensor, "batch windows"]]:
    """Outputs of both encoders for a batch, and the windows that were masked for `mxm`."""
    assert isinstance(model, Xxact), "recipes refuse these objectives for other architectures"
    masked = torch.zeros_like(batch.window_mask)
    if "mxm" in recipe.objectives:
        masked = draw_mask(~batch.window_mask, randomness.masking, ratio=recipe.mask_ratio)
        if randomness.mask_share is not None:
            masked = masked & (randomness.mask_share < recipe.mask_share)
    return model.encode(batch.hide(masked)), masked


def batch_losses(
    module: TrainingModule,
    batch: Batch,
    recipe: Recipe,
    statistics: Mapping[str, tuple[float, float]],
    randomness: BatchRandomness,
    *,
    alignment: Alignment | None = None,
) -> dict[str, Tensor]:
    """The loss of every objective and target of the recipe on a batch; the training minimises their sum.

    Args:
        module: The model, with the contrastive temperature.
        batch: A micro-batch, after modality dropout.
        recipe: The recipe of the run.
        statistics: Mean and standard deviation of each regression target.
        randomness: The random numbers of this micro-batch.
        alignment: Contrastive loss of the batch that the micro-batch belongs to; its own where not given.
    """
    model, losses = module.model, {}
    if set(recipe.objectives) == {"targets"}:
        return _supervised_losses(model, model.features(batch), batch, recipe, statistics, randomness)
    assert isinstance(model, Xxact), "recipes refuse these objectives for other architectures"
    encoded, masked = encode_batch(model, batch, recipe, randomness)
    if alignment is not None:
        losses["contrastive"] = alignment.loss_of(encoded)
    elif module.contrastive is not None:
        losses["contrastive"] = module.contrastive(
            gather(encoded.pattern[:, 0].float()), gather(encoded.composition[:, 0].float())
        )
    if "mxm" in recipe.objectives or "targets" in recipe.objectives:
        cls, reconstruction = _fuse(model, encoded, batch, masked)
    if "mxm" in recipe.objectives:
        losses["mxm"] = recipe.mxm_weight * reconstruction
    if "targets" in recipe.objectives:
        features = model.features_of(encoded, cls)
        losses |= _supervised_losses(model, features, batch, recipe, statistics, randomness)
    return losses


def _fuse(
    model: Xxact, encoded: Encoded, batch: Batch, masked: Bool[Tensor, "batch windows"]
) -> tuple[Float[Tensor, "batch width"], Float[Tensor, ""]]:
    """Fused [CLS] of a batch, and the loss of its masked windows.

    The last layer of the fusion computes the windows of materials with masked windows alone.
    """
    rows = masked.any(dim=1).nonzero().squeeze(1)
    if len(rows) == len(masked):
        fused = model.fuse(encoded)
        return fused[:, 0], _reconstruction_loss(model, fused, batch.hide(masked), batch.intensity, masked)
    others = (~masked.any(dim=1)).nonzero().squeeze(1)
    with dropout_of_rows(others):
        cls_of_others = model.fuse(encoded.take(others), cls_only=True)[:, 0]
    if not len(rows):
        return cls_of_others, cls_of_others.new_zeros(())
    with dropout_of_rows(rows):
        fused = model.fuse(encoded.take(rows))
    inputs = batch.take(rows).hide(masked[rows])
    loss = _reconstruction_loss(model, fused, inputs, batch.intensity[rows], masked[rows]) * len(rows) / len(masked)
    order = torch.cat([rows, others]).argsort()
    return torch.cat([fused[:, 0], cls_of_others])[order], loss


def _reconstruction_loss(
    model: Xxact, fused: Tensor, inputs: ModelInput, intensity: Tensor, masked: Tensor
) -> Float[Tensor, ""]:
    scaled = scale_intensity(intensity, intensity_scale=model.config.intensity_scale)
    loss = sharp_reconstruction_loss if model.config.decoder == "peaks" else reconstruction_loss
    return loss(model.reconstruct(fused, inputs), scaled, masked)


def _supervised_losses(
    model: Model,
    features: Tensor,
    batch: Batch,
    recipe: Recipe,
    statistics: Mapping[str, tuple[float, float]],
    randomness: BatchRandomness,
) -> dict[str, Tensor]:
    chosen = sample_tasks(batch.targets, model.config.targets, randomness.tasks, sampling=recipe.task_sampling)
    truth = to_z_scores(batch.targets, statistics)
    outputs, parts = model.heads.with_parts(features)
    weight = recipe.regression_weight
    losses: dict[str, Tensor] = {}
    energy = FORMATION_ENERGY.name
    if (offset := parts.get("teacher_offset")) is not None:
        outputs[energy] = outputs[energy] + torch.where(batch.from_teacher.unsqueeze(1), offset, 0.0)
    if (estimate := parts.get("composition_estimate")) is not None:
        if offset is not None:
            estimate = estimate + torch.where(batch.from_teacher.unsqueeze(1), offset.detach(), 0.0)
        (losses["composition_estimate"],) = target_losses(
            {energy: estimate},
            truth,
            {energy: chosen[energy]},
            regression_loss=recipe.regression_loss,
            regression_weight=weight,
        ).values()
    if (logit := parts.get("nonmetal")) is not None:
        losses["nonmetal"] = nonmetal_loss(logit.squeeze(1), batch.targets[BAND_GAP.name], chosen[BAND_GAP.name])
    losses |= _comparison_losses(model, features, outputs, batch, recipe, truth)
    return losses | target_losses(
        outputs, truth, chosen, regression_loss=recipe.regression_loss, regression_weight=weight
    )


def compares_materials(recipe: Recipe) -> bool:
    """Whether a loss compares the materials of a batch with each other, for which processes exchange them."""
    targets = set(recipe.targets) if "targets" in recipe.objectives else set()
    differences = bool(recipe.difference_weight) and FORMATION_ENERGY.name in targets
    contrast = bool(recipe.symmetry_contrast_weight) and CRYSTAL_SYSTEM.name in targets
    return differences or contrast or "contrastive" in recipe.objectives


def _comparison_losses(
    model: Model,
    features: Tensor,
    outputs: Mapping[str, Tensor],
    batch: Batch,
    recipe: Recipe,
    truth: Mapping[str, Tensor],
) -> dict[str, Tensor]:
    """Losses that compare the materials of this process with those that pass through the model in any process."""
    losses, energy = {}, FORMATION_ENERGY.name
    differences = recipe.difference_weight and energy in outputs
    contrast = recipe.symmetry_contrast_weight and CRYSTAL_SYSTEM.name in outputs
    if not (differences or contrast):
        return {}
    rows = GatheredRows.of(len(batch), device=features.device)
    if differences:
        seen = ~batch.window_mask.all(dim=1) & (batch.fractions.sum(dim=1) > 0)
        usable = batch.energy_is_exact & ~truth[energy].isnan() & seen
        difference = difference_loss(
            rows.gather(outputs[energy].squeeze(1).float()),
            rows.gather(truth[energy]),
            rows.gather(batch.polymorph_group),
            rows.gather(usable.long()).bool(),
            own=rows.own,
        )
        losses["polymorph_difference"] = recipe.difference_weight * recipe.regression_weight * difference
    if contrast:
        embedding, classes = model.embedding_of(features), batch.targets[CRYSTAL_SYSTEM.name]
        of_own = symmetry_contrast(rows.gather(embedding.float()), rows.gather(classes), own=rows.own)
        losses["symmetry_contrast"] = recipe.symmetry_contrast_weight * of_own
    return losses
