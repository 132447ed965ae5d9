"""The heads: embedding → targets, and fused windows → the intensities that were hidden."""

from __future__ import annotations

from jaxtyping import Bool, Float
from torch import Tensor, nn

from xxact_core.model.config import ModelConfig
from xxact_core.model.dropout import Dropout
from xxact_core.model.pattern_tokens import WINDOW_POINTS, WINDOWS
from xxact_core.quantities import TARGETS


class TargetHeads(nn.ModuleDict):
    """A head for each target: a z-score for a value, logits for classes.

    One linear map each (XxaCT-NN section 3.4), or a network with two hidden layers where the model has a
    `head_hidden_width`. width: of the embedding that they read.
    """

    def __init__(self, config: ModelConfig, *, width: int) -> None:
        hidden = config.head_hidden_width
        super().__init__(
            {
                name: DeepHead(width, hidden, TARGETS[name].width) if hidden else nn.Linear(width, TARGETS[name].width)
                for name in config.targets
            }
        )
        self.width = width

    def forward(self, embedding: Float[Tensor, "batch width"]) -> dict[str, Tensor]:
        """Output of every head, each of shape (batch, outputs)."""
        return {name: head(embedding) for name, head in self.items()}


class DeepHead(nn.Module):
    """Two hidden layers and a linear map: what one target needs of the embedding need not lie in it along a line."""

    def __init__(self, width: int, hidden: int, outputs: int) -> None:
        super().__init__()
        self.hidden = nn.Sequential(
            nn.LayerNorm(width), nn.Linear(width, hidden), nn.GELU(), nn.Linear(hidden, hidden), nn.GELU()
        )
        self.out = nn.Linear(hidden, outputs)

    def forward(self, embedding: Float[Tensor, "batch width"]) -> Float[Tensor, "batch outputs"]:
        """A z-score or logits."""
        return self.out(self.hidden(embedding))


class ElementReadout(nn.Module):
    """Mean over the elements of a network that looks at each of them: a material as what its elements say.

    Source: the idea is CrabNet's, Wang et al. 2021, npj Comput. Mater. 7, 77.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        before, width = config.composition.width, config.fusion.width
        self.layers = nn.Sequential(nn.Linear(before, 2 * width), nn.GELU(), nn.Linear(2 * width, width))

    def forward(
        self, elements: Float[Tensor, "batch elements width"], present: Bool[Tensor, "batch elements"]
    ) -> Float[Tensor, "batch fusion_width"]:
        """One vector a material, zero where no element is known."""
        said = self.layers(elements).masked_fill(~present.unsqueeze(-1), 0.0)
        return said.sum(dim=1) / present.sum(dim=1, keepdim=True).clamp(min=1)


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
