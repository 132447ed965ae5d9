"""The trainings behind the tables and figures of XxaCT-NN."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from xxact_core.errors import InputError

ENERGY, SYSTEM, GAP = "formation_energy_per_atom", "crystal_system", "band_gap"
BOTH = (ENERGY, SYSTEM)
"""Targets of the multi-target runs (XxaCT-NN sections 4.1 and 4.2); the band gap is the target of the transfer."""


@dataclass(frozen=True)
class Experiment:
    """One training."""

    name: str
    """Name of the experiment."""

    recipe: str
    """Name of the recipe."""

    targets: tuple[str, ...] = ()
    """Targets; empty for those of the recipe."""

    length: float = 1
    """Epochs, as a multiple of those of a supervised run, which are 50 in the paper."""

    start_from: str | None = None
    """Name of the experiment whose model it starts from."""

    share: float = 1
    """Fraction (0-1) of the training materials."""


SHARES = (1 / 16, 1 / 8, 1 / 4, 1 / 2, 1)
"""Fractions of the training materials in figure 3, a wider range than the paper's 1 to 4.5 million."""

STRATEGIES = {
    "without pretraining": "xxact-multi-target",
    "contrastive": "xxact-contrastive",
    "MXM": "xxact-mxm",
    "contrastive + MXM": "xxact-contrastive-mxm",
}
"""Kinds of pretraining in table 2, and the supervised run after each."""

EMBEDDINGS = {"CrabNet": "crabnet-crystal-system", "XRD transformer": "xrd-transformer-crystal-system", **STRATEGIES}
"""Panels of figure 2 and columns of table 5. The paper does not state whether its unimodal models have both targets."""


def scaling_name(model: str, share: float) -> str:
    """Name of the run of a model (`xxact` or `crabnet`) with a fraction of the training materials."""
    return f"{model}-multi-target" if share == 1 else f"{model}-multi-target-{round(1 / share)}th"


def _experiments() -> Iterable[Experiment]:
    yield Experiment("xxact-formation-energy", "formation-energy")
    yield Experiment("xxact-crystal-system", "crystal-system")
    for model, recipe in (("xxact", "multi-target"), ("crabnet", "crabnet")):
        for share in SHARES:
            yield Experiment(scaling_name(model, share), recipe, BOTH, share=share)
    for model in ("crabnet", "xrd-transformer"):
        for target, name in ((ENERGY, "formation-energy"), (SYSTEM, "crystal-system")):
            yield Experiment(f"{model}-{name}", model, (target,))
    yield Experiment("extra-trees", "extra-trees", (SYSTEM,))  # not in the paper: peak positions alone
    for before in (
        "xxact-formation-energy",
        "xxact-crystal-system",
        "xxact-multi-target",
        "crabnet-formation-energy",
        "crabnet-crystal-system",
        "xrd-transformer-formation-energy",
        "xrd-transformer-crystal-system",
    ):
        yield Experiment(f"{before}-to-band-gap", "transfer-band-gap", (GAP,), start_from=before)
    for name, recipe in (
        ("contrastive", "pretrain-contrastive"),
        ("mxm", "pretrain-mxm"),
        ("contrastive-mxm", "pretrain"),
    ):
        yield Experiment(f"pretrain-{name}", recipe, length=2)
        yield Experiment(f"xxact-{name}", "multi-target", BOTH, start_from=f"pretrain-{name}")
    for model, target, name, epochs in (
        ("fcn", ENERGY, "formation-energy", (50, 100)),
        ("fcn", SYSTEM, "crystal-system", (100, 200)),
        ("fcn-mlp", ENERGY, "formation-energy", (50, 100)),
        ("fcn-mlp", SYSTEM, "crystal-system", (50, 100, 200)),
    ):
        for number in epochs:
            yield Experiment(f"{model}-{name}-{number}", model, (target,), length=number / 50)


EXPERIMENTS: dict[str, Experiment] = {experiment.name: experiment for experiment in _experiments()}


def with_prerequisites(names: Iterable[str]) -> list[Experiment]:
    """These experiments and those that they start from, each once and after its prerequisites.

    Raises:
        InputError: there is no experiment of a name.
    """
    ordered: dict[str, Experiment] = {}
    for name in names:
        if name not in EXPERIMENTS:
            msg = f"there is no experiment {name!r}; choose from {', '.join(EXPERIMENTS)}"
            raise InputError(msg, code="E_PAPER")
        experiment = EXPERIMENTS[name]
        if experiment.start_from is not None:
            ordered |= {before.name: before for before in with_prerequisites([experiment.start_from])}
        ordered[name] = experiment
    return list(ordered.values())
