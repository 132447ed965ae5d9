"""FCN+MLP: a baseline that joins the convolutions of the FCN and a network over the composition."""

from __future__ import annotations

from itertools import pairwise

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from xxact_core.errors import FormulaError
from xxact_core.model.baselines.fcn import CHANNELS, SLOPE, ConvolutionBlocks, init_glorot
from xxact_core.model.config import ModelConfig
from xxact_core.model.heads import TargetHeads
from xxact_core.model.inputs import ModelInput
from xxact_core.model.model import Model
from xxact_core.model.pattern_tokens import scale_intensity, zero_masked_windows

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

    def features(self, inputs: ModelInput) -> Float[Tensor, "batch width"]:
        """Joint features of pattern and composition; masked windows are zeros.

        Raises:
            FormulaError: an element is heavier than fermium, the last of the 100.
        """
        scaled = scale_intensity(inputs.intensity, intensity_scale=self.config.intensity_scale)
        pattern = self.blocks(zero_masked_windows(scaled, inputs.window_mask)).flatten(1)
        composition = self.composition_network(to_element_vector(inputs.atomic_numbers, inputs.fractions))
        embedding: Tensor = self.joint_network(torch.cat([pattern, composition], dim=1))
        return embedding


def to_element_vector(
    atomic_numbers: Int[Tensor, "batch elements"], fractions: Float[Tensor, "batch elements"]
) -> Float[Tensor, "batch channels"]:
    """Elements and fractions → a vector of the fractions of the first 100 elements.

    Raises:
        FormulaError: an element is heavier than fermium, the last of the 100.
    """
    heaviest = int(atomic_numbers.max())
    if heaviest > ELEMENTS:
        msg = f"FCN+MLP supports elements up to atomic number {ELEMENTS} (Fm); the composition contains {heaviest}"
        raise FormulaError(msg, code="E_FORMULA")
    # Empty slots have the atomic number 0; their column is dropped.
    columns = fractions.new_zeros(len(fractions), ELEMENTS + 1).scatter_add(1, atomic_numbers, fractions)
    return columns[:, 1:]


def _network(widths: tuple[int, ...]) -> nn.Sequential:
    network = nn.Sequential()
    for before, after in pairwise(widths):
        network.append(nn.Linear(before, after))
        network.append(nn.LeakyReLU(SLOPE))
    init_glorot(network)
    return network
