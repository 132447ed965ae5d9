"""k-nearest-neighbour retrieval: predictions are corrected by the labels of the most similar training materials.

A structure type that occurs a dozen times among 100,000 materials is hard to learn and easy to look up. Source:
Khandelwal et al. 2020, "Generalization through memorization: nearest neighbor language models", arXiv:1911.00172.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields

import torch
from jaxtyping import Bool, Float, Int, UInt8
from torch import Tensor, nn

from xxact_core.errors import CheckpointError
from xxact_core.quantities import TARGETS

NEIGHBOURS = 50
"""Number of training materials that are retrieved."""

COMPONENTS = (128, 96, 64, 48)
"""Numbers of stored directions of the embeddings, those of largest variance; more are better where there is room. Ours:
on validation materials, 192 directions are no better than 128, and 48 lose a third of the gain."""

UNKNOWN = 255
"""Stored class of a material whose class is unknown."""

_BITS = 4
_LEVELS = 2**_BITS
_STEP = 0.3352
"""Width of a quantisation level in standard deviations. Source: Max 1960, table I, for 16 levels of a normal
distribution."""

UNLIMITED = 1e6
"""Largest correction of a retrieval without a limit, as a z-score; finite, as all values of a checkpoint are."""

_MIN_KNOWN_WEIGHT = 0.05
"""Share of the neighbours' weight that must have a known value for their mean residual to count in full."""


@dataclass(frozen=True)
class RetrievalSettings:
    """How much the neighbours count. Defaults are those of version 0.1.0; `training.finish` fits them on validation."""

    similarity_temperature: float = 0.04
    """The weight of a neighbour is proportional to exp(cosine similarity / temperature)."""

    mixing_weight: float = 0.65
    """Weight (0-1) of the neighbours' classes in the mixture with the head's probabilities, where the gate is open."""

    gate_midpoint: float = 0.6
    """Cosine similarity of the nearest neighbour at which the gate is half open."""

    gate_width: float = 0.1
    """Width of the sigmoid of the gate, in cosine similarity."""

    @classmethod
    def from_tensor(cls, values: Float[Tensor, " settings"]) -> RetrievalSettings:
        """The inverse of `to_tensor`."""
        return cls(*(float(value) for value in values))

    def to_tensor(self) -> Float[Tensor, " settings"]:
        """The settings in the order of their fields."""
        return torch.tensor([getattr(self, field.name) for field in fields(self)])


@dataclass(frozen=True)
class Neighbours:
    """What the nearest training materials of a batch are like."""

    similarity: Float[Tensor, " batch"]
    """Cosine similarity (-1 to 1) of the nearest one."""

    votes: Mapping[str, Float[Tensor, "batch classes"]]
    """Share (0-1) of each class of a classification target in the weights of the neighbours."""


