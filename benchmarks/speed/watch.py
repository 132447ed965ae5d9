"""Is every file of a watched folder answered once, and how fast?

    python benchmarks/speed/watch.py            # 500 files; writes docs/results/watch.md
    python benchmarks/speed/watch.py --quick    # 10 files, writes nothing

Variants of four measured patterns that ship, each with noise of its own so that no two are equal, are dropped at once
into a folder that `xxact watch` watches with its usual settings: JSON, report and plot for each, with phases and
prediction. In the middle the watcher is killed (SIGKILL) and started again. The time of a file is wall time from the
drop to the last answer, over the number of files; the second start, its loading of tables and model included.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # the repository

import json
import os
import signal
import subprocess
import tempfile
import time
from collections import Counter

import numpy as np

from benchmarks.harness import EXAMPLES, TABLE, Figure, argument_parser, cpu_time, figures_to_table, finish
from xxact_core.dataset.store import file_digest
from xxact_core.readers.read import read_pattern

PATTERNS = ("zincite.prn", "anatase.xy", "rutile.raw", "titania_zinc_oxide_mixture.xrdml")
ELEMENTS = "Ti,Zn,O"
REPORTED = 3
"""Files for each answer: JSON, report, plot."""

FIGURES = {
    "files": Figure("files dropped at once", "{:.0f}"),
    "answered": Figure("files with a complete answer", "{:.0f}"),
    "twice": Figure("files answered twice", "{:.0f}", at_most=0),
    "missing": Figure("files without an answer", "{:.0f}", at_most=0),
    "seconds_per_file": Figure("time of a file", "{:.2f} s", at_most=1),
    "slowest_seconds": Figure("slowest file, without waiting for others", "{:.2f} s"),
    "cpu_seconds_per_file": Figure("CPU time of a file, both starts included", "{:.2f} s"),
    "named": Figure("files whose phases are those of the specimen", "{:.0%}"),
}
PHASES = {
    "zincite.prn": {"ZnO"},
    "anatase.xy": {"TiO2"},
    "rutile.raw": {"TiO2"},
    "titania_zinc_oxide_mixture.xrdml": {"ZnO", "TiO2"},
}
"""Phases of the specimens. Source: xxact_core/data/examples/examples.csv."""


def drop(folder: Path, *, files: int) -> None:
    """Write the variants to a folder beside, and move them there at once."""
    random = np.random.default_rng(0)
    beside = folder.with_name("beside")
    beside.mkdir()
    patterns = {name: read_pattern(EXAMPLES / name, wavelength="CuKa") for name in PATTERNS}
    for number in range(files):
        name = PATTERNS[number % len(PATTERNS)]
        pattern = patterns[name]
        noisy = pattern.intensity + random.normal(0, 0.01 * pattern.intensity.std(), pattern.intensity.size)
        columns = np.column_stack([pattern.two_theta, np.maximum(noisy, 0)])
        np.savetxt(beside / f"{number:04d}_{Path(name).stem}.xy", columns, fmt="%.4f %.3f")
    for path in sorted(beside.iterdir()):
        path.rename(folder / path.name)


def start(folder: Path, output: Path, *more: str) -> subprocess.Popen[str]:
    """Start the watcher; its answers are lines of JSON."""
    line = [sys.executable, "-m", "xxact_core.commands.main", "watch", str(folder), "--output", str(output)]
    line += ["--elements", ELEMENTS, "--wavelength", "CuKa", "--json", *more]
    path = os.pathsep.join([str(Path(__file__).resolve().parents[2]), os.environ.get("PYTHONPATH", "")])
    return subprocess.Popen(
        line, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env={**os.environ, "PYTHONPATH": path}
    )


def answers_of(process: subprocess.Popen[str], *, most: int | None = None) -> list[dict[str, object]]:
    """The answers that a watcher prints, until it ends or there are enough."""
    assert process.stdout is not None
    found: list[dict[str, object]] = []
    for line in process.stdout:
        found.append(json.loads(line))
        if most is not None and len(found) >= most:
            break
    return found


def measure(scratch: Path, *, files: int) -> dict[str, float]:
    """Drop the files, kill the watcher in the middle, start it again, and count the answers."""
    folder, output = scratch / "measured", scratch / "answers"
    folder.mkdir()
    cpu = cpu_time()
    first = start(folder, output)
    while not (output / ".xxact-watch" / "lock").is_file():
        time.sleep(0.05)
    drop(folder, files=files)
    began = time.perf_counter()
    printed = answers_of(first, most=files // 2)
    first.send_signal(signal.SIGKILL)
    first.wait()
    second = start(folder, output, "--once")
    printed += answers_of(second)
    second.wait()
    seconds = time.perf_counter() - began
    written = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(output.glob("*.json"))]
    counts = Counter(answer["watched"]["file"] for answer in written)
    complete = [path for path in folder.iterdir() if len(list(output.glob(f"{path.name}.*"))) == REPORTED]
    kinds = {Path(name).stem: phases for name, phases in PHASES.items()}
    right = [
        {phase["formula"] for phase in answer["phases"]} == kinds[answer["file"].split("_", 1)[1].removesuffix(".xy")]
        for answer in written
        if answer["status"] == "ok"
    ]
    return {
        "files": files,
        "answered": len(complete),
        "twice": sum(count > 1 for count in counts.values()),
        "missing": files - len(counts),
        "seconds_per_file": seconds / files,
        "slowest_seconds": max(float(str(answer["seconds"])) for answer in printed),
        "cpu_seconds_per_file": (cpu_time() - cpu) / files,
        "named": sum(right) / files,
    }


def main() -> None:
    """Measure everything and write the page."""
    arguments = argument_parser(__doc__).parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        figures = measure(Path(scratch), files=10 if arguments.quick else 500)
    finish(
        __file__,
        figures_to_table(figures, FIGURES),
        figures,
        quick=arguments.quick,
        title="A watched folder",
        introduction="Files dropped at once into a folder that `xxact watch` watches; it is killed in the middle and "
        "started again.",
        data_digest=file_digest(TABLE),
    )


if __name__ == "__main__":
    main()
