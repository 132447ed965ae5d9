"""The models that the app can use: those that ship, and those of the finished runs in the workspace."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path

from xxact_app.library.workspace import Workspace, own_folders
from xxact_app.ui.safe_text import safe_text
from xxact_core.checkpoint import DESCRIPTION, Checkpoint, describe_checkpoint, load_checkpoint
from xxact_core.errors import CheckpointError
from xxact_core.evaluation.reconstruction import trained_to_reconstruct
from xxact_core.shipped import CHECKPOINT, RECONSTRUCTION_CHECKPOINT, shipped_path

logger = logging.getLogger(__name__)

SHIPPED_KEY = "shipped"
_KEPT = 3


@dataclass(frozen=True)
class ModelFolder:
    """A whole checkpoint: `label` is safe to show, `digest` that of its weights, `data` that of what it learned from.

    reconstructs: whether its training masked windows.
    """

    key: str
    label: str
    folder: Path
    digest: str
    data: str
    reconstructs: bool


def list_models(workspace: Workspace) -> list[ModelFolder]:
    """Every model that can be used, the shipped ones first; folders that hold none are passed over."""
    found = [(SHIPPED_KEY, "Shipped model", shipped_path(CHECKPOINT))]
    found.append(
        ("shipped-reconstruction", "Shipped model for reconstruction", shipped_path(RECONSTRUCTION_CHECKPOINT))
    )
    runs = [run for run in own_folders(workspace.runs) if workspace.holds(run / "model")]
    found += [(f"run {run.name}", f"Run {safe_text(run.name, limit=60)}", run / "model") for run in runs]
    models = [_describe(*place) for place in found if (place[2] / DESCRIPTION).is_file()]
    return [model for model in models if model is not None]


def find_model(folder: Path) -> ModelFolder:
    """The model in a checkpoint's folder, or in that of a finished run.

    Raises:
        CheckpointError: there is none, or it is damaged.
    """
    place = folder if (folder / DESCRIPTION).is_file() or not (folder / "model").is_dir() else folder / "model"
    place = place.resolve()
    run = place.parent.name if place.name == "model" else place.name
    changed = (place / DESCRIPTION).stat().st_mtime_ns if (place / DESCRIPTION).is_file() else 0
    return _described(f"folder {place}", f"Model {safe_text(run, limit=60)}", place, changed)


def load_model(model: ModelFolder) -> Checkpoint:
    """The checkpoint of a folder; a few stay in memory.

    Raises:
        CheckpointError: it is damaged.
    """
    return _load(model.folder, model.digest)


@lru_cache(maxsize=_KEPT)
def _load(folder: Path, _digest: str) -> Checkpoint:
    return load_checkpoint(folder)


def _describe(key: str, label: str, folder: Path) -> ModelFolder | None:
    try:
        return _described(key, label, folder, (folder / DESCRIPTION).stat().st_mtime_ns)
    except (CheckpointError, OSError) as error:
        logger.warning("%s is passed over: %s", folder, error)
        return None


@cache
def _described(key: str, label: str, folder: Path, _changed: int) -> ModelFolder:
    description = describe_checkpoint(folder)
    about = description["about"]
    recipe = safe_text(about.get("recipe", {}).get("name", "recipe unknown"), limit=40)
    return ModelFolder(
        key=key,
        label=f"{label} ({recipe})",
        folder=folder,
        digest=str(description.get("weights_sha256", "")),
        data=str(about.get("data_digest", "")),
        reconstructs=trained_to_reconstruct(about),
    )
