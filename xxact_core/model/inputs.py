"""The input of every model: patterns and compositions as tensors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from xxact_core.compositions.composition import Composition
from xxact_core.compositions.sampling import compositions_to_rows
from xxact_core.patterns.pattern import GriddedPattern


@dataclass(frozen=True)
class ModelInput:
    """A batch of patterns with their compositions; models, objectives, training and evaluation all take this."""

    intensity: Float[Tensor, "batch points"]
    """Intensities, 0-100, on the shared grid."""

    window_mask: Bool[Tensor, "batch windows"]
    """True for windows that the model does not see: masked, or hardly measured."""

    atomic_numbers: Int[Tensor, "batch elements"]
    """Atomic numbers, 0 in empty slots."""

    fractions: Float[Tensor, "batch elements"]
    """Atomic fractions, 0 in empty slots; a row of zeros where the composition is unknown."""

    def __len__(self) -> int:
        """Number of materials."""
        return len(self.intensity)

    def part(self, chosen: slice) -> ModelInput:
        """Some of its materials, without a copy."""
        return replace(self, **self._tensors(chosen))

    def take(self, rows: Int[Tensor, " chosen"]) -> ModelInput:
        """The inputs of some of its materials, by index."""
        return ModelInput(**self._tensors(rows))

    def hide(self, windows: Bool[Tensor, "batch windows"]) -> ModelInput:
        """The same with more windows masked."""
        return replace(self, window_mask=self.window_mask | windows)

    def _tensors(self, chosen: slice | Tensor) -> dict[str, Tensor]:
        return {field.name: getattr(self, field.name)[chosen] for field in fields(ModelInput)}


def pattern_to_input(
    pattern: GriddedPattern, compositions: Sequence[Composition], *, device: torch.device | None = None
) -> ModelInput:
    """One pattern with each of these compositions, without copies of it; with an unknown one where there are none."""
    atomic_numbers, fractions = compositions_to_rows(compositions)
    batch = len(fractions)
    return ModelInput(
        intensity=torch.tensor(pattern.intensity, dtype=torch.float32, device=device).expand(batch, -1),
        window_mask=torch.tensor(pattern.hidden_windows, dtype=torch.bool, device=device).expand(batch, -1),
        atomic_numbers=torch.tensor(atomic_numbers, device=device),
        fractions=torch.tensor(fractions, device=device),
    )
