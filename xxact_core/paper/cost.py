"""How long the runs take: from journals of runs of their kind, or from a short timing that is kept."""

from __future__ import annotations

import json
import re
import tempfile
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from xxact_core.dataset.splits import with_split
from xxact_core.dataset.store import write_json
from xxact_core.dataset.table import StickTable, read_dataset
from xxact_core.evaluation.provenance import hardware
from xxact_core.paper.experiments import EXPERIMENTS, TRIALS, Experiment, experiment_by_name, kind_of
from xxact_core.paper.runs import dataset_of, experiment_to_recipe
from xxact_core.paper.trials import Choices
from xxact_core.training.config import Recipe
from xxact_core.training.journal import JOURNAL, read_journal
from xxact_core.training.recipes import RECIPES

SPEEDS = "speeds.json"
"""File in a folder of runs: timed materials per second, of each kind of run on each hardware."""

TIMED_SECONDS = 5.0
"""Duration of a timing. Ours."""

_SPEED = re.compile(rb'"samples_per_second": ([0-9.e+-]+)')
"""The speed in a line of a journal; parsing all of the journals takes minutes."""

_WARM_UP, _FEWEST_STEPS = 3, 20
_FORWARD = 1 / 3
"""Time of a prediction relative to that of a training step. Ours: forward and backward pass are one to two."""

_TREES_SECONDS = 180.0
"""Time of the trees; they have no steps. Ours."""


@dataclass(frozen=True)
class RunCost:
    """What a run takes."""

    materials: int
    """Training materials."""

    epochs: float
    """Passes over them."""

    speed: float | None
    """Materials per second of one process; None for trees."""

    seconds: float
    """Duration on one process."""


def speed_kind(name: str) -> str:
    """Runs of one kind are equally fast: the architecture with what is trained of it."""
    experiment = experiment_by_name(name)
    if name in TRIALS:
        return name.split("-", 1)[1].rsplit("-", 2)[0]
    if name.startswith("pretrain-"):
        return f"xxact, {name.removeprefix('pretrain-')}"
    kind = kind_of(name) or name
    return f"{kind}, head alone" if RECIPES[experiment.recipe].freeze_backbone else kind


def hours_of_runs(folder: Path) -> tuple[int, float]:
    """Number of runs in a folder, trials and pretraining included, and how long their training steps took [hours].

    Each run counts as its number of steps at their median duration, so that pauses and other load do not count.
    """
    runs, seconds = 0, 0.0
    for name in (*EXPERIMENTS, *TRIALS):
        for path in folder.glob(f"{name}-seed*/{JOURNAL}"):
            speeds = np.array(_SPEED.findall(path.read_bytes()), dtype=float)
            stated = path.with_name("recipe.json")
            if len(speeds) and stated.is_file():
                recipe = json.loads(stated.read_text(encoding="utf-8"))["recipe"]
                runs += 1
                seconds += len(speeds) * float(np.median(recipe["batch_size"] / speeds))
    return runs, seconds / 3600


class Costs:
    """Durations of the runs in a folder, which get more precise as runs finish."""

    def __init__(
        self,
        dataset: Path,
        folder: Path,
        *,
        size: str,
        settings: Mapping[str, Any],
        dft: Path | None = None,
        choices: Choices | None = None,
    ) -> None:
        self.dataset, self.folder, self.dft = dataset, folder, dft
        self.size, self.settings, self.choices = size, settings, choices
        self._tables: dict[Path, StickTable] = {}

    def recipe(self, name: str, seed: int) -> Recipe:
        """The recipe of a run."""
        experiment = experiment_by_name(name)
        return experiment_to_recipe(
            experiment, self._table(experiment), self.folder,
            size=self.size, seed=seed, settings=self.settings, choices=self.choices,
        )  # fmt: skip

    def of(self, name: str, seed: int, speeds: Mapping[str, float]) -> RunCost:
        """The cost of a run at these speeds of each kind, see `measured_speeds`."""
        experiment, recipe = experiment_by_name(name), self.recipe(name, seed)
        split = with_split(self._table(experiment), by=recipe.split_by)
        materials = recipe.training_rows or len(split.rows("train"))
        if name == "extra-trees":
            return RunCost(materials, 1, None, _TREES_SECONDS)
        validated = min(recipe.validation_rows, len(split.rows("validation")))
        validations = recipe.epochs * materials / recipe.batch_size / recipe.validate_every
        predicted = validations * validated if "targets" in recipe.objectives else 0
        predicted += 0 if name in TRIALS else 2 * len(split.rows("test"))
        speed = speeds[speed_kind(name)]
        seconds = (recipe.epochs * materials + _FORWARD * predicted) / speed
        return RunCost(materials, recipe.epochs, speed, seconds)

    def measured_speeds(self, names: Iterable[str], *, time_missing: bool = True) -> dict[str, float]:
        """Materials per second of each kind of run among these, on this machine.

        The median over the steps of the runs in the folder, where there are some; otherwise a timing of a few seconds,
        which is kept in `SPEEDS`. A kind that cannot be timed, because the model that it starts from does not exist
        yet, has the speed of its architecture.
        """
        path, machine = self.folder / SPEEDS, hardware()
        kept: dict[str, dict[str, float]] = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
        timed = dict(kept.get(machine, {}))
        found = self._speeds_of_runs()
        for name in dict.fromkeys(names):
            kind = speed_kind(name)
            if name == "extra-trees" or kind in found or kind in timed:
                continue
            if kind.endswith("head alone"):
                found[kind] = (found | timed).get(kind.partition(",")[0], 1.0)
            elif time_missing:
                timed[kind] = self._time(name)
                write_json(path, {**kept, machine: timed})
        return timed | found

    def _speeds_of_runs(self) -> dict[str, float]:
        speeds: dict[str, list[float]] = {}
        for name in (*EXPERIMENTS, *TRIALS):
            for path in self.folder.glob(f"{name}-seed*/{JOURNAL}"):
                steps = [event["samples_per_second"] for event in read_journal(path)
                         if event["event"] == "step" and "samples_per_second" in event]  # fmt: skip
                if len(steps) >= _FEWEST_STEPS:
                    speeds.setdefault(speed_kind(name), []).append(float(np.median(steps)))
        return {kind: float(np.median(values)) for kind, values in speeds.items()}

    def _time(self, name: str) -> float:
        """Materials per second of the first steps of a run."""
        import torch  # noqa: PLC0415 - slow to import

        from xxact_core.training.run import open_run, training_step  # noqa: PLC0415 - imports torch

        recipe = replace(self.recipe(name, 0), start_from=None)
        device = torch.device("cuda" if recipe.device == "auto" and torch.cuda.is_available() else "cpu")
        with tempfile.TemporaryDirectory() as folder:
            source = dataset_of(experiment_by_name(name), self.dataset, self.dft)
            run = open_run(recipe, source, Path(folder) / "run", device=device)
            for _ in range(min(_WARM_UP, run.steps - 1)):
                training_step(run)
            began, first = time.monotonic(), run.step
            while run.step < run.steps and time.monotonic() - began < TIMED_SECONDS:
                training_step(run)
            return (run.step - first) * recipe.batch_size / max(time.monotonic() - began, 1e-6)

    def _table(self, experiment: Experiment) -> StickTable:
        source = dataset_of(experiment, self.dataset, self.dft)
        if source not in self._tables:
            self._tables[source] = read_dataset(source, resident=False)
        return self._tables[source]
