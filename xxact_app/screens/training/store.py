"""Derived data and actions of the Training screen: datasets, estimates, jobs, runs and their curves."""

from __future__ import annotations

import json
import logging
import os
import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

from xxact_app.jobs.records import Job, JobError
from xxact_app.jobs.registry import Jobs
from xxact_app.library.models import find_model, list_models, load_predictor, run_name
from xxact_app.library.structure_uploads import Upload, keep_structures
from xxact_app.library.workspace import Workspace, WorkspaceError, check_name, free_name, own_folders
from xxact_app.screens.training.choices import (
    DatasetFacts,
    TrainingChoice,
    check_choice,
    choice_to_settings,
    list_datasets,
    read_facts,
    settings_to_arguments,
)
from xxact_app.screens.training.estimates import Estimate, estimate_training, expected_rate, slowness
from xxact_app.screens.training.rows import RunRow, is_run, model_predicts, progress_of, unreadable_row
from xxact_app.screens.training.run_curves import QUIET, RunCurves
from xxact_app.session.session import Session
from xxact_app.ui.safe_text import safe_message, safe_text
from xxact_core.dataset.store import MANIFEST
from xxact_core.errors import InputError, RecipeError
from xxact_core.shipped import TABLE, shipped_path
from xxact_core.structures.sources import count_items

logger = logging.getLogger(__name__)

_SHARDS = 10
_SMALLEST_SHARD, _LARGEST_SHARD = 256, 4096
_BYTES_A_MATERIAL = 2000


def queue_texts(jobs: Sequence[Job], *, limit: int) -> dict[str, str]:
    """How many jobs each queued one waits for, by key; `limit` is how many run at the same time."""
    waiting = sorted((job for job in jobs if job.queued), key=lambda job: (job.made, job.key))
    running = sum(job.active for job in jobs)
    at_once = "one job runs" if limit == 1 else f"{limit} jobs run"
    return {
        job.key: f"{_count(running + place)} ahead, {at_once} at a time" for place, job in enumerate(waiting)
    }  # fmt: skip


def _count(jobs: int) -> str:
    return "one job is" if jobs == 1 else f"{jobs} jobs are"


