"""Inputs of the embedding widget: files of embeddings, arrays with labels and xarray objects, of one or two models."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from xxact_app.library.materials import Materials
from xxact_app.library.models import ModelFolder
from xxact_app.samples.store import Store
from xxact_app.screens.embeddings.store import (
    MOST_MODELS,
    T_SNE,
    EmbeddingMap,
    EmbeddingStore,
    ProjectedEmbeddings,
    common_materials,
    project_embedded,
)
from xxact_app.session.session import MAP_PARTS, Session
from xxact_app.ui.safe_text import safe_text
from xxact_core.errors import DatasetError
from xxact_core.evaluation.embeddings import Embeddings, read_embeddings
from xxact_core.evaluation.projection import t_sne
from xxact_core.quantities import TARGETS, Quantity
from xxact_core.readers.objects import is_xarray

_CODE = "E_PREDICTIONS"
_TABLE = 2


class PassedEmbeddings(EmbeddingStore):
    """The store of a map of embeddings that are passed as arguments, not found in a workspace."""

    def __init__(
        self, session: Session, inputs: Sequence[object], *, labels: Mapping[str, object] | None, dataset: Path | None
    ) -> None:
        """Convert the inputs of `EmbeddingView`; raises `DatasetError` and the errors of `read_embeddings`."""
        super().__init__(session, Store(session))
        self.quantities: dict[str, Quantity] = dict(TARGETS)
        self._materials = Materials("", "Passed materials", dataset=dataset)
        named = [pair for value in inputs for pair in _names_of(value)]
        if not 1 <= len(named) <= MOST_MODELS:
            msg = f"embeddings of {len(named)} models were passed; expected one or two"
            raise DatasetError(msg, code=_CODE)
        self.embedded = {name: self._take(value, labels or {}, name=name) for name, value in named}
        parts = [part for part in MAP_PARTS if all(part in one.parts for one in self.embedded.values())]
        if not parts:
            msg = "the embeddings of the models have no part in common (fused, pattern or composition)"
            raise DatasetError(msg, code=_CODE)
        self.parts = tuple(parts)
        session.param.update(map_models=list(self.embedded), map_part=parts[0])

    def models(self) -> list[ModelFolder]:
        """One entry for each table of embeddings, without weights."""
        return [
            ModelFolder(name, safe_text(name), Path(), digest="", data="", reconstructs=False, predicts=False)
            for name in self.embedded
        ]

    def materials(self) -> list[Materials]:
        """The passed materials."""
        return [self._materials]

    def _map(self) -> EmbeddingMap:
        part = self.session.map_part
        if part not in self.parts:
            msg = f"these materials have no {part} embedding, only {' and '.join(self.parts)}"
            raise DatasetError(msg, code=_CODE)
        drawn = [self._drawn(model, part) for model in self.chosen_models()]
        kind = self.session.map_projection
        embedded, orders = common_materials([one.embedded for one in drawn])
        panels = tuple(
            one.to_map(model, kind=kind, order=order)
            for model, one, order in zip(self.chosen_models(), drawn, orders, strict=True)
        )
        return EmbeddingMap(part, kind, self._materials, panels, embedded, files=(), quantities=self.quantities)

    def _drawn(self, model: ModelFolder, part: str) -> ProjectedEmbeddings:
        """The embeddings of a model in the plane; a t-SNE that they lack is computed once, which takes a while."""
        embedded = self.embedded[model.key]
        if self.session.map_projection == T_SNE and part not in embedded.t_sne:
            embedded = replace(embedded, t_sne={**embedded.t_sne, part: t_sne(embedded.parts[part])})
            self.embedded[model.key] = embedded
        return project_embedded(embedded, part=part, name=model.label)

    def _dataset_of(self, shown: EmbeddingMap) -> Path | None:
        return shown.materials.dataset

    # ---------------------------------------------------------------------------------------------------------- inputs
    def _take(self, value: Any, labels: Mapping[str, object], *, name: str) -> Embeddings:  # noqa: ANN401 - checked by type
        if isinstance(value, str | Path):
            value = read_embeddings(Path(value))
        if not isinstance(value, Embeddings):
            value, labels = _array_to_embedded(value, labels, name=name)
        targets = {**value.targets, **{label: self._numbers(label, labels[label], len(value)) for label in labels}}
        return Embeddings(value.id, value.formula, value.row, value.parts, targets, value.dataset)

    def _numbers(self, label: str, given: Any, size: int) -> np.ndarray:  # noqa: ANN401 - anything array-like
        """A column of labels as numbers; unless it is a known target, a quantity is created for it."""
        values = np.asarray(given)
        if values.shape != (size,):
            msg = f"the labels {label!r} have the shape {values.shape}; expected one value for each of {size} materials"
            raise DatasetError(msg, code=_CODE)
        by_name = label in TARGETS and TARGETS[label].classes  # 225 is a space group, not an index of a class
        if values.dtype.kind in "fiub" and not by_name:
            quantity = TARGETS.get(label) or Quantity(label, safe_text(label), "", "value")
        else:
            words = [safe_text(value) for value in values]
            classes = TARGETS[label].classes if label in TARGETS else tuple(sorted(set(words)))
            unknown = sorted(set(words) - set(classes))
            if unknown:
                msg = f"{label!r}: {unknown[0]!r} is not one of {classes[:7]}"
                raise DatasetError(msg, code=_CODE)
            quantity = TARGETS.get(label) or Quantity(label, safe_text(label), "", "class", classes)
            values = np.array([classes.index(word) for word in words])
        self.quantities[label] = quantity
        return values.astype(np.float32)


def _names_of(value: Any) -> list[tuple[str, object]]:  # noqa: ANN401 - checked by type
    if isinstance(value, Mapping) and not is_xarray(value):
        return [(str(name), one) for name, one in value.items()]
    if isinstance(value, str | Path):
        return [(Path(value).stem, value)]
    return [(str(getattr(value, "name", None) or "Embeddings"), value)]


def _array_to_embedded(
    value: Any,  # noqa: ANN401 - checked by type
    labels: Mapping[str, object],
    *,
    name: str,
) -> tuple[Embeddings, Mapping[str, object]]:
    """An array of shape (materials, width) with its labels; coordinates of a DataArray are labels, too.

    The labels `id` and `formula` name the materials.
    """
    if is_xarray(value):
        if hasattr(value, "data_vars"):
            msg = f"{name}: a Dataset holds several arrays; pass a DataArray of shape (materials, width)"
            raise DatasetError(msg, code=_CODE)
        along = {str(key): one.values for key, one in value.coords.items() if one.dims == value.dims[:1]}
        if value.dims[0] in along:
            along.setdefault("id", along.pop(value.dims[0]))
        labels = {**along, **labels}
    values = np.asarray(value, dtype=np.float32)
    if values.ndim != _TABLE or not np.isfinite(values).all():
        msg = f"{name}: expected finite numbers of shape (materials, width), not {values.shape}"
        raise DatasetError(msg, code=_CODE)
    known = {key: np.asarray(labels[key]).astype(str) for key in ("id", "formula") if key in labels}
    numbers = np.arange(len(values))
    embedded = Embeddings(
        id=known.get("id", numbers.astype(str)),
        formula=known.get("formula", np.full(len(values), "")),
        row=numbers,
        parts={"fused": values},
        targets={},
    )
    return embedded, {key: labels[key] for key in labels if key not in known}
