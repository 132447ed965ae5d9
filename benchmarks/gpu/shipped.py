"""Train the checkpoint that ships on a GPU, for as many epochs as fit into a time limit.

    python -m benchmarks.gpu.shipped DATASET RUN --seconds 520 --output FOLDER

The speed of the machine is measured first and determines the number of epochs, so that the schedule of the learning
rate ends in time. RUN is a run folder as of `xxact train`: called again, its training continues with the epochs chosen
before. FOLDER receives `model/` in bfloat16, with metrics of these rounded weights, and `shipped.json`;
`benchmarks/quality/shipped_checkpoint.py --ship FOLDER` makes it the shipped checkpoint. The last line printed is JSON.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # the repository

import argparse
import gc
import json
import math
import os
import shutil
import tempfile
import time
from dataclasses import replace

import torch

from benchmarks.gpu.one_run import describe, measure, stopped_after
from xxact_core.checkpoint import load_checkpoint, save_checkpoint
from xxact_core.dataset.splits import with_split
from xxact_core.dataset.table import read_dataset
from xxact_core.training.config import Recipe, override, parse_settings
from xxact_core.training.recipes import recipe_by_name
from xxact_core.training.run import open_run, train, training_step

LARGER = {
    "batch_size": 512,
    "lr_peak": 1e-3,
    "ema_decay": 0.999,
    "validate_every": 1000,
    "save_every": 2000,
    "model_settings": {
        "pattern": {"width": 256, "depth": 2, "heads": 8, "feedforward": 384},
        "composition": {"width": 256, "depth": 3, "heads": 8, "feedforward": 512},
        "fusion": {"width": 256, "depth": 3, "heads": 8, "feedforward": 512},
    },
}
"""Differences from the recipe `compact`, which trains in an hour on two CPU cores."""

LARGEST = 16_000_000
"""Largest size of the shipped weights [bytes], two for each parameter."""

PROBE, WARM = 8.0, 10
"""Time in which the speed is measured [s], and number of slow first steps left out before."""

RESERVE = 60.0
"""Time for reading the data, calibration and evaluation, in addition to the training [s]."""

SLACK = 0.92
"""Fraction of the remaining time for training steps; validation and snapshots take the rest."""


def epochs_that_fit(recipe: Recipe, dataset: Path, *, deadline: float) -> float:
    """Epochs of a recipe that this machine finishes before the deadline (of `time.monotonic`)."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    with tempfile.TemporaryDirectory() as scratch:
        run = open_run(recipe, dataset, Path(scratch), device=device)
        for _ in range(WARM):
            training_step(run)
        began, first = time.monotonic(), run.step
        while time.monotonic() - began < min(PROBE, (deadline - began) / 10):
            training_step(run)
        rate = (run.step - first) / (time.monotonic() - began)
        materials = len(run.table.rows("train"))
        del run
    gc.collect()
    torch.cuda.empty_cache()
    steps = math.floor(rate * (deadline - time.monotonic()) * SLACK)
    return max(1, steps) * recipe.batch_size / materials


def begun_or_chosen(recipe: Recipe, dataset: Path, folder: Path, *, deadline: float) -> Recipe:
    """The recipe of the training in the folder if there is one, else the given one with the epochs that fit."""
    path = folder / "recipe.json"
    if path.is_file():
        return Recipe.from_dict(json.loads(path.read_text(encoding="utf-8"))["recipe"])
    return replace(recipe, epochs=epochs_that_fit(recipe, dataset, deadline=deadline))


def main() -> None:
    """Choose the epochs, train, round to bfloat16, evaluate, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset", type=Path)
    parser.add_argument("run", type=Path)
    parser.add_argument("--recipe", default="compact")
    parser.add_argument("--seconds", type=float, default=520.0)
    parser.add_argument("--planned", type=float, help="time limit of the whole training over several calls")
    parser.add_argument("--reserve", type=float, default=RESERVE)
    parser.add_argument("--set", nargs="*", default=[], metavar="NAME=VALUE", help="settings of the recipe")
    parser.add_argument("--commit", default="unknown", help="commit of the code, written to the checkpoint")
    parser.add_argument("--output", type=Path, default=Path(os.environ.get("OUT", "build/gpu")) / "shipped")
    arguments = parser.parse_args()
    began = time.monotonic()
    training = arguments.seconds - arguments.reserve
    recipe = override(recipe_by_name(arguments.recipe), {**LARGER, **parse_settings(arguments.set)})
    planned = began + (arguments.planned or arguments.seconds) - arguments.reserve
    recipe = begun_or_chosen(recipe, arguments.dataset, arguments.run, deadline=planned)
    with stopped_after(training - (time.monotonic() - began)):
        reached = train(recipe, arguments.dataset, arguments.run)
    if reached != arguments.run / "model":
        print(json.dumps({"unfinished": str(reached), "epochs": recipe.epochs}))
        return
    print(json.dumps(ship(recipe, arguments.dataset, arguments.run, arguments.output, commit=arguments.commit)))


def ship(recipe: Recipe, dataset: Path, run: Path, output: Path, *, commit: str) -> dict:
    """Write the finished model in bfloat16, and evaluate what was written.

    Raises:
        ValueError: it is larger than the shipped weights may be.
    """
    checkpoint = load_checkpoint(run / "model")
    size = 2 * sum(value.numel() for value in checkpoint.model.state_dict().values())
    if size > LARGEST:
        msg = f"the weights take {size:,} bytes in half precision; expected at most {LARGEST:,}"
        raise ValueError(msg)
    shutil.rmtree(output / "model", ignore_errors=True)
    (output / "model").mkdir(parents=True)
    save_checkpoint(output / "model", checkpoint, dtype=torch.bfloat16)
    table = with_split(read_dataset(dataset, verify=False), by=recipe.split_by)
    measured = measure(load_checkpoint(output / "model"), table)
    about = {
        **checkpoint.about,
        "test_metrics": measured["metrics"],
        "test_metrics_distorted": measured["metrics_distorted"],
        "commit": commit,
    }
    save_checkpoint(output / "model", replace(checkpoint, about=about), dtype=torch.bfloat16)
    result = {"commit": commit, "bytes": size, **describe(recipe, run), **measured}
    (output / "shipped.json").write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    return result


if __name__ == "__main__":
    main()