class TrainingStore:
    """Datasets, jobs and runs of a workspace, for one session."""

    def __init__(self, session: Session, workspace: Workspace, *, load: Callable[[str], object] | None = None) -> None:
        self.session, self.workspace, self.jobs = session, workspace, Jobs(workspace.jobs)
        self._load = load or (lambda key: load_predictor(find_model(key, workspace=lambda: workspace)))
        self._curves: dict[str, RunCurves] = {}
        self._built: dict[str, dict[str, int]] = {}
        self._ahead: dict[str, str] = {}

    # ------------------------------------------------------------------------------------------------------ datasets
    def datasets(self) -> dict[str, str]:
        """The finished datasets: label → path."""
        return list_datasets(self.workspace)

    def facts(self, dataset: str) -> DatasetFacts:
        """The properties of a dataset; raises `InputError` where it is damaged or may not be read."""
        path = self.workspace.readable_path(dataset)
        manifest = path / MANIFEST
        return _facts(path, manifest.stat().st_mtime_ns if manifest.is_file() else 0)

    def keep_structures(self, files: list[tuple[str, bytes]]) -> Upload:
        """Store uploaded structures in the workspace; raises `InputError` for files that hold none."""
        return keep_structures(files, self.workspace)

    def free_name(self, start: str, *, kind: str) -> str:
        """A name that no dataset (`build`) or run (`train`) has."""
        return free_name(start, parent=self.workspace.datasets if kind == "build" else self.workspace.runs)

    def start_build(self, source: str | Upload, *, name: str, limit: int | None) -> Job:
        """Start to build a dataset from an upload, from the shipped table (`shipped`), or from a path on the server.

        Raises:
            InputError: the source may not be read or holds no structures, the name is taken, or the disk is too small.
        """
        output = self.workspace.datasets / check_name(name, parent=self.workspace.datasets)
        if isinstance(source, Upload):
            path, total = source.folder, None if source.others else source.cifs
        else:
            path = shipped_path(TABLE) if source == "shipped" else self.workspace.readable_path(source)
            total = count_items(path)
        total = limit if total is None else min(total, limit or total)
        self._check_disk(_BYTES_A_MATERIAL * (total or 0))
        rows = min(max((total or 0) // _SHARDS, _SMALLEST_SHARD), _LARGEST_SHARD) if total else 1024
        workers = max(1, (os.cpu_count() or 2) - 1)
        arguments = ["build", str(path), str(output), "--shard-rows", str(rows), "--workers", str(workers)]
        arguments += [] if limit is None else ["--limit", str(limit)]
        return self.jobs.start("build", arguments, name=name.strip(), output=output, about={"total": total})

    # ------------------------------------------------------------------------------------------------------- trainings
    def estimate(self, choice: TrainingChoice) -> Estimate:
        """Estimated time, memory and disk space of a training; raises `InputError` where it cannot be run."""
        return self._checked(choice)[-1]

    def start_training(self, choice: TrainingChoice, *, name: str) -> Job:
        """Start a training.

        Raises:
            InputError: it cannot be run, the name is taken, or it will not fit into memory or onto the disk.
        """
        settings, make, rate, estimate = self._checked(choice)
        output = self.workspace.runs / check_name(name, parent=self.workspace.runs)
        if not estimate.fits:
            wanted, free = f"{estimate.memory / 1e9:.0f} GB", f"{estimate.memory_free / 1e9:.1f} GB"
            msg = f"the training needs about {wanted} of memory, {free} are free: reduce the materials per forward pass"
            raise RecipeError(msg, code="E_MEMORY")
        self._check_disk(estimate.disk)
        dataset = str(self.workspace.readable_path(choice.dataset))
        arguments = ["train", dataset, str(output), "--recipe", choice.recipe, *settings_to_arguments(settings)]
        about = {"recipe": choice.recipe, "dataset": Path(dataset).name, "rate": rate, "make": make}
        return self.jobs.start("train", arguments, name=name.strip(), output=output, about=about)

    def _checked(self, choice: TrainingChoice) -> tuple[dict[str, Any], str, float, Estimate]:
        """Settings, key of comparable runs, expected materials per second, and the estimate."""
        facts = self.facts(choice.dataset)
        settings = choice_to_settings(choice, self.workspace)
        recipe = check_choice(choice, facts, settings)
        estimate = estimate_training(
            recipe, materials=facts.train, validation=facts.validation, dataset_bytes=facts.size
        )
        rate = expected_rate(recipe, estimate)
        make = f"{recipe.preset}, {recipe.batch_size} at a time"
        earlier = slowness(self._earlier_rates(make))
        if earlier is not None:
            estimate = replace(estimate, seconds=estimate.seconds * earlier, factor=1.5)
        return settings, make, rate, estimate

    def _earlier_rates(self, make: str) -> list[tuple[float, float, int]]:
        """Expected and measured materials per second and number of steps of earlier comparable runs."""
        rates = []
        for job in self.jobs.list():
            expected = job.about.get("rate")
            if job.about.get("make") == make and isinstance(expected, int | float) and expected > 0:
                curves = self.curves(job.name)
                rates.append((float(expected), curves.rate or 0.0, len(curves.values.get("loss", []))))
        return rates

    def _check_disk(self, needed: float) -> None:
        free = shutil.disk_usage(self.workspace.root).free
        if needed > free:
            msg = f"{needed / 1e9:.1f} GB of disk space are needed; {self.workspace.root} has {free / 1e9:.1f} GB left"
            raise WorkspaceError(msg, code="E_DISK")

    # ------------------------------------------------------------------------------------------------------------- rows
    def rows(self) -> list[RunRow]:
        """Builds and trainings of the workspace, newest first, then runs started on the command line."""
        jobs = self.jobs.list()
        self._ahead = queue_texts(jobs, limit=self.jobs.limit)
        known = {job.output for job in jobs}
        others = [folder for folder in own_folders(self.workspace.runs) if str(folder) not in known]
        rows = [self._readable(job.key, job.kind, job.name, partial(self._job_row, job)) for job in jobs]
        return rows + [
            self._readable(f"run:{folder.name}", "train", folder.name, partial(self._run_row, folder))
            for folder in others
            if is_run(folder)
        ]

    def _readable(self, key: str, kind: str, name: str, row: Callable[[], RunRow]) -> RunRow:
        """A row, or one that says why it cannot be read."""
        try:
            return row()
        except (InputError, OSError) as error:
            logger.warning("%s cannot be read: %s", name, error)
            return unreadable_row(key, kind, name, error)

    def curves(self, name: str) -> RunCurves:
        """The curves of a run of the workspace, up to date."""
        if Path(name).name != name:
            msg = "there is no such run"
            raise WorkspaceError(msg, code="E_WORKSPACE")
        found = self._curves.setdefault(name, RunCurves(self.workspace.runs / name))
        found.read()
        return found

    def log(self, key: str) -> str:
        """The last lines of the log of a job, safe to show."""
        return "\n".join(safe_text(line, limit=300) for line in self.jobs.log_tail(key).splitlines()[-12:])

    def _job_row(self, job: Job) -> RunRow:
        progress, status, left = self._training_progress(job) if job.kind == "train" else self._build_progress(job)
        finished = job.state == "finished"
        return RunRow(
            key=job.key,
            kind=job.kind,
            name=safe_text(job.name),
            run=job.name,
            state=job.state,
            progress=1.0 if finished else progress,
            status=f"waiting: {self._ahead.get(job.key, 'another job is ahead')}" if job.queued else status,
            seconds_left=left if job.state == "running" else None,
            reason=safe_message(job.reason),
            can_stop=job.state in {"queued", "starting", "running"},
            can_resume=job.ended and not finished,
            can_use=job.kind == "train" and bool(model_predicts(job.output, finished=finished)),
            can_remove=job.ended,
        )

    def _run_row(self, folder: Path) -> RunRow:
        curves = self.curves(folder.name)
        progress, status = progress_of(curves)
        return RunRow(
            key=f"run:{folder.name}", kind="train", name=safe_text(folder.name), run=folder.name,
            state=curves.state or "opened", progress=progress, status=f"{status} (command line)",
            seconds_left=None, reason="", can_stop=False,
            can_resume=False, can_remove=False,
            can_use=bool(model_predicts(str(folder), finished=curves.state == "finished")),
        )  # fmt: skip

    def _training_progress(self, job: Job) -> tuple[float | None, str, float | None]:
        curves = self.curves(job.name)
        progress, status = progress_of(curves)
        if job.state == "running" and curves.quiet_seconds > QUIET:
            status += f"; no progress for {curves.quiet_seconds / 60:.0f} minutes"
        elif job.state == "running" and progress == 1:
            status += "; calibrating"
        return progress, status, curves.seconds_left

    def _build_progress(self, job: Job) -> tuple[float | None, str, float | None]:
        """Progress of a build, from the JSON files beside its finished shards."""
        done = self._built.setdefault(job.key, {})
        for path in Path(job.output).glob("shard-*.json"):
            if path.name not in done:
                try:
                    done[path.name] = int(json.loads(path.read_text(encoding="utf-8"))["rows"])
                except (OSError, ValueError, KeyError, TypeError):
                    continue
        count, total = sum(done.values()), job.about.get("total")
        total = total if type(total) is int and total >= 0 else None
        if total is not None and count > total:
            total = None  # it counts files, which can hold several structures
        status = f"{count:,} structures" if total is None else f"{count:,} of {total:,} structures"
        return (count / total if total else None), status, None

    # ---------------------------------------------------------------------------------------------------------- actions
    def stop(self, key: str) -> None:
        """Stop a job, which saves its state; raises `InputError` where that is not possible."""
        self.jobs.cancel(key)

    def resume(self, key: str) -> None:
        """Resume a stopped job; raises `InputError` where that is not possible."""
        self.jobs.resume(key)

    def remove(self, key: str) -> None:
        """Delete a job and its output; raises `InputError` where that is not possible."""
        job = self.jobs.get(key)
        users = [other.name for other in self.jobs.list() if not other.ended and job.output in other.arguments]
        if users and job.ended:
            msg = f"{job.name} is in use by {', '.join(users)}: stop that first"
            raise JobError(msg, code="E_JOB")
        self.jobs.remove(key)
        self._curves.pop(job.name, None)

    def use_model(self, key: str) -> None:
        """Use a model for predictions; the previous one stays where it cannot be loaded."""
        self._load(key)
        self.session.model = key

    def run_models(self) -> dict[str, str]:
        """Keys of the models of finished runs of the workspace, pretrained ones included, by name of the run."""
        return {name: model.key for model in list_models(self.workspace) if (name := run_name(model.key))}


@lru_cache(maxsize=64)
def _facts(path: Path, _changed: int) -> DatasetFacts:
    return read_facts(path)
