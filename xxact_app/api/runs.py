"""Trainings in the workspace: which there are, and how one is started."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from xxact_app.jobs.records import Job
from xxact_app.jobs.registry import Jobs
from xxact_app.library.workspace import Workspace, check_name, own_folders
from xxact_app.screens.training.rows import is_run, model_predicts
from xxact_app.screens.training.run_curves import RunCurves
from xxact_core.dataset.shard_cache import to_url
from xxact_core.dataset.store import MANIFEST
from xxact_core.errors import DatasetError, shorten
from xxact_core.stored_names import rename_recipe


@dataclass(frozen=True, kw_only=True)
class TrainRequest:
    """A training."""

    dataset: str
    """Name of a dataset of the workspace, see list_runs, or path of a dataset folder made by `xxact build`."""

    name: str
    """Name of the run, which must be new."""

    recipe: str = "compact"
    """Name of a recipe, see `xxact recipes`."""

    settings: Mapping[str, Any] | None = None
    """Settings of the recipe to change, for instance {"epochs": 2}; see `xxact recipes NAME`."""


def start_training(request: TrainRequest, workspace: Workspace) -> dict[str, Any]:
    """Start a training in a process that outlives this one; the job as plain values.

    Raises:
        InputError: the dataset is missing, the name is taken, a setting is unknown or impossible, or too many jobs are
            queued.
    """
    # torch takes seconds to import, and the list of runs does without.
    from xxact_app.screens.training.choices import settings_to_arguments  # noqa: PLC0415 - as above
    from xxact_core.training.config import override  # noqa: PLC0415 - as above
    from xxact_core.training.recipes import recipe_by_name  # noqa: PLC0415 - as above

    settings = rename_recipe(dict(request.settings or {}), owner="settings")
    _refuse_urls([request.dataset, settings.get("extra_datasets"), settings.get("start_from")])
    dataset = _find_dataset(request.dataset, workspace)
    override(recipe_by_name(request.recipe), settings, owner="settings")
    name = check_name(request.name, parent=workspace.runs)
    output = workspace.runs / name
    arguments = ["train", str(dataset), str(output), "--recipe", request.recipe, *settings_to_arguments(settings)]
    about = {"recipe": request.recipe, "dataset": dataset.name}
    job = Jobs(workspace.jobs).start("train", arguments, name=name, output=output, about=about)
    return {"job": job.key, "name": name, "state": job.state, "folder": str(output), "model": str(output / "model")}


def list_runs(workspace: Workspace) -> dict[str, Any]:
    """Trainings and dataset builds of the workspace, newest first, and the datasets that can be trained on."""
    jobs = Jobs(workspace.jobs).list()
    known = {job.output for job in jobs}
    others = [folder for folder in own_folders(workspace.runs) if str(folder) not in known and is_run(folder)]
    runs = [_job_to_dict(job) for job in jobs]
    runs += [_run_to_dict(folder) for folder in others]
    datasets = [folder.name for folder in own_folders(workspace.datasets) if (folder / MANIFEST).is_file()]
    return {"workspace": str(workspace.root), "runs": runs, "datasets": datasets}


def _job_to_dict(job: Job) -> dict[str, Any]:
    facts = {"name": job.name, "kind": job.kind, "state": job.state, "reason": job.reason, "folder": job.output}
    about = {name: job.about.get(name) for name in ("recipe", "dataset")}
    if job.kind != "train":
        return {**facts, **about}
    predicts = model_predicts(job.output, finished=job.state == "finished")
    return {**_progress(Path(job.output)), **facts, **about, "can_predict": predicts}


def _run_to_dict(folder: Path) -> dict[str, Any]:
    progress = _progress(folder)
    finished = progress["state"] == "finished"
    predicts = model_predicts(str(folder), finished=finished)
    return {"name": folder.name, "kind": "train", "folder": str(folder), **progress, "can_predict": predicts}


def _progress(folder: Path) -> dict[str, Any]:
    """State, step, time left, and the last loss and validation metrics of a run."""
    curves = RunCurves(folder)
    curves.read()
    return {
        "state": curves.state,
        "step": curves.step,
        "steps": curves.steps,
        "seconds_left": curves.seconds_left,
        "loss": curves.latest("loss"),
        "metrics": {name: points[-1][1] for name, points in curves.metrics.items()},
    }


def _refuse_urls(values: Iterable[object]) -> None:
    """Refuse settings that would make this machine fetch something from an address which another program chooses.

    Raises:
        DatasetError: a text, or one in a list, is a URL (E_DATASET).
    """
    for value in values:
        for text in value if isinstance(value, list | tuple) else [value]:
            if isinstance(text, str) and to_url(text) is not None:
                msg = (
                    f"{shorten(text)!r} is a URL, which programs cannot have fetched; name a dataset of the workspace "
                )
                msg += "or a folder, or train on the URL with the command `xxact train`"
                raise DatasetError(msg, code="E_DATASET")


def _find_dataset(text: str, workspace: Workspace) -> Path:
    own = {folder.name: folder for folder in own_folders(workspace.datasets)}
    path = own.get(text, Path(text).expanduser())
    if not (path / MANIFEST).is_file():
        msg = f"there is no dataset {shorten(text)!r}: expected a path, or one of {', '.join(sorted(own)) or 'none'}"
        raise DatasetError(msg, code="E_DATASET")
    return path.resolve()
