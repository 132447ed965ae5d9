"""Materials for maps and evaluations: a sample of the shipped table, datasets, and files of runs."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from xxact_app.jobs.tasks import BackgroundTask, Step, call_step, command_step, submit
from xxact_app.library.models import SHIPPED, ModelFolder
from xxact_app.library.workspace import Workspace, own_folders
from xxact_app.ui.safe_text import safe_text
from xxact_core.dataset.building.structure_rows import copy_first_of_split
from xxact_core.dataset.store import MANIFEST, read_manifest
from xxact_core.dataset.table import StickTable, read_dataset
from xxact_core.errors import DatasetError
from xxact_core.patterns.pattern import GriddedPattern
from xxact_core.peak_profiles.reference import broaden_sticks
from xxact_core.plain_hdf5 import open_plain
from xxact_core.shipped import EMBEDDINGS, TABLE, shipped_path
from xxact_core.simulation.diffraction import arrays_to_sticks
from xxact_core.structures.structure import Structure
from xxact_core.structures.tables import read_table

logger = logging.getLogger(__name__)

SAMPLE, SAMPLE_SIZE, SAMPLE_SPLIT = "materials_project_test", 2000, "test"
"""The sample: the first materials of the test split of the shipped table, which is in random order. The shipped model
was not trained on their formulas, so that clusters on a map are not learned by heart."""

_TABLE_OF_SAMPLE = "structures.parquet"

MOST_T_SNE = 10_000
"""Largest number of materials whose t-SNE is computed with their embeddings: a minute."""

SHARD_ROWS = 250
_PER_MATERIAL_BUILT, _PER_MATERIAL_EMBEDDED = 10.0, 6.0
"""Time per material on one core [ms], as weights of the steps in the progress."""


@dataclass(frozen=True)
class Materials:
    """A dataset, or a file of embeddings of a run; `label` is safe to show."""

    key: str
    label: str
    dataset: Path | None = None
    file: Path | None = None


def list_materials(workspace: Workspace, model: ModelFolder) -> list[Materials]:
    """The materials that can be shown with a model, first the sample, even if it is not built yet."""
    found = [Materials("", f"{SAMPLE_SIZE:,} materials of the test split", dataset=workspace.datasets / SAMPLE)]
    found += [
        Materials(f"data {folder.name}", f"Dataset {safe_text(folder.name, limit=60)}", dataset=folder)
        for folder in own_folders(workspace.datasets)
        if folder.name != SAMPLE and (folder / MANIFEST).is_file() and workspace.holds(folder)
    ]
    files = sorted(model.folder.parent.glob("*.h5")) if model.folder.name == "model" else []
    found += [
        Materials(f"file {path.name}", f"File {safe_text(path.name, limit=60)}", file=path)
        for path in files
        if not path.is_symlink()
    ]
    return found


def embeddings_path(workspace: Workspace, model: ModelFolder, materials: Materials) -> Path | None:
    """The path of the embeddings of materials by a model; None until their dataset is built.

    Those of the sample by the shipped model come with the package.
    """
    if materials.file is not None:
        return materials.file
    if materials.dataset is not None and materials.dataset.name == SAMPLE:
        shipped = shipped_embeddings(model)
        if shipped is not None:
            return shipped
    assert materials.dataset is not None, "materials are a file or a dataset"
    if not (materials.dataset / MANIFEST).is_file():
        return None
    digest = read_manifest(materials.dataset)["digest"]
    return workspace.root / "embeddings" / f"{model.digest[:16]}-{digest[:16]}.h5"


def shipped_embeddings(model: ModelFolder) -> Path | None:
    """The file of embeddings of the sample of a shipped model, if it is by these very weights."""
    path = model.folder / Path(EMBEDDINGS).name
    if model.key != SHIPPED or not path.is_file():
        return None
    return path if _model_of(path, path.stat().st_mtime_ns) == model.digest else None


@lru_cache(maxsize=4)
def _model_of(path: Path, _changed: int) -> str:
    with open_plain(path) as file:
        return str(file.attrs.get("model", ""))


def find_dataset(workspace: Workspace, digest: str) -> Path | None:
    """The dataset with this digest in the workspace, or None."""
    for folder in own_folders(workspace.datasets):
        if not digest or not (folder / MANIFEST).is_file() or not workspace.holds(folder):
            continue
        try:
            found = read_manifest(folder)["digest"]
        except (DatasetError, OSError) as error:
            logger.warning("%s is skipped: %s", folder, error)
            continue
        if found == digest:
            return folder
    return None


@lru_cache(maxsize=64)
def simulate_shipped(identifier: str) -> GriddedPattern | None:
    """The simulated pattern of a material of the shipped table; None where it has no such material."""
    from pyarrow import compute, parquet  # noqa: PLC0415 - slow to import

    table = shipped_path(TABLE)
    row = compute.index(parquet.read_table(table, columns=["id"])["id"], identifier).as_py()
    structure = next(read_table(table, start=row, stop=row + 1), None) if row >= 0 else None
    if not isinstance(structure, Structure):
        return None
    sticks = arrays_to_sticks(
        cell=structure.cell, atomic_numbers=structure.atomic_numbers, frac_coords=structure.frac_coords,
        occupancies=structure.occupancies,
    )  # fmt: skip
    return broaden_sticks(sticks)


@lru_cache(maxsize=2)
def open_table(dataset: Path, _digest: str) -> StickTable:
    """The table of a dataset; reflections are read from disk when needed."""
    return read_dataset(dataset, resident=False)


# -------------------------------------------------------------------------------------------------------------- tasks
def make_embeddings(workspace: Workspace, models: Sequence[ModelFolder], materials: Materials) -> BackgroundTask:
    """Start to compute the missing embeddings of these models, or join a running task."""

    def embed(model: ModelFolder) -> Step:
        def path() -> Path | None:
            return embeddings_path(workspace, model, materials)

        # The digest of the dataset, known only after the build, is part of the file name.
        def arguments() -> tuple[str, ...]:
            assert materials.dataset is not None
            few = read_manifest(materials.dataset)["materials"] <= MOST_T_SNE
            options = ("--t-sne", "--json") if few else ("--json",)
            return ("embed", str(model.folder), str(materials.dataset), str(path()), *options)

        return command_step(
            f"Computing embeddings with {model.label}", arguments, weight=_PER_MATERIAL_EMBEDDED,
            is_done=lambda: (place := path()) is not None and place.is_file(),
        )  # fmt: skip

    steps = [*build_steps(materials), *(embed(model) for model in models)]
    return submit(("map", materials.key, *(model.digest for model in models)), steps, lock=_lock(workspace))


def make_errors(workspace: Workspace, model: ModelFolder, materials: Materials, *, ratio: float) -> BackgroundTask:
    """Start to reconstruct the test split of a dataset, or join a running task; its result are the errors."""
    arguments = ("reconstruct", str(model.folder), str(materials.dataset), "--ratio", f"{ratio:g}", "--json")
    steps = [*build_steps(materials), command_step("Reconstructing the test split", lambda: arguments)]
    return submit(errors_key(model, materials, ratio=ratio), steps, lock=_lock(workspace))


def errors_key(model: ModelFolder, materials: Materials, *, ratio: float) -> tuple[str, ...]:
    """The key of the task of `make_errors`."""
    return ("errors", model.digest, materials.key, f"{ratio:g}")


def build_steps(materials: Materials) -> list[Step]:
    """The steps that select and build the sample; empty where it exists."""
    folder = materials.dataset
    if folder is None or folder.name != SAMPLE or (folder / MANIFEST).is_file():
        return []
    table = folder.parent.parent / "embeddings" / _TABLE_OF_SAMPLE
    arguments = ("build", str(table), str(folder), "--shard-rows", str(SHARD_ROWS), "--workers", "1")

    def select(_item: str) -> None:
        table.parent.mkdir(exist_ok=True)
        copy_first_of_split(shipped_path(TABLE), table, split=SAMPLE_SPLIT, count=SAMPLE_SIZE)

    return [
        call_step("Selecting materials", select, [SAMPLE], unit=""),
        command_step(
            "Simulating diffraction patterns", lambda: arguments,
            is_done=(folder / MANIFEST).is_file,
            count=lambda: (SHARD_ROWS * len(list(folder.glob("shard-*.json"))), SAMPLE_SIZE),
            weight=_PER_MATERIAL_BUILT,
        )
    ]  # fmt: skip


def _lock(workspace: Workspace) -> Path:
    return workspace.root / "embeddings" / "making.lock"
