"""The models that answer: the one that ships, and those of finished runs; each loaded once for the whole server."""

from __future__ import annotations

import threading
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from xxact_app.library.workspace import WorkspaceError, open_workspace, own_folders

if TYPE_CHECKING:
    from xxact_core.prediction.predictor import Predictor

_MOST_LOADED = 4
_loading = threading.Lock()


def load_predictor(run: str = "") -> Predictor:
    """The model of a finished run of the workspace, by the run's name; the one that ships where none is named.

    Raises:
        WorkspaceError: there is no such run.
        CheckpointError: its model is not whole, or knows no answers.
    """
    if not run:
        return _loaded(None, 0)
    workspace = open_workspace()
    runs = workspace.runs
    if run not in {folder.name for folder in own_folders(runs)} or not workspace.holds(runs / run / "model"):
        msg = f"the workspace has no run {run!r} (any more): select another model on the Training screen"
        raise WorkspaceError(msg, code="E_WORKSPACE")
    folder = runs / run / "model"
    return _loaded(folder, folder.stat().st_mtime_ns if folder.is_dir() else 0)


def open_predictor(folder: Path) -> Predictor:
    """The model in a checkpoint's folder; `CheckpointError` says why it cannot be used."""
    return _loaded(folder, folder.stat().st_mtime_ns)


def _loaded(folder: Path | None, changed: int) -> Predictor:
    with _loading:
        return _load(folder, changed)


@lru_cache(maxsize=_MOST_LOADED)
def _load(folder: Path | None, _changed: int) -> Predictor:
    from xxact_core.prediction.predictor import Predictor  # noqa: PLC0415 - torch takes seconds, and patterns can be seen without it

    return Predictor.load(folder)
