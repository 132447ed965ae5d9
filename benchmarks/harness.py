"""What all benchmarks share: command line, dataset, timing, result page, and the last line of JSON.

A benchmark prints its tables and, as the last line, one JSON object. With `--quick` it measures briefly and writes
nothing; without, it also writes a page below `docs/results`.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from xxact_core.evaluation.provenance import provenance, provenance_to_line
from xxact_core.shipped import EXAMPLES as EXAMPLES_NAME
from xxact_core.shipped import TABLE as TABLE_NAME

REPOSITORY = Path(__file__).resolve().parents[1]
RESULTS = REPOSITORY / "docs" / "results"
TABLE = REPOSITORY / "xxact_core" / TABLE_NAME
EXAMPLES = REPOSITORY / "xxact_core" / EXAMPLES_NAME
DATASET = REPOSITORY / "build" / "materials_project"
QUICK_MATERIALS = 600
"""Size of the dataset with `--quick`."""


# ---- command line and dataset


def argument_parser(description: str | None, *, dataset: bool = False) -> argparse.ArgumentParser:
    """A parser with `--quick` and, where the benchmark reads the dataset of the shipped table, `--dataset`."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="measure briefly and write nothing")
    if dataset:
        parser.add_argument(
            "--dataset",
            type=Path,
            default=DATASET,
            help="dataset of the shipped table, built where it is missing (default: build/materials_project); "
            "with --quick, a temporary dataset of a few hundred materials is used instead",
        )
    return parser


@contextmanager
def standard_dataset(arguments: argparse.Namespace, *, materials: int = QUICK_MATERIALS) -> Iterator[Path]:
    """Folder of the dataset of the shipped table: `arguments.dataset`, built where it is missing.

    With `--quick`, a temporary dataset of the first `materials` rows.
    """
    from xxact_core.dataset.building.build import BuildPlan, build_dataset  # here: needs more than training does

    if arguments.quick:
        with tempfile.TemporaryDirectory() as scratch:
            folder = Path(scratch) / "dataset"
            plan = BuildPlan(source=str(TABLE), limit=materials, shard_rows=materials // 2)
            build_dataset(plan, folder, workers=2, progress=False)
            yield folder
        return
    if not (arguments.dataset / "manifest.json").is_file():
        build_dataset(BuildPlan(source=str(TABLE)), arguments.dataset, workers=2)
    yield arguments.dataset


# ---- timing


def cpu_time() -> float:
    """CPU time of this process and its finished child processes [s]."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


def seconds_of(work: Callable[[], object], *, clock: Callable[[], float] = time.perf_counter) -> float:
    """Time of one call by a clock: wall time, or `cpu_time` where other processes may run at the same time."""
    began = clock()
    work()
    return clock() - began


def median_seconds(
    work: Callable[[], object], *, repeats: int, clock: Callable[[], float] = time.perf_counter
) -> float:
    """Median time of a call; the first call, which may compile or fill caches, is not counted."""
    work()
    return statistics.median(seconds_of(work, clock=clock) for _ in range(repeats))


def alternate(
    *works: Callable[[], object], rounds: int, warm_up: int = 1, clock: Callable[[], float] = cpu_time
) -> list[tuple[float, ...]]:
    """Times of several alternatives that take turns, one tuple per round; the first `warm_up` rounds are left out.

    Neighbouring calls meet the same load of the machine, so that their ratio is steadier than either time.
    """
    times = [tuple(seconds_of(work, clock=clock) for work in works) for _ in range(warm_up + rounds)]
    return times[warm_up:]


def median_ratio(rounds: Sequence[Sequence[float]]) -> float:
    """Median over rounds of the second time divided by the first: how many times as fast the first alternative is."""
    return statistics.median(theirs / ours for ours, theirs, *_ in rounds)


# ---- tables and pages


@dataclass(frozen=True)
class Figure:
    """How a figure is shown in a table."""

    meaning: str
    """What was measured, with its unit unless `form` has it."""

    form: str = ""
    """Format such as "{:.2f} s"; by default four digits, and thousands separated from 1000 on."""

    factor: float = 1.0
    """The value is shown multiplied by this, such as 1000 for milliseconds of a time in seconds."""

    at_least: float | None = None
    """Target, where more is better."""

    at_most: float | None = None
    """Target, where less is better."""

    def show(self, value: float | None) -> str:
        """The value as text; "not measured" for None."""
        if value is None:
            return "not measured"
        if self.form:
            return self.form.format(self.factor * value)
        return f"{value:,.0f}" if abs(value) >= 1000 or value == int(value) else f"{value:.4g}"

    @property
    def target(self) -> str:
        """The target as text, empty where there is none."""
        if self.at_least is not None:
            return f"≥ {self.at_least:,g}"
        return "" if self.at_most is None else f"≤ {self.at_most:,g}"


def figures_to_table(values: Mapping[str, float | None], figures: Mapping[str, Figure]) -> str:
    """A Markdown table, one line per figure, with a column of targets where any figure has one."""
    targets = any(figure.target for figure in figures.values())
    header = ["figure", "value", "target"] if targets else ["figure", "value"]
    rows = [(figure.meaning, figure.show(values[name]), figure.target) for name, figure in figures.items()]
    return markdown_table(header, [row[: len(header)] for row in rows])


def markdown_table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table of cells of text."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def finish(
    script: str,
    body: str,
    figures: Mapping[str, Any],
    *,
    quick: bool,
    title: str,
    introduction: str,
    data_digest: str,
    seed: int = 0,
    page: str | None = None,
) -> None:
    """Print the tables and the JSON object; without `--quick`, write the page of results.

    script: `__file__` of the benchmark, whose name the page has unless `page` gives another. introduction: what was
    measured on which data, in a sentence or two. data_digest: SHA-256 of the dataset or data file.
    """
    print(body)
    if not quick:
        path = RESULTS / f"{page or Path(script).stem}.md"
        path.parent.mkdir(parents=True, exist_ok=True)
        origin = provenance_to_line(provenance(table_digest=data_digest, seeds=[seed]))
        path.write_text(page_text(script, body, title=title, introduction=introduction, origin=origin), "utf-8")
    print(json.dumps(figures))


def page_text(script: str, body: str, *, title: str, introduction: str, origin: str) -> str:
    """A page of results: title, introduction, the script that wrote it, provenance, tables."""
    made_by = f"Written by `{Path(script).resolve().relative_to(REPOSITORY).as_posix()}`."
    return f"# {title}\n\n{introduction} {made_by}\n\n{origin}\n\n{body.strip()}\n"
