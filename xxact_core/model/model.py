"""What a model of any kind can do: make an embedding of a material, and answer from it."""

from __future__ import annotations

from abc import ABC, abstractmethod

from jaxtyping import Float
from torch import Tensor, nn

from xxact_core.model.config import ModelConfig
from xxact_core.model.heads import TargetHeads
from xxact_core.model.inputs import ModelInput
from xxact_core.model.knn_retrieval import Memory


class Model(nn.Module, ABC):
    """Pattern and composition → embedding → one head a target.

    A kind that lacks one of the inputs takes it and does not look at it, so that all are trained, evaluated and asked
    by the same text. The kinds and their classes are in `xxact_core.model.registry`.
    """

    config: ModelConfig
    heads: TargetHeads
    memory: Memory | None

    def __init__(self) -> None:
        super().__init__()
        self.register_module("memory", None)  # only a finished model has one

    @abstractmethod
    def embed(self, inputs: ModelInput) -> Float[Tensor, "batch width"]:
        """What the heads read."""

    def observe(
        self, inputs: ModelInput
    ) -> tuple[Float[Tensor, "batch width"], Float[Tensor, "batch tokens token_width"] | None]:
        """What the heads read, and the encoded pattern that it is from, index 0 its [CLS]; None where there is none."""
        return self.embed(inputs), None

    def forward(self, inputs: ModelInput) -> dict[str, Tensor]:
        """What is answered for every target: z-scores (batch, 1) or logits (batch, classes)."""
        return self.answer(self.embed(inputs))

    def answer(self, embedding: Float[Tensor, "batch width"]) -> dict[str, Tensor]:
        """What the heads say, and the memory beside them where there is one."""
        outputs = self.heads(embedding)
        return outputs if self.memory is None else self.memory(embedding, outputs)
