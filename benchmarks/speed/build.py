"""Structures to data set: time, memory and disk, and how they grow with the number of structures.

    python benchmarks/speed/build.py [--quick] [--keep FOLDER]

Builds data sets of the first 10³, 10⁴ and all rows of the shipped table with two processes, sticks alone and with
symmetry, and projects to five million. With --keep the largest one stays. The last line printed is a JSON object.
"""

from __future__ import annotations

import argparse
import json
import shutil
import tempfile
import threading
import time
from pathlib import Path
from typing import Self

import psutil

from xxact_core.dataset.building.build import BuildPlan, build_dataset
from xxact_core.dataset.inspection import describe_dataset, verify_dataset
from xxact_core.evaluation.provenance import file_to_line
from xxact_core.structures.sources import count_items

REPOSITORY = Path(__file__).resolve().parents[2]
TABLE = REPOSITORY / "xxact_core" / "data" / "materials_project.parquet"
RESULTS = REPOSITORY / "docs" / "results" / "build.md"
PROCESSES = 2
PROJECTED = 5_000_000


class MemoryWatch:
    """The largest resident memory of this process and all its children together [MB], looked at five times a second."""

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
    """Build a data set and say what it cost."""
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


def main() -> None:
    """Measure, print, and write the page unless in a hurry."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--keep", type=Path)
    arguments = parser.parse_args()
    sizes = [1000] if arguments.quick else [1000, 10_000, count_items(TABLE)]
    rows: list[tuple[str, dict[str, float]]] = []
    with tempfile.TemporaryDirectory() as temporary:
        for symmetry, title in ((False, "sticks alone"), (True, "with symmetry")):
            for size in sizes:
                folder = Path(temporary) / f"{size}-{symmetry}"
                rows.append((title, measure(size, folder, symmetry=symmetry)))
                print(title, rows[-1][1], flush=True)
        began = time.perf_counter()
        assert verify_dataset(folder) == []
        verified = time.perf_counter() - began
        if arguments.keep:
            shutil.copytree(folder, arguments.keep)
    last = rows[-1][1]
    figures = {
        "sticks_seconds": rows[len(sizes) - 1][1]["seconds"],
        "build_seconds": last["seconds"],
        "verify_seconds": verified,
        "resident_mb": last["resident_mb"],
        "bytes_per_material": last["bytes_per_material"],
        "structures": last["structures"],
        "projected_5m_core_hours": PROJECTED / last["structures_per_second"] * PROCESSES / 3600,
        "projected_5m_sticks_core_hours": PROJECTED
        / rows[len(sizes) - 1][1]["structures_per_second"]
        * PROCESSES
        / 3600,
        "projected_5m_gb": PROJECTED * last["bytes_per_material"] / 1e9,
    }
    table = (
        f"| {PROCESSES} processes | structures | seconds | structures/s | resident [MB] | lines/material "
        "| bytes/material |\n|---|---|---|---|---|---|---|\n"
    ) + "".join(
        f"| {title} | {row['structures']:,} | {row['seconds']:.0f} | {row['structures_per_second']:.0f} "
        f"| {row['resident_mb']:.0f} | {row['lines_per_material']:.0f} | {row['bytes_per_material']:.0f} |\n"
        for title, row in rows
    )
    summary = (
        f"Projected to five million structures at the last rate: {figures['projected_5m_core_hours']:.0f} core-hours "
        f"with symmetry, {figures['projected_5m_sticks_core_hours']:.1f} for sticks alone, and "
        f"{figures['projected_5m_gb']:.1f} GB. Checking the largest data set took {verified:.0f} s.\n"
    )
    print(table + summary)
    if not arguments.quick:
        RESULTS.write_text(
            "# From structures to a dataset\n\nMade by `benchmarks/speed/build.py` from "
            "`data/materials_project.parquet`. Times include reading the table, writing, and starting a process for "
            "each shard. They are from a small shared machine: what matters is how they grow.\n\n"
            f"{file_to_line(TABLE)}\n\n{table}\n{summary}",
            encoding="utf-8",
        )
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
