"""One change at a time against one recipe, with the same data, seeds and epochs.

    python -m benchmarks.gpu.ablations DATASET RUNS --seconds 540 --seeds 1 --together 4 --set epochs=20 batch_size=512

Run it again with the same folder to go on. Settings given by --set hold for every run. What is changed, and why, stands
in `benchmarks/ablations.py`. The last lines printed are a table, a line a run.
"""

from __future__ import annotations

from collections.abc import Iterator

from benchmarks.ablations import ABLATIONS
from benchmarks.gpu.many_runs import Job, argument_parser, run_experiment


def ablations_to_jobs() -> Iterator[Job]:
    """Every change, after its pretraining where it has one."""
    for ablation in ABLATIONS:
        before = ablation.pretraining_recipe()
        if before is not None:
            yield Job(before.name, before)
        yield Job(ablation.name, ablation.recipe(), None if before is None else before.name)


def main() -> None:
    """Run the reference, then every change."""
    run_experiment(list(ablations_to_jobs()), argument_parser(__doc__).parse_args(), name="ablations")


if __name__ == "__main__":
    main()
