"""The trainings behind the tables and figures of XxaCT-NN, and the order in which they decide its claims."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from xxact_core.errors import InputError
from xxact_core.training.recipes import RECIPES

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

    settings: Mapping[str, Any] = field(default_factory=dict)
    """Settings that replace those of the recipe and of the size."""


SHARES = (1 / 16, 1 / 8, 1 / 4, 1 / 2, 1)
"""Fractions of the training materials in figure 3, a wider range than the paper's 1 to 4.5 million."""

STRATEGIES = {
    "without pretraining": "xxact-multi-target",
    "contrastive": "xxact-contrastive",
    "MXM": "xxact-mxm",
    "contrastive + MXM": "xxact-contrastive-mxm",
}
"""Kinds of pretraining in table 2, and the supervised run after each."""

VARIANT = "variant-multi-target"
"""Our variant of the model, multi-target, with the sizes of the other runs."""

SINGLE = ("xxact-formation-energy", "xxact-crystal-system")
"""The model trained for one target, which has every step; multi-task, each step is for one of the two targets."""

EMBEDDINGS = {
    "CrabNet": "crabnet-crystal-system",
    "XRD transformer": "xrd-transformer-crystal-system",
    "XxaCT, crystal system alone": SINGLE[1],
    **STRATEGIES,
    "our variant": VARIANT,
}
"""Panels of figure 2 and columns of tables 4 and 5. The paper has neither the third nor the last, and does not state
whether its unimodal models have both targets."""

_COMPACT = RECIPES["compact"]
_VARIANT_SETTINGS = {
    **{
        name: getattr(_COMPACT, name)
        for name in (
            "task_sampling", "regression_loss", "regression_weight", "optimiser", "weight_decay", "warmup_fraction",
            "grad_clip_norm", "polymorphs_together", "difference_weight", "symmetry_contrast_weight",
        )
    },
    "model_settings": {
        "tokenizer": "convolution",
        "skip_to_heads": True,
        **{
            name: _COMPACT.model_settings[name]
            for name in (
                "intensity_scale", "element_readout", "head_hidden_width", "embedding_width", "composition_estimate",
                "peak_ratios",
            )
        },
        **{
            part: {"dropout": getattr(_COMPACT.model_config(), part).dropout}
            for part in ("pattern", "composition", "fusion")
        },
    },
}  # fmt: skip
"""What our variant takes over from the recipe of the shipped model: all but augmentation, modality dropout, masked
windows and what serves labels of two kinds."""

INFORMED = "xxact-formation-energy-from-crystal-system"
"""The same for the formation energy, from a model that reads crystal systems from the pattern: not in the paper, but
asks whether the energy gains from the pattern where the model has learned to use it."""

SEEDS = 3
"""Seeds of the runs that carry a claim."""


def scaling_name(model: str, share: float) -> str:
    """Name of the run of a model (`xxact` or `crabnet`) with a fraction of the training materials."""
    return f"{model}-multi-target" if share == 1 else f"{model}-multi-target-{round(1 / share)}th"


def _experiments() -> Iterable[Experiment]:
    yield Experiment("xxact-formation-energy", "formation-energy")
    yield Experiment("xxact-crystal-system", "crystal-system")
    yield Experiment(INFORMED, "formation-energy", start_from="xxact-crystal-system")
    for model, recipe in (("xxact", "multi-target"), ("crabnet", "crabnet")):
        for share in SHARES:
            yield Experiment(scaling_name(model, share), recipe, BOTH, share=share)
    yield Experiment(VARIANT, "multi-target", BOTH, settings=_VARIANT_SETTINGS)  # not in the paper
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

# ------------------------------------------------------------------------------------- batch size and rate of each kind
TRIAL_BATCHES, TRIAL_RATES = (64, 256), (4e-4, 1e-3, 2.5e-3)
"""Batch sizes and peak learning rates that are tried. Ours."""

TRIAL_SHARE = 1 / 4
"""Fraction of the training materials of a trial. Ours."""


@dataclass(frozen=True)
class Kind:
    """A kind of model that has a batch size and a learning rate of its own."""

    recipe: str
    """Name of the recipe of its trials."""

    settings: Mapping[str, Any] = field(default_factory=dict)
    """Settings of its trials."""

    trial_length: float = 1
    """Epochs of a trial, as a multiple of those of a supervised run."""


