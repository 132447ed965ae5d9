"""Train all models of the paper's tables and figures on the dataset at hand, and write the tables.

    python -m benchmarks.gpu.paper_tables DATASET RUNS --seconds 540 --seeds 3 --together 2 --set epochs=10

Called again with the same folder, it continues. Settings are those of `xxact paper run`: `epochs` applies to supervised
training, and pretraining takes twice as many. RUNS is a folder as of that command, which can continue it, and which
`xxact paper table` and `xxact paper figure` can read. The last lines printed are a table, one row per run.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # the repository

from collections.abc import Mapping
from typing import Any

from benchmarks.gpu.many_runs import Job, argument_parser, run_experiment
from xxact_core.dataset.table import read_dataset
from xxact_core.paper.experiments import EXPERIMENTS, with_prerequisites
from xxact_core.paper.layouts import TABLES
from xxact_core.paper.runs import SIZES, check_settings, experiment_to_recipe
from xxact_core.paper.tables import folder_to_table
from xxact_core.paper.texts import table_to_text, write_text
from xxact_core.training.config import parse_settings


def experiments_to_jobs(dataset: Path, folder: Path, *, size: str, settings: Mapping[str, Any]) -> list[Job]:
    """The jobs of all experiments.

    Raises:
        InputError: a setting is unknown or cannot be changed.
    """
    check_settings(settings)
    table = read_dataset(dataset, resident=False)
    return [
        Job(
            experiment.name,
            experiment_to_recipe(experiment, table, folder, size=size, seed=0, settings=settings),
            experiment.start_from,
        )
        for experiment in with_prerequisites(EXPERIMENTS)
    ]


def main() -> None:
    """Train, and write the tables."""
    parser = argument_parser(__doc__)
    parser.add_argument("--size", choices=SIZES, default="paper")
    arguments = parser.parse_args()
    settings = parse_settings(arguments.set)
    jobs = experiments_to_jobs(arguments.dataset, arguments.folder, size=arguments.size, settings=settings)
    run_experiment(jobs, arguments, name="paper_tables", options=("--size", arguments.size))
    for number in TABLES:
        for suffix in (".md", ".json"):
            text = table_to_text(folder_to_table(number, arguments.folder), suffix=suffix)
            write_text(arguments.output / f"table{number}{suffix}", text)


if __name__ == "__main__":
    main()
