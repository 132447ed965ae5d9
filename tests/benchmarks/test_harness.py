"""The benchmarks' harness: timing, ratios, tables, and pages that only a full run writes."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from locations import REPOSITORY

from benchmarks import harness
from benchmarks.harness import Figure, alternate, figures_to_table, finish, median_ratio, median_seconds, seconds_of

ROOMS = ("speed", "quality", "studies", "gpu")
SCRIPTS = [
    path
    for room in ROOMS
    for path in sorted((REPOSITORY / "benchmarks" / room).glob("*.py"))
    if '__name__ == "__main__"' in path.read_text(encoding="utf-8")
]


HELP_OF_ALL = """
import contextlib, io, json, runpy, sys
scripts, path, helps = sys.argv[1:], list(sys.path), {}
for script in scripts:
    for name in [name for name in sys.modules if name.split(".")[0] == "benchmarks"]:
        del sys.modules[name]
    sys.path[:], sys.argv = path, [script, "--help"]
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        try:
            runpy.run_path(script, run_name="__main__")
        except SystemExit as ended:
            helps[script] = (ended.code, printed.getvalue())
print(json.dumps(helps))
"""
"""Runs every script with --help in one process, so that large libraries are imported once."""


class Clock:
    """A clock that work moves on, so that times are exact."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now

    def work(self, *seconds: float) -> Callable[[], None]:
        times = iter(seconds)

        def step() -> None:
            self.now += next(times)

        return step


def test_the_first_call_does_not_count_and_the_median_does() -> None:
    clock = Clock()
    assert median_seconds(clock.work(100.0, 3.0, 1.0, 2.0), repeats=3, clock=clock) == 2.0


def test_alternatives_take_turns_after_a_warm_up() -> None:
    clock, order = Clock(), []
    ours, theirs = clock.work(50.0, 1.0, 2.0), clock.work(60.0, 3.0, 8.0)
    rounds = alternate(
        lambda: (order.append("ours"), ours()), lambda: (order.append("theirs"), theirs()), rounds=2, clock=clock
    )
    assert rounds == [(1.0, 3.0), (2.0, 8.0)]
    assert order == ["ours", "theirs"] * 3


def test_the_ratio_is_the_median_of_the_rounds_and_not_of_the_times() -> None:
    assert median_ratio([(1.0, 3.0), (10.0, 20.0), (2.0, 8.0)]) == 3.0


def test_cpu_time_counts_child_processes_and_no_waiting() -> None:
    busy = "import time\nend = time.process_time() + 0.3\nwhile time.process_time() < end: pass"
    child = seconds_of(lambda: subprocess.run([sys.executable, "-c", busy], check=True), clock=harness.cpu_time)
    assert child > 0.3
    assert seconds_of(lambda: time.sleep(0.3), clock=harness.cpu_time) < 0.2


def test_a_table_shows_values_targets_and_what_was_not_measured() -> None:
    figures = {
        "rate": Figure("patterns per second", at_least=20_000),
        "time": Figure("time", "{:.1f} ms", factor=1000, at_most=0.5),
        "count": Figure("files"),
        "absent": Figure("page"),
    }
    table = figures_to_table({"rate": 41234.5, "time": 0.0123, "count": 7.0, "absent": None}, figures)
    assert table.splitlines() == [
        "| figure | value | target |",
        "| --- | --- | --- |",
        "| patterns per second | 41,234 | ≥ 20,000 |",
        "| time | 12.3 ms | ≤ 0.5 |",
        "| files | 7 |  |",
        "| page | not measured |  |",
    ]
    assert figures_to_table({"count": 7.0}, {"count": figures["count"]}).startswith("| figure | value |\n")


@pytest.mark.parametrize("quick", [True, False])
def test_a_page_is_written_only_without_quick_and_json_is_the_last_line(
    quick: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(harness, "RESULTS", tmp_path / "results")
    finish(
        str(REPOSITORY / "benchmarks" / "speed" / "predict.py"),
        "| figure | value |",
        {"seconds": 1.5},
        quick=quick,
        title="Time",
        introduction="One core.",
        data_digest="abc",
        seed=3,
    )
    printed = capsys.readouterr().out.splitlines()
    assert printed[0] == "| figure | value |"
    assert json.loads(printed[-1]) == {"seconds": 1.5}
    assert (tmp_path / "results").exists() != quick
    if not quick:
        head, origin, body = (tmp_path / "results" / "predict.md").read_text(encoding="utf-8").split("\n\n", 3)[1:]
        assert head == "One core. Written by `benchmarks/speed/predict.py`."
        assert "data digest `abc`, seed 3" in origin
        assert body == "| figure | value |\n"


def test_a_quick_run_gets_a_small_temporary_dataset_and_leaves_the_large_one(tmp_path: Path) -> None:
    arguments = argparse.Namespace(quick=True, dataset=tmp_path / "large")
    with harness.standard_dataset(arguments, materials=20) as folder:
        assert json.loads((folder / "manifest.json").read_text(encoding="utf-8"))["materials"] == 20
    assert not folder.exists()
    assert not arguments.dataset.exists()


def test_a_dataset_that_is_there_is_used_as_it_is(small_dataset: Path) -> None:
    before = {path.name: path.stat().st_mtime_ns for path in small_dataset.iterdir()}
    with harness.standard_dataset(argparse.Namespace(quick=False, dataset=small_dataset)) as folder:
        assert folder == small_dataset
    assert {path.name: path.stat().st_mtime_ns for path in small_dataset.iterdir()} == before


def test_every_script_explains_itself_from_any_folder(tmp_path: Path) -> None:
    command = [sys.executable, "-c", HELP_OF_ALL, *map(str, SCRIPTS)]
    bare = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(command, cwd=tmp_path, env=bare, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr
    helps = json.loads(done.stdout)
    assert {name: code for name, (code, _) in helps.items() if code != 0} == {}
    quick = {name for name, (_, text) in helps.items() if "--quick" in text}
    assert quick == {str(path) for path in SCRIPTS if path.parent.name != "gpu"}


def test_every_script_and_every_page_is_listed() -> None:
    listed = (REPOSITORY / "benchmarks" / "README.md").read_text(encoding="utf-8")
    missing = [path.name for path in SCRIPTS if f"{path.parent.name}/{path.name}" not in listed]
    assert missing == []
    pages = {path.stem for path in (REPOSITORY / "docs" / "results").glob("*.md")} - {"index"}
    assert [page for page in sorted(pages) if f"docs/results/{page}.md" not in listed] == []
