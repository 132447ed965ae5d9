"""The heads: embedding → targets, and fused windows → the intensities that were hidden."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor, nn

from xxact_core.model.config import ModelConfig
from xxact_core.model.dropout import Dropout
from xxact_core.model.pattern_tokens import WINDOW_POINTS, WINDOWS
from xxact_core.quantities import TARGETS


class TargetHeads(nn.ModuleDict):
    """One linear map for each target: a z-score for a value, logits for classes. Source: XxaCT-NN section 3.4.

    width: of the embedding that they read.
    """

    def __init__(self, config: ModelConfig, *, width: int) -> None:
        super().__init__({name: nn.Linear(width, TARGETS[name].width) for name in config.targets})
        self.width = width

    def forward(self, embedding: Float[Tensor, "batch width"]) -> dict[str, Tensor]:
        """Output of every head, each of shape (batch, outputs)."""
        return {name: head(embedding) for name, head in self.items()}


class WindowReadout(nn.Sequential):
    """All windows of the XRD encoder side by side → one vector: what is where in the pattern, without attention.

    Each token is first made three times narrower, or most of the model's weights would be here.
    """

    def __init__(self, config: ModelConfig) -> None:
        width, narrow = config.fusion.width, config.pattern.width // 3
        super().__init__(
            nn.Linear(config.pattern.width, narrow),
            nn.Flatten(1),
            nn.Linear(WINDOWS * config.tokens_per_window * narrow, 2 * width),
            nn.ReLU(),
            Dropout(config.fusion.dropout),
            nn.Linear(2 * width, width),
        )


class ReconstructionHead(nn.Sequential):
    """Intensities of each window, ReLU(Linear), on the scale that the model reads. Source: XxaCT-NN section 3.2."""

    def __init__(self, config: ModelConfig) -> None:
        points = WINDOW_POINTS // config.tokens_per_window
        super().__init__(
            nn.Linear(config.fusion.width, points),
            Rectifier(),
            nn.Flatten(1),
            nn.Unflatten(1, (WINDOWS, WINDOW_POINTS)),
        )


class Rectifier(nn.Module):
    """ReLU where a trained model answers; in training its input as it is.

    Most points of a pattern are near 0. Behind a ReLU the first hundred steps push them all below, where no gradient
    is left, and the model predicts nothing for ever. Without it the loss pulls them back; intensities that come out
    negative are only cut once it has been learned, which can but lower the error.
    """

    def forward(self, intensity: Float[Tensor, "*any"]) -> Float[Tensor, "*any"]:
        """Intensities of any shape."""
        return intensity if self.training else intensity.relu()
