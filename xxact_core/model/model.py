"""The interface that all architectures share: an embedding of each material, and a head for each target."""

from __future__ import annotations

from abc import ABC, abstractmethod

from jaxtyping import Float
from torch import Tensor, nn

from xxact_core.model.config import ModelConfig
from xxact_core.model.heads import TargetHeads
from xxact_core.model.inputs import ModelInput
from xxact_core.model.knn_retrieval import KnnRetrieval, Neighbours


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
    def features(self, inputs: ModelInput) -> Float[Tensor, "batch features"]:
        """Input of the heads, whose first columns are the embedding."""

    def embedding_of(self, features: Float[Tensor, "batch features"]) -> Float[Tensor, "batch width"]:
        """The embedding, which the class heads read: the first `embedding_width` features, all where that is 0."""
        return features[:, : self.config.embedding_width or None]

    def embed(self, inputs: ModelInput) -> Float[Tensor, "batch width"]:
        """The embedding of each material, which the class heads read."""
        return self.embedding_of(self.features(inputs))

    def encode_features(
        self, inputs: ModelInput
    ) -> tuple[Float[Tensor, "batch features"], Float[Tensor, "batch tokens token_width"] | None]:
        """Input of the heads, and the tokens of the encoded pattern, [CLS] first; None without a pattern encoder."""
        return self.features(inputs), None

    def forward(self, inputs: ModelInput) -> dict[str, Tensor]:
        """Output for each target: z-scores (batch, 1) or logits (batch, classes)."""
        return self.apply_heads(self.features(inputs))

    def apply_heads(self, features: Float[Tensor, "batch features"]) -> dict[str, Tensor]:
        """Outputs of the heads, corrected by kNN retrieval where the model has it."""
        return self.apply_heads_with_neighbours(features)[0]

    def apply_heads_with_neighbours(
        self, features: Float[Tensor, "batch features"]
    ) -> tuple[dict[str, Tensor], Neighbours | None]:
        """`apply_heads`, and what the nearest training materials are like; None without kNN retrieval."""
        outputs = self.heads(features)
        assert isinstance(outputs, dict)
        if self.knn_retrieval is None:
            return outputs, None
        corrected, neighbours = self.knn_retrieval(features, outputs)
        return corrected, neighbours
