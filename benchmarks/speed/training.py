"""How fast the preset `small` trains on one thread of a processor, beside a loop as one would write it with torch.

    python benchmarks/speed/training.py            about two minutes on an idle core, writes docs/results/training.md
    python benchmarks/speed/training.py --quick    about half a minute

The plain loop has torch's own `nn.TransformerEncoder` and `nn.TransformerDecoder` of the same sizes, a `Dataset` that
reads one pattern at a time, smeared beforehand, from HDF5 (float32, neither chunked nor compressed), a `DataLoader` and
`AdamW` as it comes. Both begin with the same weights, see the same materials in the same order, and change places every
few steps. Both in float32; then ours again in bfloat16 beside the plain loop under torch's autocast. Seconds are those
that the processor worked for this process, so that others on the machine do not count. The last line printed is a JSON
object.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # the repository

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from benchmarks.speed.plain_loop import CPU, plain_loop, plain_model, write_patterns
from xxact_core.dataset.building.build import BuildPlan, build_dataset
from xxact_core.evaluation.provenance import provenance, provenance_to_line
from xxact_core.model.xxact import count_parameters
from xxact_core.training.config import Recipe
from xxact_core.training.recipes import recipe_by_name
from xxact_core.training.run import open_run, take_step

REPOSITORY = Path(__file__).resolve().parents[2]
RESULTS = REPOSITORY / "docs" / "results" / "training.md"
TABLE = REPOSITORY / "xxact_core" / "data" / "materials_project.parquet"
BATCH = 128
AT_LEAST = {"speedup_over_plain_loop": 1.5}
AT_MOST = {"loss_difference": 1e-4}
SAID = {
    "samples_per_second": "materials a second",
    "plain_samples_per_second": "materials a second of the plain loop",
    "speedup_over_plain_loop": "ratio of the two, median over neighbouring blocks of steps",
    "loss_difference": "mean absolute difference of the two losses, without dropout",
    "samples_per_second_bfloat16": "materials a second with `precision=bfloat16`",
    "plain_samples_per_second_bfloat16": "materials a second of the plain loop under autocast",
    "speedup_bfloat16": "ratio of these two",
    "speedup_bfloat16_over_float32": "ours in bfloat16 against the plain loop in float32",
    "loss_difference_bfloat16": "mean absolute difference of the losses of these two, without dropout",
    "last_loss": "the loss at the last of those steps",
    "parameters": "parameters",
    "plain_parameters": "parameters of the plain loop's model",
    "compared_steps": "steps of which losses are compared",
    "timed_steps": "steps timed, of each",
}


def seconds_of(step: Callable[[], float], *, steps: int) -> float:
    """Processor seconds of some steps."""
    began = time.process_time()
    for _ in range(steps):
        step()
    return time.process_time() - began


def recipe_for(*, dropout: float, precision: str) -> Recipe:
    """The preset `small` trained on all its targets, with AdamW at one rate and on ideal patterns."""
    still = {"dropout": dropout}
    return replace(
        recipe_by_name("multi-target"), name="benchmark", preset="small", task_sampling="all", epochs=10,
        batch_size=BATCH, lr_peak=3e-4, lr_init=3e-4, lr_final=3e-4, precision=precision,
        model_settings={"pattern": still, "composition": still, "fusion": still},
    )  # fmt: skip


@dataclass(frozen=True)
class Race:
    """Two loops side by side. losses: of each, step by step, without dropout; seconds: of each in blocks of steps."""

    losses: tuple[list[float], list[float]]
    seconds: list[tuple[float, float]]
    steps: int
    parameters: tuple[int, int]

    @property
    def rates(self) -> tuple[float, float]:
        """Materials a second of each."""
        ours, theirs = (
            statistics.median(self.steps * BATCH / block[loop] for block in self.seconds) for loop in (0, 1)
        )
        return ours, theirs

    @property
    def ratio(self) -> float:
        """How many times as fast the first is, median over neighbouring blocks."""
        return statistics.median(theirs / ours for ours, theirs in self.seconds)

    @property
    def difference(self) -> float:
        """Mean absolute difference of the losses."""
        return float(np.abs(np.subtract(*self.losses)).mean())


def race(dataset: Path, scratch: Path, *, precision: str, quick: bool) -> tuple[Race, str]:
    """Both loops in one precision, and the digest of the data."""
    compared, blocks, steps = (4, 2, 3) if quick else (12, 6, 5)
    run = open_run(recipe_for(dropout=0.0, precision=precision), dataset, scratch / "equal", device=CPU)
    place = write_patterns(run, scratch / "equal.h5", steps=compared)
    theirs = list(plain_loop(run, scratch / "equal.h5", place, steps=compared))
    ours = [take_step(run) for _ in range(compared)]
    run = open_run(recipe_for(dropout=0.1, precision=precision), dataset, scratch / "timed", device=CPU)
    parameters = count_parameters(run.trainee.model), count_parameters(plain_model(run.trainee.model))
    place = write_patterns(run, scratch / "timed.h5", steps=2 + blocks * steps)
    plain = plain_loop(run, scratch / "timed.h5", place, steps=2 + blocks * steps)
    for _ in range(2):  # not timed: memory is taken, loops are compiled
        next(plain)
        take_step(run)
    spent = [
        (seconds_of(lambda: take_step(run), steps=steps), seconds_of(lambda: next(plain), steps=steps))
        for _ in range(blocks)
    ]
    return Race((ours, theirs), spent, steps, parameters), run.table.digest


def measure(dataset: Path, scratch: Path, *, quick: bool) -> tuple[dict[str, float], str]:
    """All figures, and the digest of the data."""
    whole, digest = race(dataset, scratch / "float32", precision="float32", quick=quick)
    half, _ = race(dataset, scratch / "bfloat16", precision="bfloat16", quick=quick)
    figures = {
        "samples_per_second": whole.rates[0],
        "plain_samples_per_second": whole.rates[1],
        "speedup_over_plain_loop": whole.ratio,
        "loss_difference": whole.difference,
        "samples_per_second_bfloat16": half.rates[0],
        "plain_samples_per_second_bfloat16": half.rates[1],
        "speedup_bfloat16": half.ratio,
        "speedup_bfloat16_over_float32": half.rates[0] / whole.rates[1],
        "loss_difference_bfloat16": float(np.abs(np.subtract(half.losses[0], whole.losses[1])).mean()),
        "last_loss": whole.losses[0][-1],
        "parameters": whole.parameters[0],
        "plain_parameters": whole.parameters[1],
        "compared_steps": len(whole.losses[0]),
        "timed_steps": len(whole.seconds) * whole.steps,
    }
    return figures, digest


def main() -> None:
    """Measure, print, and write the table unless in a hurry."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset", type=Path, default=REPOSITORY / "build" / "materials_project")
    parser.add_argument("--quick", action="store_true")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as name:
        scratch, dataset = Path(name), arguments.dataset
        if not (dataset / "manifest.json").is_file():
            dataset = scratch / "dataset"
            build_dataset(BuildPlan(source=str(TABLE), limit=2000), dataset, workers=2, progress=False)
        figures, digest = measure(dataset, scratch, quick=arguments.quick)
    goals = {key: f"≥ {value}" for key, value in AT_LEAST.items()} | {
        key: f"≤ {value:g}" for key, value in AT_MOST.items()
    }
    table = "| what | | to reach |\n|---|---|---|\n" + "".join(
        f"| {SAID[key]} | {figures[key]:{',.0f' if figures[key] >= 1000 else '.3g'}} | {goals.get(key, '')} |\n"
        for key in SAID
    )
    print(table)
    if not arguments.quick:
        stated = provenance_to_line(provenance(table_digest=digest, seeds=[0]))
        RESULTS.write_text(
            "# Training beside a plain loop\n\nMade by `benchmarks/speed/training.py`, which describes the plain "
            f"loop. Preset `small`, batches of {BATCH}, one thread, seconds of CPU time.\n\n{table}\n"
            f"{stated}\n",
            encoding="utf-8",
        )
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
