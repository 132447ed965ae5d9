"""The training materials, remembered: what is near a material among them has its say beside the heads.

A structure type that occurs a dozen times among 100,000 materials is little to learn from and easy to look up. Source:
Khandelwal et al. 2020, "Generalization through memorization", arXiv:1911.00172, for words; numbers are ours.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from jaxtyping import Bool, Float, Int, UInt8
from torch import Tensor, nn

from xxact_core.errors import CheckpointError
from xxact_core.quantities import TARGETS

NEIGHBOURS = 50
SHARPNESS = 0.04
"""Neighbours weigh e times less for each such step down in cosine similarity."""

SAY = 0.65
"""Weight of the neighbours' classes beside those of the heads, where the neighbours are to be trusted in full."""

ALIKE = 0.6
ALIKE_WIDTH = 0.1
"""The cosine similarity of the nearest at which it is trusted by half, and how softly trust rises there."""

UNKNOWN = 255
"""Stands for a class that nobody has said."""

_LEVELS = 16
_STEP = 0.3352
"""Width of a level in standard deviations. Source: Max 1960, table I, for 16 levels of a normal distribution."""

_SURE = 0.05
"""Share of the neighbours' weight whose values must be known for their mean error to count in full."""


class Memory(nn.Module):
    """Embeddings of the training materials in four bits a component, their classes, and what the heads miss of values.

    centre: (width,) and directions: (width, width) stretch embeddings so that every direction varies alike. keys: two
    components a byte. classes: of every class target in the order of `targets`, `UNKNOWN` where it is. missed: true
    z-score less predicted one of every value target, 0 where it is not `known`.
    """

    centre: Tensor
    directions: Tensor
    keys: Tensor
    classes: Tensor
    missed: Tensor
    known: Tensor
    unpacked: Tensor

    def __init__(
        self,
        targets: Sequence[str],
        *,
        centre: Float[Tensor, " width"],
        directions: Float[Tensor, "width width"],
        keys: UInt8[Tensor, "materials half_width"],
        classes: UInt8[Tensor, "materials class_targets"],
        missed: Float[Tensor, "materials value_targets"],
        known: Bool[Tensor, "materials value_targets"],
    ) -> None:
        super().__init__()
        self.class_targets = tuple(name for name in targets if TARGETS[name].kind == "class")
        self.value_targets = tuple(name for name in targets if TARGETS[name].kind != "class")
        self.register_buffer("centre", centre)
        self.register_buffer("directions", directions)
        self.register_buffer("keys", keys)
        self.register_buffer("classes", classes)
        self.register_buffer("missed", missed)
        self.register_buffer("known", known)
        self.register_buffer("unpacked", _unpack(keys), persistent=False)

    @classmethod
    def from_weights(cls, targets: Sequence[str], weights: Mapping[str, Tensor], *, width: int) -> Memory:
        """What `state_dict` gave.

        Raises:
            CheckpointError: a tensor is missing, left over or does not go with the others.
        """
        materials = len(weights["keys"]) if "keys" in weights else 0
        kinds = [TARGETS[name].kind == "class" for name in targets]
        wanted: dict[str, tuple[tuple[int, ...], torch.dtype]] = {
            "centre": ((width,), torch.float32),
            "directions": ((width, width), torch.float32),
            "keys": ((materials, width // 2), torch.uint8),
            "classes": ((materials, sum(kinds)), torch.uint8),
            "missed": ((materials, len(kinds) - sum(kinds)), torch.float32),
            "known": ((materials, len(kinds) - sum(kinds)), torch.bool),
        }
        found = {name: tuple(value.shape) for name, value in weights.items()}
        expected = {name: shape for name, (shape, _) in wanted.items()}
        if found != expected or not materials or width % 2:
            msg = f"the memory does not fit the model: it has the shapes {found}; the model wants {expected}"
            raise CheckpointError(msg, code="E_CHECKPOINT")
        if not all(bool(torch.isfinite(value).all()) for value in weights.values()):
            msg = "the memory holds NaN or infinity"
            raise CheckpointError(msg, code="E_CHECKPOINT")
        return cls(targets, **{name: weights[name].to(dtype) for name, (_, dtype) in wanted.items()})

    def forward(
        self, embedding: Float[Tensor, "batch width"], outputs: Mapping[str, Float[Tensor, "batch outputs"]]
    ) -> dict[str, Tensor]:
        """What the heads say, corrected by what is known of the nearest training materials; float32 even in autocast.

        Logits become the logarithm of a mixture of probabilities; to a z-score the neighbours' mean error is added. The
        less alike even the nearest is, the less is changed.
        """
        with torch.autocast(embedding.device.type, enabled=False):
            return self._corrected(embedding, {name: output.float() for name, output in outputs.items()})

    def _corrected(
        self, embedding: Float[Tensor, "batch width"], outputs: Mapping[str, Float[Tensor, "batch outputs"]]
    ) -> dict[str, Tensor]:
        similarity, nearest = self.nearest(embedding)
        weight = (similarity / SHARPNESS).softmax(dim=1)
        trust = torch.sigmoid((similarity[:, :1] - ALIKE) / ALIKE_WIDTH)
        corrected = dict(outputs)
        for column, name in enumerate(self.class_targets):
            corrected[name] = _mixed(outputs[name], self.classes[nearest, column].long(), weight * trust)
        for column, name in enumerate(self.value_targets):
            sure = weight * self.known[nearest, column]
            total = sure.sum(dim=1, keepdim=True)
            error = (sure * self.missed[nearest, column]).sum(dim=1, keepdim=True)
            corrected[name] = outputs[name] + trust * error / total.clamp(min=_SURE)
        return corrected

    def nearest(
        self, embedding: Float[Tensor, "batch width"]
    ) -> tuple[Float[Tensor, "batch neighbours"], Int[Tensor, "batch neighbours"]]:
        """Cosine similarity (-1 to 1) of the nearest training materials, falling, and which they are."""
        similarity = _stretched(embedding.float(), self.centre, self.directions) @ self.unpacked.T
        found = similarity.topk(min(NEIGHBOURS, len(self.keys)), dim=1)
        return found.values, found.indices


def fit_memory(
    embedding: Float[Tensor, "materials width"],
    targets: Sequence[str],
    *,
    classes: Mapping[str, Int[Tensor, " materials"]],
    missed: Mapping[str, Float[Tensor, " materials"]],
) -> Memory:
    """A memory of materials.

    embedding: what the heads read of them; the width is even. classes: of each class target, negative where unknown.
    missed: true z-score less predicted one of each value target, NaN where unknown.
    """
    materials, width = embedding.shape
    centre = embedding.mean(dim=0)
    variance, directions = torch.linalg.eigh((embedding - centre).T @ (embedding - centre) / materials)
    # few materials do not tell how a direction varies: those that they leave empty must not be stretched without bound
    variance = (materials * variance.clamp(min=0) + width * variance.mean()) / (materials + width)
    directions = directions / variance.sqrt()
    keys = _stretched(embedding, centre, directions)
    codes = (keys * width**0.5 / _STEP + (_LEVELS - 1) / 2).round().clamp(0, _LEVELS - 1).to(torch.uint8)
    labels = [torch.where(classes[name] < 0, UNKNOWN, classes[name]) for name in targets if name in classes]
    errors = [missed[name] for name in targets if name in missed]
    empty = torch.zeros(len(embedding), 0)
    error = torch.stack(errors, dim=1) if errors else empty
    return Memory(
        targets,
        centre=centre,
        directions=directions,
        keys=codes[:, ::2] + _LEVELS * codes[:, 1::2],
        classes=(torch.stack(labels, dim=1) if labels else empty).to(torch.uint8),
        missed=error.nan_to_num(),
        known=~error.isnan(),
    )


def _stretched(
    embedding: Float[Tensor, "n width"], centre: Float[Tensor, " width"], directions: Float[Tensor, "width width"]
) -> Float[Tensor, "n width"]:
    return nn.functional.normalize((embedding - centre) @ directions)


def _unpack(keys: UInt8[Tensor, "materials half_width"]) -> Float[Tensor, "materials width"]:
    """Unit vectors."""
    codes = torch.stack((keys % _LEVELS, keys // _LEVELS), dim=2).flatten(1)
    return nn.functional.normalize(codes.float() - (_LEVELS - 1) / 2)


def _mixed(
    logits: Float[Tensor, "batch classes"],
    labels: Int[Tensor, "batch neighbours"],
    weight: Float[Tensor, "batch neighbours"],
) -> Float[Tensor, "batch classes"]:
    """Logarithm of the mixture of what the head and the neighbours of known class say."""
    own = logits.softmax(dim=1)
    sure = weight * (labels != UNKNOWN)
    share = torch.zeros_like(own).scatter_add_(1, labels.clamp(max=own.shape[1] - 1), sure)
    say = SAY * sure.sum(dim=1, keepdim=True)
    return ((1 - say) * own + SAY * share).clamp(min=torch.finfo(torch.float32).tiny).log()
