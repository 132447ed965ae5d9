"""How fast does the preset `small` train on one CPU thread, compared with a plain torch loop?

    python benchmarks/speed/training.py            # two minutes on an idle core, writes docs/results/training.md
    python benchmarks/speed/training.py --quick    # small batches of 600 materials, writes nothing

The plain loop (`plain_loop.py`) has torch's own `nn.TransformerEncoder` and `nn.TransformerDecoder` of the same sizes,
a `Dataset` that reads one prepared pattern at a time from HDF5 (float32, neither chunked nor compressed), a
`DataLoader` and `AdamW` with its defaults. Both start from the same weights, see the same materials in the same order,
and take turns every few steps: first in float32, then ours in bfloat16 and the plain loop under torch's autocast. Times
are CPU times.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # the repository

import statistics
import tempfile
from dataclasses import dataclass, replace

import numpy as np
import torch

from benchmarks.harness import (
    Figure,
    alternate,
    argument_parser,
    figures_to_table,
    finish,
    median_ratio,
    standard_dataset,
)
from benchmarks.speed.plain_loop import CPU, plain_loop, plain_model, write_patterns
from xxact_core.model.xxact import count_parameters
from xxact_core.training.config import Recipe
from xxact_core.training.recipes import recipe_by_name
from xxact_core.training.run import open_run, training_step

BATCH = 128
FIGURES = {
    "samples_per_second": Figure("materials per second"),
    "plain_samples_per_second": Figure("materials per second of the plain loop"),
    "speedup_over_plain_loop": Figure("speed-up, median over neighbouring blocks of steps", "{:.2f}", at_least=1.5),
    "loss_difference": Figure("mean absolute difference of the losses, without dropout", at_most=1e-4),
    "samples_per_second_bfloat16": Figure("materials per second with `precision=bfloat16`"),
    "plain_samples_per_second_bfloat16": Figure("materials per second of the plain loop under autocast"),
    "speedup_bfloat16": Figure("speed-up in bfloat16", "{:.2f}"),
    "speedup_bfloat16_over_float32": Figure("speed-up in bfloat16 over the plain loop in float32", "{:.2f}"),
    "loss_difference_bfloat16": Figure("mean absolute difference of the losses of these two, without dropout"),
    "last_loss": Figure("loss at the last compared step"),
    "parameters": Figure("parameters"),
    "plain_parameters": Figure("parameters of the plain loop's model"),
    "compared_steps": Figure("steps whose losses are compared"),
    "timed_steps": Figure("timed steps of each loop"),
}


def recipe_for(*, dropout: float, precision: str, batch: int) -> Recipe:
    """The preset `small` trained on all its targets, with AdamW at a constant learning rate, on ideal patterns."""
    block = {"dropout": dropout}
    return replace(
        recipe_by_name("multi-target"), name="benchmark", preset="small", task_sampling="all", epochs=10,
        batch_size=batch, lr_peak=3e-4, lr_init=3e-4, lr_final=3e-4, precision=precision,
        model_settings={"pattern": block, "composition": block, "fusion": block},
    )  # fmt: skip


@dataclass(frozen=True)
class Comparison:
    """Our loop and the plain one in the same precision."""

    losses: tuple[list[float], list[float]]
    """Loss of each, step by step, without dropout."""

    seconds: list[tuple[float, ...]]
    """CPU time of each for a block of steps [s]."""

    steps: int
    """Steps in a block."""

    batch: int
    """Materials in a step."""

    parameters: tuple[int, int]
    """Parameters of each model."""

    @property
    def rates(self) -> tuple[float, float]:
        """Materials per second of each, medians."""
        ours, plain = (
            self.steps * self.batch / statistics.median(of_one) for of_one in zip(*self.seconds, strict=True)
        )
        return ours, plain

    @property
    def difference(self) -> float:
        """Mean absolute difference of the losses."""
        return float(np.abs(np.subtract(*self.losses)).mean())


def compare(dataset: Path, scratch: Path, *, precision: str, quick: bool) -> tuple[Comparison, str]:
    """Both loops in one precision, and the digest of the dataset."""
    batch, compared, blocks, steps = (64, 2, 3, 2) if quick else (BATCH, 12, 6, 5)
    run = open_run(recipe_for(dropout=0.0, precision=precision, batch=batch), dataset, scratch / "equal", device=CPU)
    place = write_patterns(run, scratch / "equal.h5", steps=compared)
    theirs = list(plain_loop(run, scratch / "equal.h5", place, steps=compared))
    ours = [training_step(run) for _ in range(compared)]
    run = open_run(recipe_for(dropout=0.1, precision=precision, batch=batch), dataset, scratch / "timed", device=CPU)
    parameters = count_parameters(run.module.model), count_parameters(plain_model(run.module.model))
    place = write_patterns(run, scratch / "timed.h5", steps=(1 + blocks) * steps)
    plain = plain_loop(run, scratch / "timed.h5", place, steps=(1 + blocks) * steps)
    seconds = alternate(
        lambda: [training_step(run) for _ in range(steps)], lambda: [next(plain) for _ in range(steps)], rounds=blocks
    )
    return Comparison((ours, theirs), seconds, steps, batch, parameters), run.table.digest


def measure(dataset: Path, scratch: Path, *, quick: bool) -> tuple[dict[str, float], str]:
    """All figures, and the digest of the dataset."""
    whole, digest = compare(dataset, scratch / "float32", precision="float32", quick=quick)
    half, _ = compare(dataset, scratch / "bfloat16", precision="bfloat16", quick=quick)
    figures = {
        "samples_per_second": whole.rates[0],
        "plain_samples_per_second": whole.rates[1],
        "speedup_over_plain_loop": median_ratio(whole.seconds),
        "loss_difference": whole.difference,
        "samples_per_second_bfloat16": half.rates[0],
        "plain_samples_per_second_bfloat16": half.rates[1],
        "speedup_bfloat16": median_ratio(half.seconds),
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
    """Measure, print, and write the page unless --quick is given."""
    arguments = argument_parser(__doc__, dataset=True).parse_args()
    torch.set_num_threads(1)
    with standard_dataset(arguments) as dataset, tempfile.TemporaryDirectory() as scratch:
        figures, digest = measure(dataset, Path(scratch), quick=arguments.quick)
    finish(
        __file__,
        figures_to_table(figures, FIGURES),
        figures,
        quick=arguments.quick,
        title="Training compared with a plain loop",
        introduction=f"Preset `small`, batches of {BATCH}, one thread, CPU times; the script describes the plain loop.",
        data_digest=digest,
    )


if __name__ == "__main__":
    main()