class KnnRetrieval(nn.Module):
    """Whitened embeddings of training materials, quantised to four bits a component, with their labels and residuals.

    Attributes:
        mean, whitening: shapes (width,) and (width, components); they give each stored direction of the embeddings one
            variance.
        keys: the quantised embeddings, two components a byte, shape (materials, components / 2).
        classes: class of each classification target, in the order of `targets`, `UNKNOWN` where it is unknown.
        residuals: true minus predicted z-score of each regression target, 0 where it is unknown.
        has_residual: where the residual is known.
        settings: `RetrievalSettings`.
        largest_correction: of each regression target, as a z-score; `UNLIMITED` where there is no limit.
    """

    mean: Tensor
    whitening: Tensor
    keys: Tensor
    classes: Tensor
    residuals: Tensor
    has_residual: Tensor
    settings: Tensor
    largest_correction: Tensor
    unit_keys: Tensor

    def __init__(
        self,
        targets: Sequence[str],
        *,
        mean: Float[Tensor, " width"],
        whitening: Float[Tensor, "width components"],
        keys: UInt8[Tensor, "materials half_components"],
        classes: UInt8[Tensor, "materials class_targets"],
        residuals: Float[Tensor, "materials value_targets"],
        has_residual: Bool[Tensor, "materials value_targets"],
        settings: Float[Tensor, " settings"] | None = None,
        largest_correction: Float[Tensor, " value_targets"] | None = None,
    ) -> None:
        super().__init__()
        self.class_targets = tuple(name for name in targets if TARGETS[name].kind == "class")
        self.value_targets = tuple(name for name in targets if TARGETS[name].kind != "class")
        self.register_buffer("mean", mean)
        self.register_buffer("whitening", whitening)
        self.register_buffer("keys", keys)
        self.register_buffer("classes", classes)
        self.register_buffer("residuals", residuals)
        self.register_buffer("has_residual", has_residual)
        self.register_buffer("settings", RetrievalSettings().to_tensor() if settings is None else settings)
        unlimited = torch.full((len(self.value_targets),), UNLIMITED)
        self.register_buffer("largest_correction", unlimited if largest_correction is None else largest_correction)
        self.register_buffer("unit_keys", _dequantise(keys), persistent=False)

    @classmethod
    def from_weights(cls, targets: Sequence[str], weights: Mapping[str, Tensor], *, width: int) -> KnnRetrieval:
        """The inverse of `state_dict`; that of version 0.1.0 lacks `settings` and `largest_correction`.

        Raises:
            CheckpointError: a tensor is missing or left over, has a shape that does not fit the others, or is not
                finite.
        """
        materials, half = weights["keys"].shape if "keys" in weights and weights["keys"].ndim == 2 else (0, 0)  # noqa: PLR2004 - a matrix
        is_class = [TARGETS[name].kind == "class" for name in targets]
        class_targets, value_targets = sum(is_class), len(is_class) - sum(is_class)
        wanted: dict[str, tuple[tuple[int, ...], torch.dtype]] = {
            "mean": ((width,), torch.float32),
            "whitening": ((width, 2 * half), torch.float32),
            "keys": ((materials, half), torch.uint8),
            "classes": ((materials, class_targets), torch.uint8),
            "residuals": ((materials, value_targets), torch.float32),
            "has_residual": ((materials, value_targets), torch.bool),
        }
        if {"settings", "largest_correction"} & set(weights):
            wanted["settings"] = ((len(fields(RetrievalSettings)),), torch.float32)
            wanted["largest_correction"] = ((value_targets,), torch.float32)
        found = {name: tuple(value.shape) for name, value in weights.items()}
        expected = {name: shape for name, (shape, _) in wanted.items()}
        if found != expected or not materials:
            msg = f"the kNN retrieval does not fit the model: it has the shapes {found}; expected {expected}"
            raise CheckpointError(msg, code="E_CHECKPOINT")
        if not all(bool(torch.isfinite(value).all()) for value in weights.values()):
            msg = "the kNN retrieval holds NaN or infinity"
            raise CheckpointError(msg, code="E_CHECKPOINT")
        retrieval = cls(targets, **{name: weights[name].to(dtype) for name, (_, dtype) in wanted.items()})
        chosen = RetrievalSettings.from_tensor(retrieval.settings)
        if (
            min(chosen.similarity_temperature, chosen.gate_width) <= 0
            or not 0 <= chosen.mixing_weight <= 1
            or not bool((retrieval.largest_correction >= 0).all())
        ):
            msg = f"the kNN retrieval has impossible settings: {chosen}"
            raise CheckpointError(msg, code="E_CHECKPOINT")
        return retrieval

    def forward(
        self, embedding: Float[Tensor, "batch width"], outputs: Mapping[str, Float[Tensor, "batch outputs"]]
    ) -> tuple[dict[str, Tensor], Neighbours]:
        """Outputs of the heads, corrected by the nearest neighbours, and what these are like.

        Logits become the logarithm of a mixture of probabilities; the mean residual of the neighbours, limited to
        `largest_correction`, is added to z-scores. A gate on the similarity of the nearest neighbour scales both. All
        is computed in float32, also under autocast.
        """
        with torch.autocast(embedding.device.type, enabled=False):
            similarity, nearest = self.nearest(embedding)
            corrected = self.correct(similarity, nearest, {name: output.float() for name, output in outputs.items()})
            weight = (similarity / RetrievalSettings.from_tensor(self.settings).similarity_temperature).softmax(dim=1)
            votes = {
                name: _votes(self.classes[nearest, column].long(), weight, classes=outputs[name].shape[1])
                for column, name in enumerate(self.class_targets)
            }
        return corrected, Neighbours(similarity[:, 0], votes)

    def correct(
        self,
        similarity: Float[Tensor, "batch neighbours"],
        nearest: Int[Tensor, "batch neighbours"],
        outputs: Mapping[str, Float[Tensor, "batch outputs"]],
    ) -> dict[str, Tensor]:
        """`forward`, for neighbours that were found before."""
        settings = RetrievalSettings.from_tensor(self.settings)
        weight = (similarity / settings.similarity_temperature).softmax(dim=1)
        gate = torch.sigmoid((similarity[:, :1] - settings.gate_midpoint) / settings.gate_width)
        corrected = dict(outputs)
        for column, name in enumerate(self.class_targets):
            labels = self.classes[nearest, column].long()
            corrected[name] = _mix(outputs[name], labels, weight * gate, mixing_weight=settings.mixing_weight)
        for column, name in enumerate(self.value_targets):
            known = weight * self.has_residual[nearest, column]
            total = known.sum(dim=1, keepdim=True)
            residual = (known * self.residuals[nearest, column]).sum(dim=1, keepdim=True)
            correction = gate * residual / total.clamp(min=_MIN_KNOWN_WEIGHT)
            limit = self.largest_correction[column]
            corrected[name] = outputs[name] + torch.minimum(torch.maximum(correction, -limit), limit)
        return corrected

    def nearest(
        self, embedding: Float[Tensor, "batch width"]
    ) -> tuple[Float[Tensor, "batch neighbours"], Int[Tensor, "batch neighbours"]]:
        """Cosine similarity (-1 to 1) of the nearest training materials, in descending order, and their indices."""
        similarity = _whiten(embedding.float(), self.mean, self.whitening) @ self.unit_keys.T
        found = similarity.topk(min(NEIGHBOURS, len(self.keys)), dim=1)
        return found.values, found.indices


