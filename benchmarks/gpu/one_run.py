"""Train one model to its end or until a time limit, and evaluate it on a split.

    python -m benchmarks.gpu.one_run DATASET FOLDER --seconds 300 < recipe.json

FOLDER is a run folder as of `xxact train`: an interrupted training continues there. A finished one has a `result.json`,
which is also the last line printed. With `--size` it is an experiment of the paper, which `xxact paper table` can read.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # the repository

import argparse
import json
import os
import signal
import statistics
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import torch

from xxact_core.augmentation.config import AugmentationConfig
from xxact_core.checkpoint import Checkpoint, load_checkpoint
from xxact_core.dataset.loading.batches import BatchMaker
from xxact_core.dataset.splits import SPLITS, with_split
from xxact_core.dataset.store import write_json
from xxact_core.dataset.table import StickTable, read_dataset
from xxact_core.evaluation.evaluate import metrics_of, predict_rows, silhouettes
from xxact_core.paper.runs import SIZES as PAPER_SIZES
from xxact_core.paper.runs import finish_experiment
from xxact_core.training.config import Recipe
from xxact_core.training.journal import read_journal
from xxact_core.training.run import train

RESULT = "result.json"


def run_until(
    recipe: Recipe, dataset: Path, folder: Path, *, seconds: float, split: str = "test", size: str | None = None
) -> dict[str, Any] | None:
    """Train and evaluate; None where the time limit came first, with a snapshot to continue from.

    size: size of an experiment of the paper, whose predictions and provenance are written as well.
    """
    if (result := read_result(folder)) is not None:
        return result
    with stopped_after(seconds):
        if size is None:
            done = train(recipe, dataset, folder) == folder / "model"
        else:
            table = read_dataset(dataset, resident=False, verify=False)
            done = finish_experiment(recipe, table, dataset, folder, size=size) != "stopped"
    if not done:
        return None
    table = with_split(read_dataset(dataset, verify=False), by=recipe.split_by)
    measured = measure(load_checkpoint(folder / "model"), table, split=split)
    result = {**describe(recipe, folder), "judged_on": split, **measured}
    write_json(folder / RESULT, result)
    return result


def read_result(folder: Path) -> dict[str, Any] | None:
    """The result of a finished training; None if unfinished."""
    path = folder / RESULT
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None


@contextmanager
def stopped_after(seconds: float) -> Iterator[None]:
    """Send SIGTERM to this process when the time is over, upon which a training saves a snapshot and stops.

    The signal is repeated every second, because a training that still reads its data does not handle it yet.
    """
    over = threading.Event()

    def ask() -> None:
        stop = over.wait(max(seconds, 0.0))
        while not stop:
            os.kill(os.getpid(), signal.SIGTERM)
            stop = over.wait(1.0)

    before = signal.signal(signal.SIGTERM, lambda *_: None)
    asking = threading.Thread(target=ask, daemon=True)
    asking.start()
    try:
        yield
    finally:
        over.set()
        asking.join()
        signal.signal(signal.SIGTERM, before)


def describe(recipe: Recipe, folder: Path) -> dict[str, Any]:
    """What was trained, on which machine, and how fast."""
    steps = [event for event in read_journal(folder / "journal.jsonl") if event["event"] == "step"]
    about = json.loads((folder / "recipe.json").read_text(encoding="utf-8"))
    return {
        "recipe": recipe.name,
        "preset": recipe.preset,
        "seed": recipe.seed,
        "epochs": recipe.epochs,
        "batch_size": recipe.batch_size,
        "steps": len(steps),
        "samples_per_second": statistics.median(step["samples_per_second"] for step in steps),
        "data_digest": about["data_digest"],
        "torch": torch.__version__,
        "hardware": torch.cuda.get_device_name() if torch.cuda.is_available() else "CPU",
        "finished": time.strftime("%Y-%m-%d %H:%M", time.gmtime()),
    }


def measure(checkpoint: Checkpoint, table: StickTable, *, split: str = "test") -> dict[str, Any]:
    """Metrics on ideal and on augmented patterns of a split, on the GPU if there is one."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    model, rows, measured = checkpoint.model.to(device), table.rows(split), {}
    temperatures = {name: fit["temperature"] for name, fit in checkpoint.calibration.items() if "temperature" in fit}
    for title, augmentation in (("metrics", None), ("metrics_distorted", replace(AugmentationConfig(), share=1.0))):
        maker = BatchMaker(table, device=device, augmentation=augmentation)
        predictions = predict_rows(model, maker, rows, checkpoint.statistics)
        scores = silhouettes(predictions.embedding, table.targets["crystal_system"][rows])
        trained = "targets" in checkpoint.about["recipe"]["objectives"]
        measured[title] = metrics_of(predictions, table, temperatures=temperatures) if trained else {}
        measured[title] |= {"silhouette_mean": scores["mean"]}
    return {"parameters": sum(parameter.numel() for parameter in model.parameters()), **measured}


def main() -> int:
    """Train the recipe given on standard input."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seconds", type=float, required=True)
    parser.add_argument("--split", choices=SPLITS, default="test", help="split for the evaluation")
    parser.add_argument("--size", choices=PAPER_SIZES, help="size of an experiment of the paper")
    arguments = vars(parser.parse_args())
    result = run_until(Recipe.from_dict(json.load(sys.stdin)), arguments.pop("dataset"), **arguments)
    print(json.dumps(result))
    return 0


if __name__ == "__main__":
    sys.exit(main())
