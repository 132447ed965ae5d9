"""What the Training screen shows and does: data sets, estimates, jobs, runs and their curves. Views only read it."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from xxact_app.jobs.records import Job, JobError
from xxact_app.jobs.registry import Jobs
from xxact_app.library.predictors import load_predictor
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
from xxact_app.screens.training.rows import Row, is_run, model_answers, progress_of
from xxact_app.screens.training.run_curves import QUIET, RunCurves
from xxact_app.session.session import Session
from xxact_app.ui.safe_text import safe_message, safe_text
from xxact_core.dataset.store import MANIFEST
from xxact_core.errors import RecipeError
from xxact_core.shipped import TABLE, shipped_path
from xxact_core.structures.sources import count_items

"""The structures that come with a source checkout."""

_SHARDS = 10
_SMALLEST_SHARD, _LARGEST_SHARD = 256, 4096
_BYTES_A_MATERIAL = 2000


class TrainingStore:
    """Data sets, jobs and runs of a workspace, for one session."""

    def __init__(
        self, session: Session, workspace: Workspace, *, load: Callable[[str], object] = load_predictor
    ) -> None:
        self.session, self.workspace, self.jobs = session, workspace, Jobs(workspace.jobs)
        self._load = load
        self._curves: dict[str, RunCurves] = {}
        self._built: dict[str, dict[str, int]] = {}

    # ------------------------------------------------------------------------------------------------------ data sets
    def datasets(self) -> dict[str, str]:
        """Finished data sets: what they are called to where they are."""
        return list_datasets(self.workspace)

    def facts(self, dataset: str) -> DatasetFacts:
        """What a data set holds; `InputError` says what is wrong with it."""
        path = self.workspace.readable_path(dataset)
        manifest = path / MANIFEST
        return _facts(path, manifest.stat().st_mtime_ns if manifest.is_file() else 0)

    def keep_structures(self, files: list[tuple[str, bytes]]) -> Upload:
        """Take dropped structures into the workspace; `InputError` says which cannot be taken."""
        return keep_structures(files, self.workspace)

    def free_name(self, start: str, *, kind: str) -> str:
        """A name that no data set (`build`) or run (`train`) has."""
        return free_name(start, parent=self.workspace.datasets if kind == "build" else self.workspace.runs)

    def start_build(self, source: str | Upload, *, name: str, limit: int | None) -> Job:
        """Start to build a data set from an upload, from the shipped table (`shipped`), or from a path on the server.

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
        """What a training will take; `InputError` says why it cannot be run."""
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
            msg = f"it would take about {wanted} of memory, and {free} are free: take fewer materials at a time"
            raise RecipeError(msg, code="E_MEMORY")
        self._check_disk(estimate.disk)
        dataset = str(self.workspace.readable_path(choice.dataset))
        arguments = ["train", dataset, str(output), "--recipe", choice.recipe, *settings_to_arguments(settings)]
        about = {"recipe": choice.recipe, "dataset": Path(dataset).name, "rate": rate, "make": make}
        return self.jobs.start("train", arguments, name=name.strip(), output=output, about=about)

    def _checked(self, choice: TrainingChoice) -> tuple[dict[str, Any], str, float, Estimate]:
        """Settings, make of the model, materials a second on a machine like ours, and the estimate for this one."""
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
        """Expected and measured materials a second, and steps, of earlier runs of the same make."""
        rates = []
        for job in self.jobs.list():
            if job.about.get("make") == make and (expected := job.about.get("rate")):
                curves = self.curves(job.name)
                rates.append((float(expected), curves.rate or 0.0, len(curves.values.get("loss", []))))
        return rates

    def _check_disk(self, needed: float) -> None:
        free = shutil.disk_usage(self.workspace.root).free
        if needed > free:
            msg = f"it needs about {needed / 1e9:.1f} GB of disk; {self.workspace.root} has {free / 1e9:.1f} GB left"
            raise WorkspaceError(msg, code="E_DISK")

    # ------------------------------------------------------------------------------------------------ what is under way
    def rows(self) -> list[Row]:
        """Builds and trainings of this workspace, the newest first; then runs that the command line made."""
        jobs = self.jobs.list()
        known = {job.output for job in jobs}
        others = [folder for folder in own_folders(self.workspace.runs) if str(folder) not in known]
        return [*map(self._job_row, jobs), *(self._run_row(folder) for folder in others if is_run(folder))]

    def curves(self, name: str) -> RunCurves:
        """The curves of a run of the workspace, read anew."""
        if Path(name).name != name:
            msg = "there is no such run"
            raise WorkspaceError(msg, code="E_WORKSPACE")
        found = self._curves.setdefault(name, RunCurves(self.workspace.runs / name))
        found.read()
        return found

    def log(self, key: str) -> str:
        """The last lines that a job has printed, safe to show."""
        return "\n".join(safe_text(line, limit=300) for line in self.jobs.log_tail(key).splitlines()[-12:])

    def _job_row(self, job: Job) -> Row:
        progress, told, left = self._training_told(job) if job.kind == "train" else self._build_told(job)
        finished = job.state == "finished"
        return Row(
            key=job.key,
            kind=job.kind,
            name=safe_text(job.name),
            run=job.name,
            state=job.state,
            progress=1.0 if finished else progress,
            told=told,
            seconds_left=left if job.state == "running" else None,
            reason=safe_message(job.reason),
            can_stop=job.state in {"starting", "running"},
            can_resume=not job.active and not finished,
            can_use=job.kind == "train" and bool(model_answers(job.output, finished=finished)),
            can_remove=not job.active,
        )

    def _run_row(self, folder: Path) -> Row:
        curves = self.curves(folder.name)
        progress, told = progress_of(curves)
        return Row(
            key=f"run:{folder.name}", kind="train", name=safe_text(folder.name), run=folder.name,
            state=curves.state or "opened", progress=progress, told=f"{told} (command line)",
            seconds_left=None, reason="", can_stop=False,
            can_resume=False, can_remove=False,
            can_use=bool(model_answers(str(folder), finished=curves.state == "finished")),
        )  # fmt: skip

    def _training_told(self, job: Job) -> tuple[float | None, str, float | None]:
        curves = self.curves(job.name)
        progress, told = progress_of(curves)
        if job.state == "running" and curves.quiet_seconds > QUIET:
            told += f"; no news for {curves.quiet_seconds / 60:.0f} minutes"
        elif job.state == "running" and progress == 1:
            told += "; calibrating"
        return progress, told, curves.seconds_left

    def _build_told(self, job: Job) -> tuple[float | None, str, float | None]:
        """Progress of a build from the side files of its finished shards."""
        done = self._built.setdefault(job.key, {})
        for path in Path(job.output).glob("shard-*.json"):
            if path.name not in done:
                try:
                    done[path.name] = int(json.loads(path.read_text(encoding="utf-8"))["rows"])
                except (OSError, ValueError, KeyError, TypeError):
                    continue
        count, total = sum(done.values()), job.about.get("total")
        told = f"{count:,} structures" if total is None else f"{count:,} of {total:,} structures"
        return (count / total if total else None), told, None

    # ------------------------------------------------------------------------------------------------- what can be done
    def stop(self, key: str) -> None:
        """Stop a job; it keeps what is done. `InputError` says why that is not possible."""
        self.jobs.cancel(key)

    def resume(self, key: str) -> None:
        """Let a job go on where it stopped. `InputError` says why that is not possible."""
        self.jobs.resume(key)

    def remove(self, key: str) -> None:
        """Delete a job and what it made. `InputError` says why that is not possible."""
        job = self.jobs.get(key)
        users = [other.name for other in self.jobs.list() if other.active and job.output in other.arguments]
        if users and not job.active:
            msg = f"{job.name} is being used by {', '.join(users)}: stop that first"
            raise JobError(msg, code="E_JOB")
        self.jobs.remove(key)
        self._curves.pop(job.name, None)

    def use_model(self, name: str) -> None:
        """Predict with the model of a run from now on; where it cannot be loaded, the model before stays."""
        if name:
            self._load(name)
        self.session.model = name

    def run_names(self) -> list[str]:
        """Runs of the workspace with a finished model, whether it answers or was only pretrained."""
        folders = own_folders(self.workspace.runs)
        return [folder.name for folder in folders if model_answers(str(folder), finished=True) is not None]


@lru_cache(maxsize=64)
def _facts(path: Path, _changed: int) -> DatasetFacts:
    return read_facts(path)
