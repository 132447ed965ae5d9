"""Run many trainings within a time limit: in order, several at once on one GPU, skipping those that are done."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from benchmarks.gpu.one_run import read_result
from benchmarks.harness import REPOSITORY, markdown_table
from xxact_core.dataset.store import read_manifest
from xxact_core.training.config import Recipe
from xxact_core.training.start import check_same_run

SHORTEST = 30.0
"""Time that must be left to start a training [s]; reading the data takes several seconds."""

RESERVE = 20.0
"""Time at the end for a snapshot, or for calibration and evaluation [s]."""

COLUMNS = {
    "formation_energy_per_atom_mae_mev_per_atom": "energy, MAE [meV/atom]",
    "band_gap_mae_ev": "band gap, MAE [eV]",
    "crystal_system_accuracy": "crystal system",
    "space_group_accuracy": "space group",
    "silhouette_mean": "silhouette",
}


@dataclass(frozen=True)
class Job:
    """One training: the name of its folder, its recipe, and the name of the job whose model it starts from."""

    name: str
    recipe: Recipe
    after: str | None = None

    def recipe_in(self, folder: Path) -> Recipe:
        """The recipe, starting from the model of the other job if there is one."""
        if self.after is None:
            return self.recipe
        return replace(self.recipe, start_from=str((folder / self.after / "model").resolve()))

    def with_seed(self, seed: int) -> Job:
        """The job with another seed, after the other job of the same seed."""
        after = None if self.after is None else f"{self.after}-seed{seed}"
        return Job(f"{self.name}-seed{seed}", replace(self.recipe, seed=seed), after)


def run_jobs(
    jobs: Sequence[Job], dataset: Path, folder: Path, *, seconds: float, together: int, options: Sequence[str] = ()
) -> dict[str, dict[str, Any] | None]:
    """Run unfinished jobs, `together` at a time, until the time is over; returns the results so far, by name.

    A training that fails leaves `error.txt` in its folder, is reported, and is not repeated in this call. options: of
    `one_run`, for all jobs.

    Raises:
        RecipeError: a finished job has another recipe or dataset.
    """
    for job in jobs:
        if read_result(folder / job.name) is not None:
            recipe = json.loads(json.dumps(job.recipe_in(folder).to_dict()))
            described = {"recipe": recipe, "data_digest": read_manifest(dataset)["digest"]}
            check_same_run(described, folder / job.name)
    deadline = time.monotonic() + seconds
    begun: set[str] = set()
    with ThreadPoolExecutor(together) as pool:
        running: set[Future[None]] = set()
        while True:
            for job in jobs:
                ready = job.after is None or read_result(folder / job.after) is not None
                left = deadline - time.monotonic()
                if ready and job.name not in begun and len(running) < together and left > SHORTEST + RESERVE:
                    begun.add(job.name)
                    if read_result(folder / job.name) is None:
                        running.add(pool.submit(_run, job, dataset, folder, deadline=deadline, options=options))
            if not running:
                return {job.name: read_result(folder / job.name) for job in jobs}
            done, running = wait(running, return_when=FIRST_COMPLETED)
            for future in done:
                future.result()


def _run(job: Job, dataset: Path, folder: Path, *, deadline: float, options: Sequence[str]) -> None:
    """One training in a separate process, which shares only the GPU with the others."""
    own = folder / job.name
    own.mkdir(parents=True, exist_ok=True)
    seconds = deadline - RESERVE - time.monotonic()
    command = [sys.executable, "-m", "benchmarks.gpu.one_run", str(dataset.resolve()), str(own.resolve())]
    done = subprocess.run(
        [*command, "--seconds", str(seconds), *options],
        input=json.dumps(job.recipe_in(folder).to_dict()),
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        (own / "error.txt").write_text(done.stderr, encoding="utf-8")
        print(f"{job.name} failed: {done.stderr.strip().splitlines()[-1:]}", flush=True)
        return
    result = read_result(own)
    print(f"{job.name}: {'unfinished' if result is None else 'done'}", flush=True)


def results_to_table(results: Mapping[str, dict[str, Any] | None]) -> str:
    """A Markdown table, one row per run: metrics on ideal patterns and, in brackets, on augmented ones."""
    rows = []
    for name, result in results.items():
        if result is None:
            rows.append([name, *[""] * len(COLUMNS), "unfinished"])
            continue
        pairs = [(result["metrics"].get(column), result["metrics_distorted"].get(column)) for column in COLUMNS]
        cells = ["" if ideal is None else f"{ideal:.4g} ({distorted:.4g})" for ideal, distorted in pairs]
        rows.append([name, *cells, f"{result['samples_per_second']:,.0f}"])
    return markdown_table(["run", *COLUMNS.values(), "materials/s"], rows)


def argument_parser(description: str) -> argparse.ArgumentParser:
    """Arguments of all experiments: folders of data and runs, and the time limit."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset", type=Path)
    parser.add_argument("folder", type=Path, help="folder of the runs; finished ones are not repeated")
    parser.add_argument("--seconds", type=float, default=500.0, help="time limit")
    parser.add_argument("--together", type=int, default=1, help="trainings at the same time on the GPU")
    parser.add_argument("--seeds", type=int, default=1, help="number of seeds, from 0 on")
    parser.add_argument("--only", nargs="*", help="names of runs without seeds")
    parser.add_argument("--set", nargs="*", default=[], metavar="NAME=VALUE", help="settings of the recipes")
    parser.add_argument("--commit", default="unknown", help="commit of the code, written to the results")
    parser.add_argument("--output", type=Path, default=Path(os.environ.get("OUT", "build/gpu")))
    return parser


def run_experiment(
    jobs: Sequence[Job], arguments: argparse.Namespace, *, name: str, options: Sequence[str] = ()
) -> None:
    """Run jobs with every seed; write one line of JSON per run and the table to the output folder, and print it."""
    chosen = [job for job in jobs if not arguments.only or job.name in arguments.only]
    results = run_jobs(
        [job.with_seed(seed) for seed in range(arguments.seeds) for job in chosen],
        arguments.dataset,
        arguments.folder,
        seconds=arguments.seconds,
        together=arguments.together,
        options=options,
    )
    arguments.output.mkdir(parents=True, exist_ok=True)
    done = [
        {"name": run, "commit": arguments.commit, **result} for run, result in results.items() if result is not None
    ]
    text = "".join(json.dumps(result, ensure_ascii=False) + "\n" for result in done)
    (arguments.output / f"{name}.jsonl").write_text(text, encoding="utf-8")
    table = results_to_table(results)
    (arguments.output / f"{name}.md").write_text(table + "\n", encoding="utf-8")
    print(table)
