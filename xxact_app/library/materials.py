"""Materials for maps and evaluations: a sample of the shipped table, datasets, and files of runs."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from xxact_app.jobs.tasks import BackgroundTask, Step, command_step, submit
from xxact_app.library.models import ModelFolder
from xxact_app.library.workspace import Workspace, own_folders
from xxact_app.ui.safe_text import safe_text
from xxact_core.dataset.store import MANIFEST, read_manifest
from xxact_core.dataset.table import StickTable, read_dataset
from xxact_core.errors import DatasetError
from xxact_core.shipped import TABLE, shipped_path

logger = logging.getLogger(__name__)

SAMPLE, SAMPLE_SIZE = "materials_project_sample", 2000
"""The sample: the first materials of the shipped table, which is in random order."""

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
    found = [Materials("", f"{SAMPLE_SIZE:,} reference materials", dataset=workspace.datasets / SAMPLE)]
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
    """The path of the embeddings of materials by a model; None until their dataset is built."""
    if materials.file is not None:
        return materials.file
    assert materials.dataset is not None, "materials are a file or a dataset"
    if not (materials.dataset / MANIFEST).is_file():
        return None
    digest = read_manifest(materials.dataset)["digest"]
    return workspace.root / "embeddings" / f"{model.digest[:16]}-{digest[:16]}.h5"


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
            return ("embed", str(model.folder), str(materials.dataset), str(path()), "--json")

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
    """The step that builds the sample; empty where it exists."""
    folder = materials.dataset
    if folder is None or folder.name != SAMPLE or (folder / MANIFEST).is_file():
        return []
    arguments = (
        "build", str(shipped_path(TABLE)), str(folder), "--limit", str(SAMPLE_SIZE), "--shard-rows", str(SHARD_ROWS),
        "--workers", "1",
    )  # fmt: skip
    return [
        command_step(
            "Simulating diffraction patterns", lambda: arguments,
            is_done=(folder / MANIFEST).is_file,
            count=lambda: (SHARD_ROWS * len(list(folder.glob("shard-*.json"))), SAMPLE_SIZE),
            weight=_PER_MATERIAL_BUILT,
        )
    ]  # fmt: skip


def _lock(workspace: Workspace) -> Path:
    return workspace.root / "embeddings" / "making.lock"
