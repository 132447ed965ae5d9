"""The interface that all architectures share: an embedding of each material, and a head for each target."""

from __future__ import annotations

from abc import ABC, abstractmethod

from jaxtyping import Float
from torch import Tensor, nn

from xxact_core.model.config import ModelConfig
from xxact_core.model.heads import TargetHeads
from xxact_core.model.inputs import ModelInput
from xxact_core.model.knn_retrieval import KnnRetrieval


class Model(nn.Module, ABC):
    """Pattern and composition → embedding → outputs of the heads.

    An architecture that reads only one of the two inputs ignores the other, so that all are trained and evaluated
    alike. `xxact_core.model.registry` lists the architectures and their classes.
    """

    config: ModelConfig
    heads: TargetHeads
    knn_retrieval: KnnRetrieval | None

    def __init__(self) -> None:
        super().__init__()
        self.register_module("knn_retrieval", None)  # only finished models have it

    @abstractmethod
    def embed(self, inputs: ModelInput) -> Float[Tensor, "batch width"]:
        """Input of the heads."""

    def encode_features(
        self, inputs: ModelInput
    ) -> tuple[Float[Tensor, "batch width"], Float[Tensor, "batch tokens token_width"] | None]:
        """Input of the heads, and the tokens of the encoded pattern, [CLS] first; None without a pattern encoder."""
        return self.embed(inputs), None

    def forward(self, inputs: ModelInput) -> dict[str, Tensor]:
        """Output for each target: z-scores (batch, 1) or logits (batch, classes)."""
        return self.apply_heads(self.embed(inputs))

    def apply_heads(self, embedding: Float[Tensor, "batch width"]) -> dict[str, Tensor]:
        """Outputs of the heads, corrected by kNN retrieval where the model has it."""
        outputs = self.heads(embedding)
        if self.knn_retrieval is not None:
            outputs = self.knn_retrieval(embedding, outputs)
        assert isinstance(outputs, dict)
        return outputs
