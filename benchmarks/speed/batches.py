"""How fast batches are made from sticks: ideal and distorted, from memory, from five million materials, and from disk.

python benchmarks/speed/batches.py            a minute or two, about 10 GB of memory, writes docs/results/batches.md
python benchmarks/speed/batches.py --quick    less than 45 seconds

The data set is the one in `--dataset`; where it is not there, a smaller one is made for the purpose. Five million
materials are those of the data set again and again, each time with cells of another size. One process and, but for the
line that says so, one thread. The last line printed is a JSON object.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from xxact_core.augmentation.config import Distortions
from xxact_core.dataset.building.build import BuildPlan, build_dataset
from xxact_core.dataset.loading.batches import BatchMaker
from xxact_core.dataset.loading.sampler import blockwise_order, shuffled_order
from xxact_core.dataset.table import ResidentSticks, ShardSticks, StickTable, read_dataset
from xxact_core.evaluation.provenance import file_to_line
from xxact_core.peak_profiles.reference import smear

REPOSITORY = Path(__file__).resolve().parents[2]
RESULTS = REPOSITORY / "docs" / "results" / "batches.md"
TABLE = REPOSITORY / "xxact_core" / "data" / "materials_project.parquet"

BATCH = 1024
"""Small enough that the C library keeps the memory of a batch (17 MB) for the next; above 32 MB it gives it back."""

COMPARED = 200
CPU = torch.device("cpu")
SAID = {
    "materials": "materials of the data set",
    "lines_per_material": "lines of a material, mean",
    "bytes_per_material_in_memory": "bytes of a material in memory: lines, lattice, symmetry, composition, labels",
    "bytes_per_material": "bytes of a material on disk",
    "samples_per_second": "ideal patterns a second, from memory",
    "samples_per_processor_second": "the same, a second of the processor's work (others may use it, too)",
    "samples_per_second_two_threads": "the same, two threads",
    "samples_per_second_distorted": "every pattern distorted, by every effect",
    "samples_per_second_compact": "distorted as in the recipe compact (40 %)",
    "samples_per_second_5m": "ideal, from as many materials as the next line says, in memory",
    "materials_5m": "materials of that table",
    "samples_per_second_streamed": "ideal, from disk in shuffled blocks of shards, sixteen shards kept",
    "samples": "patterns made for the first figure",
    "max_error": "largest difference from the exact smear, 0-100 scale",
}


@dataclass(frozen=True)
class Speed:
    """Patterns a second by the clock, and a second that the processor worked for this process; how many were made."""

    per_second: float
    per_processor_second: float
    patterns: int


def speed_of(make: Callable[[int], int], *, seconds: float) -> Speed:
    """Speed of making batches step by step; the first call, which compiles, is not counted."""
    make(0)
    count, step, began, worked = 0, 1, time.perf_counter(), time.process_time()
    while (elapsed := time.perf_counter() - began) < seconds:
        count += make(step)
        step += 1
    return Speed(count / elapsed, count / (time.process_time() - worked), count)


def from_memory(
    table: StickTable, *, distortions: Distortions | None = None, threads: int = 1, seconds: float
) -> Speed:
    """Patterns a second of batches of all rows, shuffled."""
    maker = BatchMaker(table, device=CPU, distortions=distortions, threads=threads)
    order = shuffled_order(np.arange(len(table)), batch_size=BATCH, seed=0)
    return speed_of(lambda step: len(maker.batch(order.step(step), seed=step)), seconds=seconds)


def from_disk(folder: Path, *, seconds: float) -> float:
    """Patterns a second where no more than sixteen shards are in memory and blocks of eight are mixed."""
    table = read_dataset(folder, resident=False, kept=16)
    assert isinstance(table.stored, ShardSticks)
    first_row = table.stored.first_row
    block = 8 * int(np.diff(first_row).max())
    order = blockwise_order(np.arange(len(table)), first_row, batch_size=BATCH, seed=0, block_rows=block)
    maker = BatchMaker(table, device=CPU)
    return speed_of(lambda step: len(maker.batch(order.step(step), seed=step)), seconds=seconds).per_second


def enlarge(table: StickTable, *, materials: int) -> StickTable:
    """A table of so many materials: the same again and again, each time in cells of another size (up to ± 2 %)."""
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
        energy_is_exact=repeated(table.energy_is_exact),
        targets={name: repeated(values) for name, values in table.targets.items()},
        cell=cell,
        element_start=starts(np.diff(table.element_start)),
        atomic_number=repeated(table.atomic_number),
        fraction=repeated(table.fraction),
        rotation_start=starts(np.diff(table.rotation_start)),
        rotations=repeated(table.rotations),
        line_count=repeated(table.line_count),
        stored=ResidentSticks(starts(table.line_count), repeated(table.hkl), repeated(table.intensity)),
    )


def bytes_in_memory(table: StickTable) -> int:
    """Of all arrays of numbers."""
    arrays = [table.hkl, table.intensity, table.peak_start, table.cell, table.rotations, table.rotation_start]
    arrays += [table.element_start, table.atomic_number, table.fraction, *table.targets.values()]
    return sum(array.nbytes for array in arrays)


def largest_error(table: StickTable) -> float:
    """Largest difference of ideal patterns drawn at random from the exact smear in double precision."""
    rows = np.random.default_rng(1).integers(len(table), size=COMPARED)
    made = BatchMaker(table, device=CPU).batch(rows, seed=0).intensity.numpy()
    return max(
        float(np.abs(smear(table.sticks(int(row))).intensity - mine).max())
        for row, mine in zip(rows, made, strict=True)
    )


def measure(folder: Path, *, quick: bool) -> dict[str, float]:
    """All figures of one data set."""
    table, seconds = read_dataset(folder), 1.0 if quick else 10.0
    speed = from_memory(table, seconds=seconds)
    everything = Distortions(share=1.0)
    figures = {
        "materials": len(table),
        "lines_per_material": float(table.line_count.mean()),
        "bytes_per_material_in_memory": bytes_in_memory(table) / len(table),
        "bytes_per_material": sum(path.stat().st_size for path in folder.glob("*.h5")) / len(table),
        "samples_per_second": speed.per_second,
        "samples_per_processor_second": speed.per_processor_second,
        "samples": speed.patterns,
        "max_error": largest_error(table),
        "samples_per_second_two_threads": from_memory(table, threads=2, seconds=seconds).per_second,
        "samples_per_second_distorted": from_memory(table, distortions=everything, seconds=seconds).per_second,
        "samples_per_second_compact": from_memory(table, distortions=Distortions(), seconds=seconds).per_second,
        "samples_per_second_streamed": from_disk(folder, seconds=seconds),
    }
    large = enlarge(table, materials=200_000 if quick else 5_000_000)
    figures["materials_5m"] = len(large)
    figures["samples_per_second_5m"] = from_memory(large, seconds=seconds).per_second
    return figures


def main() -> None:
    """Measure, print, and write the table unless in a hurry."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset", type=Path, default=REPOSITORY / "build" / "materials_project")
    parser.add_argument("--quick", action="store_true")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as scratch:
        folder = arguments.dataset
        if not (folder / "manifest.json").is_file():
            folder = Path(scratch) / "dataset"
            plan = BuildPlan(source=str(TABLE), limit=600 if arguments.quick else 20_000, shard_rows=500)
            build_dataset(plan, folder, workers=2, progress=False)
        figures = measure(folder, quick=arguments.quick)
    table = "| what | |\n|---|---|\n" + "".join(
        f"| {SAID[name]} | {figures[name]:{',.0f' if figures[name] >= 1000 else '.4g'}} |\n" for name in SAID
    )
    print(table)
    if not arguments.quick:
        RESULTS.parent.mkdir(parents=True, exist_ok=True)
        RESULTS.write_text(
            "# Batches from sticks\n\nMade by `benchmarks/speed/batches.py`: one process, one thread, batches "
            f"of {BATCH} materials in shuffled order, each with patterns, composition and labels.\n\n"
            f"{file_to_line(TABLE)}\n\n{table}",
            encoding="utf-8",
        )
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