KINDS = {
    "xxact": Kind("multi-target"),
    "variant": Kind("multi-target", _VARIANT_SETTINGS, trial_length=1 / 4),
    "crabnet": Kind("crabnet"),
    "xrd-transformer": Kind("xrd-transformer"),
    "fcn-mlp": Kind("fcn-mlp", trial_length=1 / 4),
    "fcn": Kind("fcn", trial_length=1 / 4),
}
"""The kinds. Trials have all epochs, because a rate that is best in a short run is too high for a long one, except
those of models with convolutions, which are slower. Ours."""


def kind_of(name: str) -> str | None:
    """The kind of an experiment, of `KINDS`; None for trees, which have neither batches nor rates."""
    if name == "extra-trees":
        return None
    if name.startswith("pretrain-"):
        return "xxact"
    return next(kind for kind in KINDS if f"{name}-".startswith(f"{kind}-"))


def trial_name(kind: str, batch_size: int, rate: float) -> str:
    """Name of a trial."""
    return f"trial-{kind}-{batch_size}-{rate:g}"


TRIALS: dict[str, Experiment] = {
    trial_name(kind, batch_size, rate): Experiment(
        trial_name(kind, batch_size, rate),
        of_kind.recipe,
        BOTH,
        length=of_kind.trial_length,
        share=TRIAL_SHARE,
        settings={**of_kind.settings, "batch_size": batch_size, "lr_peak": rate},
    )
    for kind, of_kind in KINDS.items()
    for batch_size in TRIAL_BATCHES
    for rate in TRIAL_RATES
}
"""Runs on a part of the materials by whose validation metrics batch size and rate of each kind are chosen."""


def trials_of(kind: str) -> list[str]:
    """Names of the trials of a kind."""
    return [trial_name(kind, batch_size, rate) for batch_size in TRIAL_BATCHES for rate in TRIAL_RATES]


# ---------------------------------------------------------------------------------------------------------------- order
_SCALING = [scaling_name(model, share) for share in reversed(SHARES) for model in ("crabnet", "xxact")]
_TRANSFERS = [name for name in EXPERIMENTS if name.endswith("-to-band-gap")]
_FCN = [name for name in EXPERIMENTS if name.startswith("fcn")]
_FCN_OF_TABLE_1 = (
    "fcn-mlp-formation-energy-100", "fcn-mlp-crystal-system-200", "fcn-formation-energy-100", "fcn-crystal-system-200",
)  # fmt: skip

STAGES: tuple[tuple[tuple[str, ...], int], ...] = (
    (("xxact-multi-target",), 1),
    (
        (
            "crabnet-formation-energy",
            "crabnet-crystal-system",
            "xrd-transformer-crystal-system",
            "xrd-transformer-formation-energy",
            *SINGLE,
            "extra-trees",
            VARIANT,
            INFORMED,
        ),
        1,
    ),
    (("xxact-contrastive-mxm", "xxact-mxm", "xxact-contrastive"), 1),
    (tuple(_SCALING), 1),
    (tuple(_TRANSFERS), 1),
    (tuple(STRATEGIES.values()), SEEDS),
    (_FCN_OF_TABLE_1, 1),
    (tuple(_FCN), 1),
)
"""Names and number of seeds of the experiments, those that decide most first."""


def planned() -> list[tuple[str, int]]:
    """All runs (experiment, seed) in the order of `STAGES`, each once and after those that it starts from."""
    runs: dict[tuple[str, int], None] = {}
    for names, seeds in STAGES:
        for seed in range(seeds):
            for experiment in with_prerequisites(names):
                runs[experiment.name, seed] = None
    return list(runs)


def experiment_by_name(name: str) -> Experiment:
    """An experiment or trial by name.

    Raises:
        InputError: there is none.
    """
    found = EXPERIMENTS.get(name) or TRIALS.get(name)
    if found is None:
        msg = f"there is no experiment {name!r}; choose from {', '.join(EXPERIMENTS)}"
        raise InputError(msg, code="E_PAPER")
    return found


def with_prerequisites(names: Iterable[str]) -> list[Experiment]:
    """These experiments and those that they start from, each once and after its prerequisites.

    Raises:
        InputError: there is no experiment of a name.
    """
    ordered: dict[str, Experiment] = {}
    for name in names:
        experiment = experiment_by_name(name)
        if experiment.start_from is not None:
            ordered |= {before.name: before for before in with_prerequisites([experiment.start_from])}
        ordered[name] = experiment
    return list(ordered.values())
