"""Extremely randomised trees: a baseline that predicts a class from the positions of the first peaks."""

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
from xxact_core.model.pattern_tokens import zero_masked_windows
from xxact_core.patterns.grid import GRID
from xxact_core.quantities import TARGETS

PEAKS = 10
FEATURES = PEAKS + 1
"""Sin θ of the first ten peaks, and the number of peaks. Source: Suzuki et al. 2020, Sci. Rep. 10, 21790."""

MIN_HEIGHT = 0.01
"""Height of a peak relative to the strongest, above which it counts: what a good measurement shows."""

HALF_WIDTH = 5
"""A peak is the highest of this many points on each side: 0.1°, the Gaussian width of ideal peaks."""

LEAF = -1
"""`feature` of a leaf."""

MIN_PROBABILITY = 1e-6
"""Smallest probability of a class, so that its logarithm is finite; far below the vote of one tree."""


class ExtraTrees(Model):
    """A forest on peak positions; the embedding is the mean over the trees of the class probabilities of a leaf.

    `xxact_core.training.trees` grows the trees by scikit-learn; here they are tensors. Nodes are in depth-first order,
    so that the left child of a node is the next node. Before training, each tree is one leaf of uniform probabilities.

    Buffers:
        feature: index of the feature that a node compares, `LEAF` for a leaf.
        threshold: largest value of the feature that leads to the left child.
        right_or_leaf: index of the right child; for a leaf, its row in `leaf_probabilities`.
        root: index of the root of each tree.
        leaf_probabilities: class probabilities of the different leaves, shape (leaves, classes).

    Raises:
        RecipeError: the targets are not a single classification target.
    """

    feature: Tensor
    threshold: Tensor
    right_or_leaf: Tensor
    root: Tensor
    leaf_probabilities: Tensor

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        if len(config.targets) != 1 or TARGETS[config.targets[0]].kind != "class":
            msg = f"extra-trees predict a single classification target, such as 'crystal_system', not {config.targets}"
            raise RecipeError(msg, code="E_RECIPE")
        self.config = config
        sizes, classes = config.forest, TARGETS[config.targets[0]].width
        nodes = max(sizes.nodes, sizes.trees)
        self.register_buffer("feature", torch.full((nodes,), LEAF, dtype=torch.int8))
        self.register_buffer("threshold", torch.zeros(nodes))
        self.register_buffer("right_or_leaf", torch.zeros(nodes, dtype=torch.int32))
        self.register_buffer("root", torch.arange(sizes.trees, dtype=torch.int32))
        self.register_buffer("leaf_probabilities", torch.full((max(sizes.leaves, 1), classes), 1 / classes))
        self.heads = LogProbabilities(config)
        nn.Module.register_load_state_dict_post_hook(self, _check_paths)

    def features(self, inputs: ModelInput) -> Float[Tensor, "batch classes"]:
        """Class probabilities; peaks in masked windows are ignored."""
        return self.leaf_means(pattern_to_peak_features(zero_masked_windows(inputs.intensity, inputs.window_mask)))

    def leaf_means(self, features: Float[Tensor, "batch features"]) -> Float[Tensor, "batch classes"]:
        """Mean over the trees of the class probabilities of the leaves that each pattern reaches."""
        trees = len(self.root)
        node = self.root.long().repeat(len(features))
        walking = torch.arange(len(node), device=node.device)
        while len(walking):
            here = node[walking]
            feature = self.feature[here].long()
            inside = feature != LEAF
            walking, here, feature = walking[inside], here[inside], feature[inside]
            left = features[walking // trees, feature] <= self.threshold[here]
            node[walking] = torch.where(left, here + 1, self.right_or_leaf[here].long())
        reached = self.leaf_probabilities[self.right_or_leaf[node].long()]
        mean: Tensor = reached.unflatten(0, (len(features), trees)).mean(dim=1)
        return mean


class LogProbabilities(TargetHeads):
    """Class probabilities → logits; without parameters."""

    def __init__(self, config: ModelConfig) -> None:
        nn.ModuleDict.__init__(self)
        self.target = config.targets[0]

    def forward(self, embedding: Float[Tensor, "batch classes"]) -> dict[str, Tensor]:
        """Logits of the target, shape (batch, classes)."""
        return {self.target: embedding.clamp(min=MIN_PROBABILITY).log()}


def pattern_to_peak_features(intensity: Float[Tensor, "batch points"]) -> Float[Tensor, "batch features"]:
    """Sin θ of the first ten peaks of each pattern, 0 where there are fewer, and the number of all its peaks.

    A peak is a local maximum higher than `MIN_HEIGHT` times the strongest; its position is the vertex of the parabola
    through the maximum and the points beside it.
    """
    highest = nn.functional.max_pool1d(intensity.unsqueeze(1), 2 * HALF_WIDTH + 1, stride=1, padding=HALF_WIDTH)
    before, here, after = intensity[:, :-2], intensity[:, 1:-1], intensity[:, 2:]
    visible = here > MIN_HEIGHT * intensity.amax(dim=1, keepdim=True)
    # Of adjacent points of equal height, as in a saturated peak, the first counts.
    is_peak = visible & (here == highest[:, 0, 1:-1]) & (here > before)
    number = is_peak.cumsum(dim=1)
    row, point = (is_peak & (number <= PEAKS)).nonzero(as_tuple=True)
    left, top, right = before[row, point], here[row, point], after[row, point]
    position = point + 1 + 0.5 * (left - right) / (left - 2 * top + right)
    features = intensity.new_zeros(len(intensity), FEATURES)
    features[row, number[row, point] - 1] = torch.sin(torch.deg2rad((GRID.start + GRID.step * position) / 2))
    features[:, PEAKS] = number[:, -1]
    return features


def _check_paths(model: nn.Module, _: Any) -> None:  # noqa: ANN401 - torch's signature
    """Refuse trees from files that lead out of the forest or in a cycle."""
    assert isinstance(model, ExtraTrees)
    nodes = len(model.feature)
    inside = model.feature != LEAF
    here, target = torch.arange(nodes, device=model.right_or_leaf.device), model.right_or_leaf.long()
    known = (model.feature >= LEAF) & (model.feature < FEATURES)
    in_forest = torch.where(inside, (target > here) & (target < nodes) & (here + 1 < nodes), (target >= 0))
    in_leaves = inside | (target < len(model.leaf_probabilities))
    if not bool((known & in_forest & in_leaves).all() and (model.root >= 0).all() and (model.root < nodes).all()):
        msg = "the trees are damaged: a node refers to one that does not exist"
        raise CheckpointError(msg, code="E_CHECKPOINT")
