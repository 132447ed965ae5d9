"""One training to its end or until its time is up, and what it is worth on the test split.

    python -m benchmarks.gpu.one_run DATASET FOLDER --seconds 300 < recipe.json

The folder is that of `xxact train`: a training whose time was up goes on from there. One that is done has a
`result.json`, which is also the last line printed.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import statistics
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from xxact_core.checkpoint import Checkpoint, load_checkpoint
from xxact_core.dataset.batches import BatchMaker
from xxact_core.dataset.splits import with_split
from xxact_core.dataset.store import write_json
from xxact_core.dataset.table import StickTable, read_dataset
from xxact_core.evaluation.evaluate import metrics_of, predict_rows, silhouettes
from xxact_core.patterns.distortions import Distortions
from xxact_core.training.config import Recipe
from xxact_core.training.journal import read_journal
from xxact_core.training.run import train

RESULT = "result.json"


def run_until(recipe: Recipe, dataset: Path, folder: Path, *, seconds: float) -> dict[str, Any] | None:
    """Train and measure; None where the time was up before, and a snapshot says where to go on."""
    if (result := read_result(folder)) is not None:
        return result
    with stopped_after(seconds):
        reached = train(recipe, dataset, folder)
    if reached != folder / "model":
        return None
    table = with_split(read_dataset(dataset, verify=False), by=recipe.split)
    result = {**describe(recipe, folder), **measure(load_checkpoint(reached), table)}
    write_json(folder / RESULT, result)
    return result


def read_result(folder: Path) -> dict[str, Any] | None:
    """What a training that is done is worth; None before."""
    path = folder / RESULT
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None


@contextmanager
def stopped_after(seconds: float) -> Iterator[None]:
    """Ask this process to stop, as a terminal would, when the time is up; a training then saves where it is.

    Asked again every second, for a training that is only reading its data does not listen yet.
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
    """What was trained, where, and how fast."""
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


def measure(checkpoint: Checkpoint, table: StickTable) -> dict[str, Any]:
    """Metrics on ideal and on distorted patterns of the test split, on the GPU where there is one."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    model, rows, measured = checkpoint.model.to(device), table.rows("test"), {}
    temperatures = {name: fit["temperature"] for name, fit in checkpoint.calibration.items() if "temperature" in fit}
    for title, distortions in (("metrics", None), ("metrics_distorted", replace(Distortions(), share=1.0))):
        maker = BatchMaker(table, device=device, distortions=distortions)
        predictions = predict_rows(model, maker, rows, checkpoint.statistics)
        scores = silhouettes(predictions.embedding, table.targets["crystal_system"][rows])
        trained = "targets" in checkpoint.about["recipe"]["objectives"]
        measured[title] = metrics_of(predictions, table, temperatures=temperatures) if trained else {}
        measured[title] |= {"silhouette_mean": scores["mean"]}
    return {"parameters": sum(parameter.numel() for parameter in model.parameters()), **measured}


def main() -> int:
    """Train what standard input says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seconds", type=float, required=True)
    arguments = parser.parse_args()
    recipe = Recipe.from_dict(json.load(sys.stdin))
    result = run_until(recipe, arguments.dataset, arguments.folder, seconds=arguments.seconds)
    print(json.dumps(result))
    return 0


if __name__ == "__main__":
    sys.exit(main())
