"""XxaCT: cross-attention of a diffraction pattern and a composition."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from xxact_core.model.attention import learned_tokens
from xxact_core.model.composition_encoder import CompositionEncoder
from xxact_core.model.config import ModelConfig
from xxact_core.model.fusion import Fusion
from xxact_core.model.heads import ElementReadout, ReconstructionHead, TargetHeads, WindowReadout
from xxact_core.model.inputs import ModelInput
from xxact_core.model.linear import Linear
from xxact_core.model.model import Model
from xxact_core.model.pattern_encoder import PatternEncoder


@dataclass(frozen=True)
class Encoded:
    """Output of the two encoders for a batch; index 0 of each is its [CLS]."""

    pattern: Float[Tensor, "batch tokens width"]
    composition: Float[Tensor, "batch elements width"]
    element_mask: Bool[Tensor, "batch elements"]


class Xxact(Model):
    """The model of XxaCT-NN: XRD encoder, CrabNet composition encoder, cross-attention fusion, a head for each target.

    Objectives are computed outside of it, from the outputs of `encode`, `fuse`, `heads` and `reconstruct`.
    """

    def __init__(self, config: ModelConfig, element_features: Float[Tensor, "elements features"]) -> None:
        super().__init__()
        self.config = config
        width = config.fusion.width
        self.pattern_encoder = PatternEncoder(config)
        self.composition_encoder = CompositionEncoder(config, element_features)
        self.mask_token = learned_tokens(config.pattern.width)
        self.pattern_projection = Linear(config.pattern.width, width)
        self.composition_projection = Linear(config.composition.width, width)
        self.fusion = Fusion(config)
        self.window_readout = WindowReadout(config) if config.skip_to_heads else None
        self.element_readout = ElementReadout(config) if config.element_readout else None
        self.heads = TargetHeads(config, width=width)
        self.reconstruction_head = ReconstructionHead(config)

    def encode(self, inputs: ModelInput) -> Encoded:
        """Encode patterns and compositions separately."""
        pattern = self.pattern_encoder(inputs.intensity, inputs.window_mask, self.mask_token)
        composition, element_mask = self.composition_encoder(inputs.atomic_numbers, inputs.fractions)
        return Encoded(pattern, composition, element_mask)

    def fuse(self, encoded: Encoded, *, cls_only: bool = False) -> Float[Tensor, "batch queries width"]:
        """Fused [CLS] and windows, or the [CLS] alone; index 0 is the embedding of the material."""
        composition = self.composition_projection(encoded.composition)
        pattern = self.pattern_projection(encoded.pattern)
        fused: Tensor = self.fusion(pattern, composition, encoded.element_mask, cls_only=cls_only)
        skips = []
        if self.window_readout is not None:
            skips += [composition[:, 0], self.window_readout(encoded.pattern[:, 1:])]
        if self.element_readout is not None:
            skips += [self.element_readout(encoded.composition[:, 1:], encoded.element_mask[:, 1:])]
        if skips:
            cls = torch.stack([fused[:, 0], *skips]).sum(dim=0)
            fused = torch.cat([cls.unsqueeze(1), fused[:, 1:]], dim=1)
        return fused

    def cross_attention_weights(self, encoded: Encoded) -> Float[Tensor, "layers batch heads tokens elements"]:
        """Cross-attention weights of each pattern token over the composition tokens, in every layer."""
        return self.fusion.attention_weights(
            self.pattern_projection(encoded.pattern),
            self.composition_projection(encoded.composition),
            encoded.element_mask,
        )

    def reconstruct(self, fused: Float[Tensor, "batch tokens width"]) -> Float[Tensor, "batch windows points"]:
        """Intensities of every window on the scale of the model, see `scale_intensity`."""
        intensity: Tensor = self.reconstruction_head(fused[:, 1:])
        return intensity

    def embed(self, inputs: ModelInput) -> Float[Tensor, "batch width"]:
        """The fused [CLS]."""
        return self.encode_features(inputs)[0]

    def encode_features(
        self, inputs: ModelInput
    ) -> tuple[Float[Tensor, "batch width"], Float[Tensor, "batch tokens token_width"]]:
        """The fused [CLS], and [CLS] and windows of the encoded pattern."""
        encoded = self.encode(inputs)
        return self.fuse(encoded, cls_only=True)[:, 0], encoded.pattern


def count_parameters(module: nn.Module) -> int:
    """Trainable parameters of a module."""
    return sum(parameter.numel() for parameter in module.parameters() if parameter.requires_grad)
