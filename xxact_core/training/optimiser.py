"""How gradients become steps: AdamW, or Muon for the matrices inside the model and AdamW for the rest."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from xxact_core.training.config import Recipe

_OUTSIDE = ("heads", "positions", "reconstruction_head")
"""Parts whose matrices are no maps from features to features: what Muon's authors leave to AdamW."""


class Optimisers:
    """One optimiser or two that share the parameters of a model; `times` are multiples of the learning rate."""

    def __init__(self, *parts: tuple[torch.optim.Optimizer, float]) -> None:
        self.parts = parts

    def set_rate(self, rate: float) -> None:
        """Set the learning rate of the next step."""
        for optimiser, times in self.parts:
            for group in optimiser.param_groups:
                group["lr"] = rate * times

    def step(self) -> None:
        """Change the parameters by their gradients."""
        for optimiser, _ in self.parts:
            optimiser.step()

    def state_dict(self) -> dict[str, Any]:
        """What the next step depends on."""
        return {str(number): optimiser.state_dict() for number, (optimiser, _) in enumerate(self.parts)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """The inverse of `state_dict`."""
        for number, (optimiser, _) in enumerate(self.parts):
            optimiser.load_state_dict(state[str(number)])


def make_optimiser(trainee: nn.Module, recipe: Recipe) -> Optimisers:
    """The optimiser of a recipe over all parameters that are trained.

    Muon's step is orthogonal, scaled such that its entries are as large as AdamW's: a learning rate means the same.
    Source: Jordan et al. 2024, "Muon: an optimizer for hidden layers in neural networks"; the scale is that of Liu et
    al. 2025, "Muon is scalable for LLM training", section 2.2. AdamW: Loshchilov & Hutter 2019.
    """
    named = [(name, value) for name, value in trainee.named_parameters() if value.requires_grad]
    matrices = [value for name, value in named if _is_hidden_matrix(name, value)] if recipe.optimiser == "muon" else []
    chosen = {id(value) for value in matrices}
    rest = [value for _, value in named if id(value) not in chosen]
    decay = recipe.weight_decay
    parts: list[tuple[torch.optim.Optimizer, float]] = [
        (torch.optim.AdamW(rest, lr=recipe.lr_init, betas=recipe.betas, weight_decay=decay, fused=True), 1.0)
    ]
    if matrices:
        muon = torch.optim.Muon(matrices, lr=recipe.lr_init, weight_decay=decay, adjust_lr_fn="match_rms_adamw")
        parts.append((muon, recipe.muon_lr_factor))
    return Optimisers(*parts)


def _is_hidden_matrix(name: str, value: torch.Tensor) -> bool:
    parts = name.split(".")
    inside = "hidden" in parts or not any(part in parts for part in _OUTSIDE)
    return value.ndim == 2 and inside  # noqa: PLR2004 - rows and columns
