"""How fast is a machine, and how much of that does training use?

    python -m benchmarks.gpu.floors DATASET --seconds 500 --output FOLDER

First the ceilings are measured: a large matrix product and a copy. Then follow, while time is left: batches of ideal
and augmented patterns; training steps of the paper's model with batches of 512 to 32,768; steps of every other preset;
and the same with `torch_compile`. Every line is written to `floors.jsonl` when it is finished. The last lines printed
are a table. A step is a complete `xxact_core.training.run.training_step`.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # the repository

import argparse
import gc
import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.harness import markdown_table
from xxact_core.augmentation.config import AugmentationConfig
from xxact_core.dataset.loading.batches import BatchMaker
from xxact_core.dataset.table import read_dataset
from xxact_core.model.config import PRESETS
from xxact_core.training.config import Recipe
from xxact_core.training.run import Run, open_run, training_order, training_step
from xxact_core.training.start import compile_layers
from xxact_core.training.step import batch_losses, draw_randomness

BATCHES = (512, 2048, 8192, 32_768)
COUNTED = 8
"""Batch size for counting floating-point operations."""

MOST = 20
"""Most repetitions of a measurement."""


def median_seconds(work: Callable[[], object], device: torch.device, *, seconds: float) -> float:
    """Median time of a call with the device synchronised before and after; the first two calls are not counted."""
    times: list[float] = []
    began = time.monotonic()
    while len(times) < 4 or (time.monotonic() - began < seconds and len(times) < MOST):
        before = _now(device)
        work()
        times.append(_now(device) - before)
    return statistics.median(times[2:])


def _now(device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter()


def ceilings(device: torch.device) -> Iterator[dict[str, Any]]:
    """Ceilings of the machine: a product of random bf16 matrices, and a copy within its memory."""
    size = 8192 if device.type == "cuda" else 512
    one, other = (torch.randn(size, size, device=device, dtype=torch.bfloat16) for _ in range(2))
    seconds = median_seconds(lambda: one @ other, device, seconds=3)
    yield {"what": "matrix product", "teraflops": 2 * size**3 / seconds / 1e12}
    source = torch.randn(2**30 if device.type == "cuda" else 2**22, device=device)
    target = torch.empty_like(source)
    seconds = median_seconds(lambda: target.copy_(source), device, seconds=3)
    yield {"what": "copy", "terabytes_per_second": 2 * source.nbytes / seconds / 1e12}


def batches(dataset: Path, device: torch.device, *, batch: int) -> Iterator[dict[str, Any]]:
    """Patterns per second, ideal and augmented, which bound the speed of training."""
    table = read_dataset(dataset, verify=False)
    rows = np.random.default_rng(0).permutation(len(table))[:batch]
    kinds = {
        "ideal": None,
        "augmented as in compact": AugmentationConfig(),
        "all augmented": AugmentationConfig(share=1.0),
        "all augmented, Gaussian profiles": AugmentationConfig(share=1.0, peak_shape=None),
    }
    for name, augmentation in kinds.items():
        maker = BatchMaker(table, device=device, augmentation=augmentation)
        seconds = median_seconds(lambda maker=maker: maker.batch(rows, seed=0), device, seconds=3)
        yield {"what": f"patterns, {name}", "batch": len(rows), "samples_per_second": len(rows) / seconds}


def steps(
    preset: str, dataset: Path, device: torch.device, *, sizes: tuple[int, ...], compiled: bool, ceiling: float
) -> Iterator[dict[str, Any]]:
    """Training steps of a preset at several batch sizes: speed, fraction of the ceiling, memory, time for batches.

    A batch that does not fit into memory is split by the training; `micro_batch_size` is the size of the pieces.
    """
    recipe = Recipe(
        name=preset, preset=preset, augmentation=AugmentationConfig(), batch_size=sizes[0], device=device.type
    )
    with tempfile.TemporaryDirectory() as scratch:
        run = open_run(recipe, dataset, Path(scratch), device=device)
        operations = operations_of_a_sample(run)
        if compiled:
            compile_layers(run.module.model)  # after counting, which does not see compiled operations
        for size in sizes:
            run.recipe = replace(recipe, batch_size=size)
            run.order, run.micro_batch_size = training_order(run.table, run.recipe), None
            if device.type == "cuda":
                torch.cuda.reset_peak_memory_stats()
            losses: list[float] = []
            began = time.monotonic()
            seconds = median_seconds(lambda losses=losses: losses.append(training_step(run)), device, seconds=5)
            rows = run.order.step(0)
            alone = median_seconds(lambda rows=rows: run.training_batches.batch(rows, seed=0), device, seconds=1)
            rate = size / seconds
            yield {
                "what": f"{preset}, compiled" if compiled else preset,
                "batch": size,
                "samples_per_second": rate,
                "gigaflop_per_sample": operations / 1e9,
                "share_of_ceiling": rate * operations / 1e12 / ceiling,
                "share_of_batches": alone / seconds,
                "memory_gigabytes": torch.cuda.max_memory_allocated() / 1e9 if device.type == "cuda" else None,
                "micro_batch_size": run.micro_batch_size,
                "finite": bool(np.isfinite(losses).all()),
                "seconds_in_all": time.monotonic() - began,
            }
        del run
    gc.collect()
    torch.compiler.reset()
    torch.cuda.empty_cache()


def operations_of_a_sample(run: Run) -> float:
    """Floating-point operations per material, forward and backward, as torch counts them (matrix products)."""
    batch = run.validation_batches.batch(run.table.rows("train")[:COUNTED], seed=0)
    randomness = draw_randomness(len(batch), run.recipe, generator=torch.Generator(run.device).manual_seed(0))
    counter = FlopCounterMode(display=False)
    with counter:
        losses = batch_losses(run.module, batch, run.recipe, run.statistics, randomness)
        torch.stack(list(losses.values())).sum().backward()
    run.module.zero_grad(set_to_none=True)
    return counter.get_total_flops() / len(batch)


def lines_to_table(lines: list[dict[str, Any]]) -> str:
    """The measurements as a Markdown table."""
    columns = list(dict.fromkeys(name for line in lines for name in line if name != "seconds_in_all"))
    return markdown_table(columns, [[_cell(line.get(name)) for name in columns] for line in lines])


def _cell(value: object) -> str:
    if value is None or isinstance(value, bool | str):
        return "" if value is None else str(value)
    return f"{value:,.0f}" if value >= 1000 or isinstance(value, int) else f"{value:.4g}"


def measure(arguments: argparse.Namespace, device: torch.device) -> Iterator[dict[str, Any]]:
    """All measurements, the most important ones first."""
    ceiling = 1.0
    for line in ceilings(device):
        ceiling = line.get("teraflops", ceiling)
        yield line
    yield from batches(arguments.dataset, device, batch=arguments.batches[-1])
    first, *others = arguments.presets
    middle = (arguments.batches[len(arguments.batches) // 2],)
    for compiled in (False, True) if arguments.compile else (False,):
        for preset, sizes in [(first, tuple(arguments.batches)), *((other, middle) for other in others)]:
            chosen = middle if compiled else sizes
            yield from steps(preset, arguments.dataset, device, sizes=chosen, compiled=compiled, ceiling=ceiling)


def main() -> None:
    """Measure until the time is over, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset", type=Path)
    parser.add_argument("--seconds", type=float, default=500.0, help="no measurement starts after this time")
    parser.add_argument("--batches", type=int, nargs="*", default=list(BATCHES))
    parser.add_argument("--presets", nargs="*", default=list(PRESETS))
    parser.add_argument("--compile", action=argparse.BooleanOptionalAction, default=torch.cuda.is_available())
    parser.add_argument("--output", type=Path, default=Path(os.environ.get("OUT", "build/gpu")))
    arguments = parser.parse_args()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    deadline = time.monotonic() + arguments.seconds
    arguments.output.mkdir(parents=True, exist_ok=True)
    about = {
        "hardware": torch.cuda.get_device_name() if device.type == "cuda" else "CPU",
        "torch": torch.__version__,
        "date": time.strftime("%Y-%m-%d %H:%M", time.gmtime()),
    }
    lines: list[dict[str, Any]] = []
    with (arguments.output / "floors.jsonl").open("w", encoding="utf-8") as file:
        file.write(json.dumps(about) + "\n")
        for line in measure(arguments, device):
            lines.append(line)
            file.write(json.dumps(line) + "\n")
            file.flush()
            if time.monotonic() > deadline:
                break
    print(lines_to_table(lines))


if __name__ == "__main__":
    main()
