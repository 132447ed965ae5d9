"""The heads: embedding → targets, and fused windows → intensities of masked windows."""

from __future__ import annotations

from jaxtyping import Bool, Float
from torch import Tensor, nn

from xxact_core.model.config import ModelConfig
from xxact_core.model.linear import Dropout
from xxact_core.model.pattern_tokens import WINDOW_POINTS, WINDOWS
from xxact_core.quantities import TARGETS


class TargetHeads(nn.ModuleDict):
    """A head for each target: a z-score for a value, logits for classes.

    One linear map each (XxaCT-NN section 3.4), or a network with two hidden layers where the model has a
    `head_hidden_width`. `width` is that of the embedding.
    """

    def __init__(self, config: ModelConfig, *, width: int) -> None:
        hidden = config.head_hidden_width
        super().__init__(
            {
                name: MLPHead(width, hidden, TARGETS[name].width) if hidden else nn.Linear(width, TARGETS[name].width)
                for name in config.targets
            }
        )
        self.width = width

    def forward(self, embedding: Float[Tensor, "batch width"]) -> dict[str, Tensor]:
        """Output of every head, each of shape (batch, outputs)."""
        return {name: head(embedding) for name, head in self.items()}


class MLPHead(nn.Module):
    """Two hidden layers and a linear map."""

    def __init__(self, width: int, hidden: int, outputs: int) -> None:
        super().__init__()
        self.hidden = nn.Sequential(
            nn.LayerNorm(width), nn.Linear(width, hidden), nn.GELU(), nn.Linear(hidden, hidden), nn.GELU()
        )
        self.out = nn.Linear(hidden, outputs)

    def forward(self, embedding: Float[Tensor, "batch width"]) -> Float[Tensor, "batch outputs"]:
        """A z-score or logits."""
        output: Tensor = self.out(self.hidden(embedding))
        return output


class ElementReadout(nn.Module):
    """Mean over the elements of a two-layer network of each encoded element.

    Source: CrabNet, Wang et al. 2021, npj Comput. Mater. 7, 77, reads out its elements in the same way.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        element_width, width = config.composition.width, config.fusion.width
        self.layers = nn.Sequential(nn.Linear(element_width, 2 * width), nn.GELU(), nn.Linear(2 * width, width))

    def forward(
        self, elements: Float[Tensor, "batch elements width"], element_mask: Bool[Tensor, "batch elements"]
    ) -> Float[Tensor, "batch fusion_width"]:
        """One vector a material, zero where the composition is unknown."""
        features = self.layers(elements).masked_fill(~element_mask.unsqueeze(-1), 0.0)
        output: Tensor = features.sum(dim=1) / element_mask.sum(dim=1, keepdim=True).clamp(min=1)
        return output


class WindowReadout(nn.Sequential):
    """The concatenated windows of the XRD encoder → one vector, by two linear layers without attention.

    Each token is first projected to a third of its width; otherwise most parameters of the model would be here.
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
            InferenceReLU(),
            nn.Flatten(1),
            nn.Unflatten(1, (WINDOWS, WINDOW_POINTS)),
        )


class InferenceReLU(nn.Module):
    """ReLU in evaluation mode; the identity in training.

    Most points of a pattern are near 0. With a ReLU in training, the first hundred steps push all of them below 0,
    where the gradient vanishes, and the model predicts zeros for ever. Cutting negative intensities after training can
    only lower the error.
    """

    def forward(self, intensity: Float[Tensor, "*any"]) -> Float[Tensor, "*any"]:
        """Intensities of any shape."""
        return intensity if self.training else intensity.relu()