def fit_knn_retrieval(
    embedding: Float[Tensor, "materials width"],
    targets: Sequence[str],
    *,
    classes: Mapping[str, Int[Tensor, " materials"]],
    residuals: Mapping[str, Float[Tensor, " materials"]],
    components: int = COMPONENTS[0],
    scale: Float[Tensor, " width"] | None = None,
) -> KnnRetrieval:
    """Fit the whitening to the embeddings of materials, and quantise them.

    Args:
        embedding: Embeddings of the materials to retrieve from.
        targets: Names of the targets, in the order of the model's.
        classes: Class of each classification target, negative where it is unknown.
        residuals: True minus predicted z-score of each regression target, NaN where it is unknown.
        components: Directions to store, those of largest variance; all where the embedding has no more.
        scale: Factors of the components of the embedding, by which their variances are compared; 0 to ignore one.
    """
    materials, width = embedding.shape
    factors = torch.ones(width) if scale is None else scale
    kept = 2 * (min(components, width) // 2)
    mean = embedding.mean(dim=0)
    centred = (embedding - mean) * factors
    variance, directions = torch.linalg.eigh(centred.T @ centred / materials)
    # Shrink variances towards their mean: with few materials, directions of no variance would be scaled without bound.
    variance = (materials * variance.clamp(min=0) + width * variance.mean()) / (materials + width)
    whitening = factors[:, None] * (directions / variance.sqrt())[:, -kept:]
    keys = _whiten(embedding, mean, whitening)
    codes = (keys * kept**0.5 / _STEP + (_LEVELS - 1) / 2).round().clamp(0, _LEVELS - 1).to(torch.uint8)
    labels = [torch.where(classes[name] < 0, UNKNOWN, classes[name]) for name in targets if name in classes]
    columns = [residuals[name] for name in targets if name in residuals]
    empty = torch.zeros(len(embedding), 0)
    residual = torch.stack(columns, dim=1) if columns else empty
    return KnnRetrieval(
        targets,
        mean=mean,
        whitening=whitening,
        keys=codes[:, ::2] + _LEVELS * codes[:, 1::2],
        classes=(torch.stack(labels, dim=1) if labels else empty).to(torch.uint8),
        residuals=residual.nan_to_num(),
        has_residual=~residual.isnan(),
    )


def bytes_of_materials(materials: int, targets: Sequence[str], *, width: int, components: int) -> int:
    """Size of the retrieval in a checkpoint in bfloat16 [bytes]."""
    kept = 2 * (min(components, width) // 2)
    values = sum(TARGETS[name].kind != "class" for name in targets)
    each = kept // 2 + (len(targets) - values) + 3 * values
    return materials * each + 2 * width * (kept + 1)


def materials_within(size: int, targets: Sequence[str], *, width: int, components: int) -> int:
    """Largest number of materials whose retrieval takes at most `size` bytes in a checkpoint in bfloat16."""
    nothing = bytes_of_materials(0, targets, width=width, components=components)
    each = bytes_of_materials(1, targets, width=width, components=components) - nothing
    return max(0, math.floor((size - nothing) / each))


def _whiten(
    embedding: Float[Tensor, "n width"], mean: Float[Tensor, " width"], whitening: Float[Tensor, "width components"]
) -> Float[Tensor, "n components"]:
    """Whitened embeddings as unit vectors."""
    return nn.functional.normalize((embedding - mean) @ whitening)


def _dequantise(keys: UInt8[Tensor, "materials half_components"]) -> Float[Tensor, "materials components"]:
    """Quantised embeddings as unit vectors; computed in place, because they take most of the memory of a model."""
    vectors = torch.stack((keys & (_LEVELS - 1), keys >> _BITS), dim=2).flatten(1).float()
    vectors -= (_LEVELS - 1) / 2
    vectors /= vectors.norm(dim=1, keepdim=True).clamp_min(1e-12)
    return vectors


def _mix(
    logits: Float[Tensor, "batch classes"],
    labels: Int[Tensor, "batch neighbours"],
    weight: Float[Tensor, "batch neighbours"],
    *,
    mixing_weight: float,
) -> Float[Tensor, "batch classes"]:
    """Logarithm of the mixture of the head's probabilities and the classes of the neighbours whose class is known."""
    probabilities = logits.softmax(dim=1)
    votes = _votes(labels, weight, classes=probabilities.shape[1])
    mixing = mixing_weight * votes.sum(dim=1, keepdim=True)
    mixture = (1 - mixing) * probabilities + mixing_weight * votes
    return mixture.clamp(min=torch.finfo(torch.float32).tiny).log()


def _votes(
    labels: Int[Tensor, "batch neighbours"], weight: Float[Tensor, "batch neighbours"], *, classes: int
) -> Float[Tensor, "batch classes"]:
    """Sum of the weights of the neighbours of each class; those of unknown class are left out."""
    known = weight * (labels != UNKNOWN)
    return weight.new_zeros(len(labels), classes).scatter_add_(1, labels.clamp(max=classes - 1), known)
