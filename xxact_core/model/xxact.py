"""XxaCT: cross-attention of a diffraction pattern and a composition."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from xxact_core.model.attention import learned_tokens
from xxact_core.model.composition_encoder import CompositionEncoder
from xxact_core.model.config import ModelConfig
from xxact_core.model.fusion import Fusion
from xxact_core.model.heads import ElementReadout, ReconstructionHead, SymmetryEmbedding, TargetHeads, WindowReadout
from xxact_core.model.inputs import ModelInput
from xxact_core.model.linear import Linear
from xxact_core.model.model import Model
from xxact_core.model.pattern_encoder import PatternEncoder
from xxact_core.model.pattern_tokens import scale_intensity
from xxact_core.model.peak_decoder import PeakDecoder
from xxact_core.model.peak_ratios import PeakRatios


@dataclass(frozen=True)
class Encoded:
    """Output of the two encoders for a batch; index 0 of each is its [CLS]."""

    pattern: Float[Tensor, "batch tokens width"]
    composition: Float[Tensor, "batch elements width"]
    element_mask: Bool[Tensor, "batch elements"]
    ratios: Float[Tensor, "batch fusion_width"] | None = None
    """Output of `PeakRatios`, where the model has them."""

    def take(self, rows: Int[Tensor, " chosen"]) -> Encoded:
        """Those of some of the materials."""
        ratios = None if self.ratios is None else self.ratios[rows]
        return Encoded(self.pattern[rows], self.composition[rows], self.element_mask[rows], ratios)


class Xxact(Model):
    """The model of XxaCT-NN: XRD encoder, CrabNet composition encoder, cross-attention fusion, a head for each target.

    Objectives are computed outside of it, from `encode`, `fuse`, `features_of`, `heads` and `reconstruct`.
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
        self.peak_ratios = PeakRatios(config) if config.peak_ratios else None
        self.heads = TargetHeads(config, width=width)
        self.symmetry_embedding = SymmetryEmbedding(config) if config.embedding_width else None
        self.reconstruction_head: nn.Module = (
            PeakDecoder(config) if config.decoder == "peaks" else ReconstructionHead(config)
        )

    def encode(self, inputs: ModelInput) -> Encoded:
        """Encode patterns and compositions separately."""
        pattern = self.pattern_encoder(inputs.intensity, inputs.window_mask, self.mask_token)
        composition, element_mask = self.composition_encoder(inputs.atomic_numbers, inputs.fractions)
        return Encoded(pattern, composition, element_mask, self.read_ratios(inputs))

    def read_ratios(self, inputs: ModelInput) -> Float[Tensor, "batch width"] | None:
        """Ratios of the spacings of the peaks, where the model has them."""
        return None if self.peak_ratios is None else self.peak_ratios(inputs.intensity, inputs.window_mask)

    def fuse(self, encoded: Encoded, *, cls_only: bool = False) -> Float[Tensor, "batch queries width"]:
        """Fused [CLS] and windows, or the [CLS] alone; index 0 summarises the material."""
        composition = self.composition_projection(encoded.composition)
        pattern = self.pattern_projection(encoded.pattern)
        fused: Tensor = self.fusion(pattern, composition, encoded.element_mask, cls_only=cls_only)
        skips = []
        if self.window_readout is not None:
            skips += [composition[:, 0], self.window_readout(encoded.pattern[:, 1:])]
        if self.element_readout is not None:
            skips += [self._read_elements(encoded)]
        if encoded.ratios is not None:
            skips += [encoded.ratios]
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

    def reconstruct(
        self, fused: Float[Tensor, "batch tokens width"], inputs: ModelInput
    ) -> Float[Tensor, "batch windows points"]:
        """Intensities of every window on the scale of the model, see `scale_intensity`, from all fused tokens."""
        if isinstance(self.reconstruction_head, PeakDecoder):
            seen = scale_intensity(inputs.intensity, intensity_scale=self.config.intensity_scale)
            decoded: Tensor = self.reconstruction_head(fused, seen, inputs.window_mask)
            return decoded
        intensity: Tensor = self.reconstruction_head(fused[:, 1:])
        return intensity

    def reconstruct_intensity(self, inputs: ModelInput) -> Float[Tensor, "batch windows points"]:
        """Intensities (0-100) of every window; masked windows are reconstructed from the others."""
        scaled = self.reconstruct(self.fuse(self.encode(inputs)), inputs)
        return 100 * (scaled if self.config.intensity_scale == "linear" else scaled.square())

    def features(self, inputs: ModelInput) -> Float[Tensor, "batch features"]:
        """Embedding, fused [CLS] and summary of the composition; see `TargetHeads`."""
        return self.encode_features(inputs)[0]

    def encode_features(
        self, inputs: ModelInput
    ) -> tuple[Float[Tensor, "batch features"], Float[Tensor, "batch tokens token_width"]]:
        """The features, and [CLS] and windows of the encoded pattern."""
        encoded = self.encode(inputs)
        return self.features_of(encoded, self.fuse(encoded, cls_only=True)[:, 0]), encoded.pattern

    def features_of(self, encoded: Encoded, cls: Float[Tensor, "batch width"]) -> Float[Tensor, "batch features"]:
        """The features of encoded inputs and their fused [CLS]."""
        parts = [cls]
        if self.symmetry_embedding is not None:
            parts.insert(0, self.symmetry_embedding(cls))
        if self.config.composition_estimate:
            summary = self.composition_projection(encoded.composition[:, 0])
            if self.element_readout is not None:
                summary = summary + self._read_elements(encoded)
            parts.append(summary)
        return cls if len(parts) == 1 else torch.cat([part.float() for part in parts], dim=1)

    def _read_elements(self, encoded: Encoded) -> Float[Tensor, "batch width"]:
        assert self.element_readout is not None
        output: Tensor = self.element_readout(encoded.composition[:, 1:], encoded.element_mask[:, 1:])
        return output


def count_parameters(module: nn.Module) -> int:
    """Trainable parameters of a module."""
    return sum(parameter.numel() for parameter in module.parameters() if parameter.requires_grad)
