"""The models that the app can use: those that ship, and those of the finished runs in the workspace.

A model has one key, wherever it is named: in the session, in the address, in the lists of the screens. A few loaded
models are kept for the whole server.
"""

from __future__ import annotations

import logging
import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from xxact_app.library.workspace import Workspace, WorkspaceError, open_workspace, own_folders
from xxact_app.ui.safe_text import safe_text
from xxact_core.errors import CheckpointError
from xxact_core.shipped import CHECKPOINT, shipped_path

if TYPE_CHECKING:
    from xxact_core.checkpoint import Checkpoint
    from xxact_core.prediction.predictor import Predictor

logger = logging.getLogger(__name__)

SHIPPED, SHIPPED_RECONSTRUCTION = "shipped", "shipped-reconstruction"
"""Key of the shipped model, and that of the reconstruction model of version 0.1.0, which means the same; see `run_key`
for the others."""

_DESCRIPTION = "checkpoint.json"
_MAX_LOADED = 4


@dataclass(frozen=True)
class ModelFolder:
    """A complete checkpoint in a folder."""

    key: str
    """Its identifier, in addresses and session files, too."""

    label: str
    """Safe to show."""

    folder: Path

    digest: str
    """SHA-256 of its weights."""

    data: str
    """Digest of the dataset that it was trained on."""

    reconstructs: bool
    """Whether it was trained to reconstruct masked windows."""

    predicts: bool
    """Whether its heads were trained; a model that was only pretrained predicts nothing."""


# ---------------------------------------------------------------------------------------------------------------- keys
def run_key(name: str) -> str:
    """The key of the model of a run in the workspace."""
    return f"run {name}"


def run_name(key: str) -> str:
    """The name of the run whose model has this key; empty for the models that ship."""
    return key.removeprefix("run ") if key.startswith("run ") else ""


def former_run_to_key(name: str) -> str:
    """The key of the model that version 0.1.0 named by the run alone, or by nothing where it ships."""
    return run_key(name) if name else SHIPPED


def keys_by_text(models: Sequence[ModelFolder]) -> dict[str, str]:
    """Keys by their text in an address: the key itself, or the name of the run, as in addresses of version 0.1.0."""
    former = {run_name(model.key): model.key for model in models if run_name(model.key)}
    return {SHIPPED_RECONSTRUCTION: SHIPPED, **former, **{model.key: model.key for model in models}}


# ------------------------------------------------------------------------------------------------------------- finding
def list_models(workspace: Workspace) -> list[ModelFolder]:
    """Every model that can be used, the shipped one first; folders without one are skipped."""
    folders = [_shipped()]
    runs = [run for run in own_folders(workspace.runs) if workspace.holds(run / "model")]
    folders += [(run_key(run.name), _run_label(run.name), run / "model") for run in runs]
    models = []
    for key, label, folder in folders:
        try:
            models.append(_describe(key, label, folder))
        except FileNotFoundError:
            continue
        except (CheckpointError, OSError) as error:
            logger.warning("%s is skipped: %s", folder, error)
    return models


def find_model(key: str, *, workspace: Callable[[], Workspace] = open_workspace) -> ModelFolder:
    """The model of a key; the workspace is opened for a run only.

    Raises:
        WorkspaceError: there is no such run in the workspace.
        CheckpointError: its model is damaged.
    """
    if key in {SHIPPED, SHIPPED_RECONSTRUCTION}:
        return _describe(*_shipped())
    name, opened = run_name(key), workspace()
    folder = opened.runs / name / "model"
    if name not in {run.name for run in own_folders(opened.runs)} or not opened.holds(folder):
        msg = f"the workspace has no run {name or key!r} (any more): select another model on the Training screen"
        raise WorkspaceError(msg, code="E_WORKSPACE")
    return _open(key, _run_label(name), folder)


def open_model(folder: Path) -> ModelFolder:
    """The model in any folder: of a checkpoint, or of a finished run.

    Raises:
        CheckpointError: there is none, or it is damaged.
    """
    place = folder if (folder / _DESCRIPTION).is_file() or not (folder / "model").is_dir() else folder / "model"
    place = place.resolve()
    run = place.parent.name if place.name == "model" else place.name
    return _open(f"folder {place}", f"Model {safe_text(run, limit=60)}", place)


