"""A pattern and its composition → cross-attention weights of each window over the elements."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from xxact_core.checkpoint import Checkpoint
from xxact_core.compositions.composition import Composition
from xxact_core.compositions.partial import PartialComposition
from xxact_core.compositions.sampling import sample_compositions
from xxact_core.errors import CheckpointError, FormulaError
from xxact_core.model.inputs import pattern_to_input
from xxact_core.model.xxact import Xxact
from xxact_core.patterns.grid import GRID
from xxact_core.patterns.pattern import GriddedPattern


@dataclass(frozen=True, eq=False)
class WindowAttention:
    """Attention of the windows of a pattern; `weights` and `cls_weight` of a window add up to 1.

    Windows masked because too little of them was measured are NaN.
    """

    symbols: tuple[str, ...]
    """The elements."""

    weights: np.ndarray
    """Weight (0-1) of each element in the attention of each window, shape (elements, windows)."""

    cls_weight: np.ndarray
    """Weight (0-1) of the [CLS], which represents the whole composition, shape (windows,)."""


@torch.inference_mode()
def window_attention(
    checkpoint: Checkpoint, pattern: GriddedPattern, composition: Composition | PartialComposition
) -> WindowAttention:
    """Cross-attention weights of the windows over the elements, averaged over heads and layers.

    The last layer is left out, because only its [CLS] contributes to a prediction. For a partial composition the
    weights are averaged over its samples (`xxact_core.compositions.sampling`); the weight of an element is 0 in those
    that lack it.

    Raises:
        CheckpointError: the model has no cross-attention.
        FormulaError: the composition is unknown.
    """
    model = checkpoint.model
    if not isinstance(model, Xxact):
        msg = f"the architecture {model.config.architecture!r} has no cross-attention; expected 'xxact'"
        raise CheckpointError(msg, code="E_CHECKPOINT")
    drawn = (composition,) if isinstance(composition, Composition) else sample_compositions(composition)
    if not drawn:
        msg = "the composition is unknown; attention weights need at least one element"
        raise FormulaError(msg, code="E_FORMULA")
    encoded = model.encode(pattern_to_input(pattern, drawn, device=next(model.parameters()).device))
    layers = model.cross_attention_weights(encoded)
    of_tokens = layers[: max(1, len(layers) - 1)].mean(dim=(0, 2))[:, 1:]
    of_windows = of_tokens.unflatten(1, (GRID.windows, -1)).mean(dim=2).double().cpu().numpy()
    of_windows[:, pattern.hidden_windows] = np.nan
    elements = dict.fromkeys(symbol for one in drawn for symbol in one.symbols)
    rows = dict.fromkeys(elements, np.zeros(GRID.windows))
    for one, weights in zip(drawn, of_windows, strict=True):
        for place, symbol in enumerate(one.symbols, start=1):
            rows[symbol] = rows[symbol] + weights[:, place] / len(drawn)
    return WindowAttention(tuple(rows), np.stack(list(rows.values())), of_windows[:, :, 0].mean(axis=0))
