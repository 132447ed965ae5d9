"""CrabNet: a baseline that reads the composition alone."""

from __future__ import annotations

from itertools import pairwise

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from xxact_core.model.composition_encoder import CompositionEncoder
from xxact_core.model.config import ModelConfig
from xxact_core.model.heads import TargetHeads
from xxact_core.model.inputs import ModelInput
from xxact_core.model.model import Model


class CrabNet(Model):
    """The composition encoder without a [CLS], and CrabNet's residual network over each element, averaged.

    The reference maps every element to the target and averages then. A linear map and a mean change places without
    changing anything, so the mean of the last hidden layer is the embedding here, and a head is that linear map.

    Source: Wang et al. 2021, npj Comput. Mater. 7, 77. In the paper's size and for one value target 11,986,948
    parameters; the reference has 2 × 129 = 258 more, 11,987,206. It has three outputs for its one target: besides the
    value a spread and the logit of a gate on the value, which belong to a loss (robust L1) that XxaCT-NN does not use.
    """

    def __init__(self, config: ModelConfig, element_features: Float[Tensor, "elements features"]) -> None:
        super().__init__()
        self.config = config
        width = config.composition.width
        self.composition_encoder = CompositionEncoder(config, element_features, with_cls=False)
        self.residual_network = ResidualNetwork([width, 2 * width, width, width // 2, width // 4])
        self.heads = TargetHeads(config, width=width // 4)

    def features(self, inputs: ModelInput) -> Float[Tensor, "batch width"]:
        """Mean over the elements of the composition; the encoder has already weighted them by their fractions."""
        elements, element_mask = self.composition_encoder(inputs.atomic_numbers, inputs.fractions)
        features = self.residual_network(elements).masked_fill(~element_mask.unsqueeze(-1), 0.0)
        embedding: Tensor = features.sum(dim=1) / element_mask.sum(dim=1, keepdim=True)
        return embedding


class ResidualNetwork(nn.Module):
    """LeakyReLU(Linear) beside a linear shortcut, one layer after the other; in CrabNet 512 → 1024 → 512 → 256 → 128.

    Source: Goodall and Lee 2020, Nat. Commun. 11, 6280, whose output network CrabNet uses.
    """

    def __init__(self, widths: list[int]) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(before, after) for before, after in pairwise(widths))
        self.shortcuts = nn.ModuleList(nn.Linear(before, after, bias=False) for before, after in pairwise(widths))

    def forward(self, elements: Float[Tensor, "batch elements width"]) -> Float[Tensor, "batch elements features"]:
        """Each element on its own."""
        features: Tensor = elements
        for layer, shortcut in zip(self.layers, self.shortcuts, strict=True):
            features = functional.leaky_relu(layer(features)) + shortcut(features)
        return features
