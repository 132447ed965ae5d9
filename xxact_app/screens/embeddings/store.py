"""Derived data of the Embeddings screen: maps, patterns of selected materials, and own samples on the map."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

import numpy as np

from xxact_app.jobs.tasks import BackgroundTask, find_task
from xxact_app.library.materials import (
    MOST_T_SNE,
    SAMPLE,
    Materials,
    embeddings_path,
    find_dataset,
    list_materials,
    make_embeddings,
    open_table,
    shipped_embeddings,
    simulate_shipped,
)
from xxact_app.library.models import SHIPPED, ModelFolder, find_model, list_models, load_model
from xxact_app.library.workspace import Workspace, open_workspace
from xxact_app.samples.sample import without_name
from xxact_app.samples.sample_cache import SampleCache
from xxact_app.samples.store import Store
from xxact_app.session.session import MAP_PARTS, Session
from xxact_app.ui.safe_text import safe_message
from xxact_core.dataset.store import MANIFEST, read_manifest
from xxact_core.errors import InputError
from xxact_core.evaluation.embeddings import Embeddings, embed_pattern, read_embeddings
from xxact_core.evaluation.evaluate import silhouettes
from xxact_core.evaluation.projection import Projection, fit_projection, place_by_neighbours
from xxact_core.patterns.pattern import GriddedPattern
from xxact_core.peak_profiles.reference import broaden_sticks
from xxact_core.quantities import TARGETS, Quantity

MOST_SILHOUETTES = 2000
"""Largest number of materials for silhouette coefficients, whose cost grows quadratically."""

T_SNE = "t-sne"
"""Value of `Session.map_projection`."""

LEAST_MATERIALS = 3
MOST_MODELS = 2

_MAX_OWN = 256
"""Embeddings of own samples that are kept."""


@dataclass(frozen=True)
class Point:
    """An own sample on a map; `name` is safe to show."""

    name: str
    x: float
    y: float


@dataclass(frozen=True)
class ModelMap:
    """The map of one model."""

    model: ModelFolder
    coordinates: np.ndarray
    """Coordinates of the materials, shape (materials, 2), float32."""
    explained: np.ndarray | None
    """Explained variance (0-1) of each principal component, shape (2,); None for a t-SNE."""
    silhouettes: dict[str, float]
    """Silhouette coefficient of each crystal system that occurs, and `mean`; empty where undefined."""
    own: tuple[Point, ...]
    """Own samples."""
    absent: tuple[str, ...]
    """Own samples that cannot be placed on the map, each with its reason."""


@dataclass(frozen=True)
class EmbeddingMap:
    """Maps of the same materials by one or two models."""

    part: str
    """`fused`, `pattern` or `composition`."""
    projection: str
    """`pca` or `t-sne`."""
    materials: Materials
    panels: tuple[ModelMap, ...]
    embedded: Embeddings
    """Embeddings and labels of the materials, in the order of the coordinates."""
    files: tuple[Path, ...]
    """Files of the embeddings; empty where arrays were passed."""
    quantities: Mapping[str, Quantity] = field(default_factory=lambda: TARGETS)


@dataclass(frozen=True)
class MissingMap:
    """Why there is no map, a safe text, and whether it can be computed here."""

    text: str
    can_compute: bool = False


class EmbeddingStore:
    """Computes what the Embeddings screen of a session shows."""

    def __init__(self, session: Session, store: Store, *, workspace: Callable[[], Workspace] = open_workspace) -> None:
        self.session, self.store = session, store
        self._workspace = workspace
        self._own: SampleCache[dict[str, np.ndarray]] = store.cache(_MAX_OWN)

    # ------------------------------------------------------------------------------------------------------ the choices
    def models(self) -> list[ModelFolder]:
        """All models."""
        return list_models(self._workspace())

    def chosen_models(self) -> list[ModelFolder]:
        """The selected models, one or two; the first one where none of them exists any more."""
        models = {model.key: model for model in self.models()}
        chosen = [models[key] for key in dict.fromkeys(self.session.map_models) if key in models][:MOST_MODELS]
        return chosen or list(models.values())[:1]

    def materials(self) -> list[Materials]:
        """Materials that can be shown with the first selected model."""
        return [choice for model in self.chosen_models()[:1] for choice in list_materials(self._workspace(), model)]

    def chosen_materials(self) -> Materials | None:
        """The selected materials, else the first."""
        choices = self.materials()
        by_key = {choice.key: choice for choice in choices}
        return by_key.get(self.session.map_materials, choices[0] if choices else None)

    # ----------------------------------------------------------------------------------------------------------- task
    def make(self) -> None:
        """Start to compute the missing maps in separate processes."""
        materials = self.chosen_materials()
        if materials is not None and materials.file is None:
            make_embeddings(self._workspace(), self.chosen_models(), materials)

    def task(self) -> BackgroundTask | None:
        """The computation for the current selection, running or ended; None where none was started."""
        materials = self.chosen_materials()
        if materials is None:
            return None
        return find_task("map", materials.key, *(model.digest for model in self.chosen_models()))

    # ---------------------------------------------------------------------------------------------------------- the map
    def map(self) -> EmbeddingMap | MissingMap:
        """The map of the current selection, or the reason why there is none."""
        try:
            return self._map()
        except (InputError, OSError) as error:
            return MissingMap(safe_message(error))

    def _map(self) -> EmbeddingMap | MissingMap:
        materials, models, part = self.chosen_materials(), self.chosen_models(), self.session.map_part
        if materials is None:
            return MissingMap("No materials are available: build a dataset first.")
        paths = [embeddings_path(self._workspace(), model, self._same_materials(model, materials)) for model in models]
        missing = [model.label for model, path in zip(models, paths, strict=True) if path is None or not path.is_file()]
        if missing:
            if materials.file is not None:
                return MissingMap(f"{materials.label} has no embeddings by {missing[0]}: select other materials.")
            text = f"The map of {' and of '.join(missing)} has not been computed yet. This takes a minute or more, "
            return MissingMap(text + "continues in the background, and is done only once.", can_compute=True)
        files = tuple(path for path in paths if path is not None)
        kind = self.session.map_projection
        projected = [_read(path, path.stat().st_mtime_ns, part) for path in files]
        lacking = [model.label for model, one in zip(models, projected, strict=True) if one.t_sne is None]
        if kind == T_SNE and lacking:
            text = f"{lacking[0]} has no t-SNE of these materials: it is computed with the embeddings of at most "
            return MissingMap(f"{text}{MOST_T_SNE:,} materials, or by `xxact embed --t-sne`. Select PCA instead.")
        embedded, orders = common_materials([one.embedded for one in projected])
        if len(embedded) < LEAST_MATERIALS:
            return MissingMap("The two models have too few materials in common: select other materials.")
        panels = []
        for model, one, order in zip(models, projected, orders, strict=True):
            own, absent = self._own_samples(model, one)
            panels.append(one.to_map(model, kind=kind, order=order, own=own, absent=absent))
        return EmbeddingMap(part, kind, materials, tuple(panels), embedded, files)

    def _same_materials(self, model: ModelFolder, materials: Materials) -> Materials:
        """The same materials for another model: the file of the same name in its run folder."""
        if materials.file is None:
            return materials
        return Materials(materials.key, materials.label, file=model.folder.parent / materials.file.name)

    def _own_samples(self, model: ModelFolder, shown: ProjectedEmbeddings) -> tuple[tuple[Point, ...], tuple[str, ...]]:
        """The own samples on a map, and those that cannot be placed with the reasons."""
        points, absent = [], []
        part = self.session.map_part
        for key in self.session.files:
            sample, formula = self.store.samples.get(key), self.session.sample(key).formula.strip()
            if sample is None:
                continue
            if not formula:
                absent.append(f"{sample.name}: formula missing")
                continue
            try:
                parts = self._embed_own(model, key, formula)
                if self.session.map_projection == T_SNE:
                    assert shown.t_sne is not None, "checked before"
                    x, y = place_by_neighbours(parts[part][None], shown.embedded.parts[part], shown.t_sne)[0]
                else:
                    x, y = shown.projection.project(parts[part][None].astype(np.float64))[0]
            except (InputError, KeyError) as error:
                absent.append(safe_message(f"{sample.name}: {without_name(error, sample.pattern.name)}"))
                continue
            points.append(Point(sample.name, float(x), float(y)))
        return tuple(points), tuple(absent)

    def _embed_own(self, model: ModelFolder, key: str, formula: str) -> dict[str, np.ndarray]:
        gridded, composition = self.store.gridded(key), self.store.composition(formula)
        question = (model.digest, formula, gridded.intensity.tobytes())
        return self._own.get_or_compute(
            key, question, lambda: embed_pattern(load_model(model).model, gridded, composition)
        )

    # ---------------------------------------------------------------------------------------------------- the selection
    def pattern(self, shown: EmbeddingMap, number: int) -> GriddedPattern | None:
        """The simulated pattern of a material on the map; None where its dataset is not in the workspace."""
        dataset = shown.materials.dataset or self._dataset_of(shown)
        if dataset is not None and dataset.name == SAMPLE and not (dataset / MANIFEST).is_file():
            return simulate_shipped(str(shown.embedded.id[number]))
        if dataset is None:
            return None
        table, row = open_table(dataset, read_manifest(dataset)["digest"]), int(shown.embedded.row[number])
        if not 0 <= row < len(table) or table.id[row] != shown.embedded.id[number]:
            return None
        return broaden_sticks(table.sticks(row))

    def _dataset_of(self, shown: EmbeddingMap) -> Path | None:
        digest = shown.embedded.dataset or shown.panels[0].model.data
        return find_dataset(self._workspace(), digest)


@dataclass(frozen=True)
class ProjectedEmbeddings:
    """Embeddings with their principal components."""

    embedded: Embeddings
    projection: Projection
    coordinates: np.ndarray
    silhouettes: dict[str, float]
    t_sne: np.ndarray | None = None

    def to_map(
        self, model: ModelFolder, *, kind: str, order: np.ndarray | None, own: tuple[Point, ...] = (),
        absent: tuple[str, ...] = (),
    ) -> ModelMap:  # fmt: skip
        """The map of a model by principal components or t-SNE, of the materials `order`."""
        if kind == T_SNE:
            assert self.t_sne is not None, "asked for only where there is one"
            coordinates, explained = self.t_sne, None
        else:
            coordinates, explained = self.coordinates, self.projection.explained
        return ModelMap(
            model, coordinates if order is None else coordinates[order], explained, self.silhouettes, own, absent
        )


@lru_cache(maxsize=4)
def _read(path: Path, _changed: int, part: str) -> ProjectedEmbeddings:
    return project_embedded(read_embeddings(path, parts=(part,)), part=part, name=path.name)


def shipped_map() -> ProjectedEmbeddings | None:
    """The shipped embeddings with their principal components; None where the installation has none."""
    path = shipped_embeddings(find_model(SHIPPED))
    return _read(path, path.stat().st_mtime_ns, MAP_PARTS[0]) if path is not None else None


def project_embedded(embedded: Embeddings, *, part: str, name: str) -> ProjectedEmbeddings:
    """Principal components and silhouette coefficients of one part of embeddings.

    Raises:
        InputError: there are too few materials.
    """
    values = embedded.parts[part]
    if len(embedded) < LEAST_MATERIALS:
        msg = f"{name} holds {len(embedded)} materials; a map needs at least {LEAST_MATERIALS}"
        raise InputError(msg, code="E_PREDICTIONS")
    projection = fit_projection(values)
    systems = embedded.targets.get("crystal_system", np.full(len(embedded), np.nan))
    known = np.flatnonzero(~np.isnan(systems))
    known = np.random.default_rng(0).permutation(known)[:MOST_SILHOUETTES]
    scores = silhouettes(values[known], systems[known]) if 1 < len(np.unique(systems[known])) < len(known) else {}
    coordinates = projection.project(values).astype(np.float32)
    return ProjectedEmbeddings(embedded, projection, coordinates, scores, embedded.t_sne.get(part))


def common_materials(of_models: list[Embeddings]) -> tuple[Embeddings, list[np.ndarray | None]]:
    """The materials common to all models, and their rows in the table of each; None for all rows in order."""
    first, *others = of_models
    if all(np.array_equal(first.id, other.id) for other in others):
        return first, [None] * len(of_models)
    (other,) = others
    _, left, right = np.intersect1d(first.id, other.id, return_indices=True)
    order = np.argsort(left)
    left, right = left[order], right[order]
    kept = Embeddings(
        id=first.id[left],
        formula=first.formula[left],
        row=first.row[left],
        parts={name: values[left] for name, values in first.parts.items()},
        targets={name: values[left] for name, values in first.targets.items()},
        dataset=first.dataset,
        model=first.model,
        t_sne={name: values[left] for name, values in first.t_sne.items()},
    )
    return kept, [left, right]
