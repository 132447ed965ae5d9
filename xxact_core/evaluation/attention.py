"""A pattern and its composition → how much each window of the pattern looks at each element."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from xxact_core.checkpoint import Checkpoint
from xxact_core.compositions.composition import Composition
from xxact_core.compositions.draws import draw_compositions
from xxact_core.compositions.partial import PartialComposition
from xxact_core.errors import CheckpointError, FormulaError
from xxact_core.model.inputs import pattern_to_input
from xxact_core.model.xxact import Xxact
from xxact_core.patterns.grid import GRID
from xxact_core.patterns.pattern import GriddedPattern


@dataclass(frozen=True, eq=False)
class WindowAttention:
    """How the windows of a pattern share out their attention.

    symbols: the elements. shares: (0-1) of each element in the attention of a window, shape (elements, windows).
    whole: the share that goes to the composition as a whole, its [CLS], shape (windows,). In each window `whole` and
    the `shares` add up to 1; windows that the model is not shown are NaN.
    """

    symbols: tuple[str, ...]
    shares: np.ndarray
    whole: np.ndarray


@torch.inference_mode()
def attend_windows(
    checkpoint: Checkpoint, pattern: GriddedPattern, composition: Composition | PartialComposition
) -> WindowAttention:
    """Mean over the heads and over the layers through which a window reaches the answer.

    That is all of them but the last one, where only the [CLS] asks. Where the composition is known in part, the mean
    over the compositions that answer for it (`compositions.draws`); an element that one of them lacks
    has no share there.

    Raises:
        CheckpointError: the model has no cross-attention.
        FormulaError: nothing is known of the composition.
    """
    model = checkpoint.model
    if not isinstance(model, Xxact):
        msg = (
            f"a model of the kind {model.config.architecture!r} has no windows that look at elements; expected 'xxact'"
        )
        raise CheckpointError(msg, code="E_CHECKPOINT")
    drawn = (composition,) if isinstance(composition, Composition) else draw_compositions(composition)
    if not drawn:
        msg = "without a composition there are no elements to look at"
        raise FormulaError(msg, code="E_FORMULA")
    encoded = model.encode(pattern_to_input(pattern, drawn, device=next(model.parameters()).device))
    layers = model.cross_attention(encoded)
    of_tokens = layers[: max(1, len(layers) - 1)].mean(dim=(0, 2))[:, 1:]
    of_windows = of_tokens.unflatten(1, (GRID.windows, -1)).mean(dim=2).double().cpu().numpy()
    of_windows[:, pattern.hidden_windows] = np.nan
    elements = dict.fromkeys(symbol for one in drawn for symbol in one.symbols)
    rows = dict.fromkeys(elements, np.zeros(GRID.windows))
    for one, shares in zip(drawn, of_windows, strict=True):
        for place, symbol in enumerate(one.symbols, start=1):
            rows[symbol] = rows[symbol] + shares[:, place] / len(drawn)
    return WindowAttention(tuple(rows), np.stack(list(rows.values())), of_windows[:, :, 0].mean(axis=0))
