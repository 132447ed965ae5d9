"""Effects of laboratories → values for each pattern of a batch, from one generator."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from xxact_core.augmentation.config import EFFECTS, Distortions
from xxact_core.augmentation.effects import Effect
from xxact_core.patterns.conversions import CU_K_ALPHA
from xxact_core.peak_profiles.shapes import doublet_wavelengths

_WITHOUT = {
    ("texture", "r"): 1.0,
    ("crystallite_size", "size"): math.inf,
    ("displacement", "radius"): 1.0,
    ("counting_noise", "counts"): math.inf,
    ("limited_range", "last"): 180.0,
    ("other_radiation", "last"): 180.0,
}
"""What a pattern without an effect has instead; 0 where nothing is said."""


@dataclass(frozen=True)
class Drawn:
    """One draw for a batch: which effects each pattern has, and how strong they are.

    present: by name of the effect. occurring: those that any pattern has, known without asking a device again.
    values: by name of effect and range, in the units of `patterns.distortion_effects`.
    axis: plane of the texture. partner: the row of the batch that is the impurity. wavelengths: Kα1, Kα2 and their mean
    [Å]; without a doublet both are the mean.
    """

    present: Mapping[str, Bool[Tensor, " batch"]]
    occurring: frozenset[str]
    values: Mapping[tuple[str, str], Float[Tensor, " batch"]]
    axis: Int[Tensor, "batch 3"]
    partner: Int[Tensor, " batch"]
    wavelengths: Float[Tensor, "batch 3"]


def draw_effects(distortions: Distortions, batch: int, *, generator: torch.Generator) -> Drawn:
    """Values for `batch` patterns, all of which are distorted: `share` was drawn before."""
    device = generator.device
    present: dict[str, Tensor] = {}
    values: dict[tuple[str, str], Tensor] = {}
    for name, kind in EFFECTS.items():
        effect: Effect | None = getattr(distortions, name)
        present[name] = torch.zeros(batch, dtype=torch.bool, device=device)
        if effect is not None:
            present[name] = torch.rand(batch, generator=generator, device=device) < effect.share
        for item in kind.LIMITS:
            without = torch.full((batch,), _WITHOUT.get((name, item), 0.0), dtype=torch.float64, device=device)
            if effect is None:
                values[name, item] = without
                continue
            low, high = getattr(effect, item)
            even = torch.rand(batch, generator=generator, device=device, dtype=torch.float64)
            drawn = low * (high / low) ** even if item in kind.LOGARITHMIC else low + (high - low) * even
            values[name, item] = torch.where(present[name], drawn, without)
    if batch < 2:  # noqa: PLR2004 - an impurity is another material of the batch
        present["impurity"] = torch.zeros_like(present["impurity"])
    step = torch.randint(1, max(batch, 2), (batch,), generator=generator, device=device)
    return Drawn(
        present=present,
        occurring=_occurring(present),
        values=values,
        axis=_draw_axis(distortions, batch, generator=generator),
        partner=(torch.arange(batch, device=device) + step) % batch,
        wavelengths=_draw_wavelengths(distortions, present, batch, generator=generator),
    )


def _occurring(present: Mapping[str, Tensor]) -> frozenset[str]:
    """The effects that any pattern has; a device is asked once for all of them."""
    told = torch.stack(list(present.values())).any(dim=1).tolist()
    return frozenset(name for name, occurs in zip(present, told, strict=True) if occurs)


def _draw_axis(distortions: Distortions, batch: int, *, generator: torch.Generator) -> Int[Tensor, "batch 3"]:
    planes = torch.tensor(distortions.texture.planes if distortions.texture else ((0, 0, 1),), device=generator.device)
    return planes[torch.randint(len(planes), (batch,), generator=generator, device=generator.device)]


def _draw_wavelengths(
    distortions: Distortions, present: Mapping[str, Tensor], batch: int, *, generator: torch.Generator
) -> Float[Tensor, "batch 3"]:
    device = generator.device
    anodes = ("Cu", *(distortions.other_radiation.anodes if distortions.other_radiation else ()))
    table = torch.tensor([doublet_wavelengths(anode) for anode in anodes], dtype=torch.float64, device=device)
    table[0, 2] = CU_K_ALPHA
    other = torch.randint(1, max(len(anodes), 2), (batch,), generator=generator, device=device)
    both = table[torch.where(present["other_radiation"], other, 0)]
    return torch.where(present["doublet"][:, None], both, both[:, 2:])
