"""One training to its end or until its time is up, and what it is worth on a split.

    python -m benchmarks.gpu.one_run DATASET FOLDER --seconds 300 < recipe.json

With `--size` it is an experiment of the paper's, and leaves what `xxact paper table` reads, too.
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

from xxact_core.augmentation.config import Distortions
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
    """Train and measure; None where the time was up before, and a snapshot says where to go on.

    size: of an experiment of the paper's, whose predictions and origin are written as well.
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


def measure(checkpoint: Checkpoint, table: StickTable, *, split: str = "test") -> dict[str, Any]:
    """Metrics on ideal and on distorted patterns of a split, on the GPU where there is one."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    model, rows, measured = checkpoint.model.to(device), table.rows(split), {}
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
    parser.add_argument("--split", choices=SPLITS, default="test", help="on which it is judged")
    parser.add_argument("--size", choices=PAPER_SIZES, help="of an experiment of the paper's")
    arguments = vars(parser.parse_args())
    result = run_until(Recipe.from_dict(json.load(sys.stdin)), arguments.pop("dataset"), **arguments)
    print(json.dumps(result))
    return 0


if __name__ == "__main__":
    sys.exit(main())
