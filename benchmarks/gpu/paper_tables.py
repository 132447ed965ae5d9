"""What the paper's tables and figures need to be trained, at the size of the data at hand.

    python -m benchmarks.gpu.paper_tables DATASET RUNS --seconds 540 --seeds 3 --together 2 --epochs 10

Run it again with the same folder to go on. Settings given by --set hold for every run; pretraining takes twice the
epochs. The last lines printed are a table, a line a run.
"""

from __future__ import annotations

from pathlib import Path

from benchmarks.gpu.many_runs import Job, argument_parser, run_experiment
from xxact_core.dataset.table import read_dataset
from xxact_core.paper.experiments import EXPERIMENTS, in_order
from xxact_core.paper.runs import SIZES, experiment_to_recipe


def experiments_to_jobs(dataset: Path, folder: Path, *, epochs: float, size: str) -> list[Job]:
    """The trainings of all experiments; `epochs` are those of a supervised one."""
    table = read_dataset(dataset, resident=False)
    return [
        Job(
            experiment.name,
            experiment_to_recipe(experiment, table, folder, size=size, seed=0, settings={"epochs": epochs}),
            experiment.start_from,
        )
        for experiment in in_order(EXPERIMENTS)
    ]


def main() -> None:
    """Run them."""
    parser = argument_parser(__doc__)
    parser.add_argument("--size", choices=SIZES, default="paper")
    parser.add_argument("--epochs", type=float, default=50.0, help="of a supervised training")
    arguments = parser.parse_args()
    jobs = experiments_to_jobs(arguments.dataset, arguments.folder, epochs=arguments.epochs, size=arguments.size)
    run_experiment(jobs, arguments, name="paper_tables")


if __name__ == "__main__":
    main()
