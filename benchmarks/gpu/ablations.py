"""One change at a time against one recipe, with the same data, seeds and budget, judged on the validation split.

    python -m benchmarks.gpu.ablations DATASET RUNS --seconds 540 --seeds 1 --together 4 --set epochs=20 batch_size=512

Run it again with the same folder to go on. Settings given by --set are the reference's, so that every change is one of
that, and what takes half of its epochs takes half of these. What is changed, and why, stands in
`benchmarks/studies/ablations.py`. The last lines printed are a table, a line a run.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from benchmarks.gpu.many_runs import Job, argument_parser, run_experiment
from benchmarks.studies.ablations import ABLATIONS, REFERENCE
from xxact_core.errors import RecipeError
from xxact_core.training.config import override, parse_settings


def ablations_to_jobs(settings: Mapping[str, Any]) -> Iterator[Job]:
    """Every change of the reference with these settings, after its pretraining where it has one.

    Raises:
        RecipeError: a setting is unknown or impossible, or the seed, which --seeds decides.
    """
    if "seed" in settings:
        msg = f"seed={settings['seed']} cannot be set: --seeds N trains with the seeds 0 to N - 1"
        raise RecipeError(msg, code="E_RECIPE")
    reference = override(REFERENCE, settings)
    for ablation in ABLATIONS:
        before = ablation.pretraining_recipe(reference)
        if before is not None:
            yield Job(before.name, before)
        yield Job(ablation.name, ablation.recipe(reference), None if before is None else before.name)


def main() -> None:
    """Run the reference, then every change; the test split is left for what comes out of it."""
    arguments = argument_parser(__doc__).parse_args()
    jobs = list(ablations_to_jobs(parse_settings(arguments.set)))
    run_experiment(jobs, arguments, name="ablations", options=("--split", "validation"))


if __name__ == "__main__":
    main()
