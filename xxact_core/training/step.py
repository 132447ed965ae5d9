"""One training step: batch → forward → losses of the recipe's objectives."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from xxact_core.compositions.element_table import ATOMIC_NUMBERS, SYMBOLS
from xxact_core.dataset.loading.batches import Batch
from xxact_core.model.model import Model
from xxact_core.model.pattern_tokens import scale_intensity
from xxact_core.model.xxact import Encoded, Xxact
from xxact_core.objectives.contrastive import ContrastiveLoss, SigmoidContrastiveLoss
from xxact_core.objectives.masked_patterns import draw_mask, reconstruction_loss
from xxact_core.objectives.targets import target_losses, to_z_scores
from xxact_core.patterns.grid import GRID
from xxact_core.training.alignment import Alignment
from xxact_core.training.config import Recipe
from xxact_core.training.distributed import gather
from xxact_core.training.task_sampling import draw_tasks

LIGHT_ELEMENTS = tuple(ATOMIC_NUMBERS[symbol] for symbol in ("H", "Li", "C", "O"))
"""Atomic numbers of what x-ray fluorescence does not see, or not well: `drop_light_elements` leaves them out."""


@dataclass(frozen=True)
class Lottery:
    """The random numbers (0-1) that decide what of a batch is masked, hidden, changed and trained.

    light, and amounts (one for each chemical element, and how far they are off), are None where the recipe changes no
    composition.
    """

    masks: Float[Tensor, "batch windows"]
    tasks: Float[Tensor, "batch tasks"]
    inputs: Float[Tensor, "batch one"]
    light: Float[Tensor, "batch one"] | None = None
    amounts: Float[Tensor, "batch elements"] | None = None

    def part(self, chosen: slice) -> Lottery:
        """Those of some of the materials."""
        return Lottery(
            self.masks[chosen],
            self.tasks[chosen],
            self.inputs[chosen],
            light=None if self.light is None else self.light[chosen],
            amounts=None if self.amounts is None else self.amounts[chosen],
        )


def draw_lottery(batch: int, recipe: Recipe, *, generator: torch.Generator) -> Lottery:
    """Random numbers for a whole batch, so that nothing depends on how it is cut into pieces."""

    def draw(columns: int) -> Tensor:
        return torch.rand((batch, columns), generator=generator, device=generator.device)

    return Lottery(
        masks=draw(GRID.windows),
        tasks=draw(len(recipe.targets)),
        inputs=draw(1),
        light=draw(1) if recipe.drop_light_elements else None,
        amounts=draw(len(SYMBOLS) + 1) if recipe.fraction_jitter else None,
    )


def hide_inputs(batch: Batch, recipe: Recipe, lottery: Lottery) -> Batch:
    """The batch without the pattern of some materials and the composition of others, as the recipe's shares say.

    The compositions of all are blurred first, where the recipe says so.
    """
    batch = replace(batch, fractions=blur_fractions(batch, recipe, lottery))
    if not recipe.drop_pattern and not recipe.drop_composition:
        return batch
    pattern = lottery.inputs < recipe.drop_pattern
    composition = lottery.inputs > 1 - recipe.drop_composition
    return replace(batch, hidden=batch.hidden | pattern, fractions=batch.fractions.masked_fill(composition, 0.0))


def blur_fractions(batch: Batch, recipe: Recipe, lottery: Lottery) -> Float[Tensor, "batch elements"]:
    """Fractions as a measurement would give them: light elements unseen, the others off; each row adds up to 1 again.

    A material of light elements alone keeps them. Half of the materials have exact fractions, the others are off by
    anything up to `fraction_jitter`: a model that never sees exact ones forgets what they tell.
    """
    fractions = batch.fractions
    if lottery.light is not None:
        light = torch.isin(batch.atomic_numbers, torch.tensor(LIGHT_ELEMENTS, device=fractions.device))
        seen = fractions.masked_fill(light & (lottery.light < recipe.drop_light_elements), 0.0)
        fractions = torch.where(seen.sum(dim=1, keepdim=True) > 0, seen, fractions)
        fractions = fractions / fractions.sum(dim=1, keepdim=True)
    if lottery.amounts is not None:
        normal = torch.special.ndtri(lottery.amounts.clamp(1e-6, 1 - 1e-6))
        spread = recipe.fraction_jitter * (2 * lottery.amounts[:, -1:] - 1).clamp(min=0)
        off = (spread * normal.gather(1, (batch.atomic_numbers - 1).clamp(min=0))).exp()
        fractions = fractions * off / (fractions * off).sum(dim=1, keepdim=True)
    return fractions


class Trainee(nn.Module):
    """A model and what is learned besides it: the contrastive temperature, and a moving average of the weights."""

    def __init__(self, model: Model, recipe: Recipe) -> None:
        super().__init__()
        self.model = model
        contrastive = ContrastiveLoss if recipe.contrastive_loss == "softmax" else SigmoidContrastiveLoss
        self.contrastive = contrastive() if "contrastive" in recipe.objectives else None
        self.frozen = recipe.freeze_backbone
        if self.frozen:
            self.model.requires_grad_(requires_grad=False)
            self.model.heads.requires_grad_()
        self.average = copy.deepcopy(model).requires_grad_(requires_grad=False).eval() if recipe.ema_decay else None
        self.kept = recipe.ema_decay or 0.0

    def train(self, mode: bool = True) -> Trainee:  # noqa: FBT001, FBT002 - torch's signature
        """Training mode; a frozen model stays in evaluation mode, without dropout and with fixed batch statistics."""
        super().train(mode)
        if self.frozen:
            self.model.eval()
        if self.average is not None:
            self.average.eval()
        return self

    @property
    def answering(self) -> Model:
        """The model that is validated and saved: the moving average where there is one."""
        return self.model if self.average is None else self.average

    @torch.no_grad()
    def follow(self, *, step: int) -> None:
        """Let the average follow the weights after a step; faster in the beginning, when it knows nothing yet.

        Source: Polyak & Juditsky 1992; the warm-up (1 + t) / (10 + t) is that of TensorFlow's ExponentialMovingAverage.
        """
        if self.average is None:
            return
        kept = min(self.kept, (1 + step) / (10 + step))
        for mean, value in zip(self.average.state_dict().values(), self.model.state_dict().values(), strict=True):
            if mean.is_floating_point():
                mean.lerp_(value, 1 - kept)
            else:
                mean.copy_(value)


def encode_batch(
    model: Model, batch: Batch, recipe: Recipe, lottery: Lottery
) -> tuple[Encoded, Bool[Tensor, "batch windows"]]:
    """What both encoders make of a batch, and the windows that were masked for that."""
    assert isinstance(model, Xxact), "recipes refuse objectives that need encodings for other kinds of model"
    masked = torch.zeros_like(batch.hidden)
    if "mxm" in recipe.objectives:
        masked = draw_mask(~batch.hidden, lottery.masks, ratio=recipe.mask_ratio)
    return model.encode(batch.hide(masked)), masked


def batch_losses(
    trainee: Trainee,
    batch: Batch,
    recipe: Recipe,
    statistics: Mapping[str, tuple[float, float]],
    lottery: Lottery,
    *,
    alignment: Alignment | None = None,
) -> dict[str, Tensor]:
    """The loss of every objective (and target) of the recipe on one batch; their sum is what is minimised.

    alignment: of a batch that this one is a piece of; without it, a batch is aligned by itself.
    """
    model, losses = trainee.model, {}
    if set(recipe.objectives) == {"targets"}:
        embedding = model.embed(batch)
        return _supervised_losses(model, embedding, batch, recipe, statistics, lottery)
    assert isinstance(model, Xxact), "recipes refuse these objectives for other kinds of model"
    encoded, masked = encode_batch(model, batch, recipe, lottery)
    if alignment is not None:
        losses["contrastive"] = alignment.loss_of(encoded)
    elif trainee.contrastive is not None:
        losses["contrastive"] = trainee.contrastive(gather(encoded.pattern[:, 0]), gather(encoded.composition[:, 0]))
    if "mxm" in recipe.objectives or "targets" in recipe.objectives:
        fused = model.fuse(encoded, cls_only="mxm" not in recipe.objectives)
    if "mxm" in recipe.objectives:
        scaled = scale_intensity(batch.intensity, intensity_scale=model.config.intensity_scale)
        losses["mxm"] = reconstruction_loss(model.reconstruct(fused), scaled, masked)
    if "targets" in recipe.objectives:
        losses |= _supervised_losses(model, fused[:, 0], batch, recipe, statistics, lottery)
    return losses


def _supervised_losses(
    model: Model,
    embedding: Tensor,
    batch: Batch,
    recipe: Recipe,
    statistics: Mapping[str, tuple[float, float]],
    lottery: Lottery,
) -> dict[str, Tensor]:
    chosen = draw_tasks(batch.targets, model.config.targets, lottery.tasks, sampling=recipe.task_sampling)
    return target_losses(
        model.heads(embedding),
        to_z_scores(batch.targets, statistics),
        chosen,
        regression_loss=recipe.regression_loss,
        regression_weight=recipe.regression_weight,
    )
