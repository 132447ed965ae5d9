"""FCN+MLP: the convolutions of the FCN beside a network over the composition, joined at the end."""

from __future__ import annotations

from itertools import pairwise

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from xxact_core.errors import FormulaError
from xxact_core.model.baselines.fcn import CHANNELS, SLOPE, ConvolutionBlocks, draw_weights
from xxact_core.model.config import ModelConfig
from xxact_core.model.heads import TargetHeads
from xxact_core.model.inputs import ModelInput
from xxact_core.model.model import Model
from xxact_core.model.pattern_tokens import hide_windows, scale_intensity

ELEMENTS = 100
COMPOSITION_WIDTHS = (ELEMENTS, 128, 256, 256, 128, 128, 64, 16)
JOINT_WIDTHS = (CHANNELS[-1] + COMPOSITION_WIDTHS[-1], 128, 16)
DROPOUT = 0.1
"""Source: Lee et al. 2022, which XxaCT-NN appendix A.2 adapts to 4250 points."""


class FcnMlp(Model):
    """Twelve convolution blocks and a network over 100 fractions, side by side through another one: 528 → 128 → 16.

    The activation of the two networks is ours, LeakyReLU as in the convolutions; with several targets each has a linear
    head on the shared 16.

    Source: XxaCT-NN appendix A.2; 1,814,401 parameters for one value target.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.blocks = ConvolutionBlocks(dropout=DROPOUT, last_dropout=DROPOUT)
        self.composition_network = _network(COMPOSITION_WIDTHS)
        self.joint_network = _network(JOINT_WIDTHS)
        self.heads = TargetHeads(config, width=JOINT_WIDTHS[-1])

    def embed(self, inputs: ModelInput) -> Float[Tensor, "batch width"]:
        """Pattern and composition joined; windows that were not measured are taken for empty.

        Raises:
            FormulaError: an element is heavier than fermium, the last of the 100.
        """
        scaled = scale_intensity(inputs.intensity, intensity_scale=self.config.intensity_scale)
        pattern = self.blocks(hide_windows(scaled, inputs.hidden)).flatten(1)
        composition = self.composition_network(to_fraction_of_each(inputs.atomic_numbers, inputs.fractions))
        return self.joint_network(torch.cat([pattern, composition], dim=1))


def to_fraction_of_each(
    atomic_numbers: Int[Tensor, "batch elements"], fractions: Float[Tensor, "batch elements"]
) -> Float[Tensor, "batch channels"]:
    """Listed elements → the fraction of each of the first 100, 0 for those that are not there.

    Raises:
        FormulaError: an element is heavier than fermium, the last of the 100.
    """
    heaviest = int(atomic_numbers.max())
    if heaviest > ELEMENTS:
        msg = f"an FCN+MLP knows the elements up to atomic number {ELEMENTS} (Fm); the composition holds {heaviest}"
        raise FormulaError(msg, code="E_FORMULA")
    # Empty slots have the atomic number 0: they are collected in a column of their own and left out.
    columns = fractions.new_zeros(len(fractions), ELEMENTS + 1).scatter_add(1, atomic_numbers, fractions)
    return columns[:, 1:]


def _network(widths: tuple[int, ...]) -> nn.Sequential:
    network = nn.Sequential()
    for before, after in pairwise(widths):
        network.append(nn.Linear(before, after))
        network.append(nn.LeakyReLU(SLOPE))
    draw_weights(network)
    return network
