"""Optimisers, AdamW alone or with Muon for hidden weight matrices, and the learning-rate schedule."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from xxact_core.training.config import Recipe
from xxact_core.training.muon import Muon

_OUTSIDE = ("heads", "positions", "reconstruction_head")
"""Modules whose matrices are no hidden layers, which Muon's authors leave to AdamW."""


class Optimisers:
    """One optimiser or several for disjoint parameters, each with a factor of the learning rate."""

    def __init__(self, *parts: tuple[torch.optim.Optimizer, float]) -> None:
        self.parts = parts

    def set_rate(self, rate: float) -> None:
        """Set the learning rate of the next step."""
        for optimiser, factor in self.parts:
            for group in optimiser.param_groups:
                group["lr"] = rate * factor

    def step(self) -> None:
        """Update the parameters."""
        for optimiser, _ in self.parts:
            optimiser.step()

    def state_dict(self) -> dict[str, Any]:
        """State of all optimisers."""
        return {str(number): optimiser.state_dict() for number, (optimiser, _) in enumerate(self.parts)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """The inverse of `state_dict`."""
        for number, (optimiser, _) in enumerate(self.parts):
            optimiser.load_state_dict(state[str(number)])


def make_optimiser(module: nn.Module, recipe: Recipe) -> Optimisers:
    """The optimisers of a recipe over all trainable parameters.

    Muon's orthogonalised update is scaled so that its entries are as large as those of AdamW.
    Source: Jordan et al. 2024, "Muon: an optimizer for hidden layers in neural networks"; the scale is that of Liu et
    al. 2025, "Muon is scalable for LLM training", section 2.2. AdamW: Loshchilov & Hutter 2019.
    """
    named = [(name, value) for name, value in module.named_parameters() if value.requires_grad]
    matrices = [value for name, value in named if _is_hidden_matrix(name, value)] if recipe.optimiser == "muon" else []
    chosen = {id(value) for value in matrices}
    rest = [value for _, value in named if id(value) not in chosen]
    decay = recipe.weight_decay
    parts: list[tuple[torch.optim.Optimizer, float]] = [
        (torch.optim.AdamW(rest, lr=recipe.lr_init, betas=recipe.betas, weight_decay=decay, fused=True), 1.0)
    ]
    if matrices:
        muon = Muon(matrices, lr=recipe.lr_init, weight_decay=decay, adjust_lr_fn="match_rms_adamw")
        parts.append((muon, recipe.muon_lr_factor))
    return Optimisers(*parts)


def _is_hidden_matrix(name: str, value: torch.Tensor) -> bool:
    parts = name.split(".")
    inside = "hidden" in parts or not any(part in parts for part in _OUTSIDE)
    return value.ndim == 2 and inside  # noqa: PLR2004 - rows and columns


def learning_rate(step: int, *, steps: int, recipe: Recipe) -> float:
    """Learning rate of a step (0-based) of a run of `steps`: linear warm-up, then cosine decay.

    Source: XxaCT-NN section 3.4: linear 1e-6 → 5e-4 over the first 10 %, then cosine to 1e-7.
    """
    warm = max(1, round(steps * recipe.warmup_fraction))
    if step < warm:
        return recipe.lr_init + (recipe.lr_peak - recipe.lr_init) * step / warm
    progress = (step - warm) / max(1, steps - warm)
    return recipe.lr_final + (recipe.lr_peak - recipe.lr_final) * (1 + math.cos(math.pi * progress)) / 2
