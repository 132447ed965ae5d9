"""The composition encoder, CrabNet's: self-attention over the elements, each encoded with its fraction."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from xxact_core.model.attention import EncoderLayer, learned_tokens
from xxact_core.model.config import ModelConfig
from xxact_core.model.linear import Linear

RESOLUTION = 5000
BASE = 50.0
LOG_SCALE = 0.0025
"""Constants of the fraction encodings. Source: CrabNet, Wang et al. 2021, reference implementation."""


class CompositionEncoder(nn.Module):
    """CrabNet's encoder.

    Fixed element features → linear map; two sinusoidal encodings of the fraction (linear in the first half of the
    width, logarithmic in the second) with learned scales; post-norm transformer layers.
    with_cls: prepend a learned [CLS]; the baseline CrabNet has none.

    Source: Wang et al. 2021, npj Comput. Mater. 7, 77; 9,560,067 parameters in the paper's size. The [CLS] is ours:
    CrabNet has none and XxaCT-NN needs one for its contrastive objective. The fraction codes are scaled by 2^(1 - s);
    CrabNet writes 2^((1 - s)²), whose gradient is exactly 0 at its starting value s = 1.
    """

    def __init__(
        self, config: ModelConfig, element_features: Float[Tensor, "elements features"], *, with_cls: bool = True
    ) -> None:
        super().__init__()
        self.element_features: Tensor
        self.fraction_codes: Tensor
        sizes = config.composition
        padding = element_features.new_zeros(1, element_features.shape[1])
        self.register_buffer("element_features", torch.cat([padding, element_features.float()]), persistent=False)
        self.embed = Linear(element_features.shape[1], sizes.width)
        self.register_buffer("fraction_codes", _sinusoids(sizes.width // 2), persistent=False)
        self.element_scale = nn.Parameter(torch.ones(()))
        self.linear_scale = nn.Parameter(torch.ones(()))
        self.log_scale = nn.Parameter(torch.ones(()))
        self.cls = learned_tokens(sizes.width) if with_cls else None
        self.layers = nn.ModuleList(EncoderLayer(sizes) for _ in range(sizes.depth))

    def forward(
        self, atomic_numbers: Int[Tensor, "batch elements"], fractions: Float[Tensor, "batch elements"]
    ) -> tuple[Float[Tensor, "batch elements_and_cls width"], Bool[Tensor, "batch elements_and_cls"]]:
        """Encoded [CLS] (where there is one) and elements, and their mask: False in empty slots, of fraction 0."""
        elements = self.embed(self.element_features[atomic_numbers]) * 2**self.element_scale
        logarithmic = (LOG_SCALE * torch.log2(fractions.clamp(min=1e-9)) ** 2).clamp(max=1.0)
        codes = torch.cat(
            [
                self._encode(fractions) * 2 ** (1 - self.linear_scale),
                self._encode(logarithmic) * 2 ** (1 - self.log_scale),
            ],
            dim=-1,
        )
        tokens = elements + codes
        element_mask = fractions > 0
        if self.cls is not None:
            tokens = torch.cat([self.cls.to(tokens.dtype).expand(len(tokens), 1, -1), tokens], dim=1)
            element_mask = torch.cat([element_mask.new_ones(len(element_mask), 1), element_mask], dim=1)
        for layer in self.layers:
            tokens = layer(tokens, element_mask)
        return tokens, element_mask

    def _encode(self, fractions: Float[Tensor, "batch elements"]) -> Float[Tensor, "batch elements half"]:
        index = (fractions.clamp(min=1 / RESOLUTION) * RESOLUTION).round().long() - 1
        return self.fraction_codes[index]


def _sinusoids(width: int) -> Float[Tensor, "resolution half"]:
    if torch.empty(0).is_meta:  # no arithmetic there, as in `learned_tokens`
        return torch.empty(RESOLUTION, width)
    position = torch.arange(RESOLUTION, dtype=torch.float32).unsqueeze(1)
    channel = torch.arange(width, dtype=torch.float32)
    angle = position / BASE ** (2 * channel / width)
    return torch.where(torch.arange(width) % 2 == 0, angle.sin(), angle.cos())
