"""Batch size and learning rate of each kind of model, chosen once by trials on the validation split."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from xxact_core.dataset.store import write_json
from xxact_core.evaluation.convergence import validation_curve
from xxact_core.paper.layouts import ACCURACY, MAE
from xxact_core.training.journal import read_run
from xxact_core.training.run_folder import read_recipe

CHOICES = "choices.json"
"""File in a folder of runs: of each kind the chosen settings, and what every trial reached."""

CHOSEN = ("batch_size", "lr_peak")

Choices = Mapping[str, Mapping[str, Any]]
"""Kind of model → its chosen settings."""


def read_choices(folder: Path) -> Choices:
    """The settings of each kind that trials in a folder of runs have found; empty without trials."""
    return {kind: {name: entry[name] for name in CHOSEN} for kind, entry in read_trials(folder).items()}


def read_trials(folder: Path) -> dict[str, dict[str, Any]]:
    """The content of `CHOICES`; empty where there is none."""
    path = folder / CHOICES
    content: dict[str, dict[str, Any]] = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    return content


def choose(folder: Path, kind: str, runs: Sequence[Path]) -> dict[str, Any]:
    """Choose the settings of a kind by its finished trials, write them into `CHOICES`, and return them.

    The best trial is that with the lowest sum of two errors on the validation split at its end, each relative to the
    mean over the trials: that of the formation energy, and the fraction of wrong crystal systems.
    """
    rows = []
    for run in runs:
        recipe, events = read_recipe(run)["recipe"], read_run(run)
        mae, accuracy = (float(validation_curve(events, metric)[1][-1]) for metric in (MAE, ACCURACY))
        rows.append({**{name: recipe[name] for name in CHOSEN}, MAE: mae, ACCURACY: accuracy})
    errors = np.array([(row[MAE], 1 - row[ACCURACY]) for row in rows])
    best = int((errors / np.maximum(errors.mean(axis=0), 1e-9)).sum(axis=1).argmin())
    chosen = {name: rows[best][name] for name in CHOSEN}
    write_json(folder / CHOICES, {**read_trials(folder), kind: {**chosen, "trials": rows}})
    return chosen
