"""The heads: embedding → targets, and fused windows → intensities of masked windows."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional

from xxact_core.model.config import ModelConfig
from xxact_core.model.dropout import Dropout
from xxact_core.model.linear import Linear
from xxact_core.model.pattern_tokens import WINDOW_POINTS, WINDOWS
from xxact_core.quantities import BAND_GAP, FORMATION_ENERGY, TARGETS

LOGIT_SCALE = 4.0
"""Factor of the embedding before the class heads. Embeddings have one length, so sure logits take large weights, which
an optimiser with steps of one size reaches four times as fast with it. Ours."""


class TargetHeads(nn.ModuleDict):
    """A head for each target: a z-score for a value, logits for classes.

    One linear map each (XxaCT-NN section 3.4), or a network with two hidden layers where the model has a
    `head_hidden_width`; class heads are linear where it has an embedding. The features are the embedding, the fused
    [CLS] (of `width`) and, for a composition estimate, a summary of the composition, one after the other.
    """

    def __init__(self, config: ModelConfig, *, width: int) -> None:
        super().__init__()
        self.embedding_width = config.embedding_width
        self.composition_width = width if config.composition_estimate else 0
        self.width = self.embedding_width + width + self.composition_width
        value_width, hidden = width + self.composition_width, config.head_hidden_width
        for name in config.targets:
            if TARGETS[name].kind == "class" and self.embedding_width:
                head = nn.Linear(self.embedding_width, TARGETS[name].width)
                bound = 1 / (LOGIT_SCALE * self.embedding_width**0.5)
                nn.init.uniform_(head.weight, -bound, bound)
                self[name] = head
            elif name == BAND_GAP.name and config.metal_head:
                self[name] = GapHead(value_width, hidden)
            elif name == FORMATION_ENERGY.name and (config.composition_estimate or config.teacher_offset):
                self[name] = EnergyHead(config, value_width, composition_width=self.composition_width)
            else:
                self[name] = make_head(value_width, hidden, outputs=TARGETS[name].width)

    def forward(self, features: Float[Tensor, "batch features"]) -> dict[str, Tensor]:
        """Output of every head, each of shape (batch, outputs)."""
        return self.with_parts(features)[0]

    def with_parts(self, features: Float[Tensor, "batch features"]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Output of every head, and what only the training reads, each of shape (batch, 1) where the model has it.

        The parts are `composition_estimate` and `teacher_offset` of the formation energy, as z-scores, and `nonmetal`,
        a logit.
        """
        if not self.embedding_width and not self.composition_width:
            return self._with_parts(features)
        with torch.autocast(features.device.type, enabled=False):  # differences of a few meV would be rounded away
            return self._with_parts(features.float())

    def _with_parts(self, features: Float[Tensor, "batch features"]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        outputs: dict[str, Tensor] = {}
        parts: dict[str, Tensor] = {}
        values = features[:, self.embedding_width :]
        for name, head in self.items():
            if isinstance(head, EnergyHead | GapHead):
                outputs[name], more = head(values)
                parts |= more
            elif TARGETS[name].kind == "class" and self.embedding_width:
                outputs[name] = head(LOGIT_SCALE * features[:, : self.embedding_width])
            else:
                outputs[name] = head(values)
        return outputs, parts

    def teacher_offset(self, features: Float[Tensor, "batch features"]) -> Float[Tensor, "batch one"] | None:
        """Expected teacher minus DFT energy as a difference of z-scores; None where the model has no such head."""
        return self.with_parts(features)[1].get("teacher_offset")


def make_head(width: int, hidden: int, *, outputs: int) -> nn.Module:
    """A linear head, or one with two hidden layers where `hidden` is not 0."""
    return MLPHead(width, hidden, outputs) if hidden else nn.Linear(width, outputs)


class EnergyHead(nn.Module):
    """Formation energy: an estimate from the composition, plus a correction from all features.

    The estimate has a loss of its own; the correction is learned on what it leaves, so its gradient stops there.
    A third part, added for labels of a teacher alone, is the difference between teacher and DFT.
    """

    def __init__(self, config: ModelConfig, width: int, *, composition_width: int) -> None:
        super().__init__()
        hidden = config.head_hidden_width
        self.composition_width = composition_width
        self.estimate = make_head(composition_width, hidden, outputs=1) if composition_width else None
        self.correction = make_head(width, hidden, outputs=1)
        self.offset = make_head(width, hidden // 4, outputs=1) if config.teacher_offset else None

    def forward(self, features: Float[Tensor, "batch width"]) -> tuple[Tensor, dict[str, Tensor]]:
        """The z-score, and its parts."""
        energy: Tensor = self.correction(features)
        parts = {}
        if self.estimate is not None:
            parts["composition_estimate"] = self.estimate(features[:, -self.composition_width :])
            energy = energy + parts["composition_estimate"].detach()
        if self.offset is not None:
            parts["teacher_offset"] = self.offset(features)
        return energy, parts


class GapHead(nn.Module):
    """Band gap: metals have the learned z-score of no gap, other materials a value above it.

    The gate is max(0, 2p - 1), where p is the probability of a nonmetal: the median of a mixture of zeros and gaps is 0
    where zeros are more probable, and grows to the median of the gaps where they are not. Absolute errors are least at
    the median.
    """

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.head = make_head(width, hidden, outputs=2)
        self.zero = nn.Parameter(torch.tensor(-0.75))

    def forward(self, features: Float[Tensor, "batch width"]) -> tuple[Tensor, dict[str, Tensor]]:
        """The z-score, and the logit of a nonmetal."""
        value, nonmetal = self.head(features).split(1, dim=1)
        gate = (2 * nonmetal.sigmoid() - 1).clamp(min=0)
        return self.zero + gate * functional.softplus(value), {"nonmetal": nonmetal}


class SymmetryEmbedding(nn.Module):
    """The fused [CLS] → the embedding that the class heads read, vectors of one length.

    A hidden layer lies before the embedding instead of behind it, so that linear heads suffice.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        width = config.fusion.width
        self.layers = nn.Sequential(
            nn.LayerNorm(width), Linear(width, 2 * width), nn.GELU(), Linear(2 * width, config.embedding_width)
        )

    def forward(self, fused: Float[Tensor, "batch width"]) -> Float[Tensor, "batch embedding_width"]:
        """Embeddings of length √width, so that their components are about 1."""
        embedding = self.layers(fused).float()
        output: Tensor = functional.normalize(embedding, dim=1) * embedding.shape[1] ** 0.5
        return output


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
