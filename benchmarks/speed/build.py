"""What does building a dataset from structures cost in time, memory and disk, and how does that grow with its size?

    python benchmarks/speed/build.py            # writes docs/results/build.md
    python benchmarks/speed/build.py --quick    # 1,000 structures, writes nothing
    python benchmarks/speed/build.py --keep F   # also keep the largest dataset in the folder F

Datasets of the first 10³, 10⁴ and all rows of the shipped table are built with two processes, without and with
symmetry, and extrapolated to five million structures.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # the repository

import shutil
import tempfile
import threading
import time
from typing import Self

import psutil

from benchmarks.harness import TABLE, argument_parser, finish, markdown_table
from xxact_core.dataset.building.build import BuildPlan, build_dataset
from xxact_core.dataset.inspection import describe_dataset, verify_dataset
from xxact_core.dataset.store import file_digest
from xxact_core.structures.sources import count_items

PROCESSES = 2
PROJECTED = 5_000_000


class MemoryWatch:
    """The largest resident memory of this process and all its children together [MB], sampled five times a second."""

    def __enter__(self) -> Self:
        self.largest, self._over = 0.0, threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._over.wait(0.2):
            total = 0
            for process in (psutil.Process(), *psutil.Process().children(recursive=True)):
                try:
                    total += process.memory_info().rss
                except psutil.NoSuchProcess:
                    continue
            self.largest = max(self.largest, total / 1e6)


def measure(rows: int, folder: Path, *, symmetry: bool) -> dict[str, float]:
    """Build a dataset; its time, memory and size."""
    plan = BuildPlan(source=str(TABLE), limit=None if rows == count_items(TABLE) else rows, symmetry=symmetry)
    began = time.perf_counter()
    with MemoryWatch() as memory:
        counts = build_dataset(plan, folder, workers=PROCESSES, progress=False)
    seconds = time.perf_counter() - began
    assert counts["materials"] + counts["errors"] == rows
    description = describe_dataset(folder)
    return {
        "structures": rows,
        "seconds": seconds,
        "structures_per_second": rows / seconds,
        "resident_mb": memory.largest,
        "errors": counts["errors"],
        "lines_per_material": description["lines_per_material"],
        "bytes_per_material": description["bytes_per_material"],
    }


def measure_all(sizes: list[int], *, keep: Path | None) -> tuple[list[tuple[str, dict[str, float]]], float]:
    """What each dataset cost, without and with symmetry, and the time to verify the last one [s]."""
    rows: list[tuple[str, dict[str, float]]] = []
    with tempfile.TemporaryDirectory() as temporary:
        for symmetry, title in ((False, "sticks only"), (True, "with symmetry")):
            for size in sizes:
                folder = Path(temporary) / f"{size}-{symmetry}"
                rows.append((title, measure(size, folder, symmetry=symmetry)))
                print(title, rows[-1][1], file=sys.stderr, flush=True)
        began = time.perf_counter()
        assert verify_dataset(folder) == []
        verified = time.perf_counter() - began
        if keep:
            shutil.copytree(folder, keep)
    return rows, verified


def main() -> None:
    """Measure, print, and write the page unless --quick is given."""
    parser = argument_parser(__doc__)
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="where the largest dataset is kept")
    arguments = parser.parse_args()
    sizes = [1000] if arguments.quick else [1000, 10_000, count_items(TABLE)]
    rows, verified = measure_all(sizes, keep=arguments.keep)
    sticks, last = rows[len(sizes) - 1][1], rows[-1][1]
    figures = {
        "sticks_seconds": sticks["seconds"],
        "build_seconds": last["seconds"],
        "verify_seconds": verified,
        "resident_mb": last["resident_mb"],
        "bytes_per_material": last["bytes_per_material"],
        "structures": last["structures"],
        "projected_5m_core_hours": PROJECTED / last["structures_per_second"] * PROCESSES / 3600,
        "projected_5m_sticks_core_hours": PROJECTED / sticks["structures_per_second"] * PROCESSES / 3600,
        "projected_5m_gb": PROJECTED * last["bytes_per_material"] / 1e9,
    }
    table = markdown_table(
        ["dataset", "structures", "time [s]", "structures/s", "memory [MB]", "reflections/material", "bytes/material"],
        [
            [
                title,
                f"{row['structures']:,}",
                *(f"{row[name]:.0f}" for name in ("seconds", "structures_per_second", "resident_mb")),
                *(f"{row[name]:.0f}" for name in ("lines_per_material", "bytes_per_material")),
            ]
            for title, row in rows
        ],
    )
    summary = (
        f"Five million structures at the last rate: {figures['projected_5m_core_hours']:.0f} core-hours "
        f"with symmetry, {figures['projected_5m_sticks_core_hours']:.1f} for sticks only, and "
        f"{figures['projected_5m_gb']:.1f} GB. Verifying the largest dataset took {verified:.0f} s."
    )
    finish(
        __file__,
        f"{table}\n\n{summary}",
        figures,
        quick=arguments.quick,
        title="Building a dataset",
        introduction=f"From `xxact_core/data/materials_project.parquet`, {PROCESSES} processes. Times include reading "
        "the table, writing, and starting a process for each shard; the machine is small and shared, so their growth "
        "says more than their values. Memory is the largest resident memory of all processes together.",
        data_digest=file_digest(TABLE),
    )


if __name__ == "__main__":
    main()
