"""k-nearest-neighbour retrieval: predictions are corrected by the labels of the most similar training materials.

A structure type that occurs a dozen times among 100,000 materials is hard to learn and easy to look up. Source:
Khandelwal et al. 2020, "Generalization through memorization: nearest neighbor language models", arXiv:1911.00172. The
constants below were chosen on the validation split.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from jaxtyping import Bool, Float, Int, UInt8
from torch import Tensor, nn

from xxact_core.errors import CheckpointError
from xxact_core.quantities import TARGETS

NEIGHBOURS = 50
"""Number of training materials that are retrieved."""

SIMILARITY_TEMPERATURE = 0.04
"""The weight of a neighbour is proportional to exp(cosine similarity / temperature)."""

MIXING_WEIGHT = 0.65
"""Weight of the neighbours' classes in the mixture with the probabilities of the head, where the gate is fully open."""

GATE_MIDPOINT = 0.6
"""Cosine similarity of the nearest neighbour at which the gate is half open."""

GATE_WIDTH = 0.1
"""Width of the sigmoid of the gate, in cosine similarity."""

UNKNOWN = 255
"""Stored class of a material whose class is unknown."""

_BITS = 4
_LEVELS = 2**_BITS
_STEP = 0.3352
"""Width of a quantisation level in standard deviations. Source: Max 1960, table I, for 16 levels of a normal
distribution."""

_MIN_KNOWN_WEIGHT = 0.05
"""Share of the neighbours' weight that must have a known value for their mean residual to count in full."""


