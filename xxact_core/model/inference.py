"""Inference: one pattern with many compositions, and class probabilities from logits."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from jaxtyping import Float, Int
from torch import Tensor

from xxact_core.model.inputs import ModelInput
from xxact_core.model.model import Model
from xxact_core.model.xxact import Encoded, Xxact
from xxact_core.quantities import CRYSTAL_SYSTEMS, SYSTEM_OF_GROUP


def encode_with_compositions(
    model: Model, inputs: ModelInput
) -> tuple[Float[Tensor, "batch features"], Float[Tensor, "one tokens token_width"] | None]:
    """`Model.encode_features` of inputs that `pattern_to_input` made; XxaCT encodes their one pattern only once."""
    if len(inputs) == 1 or not isinstance(model, Xxact):
        features, tokens = model.encode_features(inputs)
        return features, None if tokens is None else tokens[:1]
    first = inputs.part(slice(1))
    pattern = model.pattern_encoder(first.intensity, first.window_mask, model.mask_token)
    ratios = model.read_ratios(first)
    composition, element_mask = model.composition_encoder(inputs.atomic_numbers, inputs.fractions)
    ratios = None if ratios is None else ratios.expand(len(inputs), -1)
    encoded = Encoded(pattern.expand(len(inputs), -1, -1), composition, element_mask, ratios)
    return model.features_of(encoded, model.fuse(encoded, cls_only=True)[:, 0]), pattern


def entropy_bits(probabilities: Float[Tensor, "batch classes"]) -> Float[Tensor, " batch"]:
    """Entropy -Σ p log₂ p of each row [bit]; 0 where one class has probability 1."""
    output: Tensor = torch.special.entr(probabilities).sum(dim=1) / math.log(2)
    return output


def class_probabilities(
    logits: Mapping[str, Float[Tensor, "batch classes"]], temperatures: Mapping[str, float]
) -> dict[str, Float[Tensor, "batch classes"]]:
    """Probabilities of every class target, each at its temperature (1 where none is given), in float64.

    A space group belongs to one crystal system, so the two heads must not contradict each other. Where a model has
    both, the probability of a system is proportional to the geometric mean of the two heads' probabilities, and that of
    a group is the probability of its system times its share within the system.
    """
    scaled = {name: values.double() / temperatures.get(name, 1.0) for name, values in logits.items()}
    probabilities = {name: values.softmax(dim=1) for name, values in scaled.items()}
    if not {"crystal_system", "space_group"} <= set(logits):
        return probabilities
    system_of = torch.tensor(SYSTEM_OF_GROUP, device=logits["space_group"].device)
    by_head = logits["crystal_system"].double().log_softmax(dim=1)
    by_groups = _sum_by_system(logits["space_group"].double(), system_of).log_softmax(dim=1)
    systems = ((by_head + by_groups) / 2 / temperatures.get("crystal_system", 1.0)).softmax(dim=1)
    share = (scaled["space_group"] - _sum_by_system(scaled["space_group"], system_of)[:, system_of]).exp()
    return {**probabilities, "crystal_system": systems, "space_group": systems[:, system_of] * share}


def _sum_by_system(
    logits: Float[Tensor, "batch groups"], system_of: Int[Tensor, " groups"]
) -> Float[Tensor, "batch systems"]:
    """Log-sum-exp over the groups of each system."""
    columns = [logits[:, system_of == system].logsumexp(dim=1) for system in range(len(CRYSTAL_SYSTEMS))]
    return torch.stack(columns, dim=1)
