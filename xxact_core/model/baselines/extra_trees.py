"""Extremely randomised trees: from where the first lines of a pattern lie, and how many there are, to a class."""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from xxact_core.errors import CheckpointError, RecipeError
from xxact_core.model.config import ModelConfig
from xxact_core.model.heads import TargetHeads
from xxact_core.model.inputs import ModelInput
from xxact_core.model.model import Model
from xxact_core.model.pattern_tokens import hide_windows
from xxact_core.patterns.grid import GRID
from xxact_core.quantities import TARGETS

LINES = 10
FEATURES = LINES + 1
"""Sin θ of the first ten lines and the number of lines. Source: Suzuki et al. 2020, Sci. Rep. 10, 21790."""

WEAKEST = 0.01
"""Share of the strongest line above which a line counts: what a good measurement shows."""

NEIGHBOURS = 5
"""A line is the highest point among so many on each side: 0.1°, the Gaussian width of ideal lines."""

LEAF = -1
FLOOR = 1e-6
"""Least share of a class, so that it has a logarithm; far below the vote of one tree."""


class ExtraTrees(Model):
    """Trees on the lines of a pattern; the embedding is the mean over the trees of the shares of classes in a leaf.

    Not learned by gradients: `xxact_core.training.trees` grows them with scikit-learn. Here they are tensors. Nodes
    stand in depth-first order, so that the left child of a node is the next one: `feature` of each node, LEAF where it
    is one; `threshold` up to which a feature leads to the left; `jump` to the right child or, of a leaf, to a row of
    `shares`; `root` of each tree. As long as nothing has grown, each tree is one leaf in which all classes are alike.

    Raises:
        RecipeError: the targets are not one class.
    """

    feature: Tensor
    threshold: Tensor
    jump: Tensor
    root: Tensor
    shares: Tensor

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        if len(config.targets) != 1 or TARGETS[config.targets[0]].kind != "class":
            msg = f"extra-trees answer one target with classes, such as 'crystal_system', not {config.targets}"
            raise RecipeError(msg, code="E_RECIPE")
        self.config = config
        sizes, classes = config.forest, TARGETS[config.targets[0]].width
        nodes = max(sizes.nodes, sizes.trees)
        self.register_buffer("feature", torch.full((nodes,), LEAF, dtype=torch.int8))
        self.register_buffer("threshold", torch.zeros(nodes))
        self.register_buffer("jump", torch.zeros(nodes, dtype=torch.int32))
        self.register_buffer("root", torch.arange(sizes.trees, dtype=torch.int32))
        self.register_buffer("shares", torch.full((max(sizes.leaves, 1), classes), 1 / classes))
        self.heads = ClassShares(config)
        self.register_load_state_dict_post_hook(_check_that_every_way_ends)

    def embed(self, inputs: ModelInput) -> Float[Tensor, "batch classes"]:
        """Shares of the classes; lines in windows that were not measured are not there."""
        return self.ask(pattern_to_lines(hide_windows(inputs.intensity, inputs.hidden)))

    def ask(self, lines: Float[Tensor, "batch features"]) -> Float[Tensor, "batch classes"]:
        """Every pattern down every tree."""
        trees = len(self.root)
        node = self.root.long().repeat(len(lines))
        walking = torch.arange(len(node), device=node.device)
        while len(walking):
            here = node[walking]
            feature = self.feature[here].long()
            inside = feature != LEAF
            walking, here, feature = walking[inside], here[inside], feature[inside]
            left = lines[walking // trees, feature] <= self.threshold[here]
            node[walking] = torch.where(left, here + 1, self.jump[here].long())
        return self.shares[self.jump[node].long()].unflatten(0, (len(lines), trees)).mean(dim=1)


class ClassShares(TargetHeads):
    """Shares of classes → logits whose softmax they are; there is nothing to learn in it."""

    def __init__(self, config: ModelConfig) -> None:
        nn.ModuleDict.__init__(self)
        self.target = config.targets[0]

    def forward(self, embedding: Float[Tensor, "batch classes"]) -> dict[str, Tensor]:
        """The logits under the name of the target, shape (batch, classes)."""
        return {self.target: embedding.clamp(min=FLOOR).log()}


def pattern_to_lines(intensity: Float[Tensor, "batch points"]) -> Float[Tensor, "batch features"]:
    """Sin θ of the first ten lines of each pattern, 0 where there are fewer, and the number of all its lines.

    A line is a point above `WEAKEST` of the strongest that no neighbour surpasses, moved to the top of the parabola
    through it and the points beside it.
    """
    highest = nn.functional.max_pool1d(intensity.unsqueeze(1), 2 * NEIGHBOURS + 1, stride=1, padding=NEIGHBOURS)
    before, here, after = intensity[:, :-2], intensity[:, 1:-1], intensity[:, 2:]
    visible = here > WEAKEST * intensity.amax(dim=1, keepdim=True)
    # Of points of one height side by side, as in a saturated line, the first counts.
    is_line = visible & (here == highest[:, 0, 1:-1]) & (here > before)
    number = is_line.cumsum(dim=1)
    row, point = (is_line & (number <= LINES)).nonzero(as_tuple=True)
    left, top, right = before[row, point], here[row, point], after[row, point]
    position = point + 1 + 0.5 * (left - right) / (left - 2 * top + right)
    lines = intensity.new_zeros(len(intensity), FEATURES)
    lines[row, number[row, point] - 1] = torch.sin(torch.deg2rad((GRID.start + GRID.step * position) / 2))
    lines[:, LINES] = number[:, -1]
    return lines


def _check_that_every_way_ends(model: nn.Module, _: Any) -> None:  # noqa: ANN401 - torch's signature
    """Refuse trees that lead out of the forest or in a circle: they are read from files."""
    assert isinstance(model, ExtraTrees)
    nodes = len(model.feature)
    inside = model.feature != LEAF
    here, jump = torch.arange(nodes, device=model.jump.device), model.jump.long()
    known = (model.feature >= LEAF) & (model.feature < FEATURES)
    leads_on = torch.where(inside, (jump > here) & (jump < nodes) & (here + 1 < nodes), (jump >= 0))
    ends = inside | (jump < len(model.shares))
    if not bool((known & leads_on & ends).all() and (model.root >= 0).all() and (model.root < nodes).all()):
        msg = "the trees are damaged: a node leads to none that there is"
        raise CheckpointError(msg, code="E_CHECKPOINT")
