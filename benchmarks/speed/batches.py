"""How fast are batches of patterns made from sticks: ideal and distorted, from memory and from disk?

    python benchmarks/speed/batches.py            # about 10 GB of memory, writes docs/results/batches.md
    python benchmarks/speed/batches.py --quick    # on 600 materials, writes nothing

The table of five million materials holds copies of the dataset's, with scaled cells. One process; one thread where
nothing else is stated.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # the repository

import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch

from benchmarks.harness import TABLE, Figure, argument_parser, figures_to_table, finish, standard_dataset
from xxact_core.augmentation.config import AugmentationConfig
from xxact_core.dataset.loading.batches import BatchMaker
from xxact_core.dataset.loading.sampler import blockwise_order, shuffled_order
from xxact_core.dataset.store import file_digest
from xxact_core.dataset.table import ResidentSticks, ShardSticks, StickTable, read_dataset
from xxact_core.peak_profiles.reference import broaden_sticks

BATCH = 1024
"""Small enough that the C library keeps the memory of a batch (17 MB) for the next; above 32 MB it gives it back."""

COMPARED = 200
CPU = torch.device("cpu")
FIGURES = {
    "materials": Figure("materials in the dataset"),
    "lines_per_material": Figure("reflections per material, mean"),
    "bytes_per_material_in_memory": Figure(
        "bytes per material in memory: reflections, lattice, symmetry, composition, labels"
    ),
    "bytes_per_material": Figure("bytes per material on disk"),
    "samples_per_second": Figure("ideal patterns per second, from memory"),
    "samples_per_processor_second": Figure("the same per second of CPU time"),
    "samples_per_second_two_threads": Figure("the same with two threads, per second"),
    "samples_per_second_distorted": Figure("every pattern augmented by every effect, per second"),
    "samples_per_second_compact": Figure("augmented as in the recipe `compact` (40 % of the patterns), per second"),
    "samples_per_second_5m": Figure("ideal, from the enlarged table in memory, per second"),
    "materials_5m": Figure("materials in the enlarged table"),
    "samples_per_second_streamed": Figure("ideal, from disk in shuffled blocks of shards, per second"),
    "samples": Figure("patterns made for the first speed"),
    "max_error": Figure("largest deviation from the exact peak sum, 0-100 scale"),
}


@dataclass(frozen=True)
class Speed:
    """Speed of making patterns."""

    per_second: float
    """Patterns per second of wall time."""

    per_cpu_second: float
    """Patterns per second of CPU time."""

    patterns: int
    """How many were made."""


def speed_of(make: Callable[[int], int], *, seconds: float) -> Speed:
    """Speed of making batches step by step for some time; the first call, which compiles, is not counted."""
    make(0)
    count, step, began, worked = 0, 1, time.perf_counter(), time.process_time()
    while (elapsed := time.perf_counter() - began) < seconds:
        count += make(step)
        step += 1
    return Speed(count / elapsed, count / (time.process_time() - worked), count)


def from_memory(
    table: StickTable, *, augmentation: AugmentationConfig | None = None, threads: int = 1, seconds: float
) -> Speed:
    """Speed with all rows in memory, shuffled."""
    maker = BatchMaker(table, device=CPU, augmentation=augmentation, threads=threads)
    order = shuffled_order(np.arange(len(table)), batch_size=BATCH, seed=0)
    return speed_of(lambda step: len(maker.batch(order.step(step), seed=step)), seconds=seconds)


def from_disk(folder: Path, *, seconds: float) -> float:
    """Patterns per second with at most sixteen shards in memory, shuffled in blocks of eight shards."""
    table = read_dataset(folder, resident=False, kept=16)
    assert isinstance(table.stored, ShardSticks)
    first_row = table.stored.first_row
    block = 8 * int(np.diff(first_row).max())
    order = blockwise_order(np.arange(len(table)), first_row, batch_size=BATCH, seed=0, block_rows=block)
    maker = BatchMaker(table, device=CPU)
    return speed_of(lambda step: len(maker.batch(order.step(step), seed=step)), seconds=seconds).per_second


def enlarge(table: StickTable, *, materials: int) -> StickTable:
    """A table of at least `materials` rows: copies of the given ones, with cells scaled by up to ± 2 %."""
    copies = -(-materials // len(table))
    generator = np.random.default_rng(0)

    def repeated(values: np.ndarray) -> np.ndarray:
        return np.tile(values, (copies, *[1] * (values.ndim - 1)))

    def starts(counts: np.ndarray) -> np.ndarray:
        return np.concatenate([[0], np.cumsum(repeated(counts), dtype=np.int64)])

    cell = repeated(table.cell)
    cell[:, :3] *= generator.uniform(0.98, 1.02, (len(cell), 1))
    return replace(
        table,
        id=np.broadcast_to("", len(cell)),
        formula=np.broadcast_to("", len(cell)),
        split=repeated(table.split),
        energy_kind=repeated(table.energy_kind),
        targets={name: repeated(values) for name, values in table.targets.items()},
        cell=cell,
        element_start=starts(np.diff(table.element_start)),
        atomic_number=repeated(table.atomic_number),
        fraction=repeated(table.fraction),
        rotation_start=starts(np.diff(table.rotation_start)),
        rotations=repeated(table.rotations),
        reflection_count=repeated(table.reflection_count),
        stored=ResidentSticks(starts(table.reflection_count), repeated(table.hkl), repeated(table.intensity)),
    )


def bytes_in_memory(table: StickTable) -> int:
    """Bytes of all numerical arrays."""
    arrays = [table.hkl, table.intensity, table.peak_start, table.cell, table.rotations, table.rotation_start]
    arrays += [table.element_start, table.atomic_number, table.fraction, *table.targets.values()]
    return sum(array.nbytes for array in arrays)


def largest_error(table: StickTable) -> float:
    """Largest deviation of random ideal patterns from the exact peak sum in double precision, 0-100 scale."""
    rows = np.random.default_rng(1).integers(len(table), size=COMPARED)
    made = BatchMaker(table, device=CPU).batch(rows, seed=0).intensity.numpy()
    return max(
        float(np.abs(broaden_sticks(table.sticks(int(row))).intensity - mine).max())
        for row, mine in zip(rows, made, strict=True)
    )


def measure(folder: Path, *, quick: bool) -> dict[str, float]:
    """All figures of one dataset."""
    table, seconds = read_dataset(folder), 1.0 if quick else 10.0
    speed = from_memory(table, seconds=seconds)
    everything = AugmentationConfig(share=1.0)
    figures = {
        "materials": len(table),
        "lines_per_material": float(table.reflection_count.mean()),
        "bytes_per_material_in_memory": bytes_in_memory(table) / len(table),
        "bytes_per_material": sum(path.stat().st_size for path in folder.glob("*.h5")) / len(table),
        "samples_per_second": speed.per_second,
        "samples_per_processor_second": speed.per_cpu_second,
        "samples": speed.patterns,
        "max_error": largest_error(table),
        "samples_per_second_two_threads": from_memory(table, threads=2, seconds=seconds).per_second,
        "samples_per_second_distorted": from_memory(table, augmentation=everything, seconds=seconds).per_second,
        "samples_per_second_compact": from_memory(table, augmentation=AugmentationConfig(), seconds=seconds).per_second,
        "samples_per_second_streamed": from_disk(folder, seconds=seconds),
    }
    large = enlarge(table, materials=200_000 if quick else 5_000_000)
    figures["materials_5m"] = len(large)
    figures["samples_per_second_5m"] = from_memory(large, seconds=seconds).per_second
    return figures


def main() -> None:
    """Measure, print, and write the page unless --quick is given."""
    arguments = argument_parser(__doc__, dataset=True).parse_args()
    torch.set_num_threads(1)
    with standard_dataset(arguments) as folder:
        figures = measure(folder, quick=arguments.quick)
    finish(
        __file__,
        figures_to_table(figures, FIGURES),
        figures,
        quick=arguments.quick,
        title="Making batches from sticks",
        introduction=f"One process, one thread; batches of {BATCH} materials in shuffled order, each with patterns, "
        "composition and labels.",
        data_digest=file_digest(TABLE),
    )


if __name__ == "__main__":
    main()
