"""The XRD transformer: a baseline that reads the pattern alone, by the XRD encoder of XxaCT."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor

from xxact_core.model.attention import learned_tokens
from xxact_core.model.config import ModelConfig
from xxact_core.model.heads import TargetHeads
from xxact_core.model.inputs import ModelInput
from xxact_core.model.model import Model
from xxact_core.model.pattern_encoder import PatternEncoder


class XrdTransformer(Model):
    """The XRD encoder with a head for each target on its [CLS].

    Source: XxaCT-NN section 4.1. In the paper's size and for one value target 6,447,617 parameters: 6,446,592 of the
    encoder, 513 of the head, and 512 of the [MASK] token of masked windows.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        width = config.pattern.width
        self.pattern_encoder = PatternEncoder(config)
        self.mask_token = learned_tokens(width)
        self.heads = TargetHeads(config, width=width)

    def features(self, inputs: ModelInput) -> Float[Tensor, "batch width"]:
        """The encoder's [CLS]."""
        embedding: Tensor = self.pattern_encoder(inputs.intensity, inputs.window_mask, self.mask_token)[:, 0]
        return embedding