class KnnRetrieval(nn.Module):
    """Whitened embeddings of training materials, quantised to four bits a component, with their labels and residuals.

    Buffers:
        mean, whitening: shapes (width,) and (width, width); they give every direction of the embeddings one variance.
        keys: the quantised embeddings, two components a byte, shape (materials, width / 2).
        classes: class of each classification target, in the order of `targets`, `UNKNOWN` where it is unknown.
        residuals: true minus predicted z-score of each regression target, 0 where it is unknown.
        has_residual: where the residual is known.
    """

    mean: Tensor
    whitening: Tensor
    keys: Tensor
    classes: Tensor
    residuals: Tensor
    has_residual: Tensor
    unit_keys: Tensor

    def __init__(
        self,
        targets: Sequence[str],
        *,
        mean: Float[Tensor, " width"],
        whitening: Float[Tensor, "width width"],
        keys: UInt8[Tensor, "materials half_width"],
        classes: UInt8[Tensor, "materials class_targets"],
        residuals: Float[Tensor, "materials value_targets"],
        has_residual: Bool[Tensor, "materials value_targets"],
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
        self.register_buffer("unit_keys", _dequantise(keys), persistent=False)

    @classmethod
    def from_weights(cls, targets: Sequence[str], weights: Mapping[str, Tensor], *, width: int) -> KnnRetrieval:
        """The inverse of `state_dict`.

        Raises:
            CheckpointError: a tensor is missing or left over, has a shape that does not fit the others, or is not
                finite.
        """
        materials = len(weights["keys"]) if "keys" in weights else 0
        is_class = [TARGETS[name].kind == "class" for name in targets]
        class_targets, value_targets = sum(is_class), len(is_class) - sum(is_class)
        wanted: dict[str, tuple[tuple[int, ...], torch.dtype]] = {
            "mean": ((width,), torch.float32),
            "whitening": ((width, width), torch.float32),
            "keys": ((materials, width // 2), torch.uint8),
            "classes": ((materials, class_targets), torch.uint8),
            "residuals": ((materials, value_targets), torch.float32),
            "has_residual": ((materials, value_targets), torch.bool),
        }
        found = {name: tuple(value.shape) for name, value in weights.items()}
        expected = {name: shape for name, (shape, _) in wanted.items()}
        if found != expected or not materials or width % 2:
            msg = f"the kNN retrieval does not fit the model: it has the shapes {found}; expected {expected}"
            raise CheckpointError(msg, code="E_CHECKPOINT")
        if not all(bool(torch.isfinite(value).all()) for value in weights.values()):
            msg = "the kNN retrieval holds NaN or infinity"
            raise CheckpointError(msg, code="E_CHECKPOINT")
        return cls(targets, **{name: weights[name].to(dtype) for name, (_, dtype) in wanted.items()})

    def forward(
        self, embedding: Float[Tensor, "batch width"], outputs: Mapping[str, Float[Tensor, "batch outputs"]]
    ) -> dict[str, Tensor]:
        """Outputs of the heads, corrected by the nearest neighbours; in float32, also under autocast.

        Logits become the logarithm of a mixture of probabilities; the mean residual of the neighbours is added to
        z-scores. A gate on the similarity of the nearest neighbour scales both corrections.
        """
        with torch.autocast(embedding.device.type, enabled=False):
            return self._correct(embedding, {name: output.float() for name, output in outputs.items()})

    def _correct(
        self, embedding: Float[Tensor, "batch width"], outputs: Mapping[str, Float[Tensor, "batch outputs"]]
    ) -> dict[str, Tensor]:
        similarity, nearest = self.nearest(embedding)
        weight = (similarity / SIMILARITY_TEMPERATURE).softmax(dim=1)
        gate = torch.sigmoid((similarity[:, :1] - GATE_MIDPOINT) / GATE_WIDTH)
        corrected = dict(outputs)
        for column, name in enumerate(self.class_targets):
            corrected[name] = _mix(outputs[name], self.classes[nearest, column].long(), weight * gate)
        for column, name in enumerate(self.value_targets):
            known = weight * self.has_residual[nearest, column]
            total = known.sum(dim=1, keepdim=True)
            residual = (known * self.residuals[nearest, column]).sum(dim=1, keepdim=True)
            corrected[name] = outputs[name] + gate * residual / total.clamp(min=_MIN_KNOWN_WEIGHT)
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
) -> KnnRetrieval:
    """Fit the whitening to the embeddings of materials, and quantise them.

    Args:
        embedding: Input of the heads; its width is even.
        targets: Names of the targets, in the order of the model's.
        classes: Class of each classification target, negative where it is unknown.
        residuals: True minus predicted z-score of each regression target, NaN where it is unknown.
    """
    materials, width = embedding.shape
    mean = embedding.mean(dim=0)
    variance, directions = torch.linalg.eigh((embedding - mean).T @ (embedding - mean) / materials)
    # Shrink variances towards their mean: with few materials, directions of no variance would be scaled without bound.
    variance = (materials * variance.clamp(min=0) + width * variance.mean()) / (materials + width)
    whitening = directions / variance.sqrt()
    keys = _whiten(embedding, mean, whitening)
    codes = (keys * width**0.5 / _STEP + (_LEVELS - 1) / 2).round().clamp(0, _LEVELS - 1).to(torch.uint8)
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


def _whiten(
    embedding: Float[Tensor, "n width"], mean: Float[Tensor, " width"], whitening: Float[Tensor, "width width"]
) -> Float[Tensor, "n width"]:
    """Whitened embeddings as unit vectors."""
    return nn.functional.normalize((embedding - mean) @ whitening)


def _dequantise(keys: UInt8[Tensor, "materials half_width"]) -> Float[Tensor, "materials width"]:
    """Quantised embeddings as unit vectors; computed in place, because they take most of the memory of a model."""
    vectors = torch.stack((keys & (_LEVELS - 1), keys >> _BITS), dim=2).flatten(1).float()
    vectors -= (_LEVELS - 1) / 2
    vectors /= vectors.norm(dim=1, keepdim=True).clamp_min(1e-12)
    return vectors


def _mix(
    logits: Float[Tensor, "batch classes"],
    labels: Int[Tensor, "batch neighbours"],
    weight: Float[Tensor, "batch neighbours"],
) -> Float[Tensor, "batch classes"]:
    """Logarithm of the mixture of the head's probabilities and the classes of the neighbours whose class is known."""
    probabilities = logits.softmax(dim=1)
    known = weight * (labels != UNKNOWN)
    votes = torch.zeros_like(probabilities).scatter_add_(1, labels.clamp(max=probabilities.shape[1] - 1), known)
    mixing = MIXING_WEIGHT * known.sum(dim=1, keepdim=True)
    mixture = (1 - mixing) * probabilities + MIXING_WEIGHT * votes
    return mixture.clamp(min=torch.finfo(torch.float32).tiny).log()
