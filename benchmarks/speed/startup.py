"""How quickly do commands start, and how simple is the way through the code?

    python benchmarks/speed/startup.py            # writes docs/results/house.md; runs all tests in a fresh clone
    python benchmarks/speed/startup.py --quick    # a few repeats, writes nothing

CPU time is user and system time of the command and of the processes that it starts, on one thread, divided by that of
`python -c "import torch"` in the same round; the value is the median over rounds in which the commands take turns.
Modules are those in which a function is entered while an example is read for the second time; the largest number over
all examples counts. An import cycle is a group of modules that import each other, imports inside functions included and
imports for types excluded.
"""

from __future__ import annotations

import sys
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(REPOSITORY), str(REPOSITORY / "tests")]  # the methods of the tests are those of the figures

import os
import subprocess
import tempfile
import time

from import_cycles import find_cycles, import_graph
from tracing import modules_entered
from wheels import build_wheel

from benchmarks.harness import (
    EXAMPLES,
    TABLE,
    Figure,
    alternate,
    argument_parser,
    figures_to_table,
    finish,
    median_ratio,
)
from xxact_core.dataset.store import file_digest

COMMANDS = {
    "predict_over_torch": ("predict", str(EXAMPLES / "quartz.xrdml"), "--formula", "SiO2"),
    "identify_over_torch": (
        "identify", str(EXAMPLES / "zincite.prn"), "--wavelength", "CuKa", "--elements", "Zn,O",
    ),
}  # fmt: skip
FIGURES = {
    "predict_over_torch": Figure("CPU time of `xxact predict FILE`, over `import torch`", "{:.2f}", at_most=1.6),
    "identify_over_torch": Figure(
        "CPU time of `xxact identify FILE --elements Zn,O`, over the same", "{:.2f}", at_most=1.3
    ),
    "package_over_numpy": Figure("CPU time of `import xxact_core`, over `import numpy`", "{:.2f}", at_most=1),
    "modules_of_a_file": Figure("modules that a file's bytes pass until a `Pattern`", "{:.0f}", at_most=6),
    "import_cycles": Figure("import cycles, imports inside functions included", "{:.0f}", at_most=0),
    "mypy_errors": Figure("errors of `mypy --strict` in `xxact_core`", "{:.0f}", at_most=0),
    "wheel_megabytes": Figure("size of the wheel", "{:.1f} MB", at_most=80),
    "make_env_minutes": Figure("`make env` in a fresh clone, wall time", "{:.1f} min"),
    "make_test_minutes": Figure("`make test` there, with documentation, wheel and browser", "{:.1f} min", at_most=14),
}


def cpu_ratios(*, rounds: int) -> dict[str, float]:
    """CPU time of commands over that of importing torch, and of importing the package over numpy."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(REPOSITORY)}

    def fresh(*arguments: str) -> None:
        line = [sys.executable, *arguments]
        subprocess.run(line, env=environment, check=True, stdout=subprocess.DEVNULL)

    works = [
        lambda: fresh("-c", "import torch"),
        *(lambda command=command: fresh("-m", "xxact_core.commands.main", *command) for command in COMMANDS.values()),
        lambda: fresh("-c", "import numpy"),
        lambda: fresh("-c", "import xxact_core"),
    ]
    times = alternate(*works, rounds=rounds)
    ratios = {name: median_ratio([(row[0], row[1 + place]) for row in times]) for place, name in enumerate(COMMANDS)}
    return {**ratios, "package_over_numpy": median_ratio([row[-2:] for row in times])}


def modules_of_a_file() -> int:
    """Modules in which a function is entered while an example is read: the largest number over the examples."""
    from xxact_core.readers.read import read_pattern

    counts = []
    for path in sorted(EXAMPLES.iterdir()):
        if path.name != "examples.csv":
            read_pattern(path)
            counts.append(len(modules_entered(lambda path=path: read_pattern(path), package="xxact_core")))
    return max(counts)


def mypy_errors() -> int:
    """Errors that mypy finds in strict mode."""
    line = [sys.executable, "-m", "mypy", "--strict", "--no-error-summary", "xxact_core"]
    result = subprocess.run(line, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    if result.returncode not in {0, 1}:
        raise RuntimeError(result.stdout + result.stderr)
    return sum(": error: " in text for text in result.stdout.splitlines())


def wheel_megabytes() -> float:
    """Size of the wheel [MB]."""
    with tempfile.TemporaryDirectory() as folder:
        return build_wheel(REPOSITORY, Path(folder)).stat().st_size / 1e6


def suite_minutes() -> dict[str, float]:
    """Wall time [min] of making the environment and of all tests in a fresh clone; raises where a test fails."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    minutes = {}
    with tempfile.TemporaryDirectory() as folder:
        clone = Path(folder) / "clone"
        subprocess.run(["git", "clone", "--quiet", str(REPOSITORY), str(clone)], check=True)
        for target in ("env", "test"):
            start = time.perf_counter()
            subprocess.run(["make", target], cwd=clone, env=environment, stdout=sys.stderr, check=True)
            minutes[f"make_{target}_minutes"] = (time.perf_counter() - start) / 60
    return minutes


def main() -> None:
    """Measure everything and write the page."""
    arguments = argument_parser(__doc__).parse_args()
    figures: dict[str, float | None] = {
        **cpu_ratios(rounds=1 if arguments.quick else 7),
        "modules_of_a_file": modules_of_a_file(),
        "import_cycles": len(find_cycles(import_graph(REPOSITORY))),
        "mypy_errors": mypy_errors(),
        "wheel_megabytes": wheel_megabytes(),
        **({"make_env_minutes": None, "make_test_minutes": None} if arguments.quick else suite_minutes()),
    }
    finish(
        __file__,
        figures_to_table(figures, FIGURES),
        figures,
        quick=arguments.quick,
        title="Start-up, structure and packaging",
        introduction="CPU time is user and system time with child processes, on one thread; medians of seven rounds in "
        "which the commands take turns.",
        data_digest=file_digest(TABLE),
        page="house",
    )


if __name__ == "__main__":
    main()
