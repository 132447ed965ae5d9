"""Augmentation settings → effects sampled for each pattern of a batch, from one generator."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from xxact_core.augmentation.config import EFFECTS, AugmentationConfig
from xxact_core.augmentation.effects import Effect
from xxact_core.patterns.conversions import CU_K_ALPHA
from xxact_core.patterns.grid import GRID
from xxact_core.peak_profiles.shapes import K_ALPHA_SHARES, doublet_wavelengths, residual_wavelengths
from xxact_core.peak_profiles.smoothing import SMOOTHING_FILTERS

_VALUES_WITHOUT = {
    ("texture", "r"): 1.0,
    ("crystallite_size", "size"): math.inf,
    ("displacement", "radius"): 1.0,
    ("counting_noise", "counts"): math.inf,
    ("limited_range", "last"): 180.0,
    ("other_radiation", "last"): 180.0,
    ("calculated_cell", "scale"): 1.0,
    ("k_alpha2", "ratio"): K_ALPHA_SHARES[1] / K_ALPHA_SHARES[0],
    ("scan_step", "step"): GRID.step,
}
"""Value of a setting for patterns without the effect, 0 unless stated."""


@dataclass(frozen=True)
class SampledEffects:
    """Effects of each pattern of a batch, and their sizes."""

    present: Mapping[str, Bool[Tensor, " batch"]]
    """Whether a pattern has an effect, by name of the effect."""
    occurring: frozenset[str]
    """Names of the effects that at least one pattern has, on the host."""
    values: Mapping[tuple[str, str], Float[Tensor, " batch"]]
    """Values by name of effect and setting, in the units of `effects`."""
    axis: Int[Tensor, "batch 3"]
    """Miller indices of the plane of the texture."""
    partner: Int[Tensor, " batch"]
    """Row of the batch that is the impurity."""
    wavelengths: Float[Tensor, "batch 3"]
    """Wavelengths of Kα1, Kα2 and their weighted mean [Å]; without a doublet all are the mean."""
    residual_wavelengths: Float[Tensor, "batch 3"]
    """Wavelengths of Kβ, of W Lα and of the absorption edge of the Kβ filter [Å]."""
    filter_number: Int[Tensor, " batch"]
    """Index of the smoothing filter in `SMOOTHING_FILTERS`."""


def sample_effects(augmentation: AugmentationConfig, batch: int, *, generator: torch.Generator) -> SampledEffects:
    """Sample the effects of `batch` patterns, all of which are augmented."""
    device = generator.device
    present: dict[str, Tensor] = {}
    values: dict[tuple[str, str], Tensor] = {}
    for name, kind in EFFECTS.items():
        effect: Effect | None = getattr(augmentation, name)
        present[name] = torch.zeros(batch, dtype=torch.bool, device=device)
        if effect is not None:
            present[name] = torch.rand(batch, generator=generator, device=device) < effect.share
        for item in kind.LIMITS:
            neutral = torch.full((batch,), _VALUES_WITHOUT.get((name, item), 0.0), dtype=torch.float64, device=device)
            if effect is None:
                values[name, item] = neutral
                continue
            low, high = getattr(effect, item)
            uniform = torch.rand(batch, generator=generator, device=device, dtype=torch.float64)
            value = low * (high / low) ** uniform if item in kind.LOGARITHMIC else low + (high - low) * uniform
            values[name, item] = torch.where(present[name], value, neutral)
    if batch < 2:  # noqa: PLR2004 - an impurity is another material of the batch
        present["impurity"] = torch.zeros_like(present["impurity"])
    step = torch.randint(1, max(batch, 2), (batch,), generator=generator, device=device)
    axis = _sample_axis(augmentation, batch, generator=generator)
    wavelengths, residual_wavelengths = _sample_wavelengths(augmentation, present, batch, generator=generator)
    return SampledEffects(
        present=present,
        occurring=_occurring(present),
        values=values,
        axis=axis,
        partner=(torch.arange(batch, device=device) + step) % batch,
        wavelengths=wavelengths,
        residual_wavelengths=residual_wavelengths,
        filter_number=_sample_filter(augmentation, batch, generator=generator),
    )


def _occurring(present: Mapping[str, Tensor]) -> frozenset[str]:
    """Names of the effects that at least one pattern has, in one transfer from the device."""
    occurs_in_any = torch.stack(list(present.values())).any(dim=1).tolist()
    return frozenset(name for name, occurs in zip(present, occurs_in_any, strict=True) if occurs)


def _sample_axis(augmentation: AugmentationConfig, batch: int, *, generator: torch.Generator) -> Int[Tensor, "batch 3"]:
    planes = torch.tensor(
        augmentation.texture.planes if augmentation.texture else ((0, 0, 1),), device=generator.device
    )
    return planes[torch.randint(len(planes), (batch,), generator=generator, device=generator.device)]


def _sample_wavelengths(
    augmentation: AugmentationConfig, present: Mapping[str, Tensor], batch: int, *, generator: torch.Generator
) -> tuple[Float[Tensor, "batch 3"], Float[Tensor, "batch 3"]]:
    device = generator.device
    anodes = ("Cu", *(augmentation.other_radiation.anodes if augmentation.other_radiation else ()))
    table = torch.tensor([doublet_wavelengths(anode) for anode in anodes], dtype=torch.float64, device=device)
    table[0, 2] = CU_K_ALPHA
    residual = torch.tensor([residual_wavelengths(anode) for anode in anodes], dtype=torch.float64, device=device)
    other = torch.randint(1, max(len(anodes), 2), (batch,), generator=generator, device=device)
    anode = torch.where(present["other_radiation"], other, 0)
    both = table[anode]
    return torch.where(present["doublet"][:, None], both, both[:, 2:]), residual[anode]


def _sample_filter(
    augmentation: AugmentationConfig, batch: int, *, generator: torch.Generator
) -> Int[Tensor, " batch"]:
    if augmentation.smoothing is None:
        return torch.zeros(batch, dtype=torch.long, device=generator.device)
    numbers = [SMOOTHING_FILTERS.index(method) for method in augmentation.smoothing.methods]
    place = torch.randint(len(numbers), (batch,), generator=generator, device=generator.device)
    return torch.tensor(numbers, device=generator.device)[place]
