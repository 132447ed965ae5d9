"""How fast does the recipe `compact` train on a CPU with and without instructions for bfloat16?

    python benchmarks/speed/precision.py            # two minutes on an idle core, writes docs/results/precision.md
    python benchmarks/speed/precision.py --quick    # batches of 64 of 600 materials, writes nothing

On one thread, with the precision that `precision=auto` chooses, steps with Muon and with AdamW take turns; so do steps
in float32 and in bfloat16 of three presets, of which the narrowest is to stay in float32. All of it is measured in one
process as the machine is, and in another whose oneDNN is limited to AVX2 (`ONEDNN_MAX_CPU_ISA`), as on most laptops.
Times are CPU times of whole steps: patterns, losses, gradients and update.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # the repository

import argparse
import json
import os
import subprocess
import tempfile
from dataclasses import replace

import torch

from benchmarks.harness import Figure, alternate, argument_parser, figures_to_table, finish, standard_dataset
from xxact_core.dataset.table import read_dataset
from xxact_core.training.config import Recipe
from xxact_core.training.precision import bfloat16_speedup, choose_precision
from xxact_core.training.recipes import recipe_by_name
from xxact_core.training.run import Run, open_run, training_step

CPU = torch.device("cpu")
BATCH = 128
PRESETS = ("tiny", "small", "compact")
KINDS = {"": "", "_avx2": ", oneDNN limited to AVX2"}
FIGURES = {
    name + suffix: replace(figure, meaning=figure.meaning + where)
    for suffix, where in KINDS.items()
    for name, figure in {
        "muon_over_adamw": Figure("speed of Muon over that of AdamW, `compact`", "{:.2f}", at_least=0.8),
        "muon_samples_per_second": Figure("materials per second with Muon"),
        "adamw_samples_per_second": Figure("materials per second with AdamW"),
        "bfloat16_speedup": Figure("speed of bfloat16 over float32, convolution and product", "{:.2f}"),
        **{f"bfloat16_{name}": Figure(f"the same, steps of the preset `{name}`", "{:.2f}") for name in PRESETS},
        "is_bfloat16": Figure("`compact` is trained in bfloat16 (1) or float32 (0)", "{:.0f}"),
    }.items()
}


def recipe_for(preset: str, *, batch: int, precision: str = "auto", optimiser: str = "adamw") -> Recipe:
    """The recipe `compact`, or one of a preset with the paper's objectives, on one thread."""
    base = recipe_by_name("compact")
    if preset != "compact":
        base = replace(recipe_by_name("multi-target"), preset=preset, task_sampling="all")
    return replace(base, threads=1, batch_size=batch, precision=precision, optimiser=optimiser, epochs=1000)


def ratio_of(dataset: Path, first: Recipe, second: Recipe, *, rounds: int) -> tuple[float, float, float]:
    """Speed of the first recipe over that of the second, and materials per second of each, in CPU time."""
    with tempfile.TemporaryDirectory() as scratch:
        runs: list[Run] = [
            open_run(recipe, dataset, Path(scratch) / str(number), device=CPU)
            for number, recipe in enumerate((first, second))
        ]
        times = alternate(*(lambda run=run: training_step(run) for run in runs), rounds=rounds)
    ours, theirs = (min(of_one) for of_one in zip(*times, strict=True))
    return theirs / ours, first.batch_size / ours, second.batch_size / theirs


def measure(dataset: Path, *, quick: bool) -> dict[str, float]:
    """All figures of this process."""
    torch.set_num_threads(1)
    batch, rounds = (64, 1) if quick else (BATCH, 3)
    with_muon, with_adamw = (recipe_for("compact", batch=batch, optimiser=name) for name in ("muon", "adamw"))
    ratio, muon, adamw = ratio_of(dataset, with_muon, with_adamw, rounds=rounds)
    figures = {"muon_over_adamw": ratio, "muon_samples_per_second": muon, "adamw_samples_per_second": adamw}
    figures["bfloat16_speedup"] = bfloat16_speedup()
    for preset in PRESETS:
        half, single = (recipe_for(preset, batch=batch, precision=name) for name in ("bfloat16", "float32"))
        figures[f"bfloat16_{preset}"], *_ = ratio_of(dataset, half, single, rounds=1)
    figures["is_bfloat16"] = float(choose_precision(with_muon, CPU).name == "bfloat16")
    return figures


def measure_elsewhere(dataset: Path, *, quick: bool, limit: str | None) -> dict[str, float]:
    """`measure` in a new process, whose oneDNN is limited to an instruction set; None for no limit."""
    environment = {name: value for name, value in os.environ.items() if name != "ONEDNN_MAX_CPU_ISA"}
    environment |= {} if limit is None else {"ONEDNN_MAX_CPU_ISA": limit}
    command = [sys.executable, __file__, "--measure", str(dataset), *(["--quick"] if quick else [])]
    done = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)
    figures: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return figures


def main() -> None:
    """Measure, print, and write the page unless --quick is given."""
    parser = argument_parser(__doc__, dataset=True)
    parser.add_argument("--measure", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.measure is not None:
        print(json.dumps(measure(arguments.measure, quick=arguments.quick)))
        return
    figures: dict[str, float] = {}
    with standard_dataset(arguments) as dataset:
        digest = read_dataset(dataset).digest
        for suffix, limit in (("", None), ("_avx2", "AVX2")):
            found = measure_elsewhere(dataset, quick=arguments.quick, limit=limit)
            figures |= {name + suffix: value for name, value in found.items()}
    finish(
        __file__,
        figures_to_table(figures, FIGURES),
        figures,
        quick=arguments.quick,
        title="Training with and without bfloat16 instructions",
        introduction=f"One thread, batches of {BATCH}, CPU times of whole steps, the fastest of several. Steps of the "
        "two optimisers, and of the two precisions, take turns.",
        data_digest=digest,
    )


if __name__ == "__main__":
    main()