def _shipped() -> tuple[str, str, Path]:
    """Key, label and folder of the shipped model."""
    return SHIPPED, "Shipped model", shipped_path(CHECKPOINT)


def _run_label(name: str) -> str:
    return f"Run {safe_text(name, limit=60)}"


def _open(key: str, label: str, folder: Path) -> ModelFolder:
    try:
        return _describe(key, label, folder)
    except FileNotFoundError:
        return _read_description(key, label, folder, 0)  # raises an error that names the missing file


def _describe(key: str, label: str, folder: Path) -> ModelFolder:
    return _read_description(key, label, folder, (folder / _DESCRIPTION).stat().st_mtime_ns)


@lru_cache(maxsize=512)
def _read_description(key: str, label: str, folder: Path, _changed: int) -> ModelFolder:
    from xxact_core.checkpoint import describe_checkpoint  # noqa: PLC0415 - torch takes seconds
    from xxact_core.evaluation.reconstruction import trained_to_reconstruct  # noqa: PLC0415 - as above

    description = describe_checkpoint(folder)
    about = description["about"]
    recipe = about.get("recipe", {})
    return ModelFolder(
        key=key,
        label=f"{label} ({safe_text(recipe.get('name', 'recipe unknown'), limit=40)})",
        folder=folder,
        digest=str(description.get("weights_sha256", "")),
        data=str(about.get("data_digest", "")),
        reconstructs=trained_to_reconstruct(about),
        predicts="targets" in recipe.get("objectives", ("targets",)),
    )


# ------------------------------------------------------------------------------------------------------------- loading
class ModelCache:
    """The models that were used last; safe for threads, and each is read by one of them.

    Args:
        maximum: how many are kept.
    """

    def __init__(self, maximum: int) -> None:
        self._maximum = maximum
        self._loading = threading.Lock()
        self._kept: OrderedDict[tuple[Path, int], Checkpoint] = OrderedDict()
        self._predictors: dict[tuple[Path, int], Predictor] = {}

    def checkpoint(self, folder: Path) -> Checkpoint:
        """The checkpoint of a folder as it is now on disk.

        Raises:
            CheckpointError: it is damaged.
        """
        with self._loading:
            return self._load(_place(folder))

    def predictor(self, folder: Path) -> Predictor:
        """The same, as a predictor.

        Raises:
            CheckpointError: it is damaged, or was only pretrained.
        """
        import torch  # noqa: PLC0415 - takes seconds, and patterns can be seen without it

        from xxact_core.prediction.predictor import Predictor  # noqa: PLC0415 - as above

        with self._loading:
            place = _place(folder)
            checkpoint = self._load(place)
            if place not in self._predictors:
                self._predictors[place] = Predictor(checkpoint, device=torch.device("cpu"))
            return self._predictors[place]

    def _load(self, place: tuple[Path, int]) -> Checkpoint:
        from xxact_core.checkpoint import load_checkpoint  # noqa: PLC0415 - torch takes seconds

        if place not in self._kept:
            self._kept[place] = load_checkpoint(place[0])
        self._kept.move_to_end(place)
        while len(self._kept) > self._maximum:
            oldest, _ = self._kept.popitem(last=False)
            self._predictors.pop(oldest, None)
        return self._kept[place]


def _place(folder: Path) -> tuple[Path, int]:
    """A folder, and when its model was written."""
    description = folder / _DESCRIPTION
    return folder, description.stat().st_mtime_ns if description.is_file() else 0


_cache = ModelCache(_MAX_LOADED)


def load_model(model: ModelFolder) -> Checkpoint:
    """The checkpoint of a model.

    Raises:
        CheckpointError: it is damaged.
    """
    return _cache.checkpoint(model.folder)


def load_predictor(model: ModelFolder) -> Predictor:
    """A model that predicts.

    Raises:
        CheckpointError: it is damaged, or was only pretrained.
    """
    return _cache.predictor(model.folder)
