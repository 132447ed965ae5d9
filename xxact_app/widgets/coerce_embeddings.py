"""What a notebook gives → maps: files of embeddings, arrays with labels, xarray, of one model or two."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from xxact_app.library.materials import Materials
from xxact_app.library.models import ModelFolder
from xxact_app.samples.store import Store
from xxact_app.screens.embeddings.store import (
    MOST_MODELS,
    EmbeddingMap,
    EmbeddingStore,
    ModelMap,
    common_materials,
    project_embedded,
)
from xxact_app.session.session import MAP_PARTS, Session
from xxact_app.ui.safe_text import safe_text
from xxact_app.widgets.coerce_patterns import is_xarray
from xxact_core.errors import DatasetError
from xxact_core.evaluation.embedded import Embedded, read_embedded
from xxact_core.quantities import TARGETS, Quantity

_CODE = "E_PREDICTIONS"
_TABLE = 2


class GivenEmbeddings(EmbeddingStore):
    """The store of a map whose materials are given, not found in a workspace."""

    def __init__(
        self, session: Session, given: Sequence[object], *, labels: Mapping[str, object] | None, dataset: Path | None
    ) -> None:
        """Take what is given: see `EmbeddingView`; errors are those of `read_embedded` and `DatasetError`."""
        super().__init__(session, Store(session))
        self.quantities: dict[str, Quantity] = dict(TARGETS)
        self._materials = Materials("", "Materials given here", dataset=dataset)
        named = [pair for thing in given for pair in _names_of(thing)]
        if not 1 <= len(named) <= MOST_MODELS:
            msg = f"embeddings of {len(named)} models were given; expected one, or two to be seen side by side"
            raise DatasetError(msg, code=_CODE)
        self.embedded = {name: self._take(thing, labels or {}, name=name) for name, thing in named}
        parts = [part for part in MAP_PARTS if all(part in one.parts for one in self.embedded.values())]
        if not parts:
            msg = "the embeddings have no part in common: fused, pattern or composition"
            raise DatasetError(msg, code=_CODE)
        self.parts = tuple(parts)
        session.param.update(map_models=list(self.embedded), map_part=parts[0])

    def models(self) -> list[ModelFolder]:
        """One for each table of embeddings; there are no weights."""
        return [ModelFolder(name, safe_text(name), Path(), "", "", reconstructs=False) for name in self.embedded]

    def materials(self) -> list[Materials]:
        """Those that were given."""
        return [self._materials]

    def _map(self) -> EmbeddingMap:
        part = self.session.map_part
        if part not in self.parts:
            msg = f"there is no {part} embedding of these materials, only {' and '.join(self.parts)}"
            raise DatasetError(msg, code=_CODE)
        drawn = [project_embedded(self.embedded[m.key], part=part, name=m.label) for m in self.chosen_models()]
        embedded, orders = common_materials([one.embedded for one in drawn])
        panels = tuple(
            ModelMap(
                model, one.places if order is None else one.places[order], one.projection.explained, one.silhouettes,
                own=(), absent=(),
            )
            for model, one, order in zip(self.chosen_models(), drawn, orders, strict=True)
        )  # fmt: skip
        return EmbeddingMap(part, self._materials, panels, embedded, files=(), quantities=self.quantities)

    def _dataset_of(self, shown: EmbeddingMap) -> Path | None:
        return shown.materials.dataset

    # ---------------------------------------------------------------------------------------------------- given → table
    def _take(self, thing: Any, labels: Mapping[str, object], *, name: str) -> Embedded:  # noqa: ANN401 - told by type
        if isinstance(thing, str | Path):
            thing = read_embedded(Path(thing))
        if not isinstance(thing, Embedded):
            thing, labels = _array_to_embedded(thing, labels, name=name)
        targets = {**thing.targets, **{label: self._numbers(label, labels[label], len(thing)) for label in labels}}
        return Embedded(thing.id, thing.formula, thing.row, thing.parts, targets, thing.dataset)

    def _numbers(self, label: str, given: Any, size: int) -> np.ndarray:  # noqa: ANN401 - whatever numpy takes
        """A column of labels as numbers; what it is becomes a quantity, unless it is one of the known targets."""
        values = np.asarray(given)
        if values.shape != (size,):
            msg = f"the labels {label!r} are of shape {values.shape}; expected one for each of {size} materials"
            raise DatasetError(msg, code=_CODE)
        by_name = label in TARGETS and TARGETS[label].classes  # 225 is a space group, and not the class of that number
        if values.dtype.kind in "fiub" and not by_name:
            quantity = TARGETS.get(label) or Quantity(label, safe_text(label), "", "value")
        else:
            words = [safe_text(value) for value in values]
            classes = TARGETS[label].classes if label in TARGETS else tuple(sorted(set(words)))
            unknown = sorted(set(words) - set(classes))
            if unknown:
                msg = f"{label!r}: {unknown[0]!r} is none of {classes[:7]}"
                raise DatasetError(msg, code=_CODE)
            quantity = TARGETS.get(label) or Quantity(label, safe_text(label), "", "class", classes)
            values = np.array([classes.index(word) for word in words])
        self.quantities[label] = quantity
        return values.astype(np.float32)


def _names_of(thing: Any) -> list[tuple[str, object]]:  # noqa: ANN401 - told by type
    if isinstance(thing, Mapping) and not is_xarray(thing):
        return [(str(name), one) for name, one in thing.items()]
    if isinstance(thing, str | Path):
        return [(Path(thing).stem, thing)]
    return [(str(getattr(thing, "name", None) or "Embeddings"), thing)]


def _array_to_embedded(
    thing: Any,  # noqa: ANN401 - told by type
    labels: Mapping[str, object],
    *,
    name: str,
) -> tuple[Embedded, Mapping[str, object]]:
    """A table of shape (materials, width), and its labels: given, and of a DataArray its coordinates besides.

    Of the labels `id` and `formula` say what the materials are called.
    """
    if is_xarray(thing):
        if hasattr(thing, "data_vars"):
            msg = f"{name}: a Dataset holds several arrays: give its DataArray of shape (materials, width)"
            raise DatasetError(msg, code=_CODE)
        along = {str(key): value.values for key, value in thing.coords.items() if value.dims == thing.dims[:1]}
        if thing.dims[0] in along:
            along.setdefault("id", along.pop(thing.dims[0]))
        labels = {**along, **labels}
    values = np.asarray(thing, dtype=np.float32)
    if values.ndim != _TABLE or not np.isfinite(values).all():
        msg = f"{name}: expected finite numbers of shape (materials, width), not {values.shape}"
        raise DatasetError(msg, code=_CODE)
    known = {key: np.asarray(labels[key]).astype(str) for key in ("id", "formula") if key in labels}
    numbers = np.arange(len(values))
    embedded = Embedded(
        id=known.get("id", numbers.astype(str)),
        formula=known.get("formula", np.full(len(values), "")),
        row=numbers,
        parts={"fused": values},
        targets={},
    )
    return embedded, {key: labels[key] for key in labels if key not in known}
