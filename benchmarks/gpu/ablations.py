"""One change at a time against one recipe, with the same data, seeds and epochs.

    python -m benchmarks.gpu.ablations DATASET RUNS --seconds 540 --seeds 1 --together 4 --set epochs=20 batch_size=512

Run it again with the same folder to go on. Settings given by --set hold for every run. What is changed, and why, stands
in `benchmarks/ablations.py`. The last lines printed are a table, a line a run.
"""

from __future__ import annotations

from benchmarks.ablations import ABLATIONS, REFERENCE
from benchmarks.gpu.many_runs import Job, argument_parser, run_experiment
from xxact_core.training.config import override


def main() -> None:
    """Run the reference, then every change."""
    jobs = [Job("reference", REFERENCE)]
    jobs += [Job(ablation.name, override(REFERENCE, ablation.overrides)) for ablation in ABLATIONS]
    run_experiment(jobs, argument_parser(__doc__).parse_args(), name="ablations")


if __name__ == "__main__":
    main()
