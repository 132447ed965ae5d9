"""What the paper's tables and figures need to be trained, at the size of the data at hand.

    python -m benchmarks.gpu.paper_tables DATASET RUNS --seconds 540 --seeds 3 --together 2 --epochs 10

Run it again with the same folder to go on. Settings given by --set hold for every run; pretraining takes twice the
epochs. The last lines printed are a table, a line a run.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from benchmarks.gpu.many_runs import Job, argument_parser, run_experiment
from xxact_core.training.recipes import recipe_by_name

ENERGY, SYSTEM, GAP = "formation_energy_per_atom", "crystal_system", "band_gap"


@dataclass(frozen=True)
class Experiment:
    """One training of the paper: its recipe by name, its targets, and the experiment whose model it begins with."""

    name: str
    recipe: str
    targets: tuple[str, ...] = (ENERGY, SYSTEM)
    start_from: str | None = None
    length: float = 1


EXPERIMENTS = (
    Experiment("xxact-multi-target", "multi-target"),
    Experiment("xxact-formation-energy", "formation-energy", (ENERGY,)),
    Experiment("xxact-crystal-system", "crystal-system", (SYSTEM,)),
    Experiment("crabnet", "crabnet"),
    Experiment("xrd-transformer", "xrd-transformer"),
    Experiment("fcn", "fcn"),
    Experiment("fcn-mlp", "fcn-mlp"),
    Experiment("pretrain-contrastive", "pretrain-contrastive", length=2),
    Experiment("pretrain-mxm", "pretrain-mxm", length=2),
    Experiment("pretrain-both", "pretrain", length=2),
    Experiment("contrastive-then-targets", "multi-target", start_from="pretrain-contrastive"),
    Experiment("mxm-then-targets", "multi-target", start_from="pretrain-mxm"),
    Experiment("both-then-targets", "multi-target", start_from="pretrain-both"),
    Experiment("energy-to-gap", "transfer-band-gap", (GAP,), start_from="xxact-formation-energy"),
    Experiment("system-to-gap", "transfer-band-gap", (GAP,), start_from="xxact-crystal-system"),
    Experiment("multi-to-gap", "transfer-band-gap", (GAP,), start_from="xxact-multi-target"),
)
"""Tables 1, 2 and 5 of XxaCT-NN, without its scaling."""

SMALL = {"paper": "small", "crabnet": "crabnet-small", "xrd-transformer": "xrd-transformer-small"}
SIZES = {"paper": {}, "small": SMALL, "tiny": {**SMALL, "paper": "tiny"}}
"""The preset instead of the paper's, where there is one: FCN and FCN+MLP have one size."""


def experiment_to_job(experiment: Experiment, *, epochs: float, size: str) -> Job:
    """The training of an experiment; `epochs` are those of a supervised one."""
    recipe = recipe_by_name(experiment.recipe)
    recipe = replace(
        recipe,
        targets=experiment.targets,
        epochs=epochs * experiment.length,
        preset=SIZES[size].get(recipe.preset, recipe.preset),
    )
    return Job(experiment.name, recipe, experiment.start_from)


def main() -> None:
    """Run them."""
    parser = argument_parser(__doc__)
    parser.add_argument("--size", choices=SIZES, default="paper")
    parser.add_argument("--epochs", type=float, default=50.0, help="of a supervised training")
    arguments = parser.parse_args()
    jobs = [experiment_to_job(one, epochs=arguments.epochs, size=arguments.size) for one in EXPERIMENTS]
    run_experiment(jobs, arguments, name="paper_tables")


if __name__ == "__main__":
    main()
