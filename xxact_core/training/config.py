"""A recipe: everything that decides how a run goes, as one frozen value that is saved with it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any, get_args

from xxact_core.augmentation.config import Distortions
from xxact_core.augmentation.effects import Strain
from xxact_core.dataset.splits import GROUPINGS
from xxact_core.errors import RecipeError, shorten
from xxact_core.model.config import BlockSizes, ModelConfig, preset
from xxact_core.objectives.masked_patterns import MASK_RATIO
from xxact_core.objectives.targets import ValueLoss
from xxact_core.quantities import DENSITY, LATTICE, PREDICTED, TARGETS, VOLUME_PER_ATOM
from xxact_core.setting_types import check_types

OBJECTIVES = ("contrastive", "mxm", "targets")
OPTIMISERS = ("adamw", "muon")
CONTRASTIVE_LOSSES = ("softmax", "sigmoid")
PRECISIONS = ("auto", "float32", "bfloat16")

LOOK_AT_COMPOSITIONS = ("xxact", "crabnet", "fcn-mlp")
"""Kinds of model that see which elements there are."""

FROM_A_MODEL = ""
"""`start_from` of a recipe that needs a trained model to begin with, which only who runs it can name."""

SHAPED_BY_LATTICE = {target.name for target in (DENSITY, VOLUME_PER_ATOM, *LATTICE)}
"""Targets that a strain changes in proportion; formation energy and band gap follow it weakly."""


@dataclass(frozen=True)
class Recipe:
    """How a model is trained. Values not said otherwise are the paper's (XxaCT-NN sections 3.2 and 3.4).

    preset: name of the model, its targets replaced by `targets` and its parts by `model_settings`. objectives: any of
    `OBJECTIVES`, their losses added. task_sampling: `one` target a material as in the paper, or `all` that it has.
    value_loss: of values, the `squared` error as in the paper, or the `absolute` one, which outliers move less;
    value_weight: how much a value counts beside a class.
    contrastive_loss: over a batch (`softmax`, the paper's) or pair by pair (`sigmoid`, SigLIP). hide_pattern,
    hide_composition: shares of the materials of which the model is not shown one of the two, so that it learns to do
    without. fraction_jitter: for half of the materials the fractions of elements are off, as measured ones are, the
    standard deviation of the logarithm being anything up to this. drop_light: share of the materials of which
    `step.LIGHT_ELEMENTS` are left out, as by methods that do not see them. epochs: may be a fraction. start_from:
    checkpoint folder whose weights a run begins with. freeze: train only the target heads (transfer). optimiser:
    `adamw`, or `muon` for what is a matrix inside the model and AdamW for the rest (see
    `xxact_core.training.optimiser`); matrix_rate: learning rate of muon's matrices as a multiple of that of the
    rest.
    precision: `bfloat16` is what autocast multiplies in; `auto` does so on a GPU only, because many
    processors are slower with it. clip: largest norm of the gradient; the paper clips nothing. micro_batch: materials
    that pass through the model at a time, gradients being summed over a batch; None for all at once. recompute: keep
    little of the transformer layers and compute it again for the gradients, which takes less memory and more time.
    compiled: by torch.compile. average: share that an exponential moving average of the weights keeps at each step,
    e.g. 0.999; the average is what is validated and saved. distortions: what a laboratory adds, None for ideal
    patterns. relatives: patterns that are not distorted are, as often as its share says, those of the same structure on
    a lattice strained within its crystal system, so that the symmetry is learned and not the material. threads: of
    torch on a CPU. streamed: read sticks from disk in blocks of shards, where a data set does not fit into memory.
    split: what no two of training, validation and test share, a `formula` (as the data set was built) or a `prototype`
    (see `xxact_core.dataset.splits`). training_rows: learn from so many materials of the training split only, drawn by
    the seed, fewer being part of more; None for all. more_data: data set folders whose training materials are learned
    from besides, for instance relatives with other elements (see
    `xxact_core.dataset.building.element_substitution`). remembered: so many training materials, the first of the data
    set, have their say in the finished model (see `xxact_core.model.knn_retrieval`).
    """

    name: str = "multi-target"
    preset: str = "paper"
    targets: tuple[str, ...] = PREDICTED
    objectives: tuple[str, ...] = ("targets",)
    task_sampling: str = "one"
    value_loss: ValueLoss = "squared"
    value_weight: float = 1.0
    mask_ratio: float = MASK_RATIO
    contrastive_loss: str = "softmax"
    hide_pattern: float = 0.0
    hide_composition: float = 0.0
    fraction_jitter: float = 0.0
    drop_light: float = 0.0
    distortions: Distortions | None = None
    relatives: Strain | None = None
    epochs: float = 50
    batch_size: int = 32_768
    micro_batch: int | None = None
    recompute: bool = False
    compiled: bool = False
    average: float | None = None
    optimiser: str = "adamw"
    matrix_rate: float = 3.0
    peak_rate: float = 5e-4
    first_rate: float = 1e-6
    last_rate: float = 1e-7
    warm_up: float = 0.1
    betas: tuple[float, float] = (0.9, 0.98)
    weight_decay: float = 0.01
    clip: float | None = None
    seed: int = 0
    start_from: str | None = None
    freeze: bool = False
    device: str = "auto"
    precision: str = "auto"
    threads: int = 1
    streamed: bool = False
    split: str = "formula"
    training_rows: int | None = None
    more_data: tuple[str, ...] = ()
    remembered: int = 0
    validate_every: int = 500
    validation_rows: int = 2048
    save_every: int = 500
    model_settings: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Check every value before a run spends hours on it."""
        problems = [
            (not self.objectives or set(self.objectives) - set(OBJECTIVES), f"objectives: any of {OBJECTIVES}"),
            (not self.targets or set(self.targets) - set(TARGETS), f"targets: any of {tuple(TARGETS)}"),
            (self.task_sampling not in {"one", "all"}, "task_sampling: 'one' or 'all'"),
            (self.value_loss not in get_args(ValueLoss), f"value_loss: any of {get_args(ValueLoss)}"),
            (self.split not in GROUPINGS, f"split: any of {GROUPINGS}"),
            (self.optimiser not in OPTIMISERS, f"optimiser: any of {OPTIMISERS}"),
            (self.contrastive_loss not in CONTRASTIVE_LOSSES, f"contrastive_loss: any of {CONTRASTIVE_LOSSES}"),
            (self.precision not in PRECISIONS, f"precision: any of {PRECISIONS}"),
            (
                min(self.hide_pattern, self.hide_composition) < 0 or self.hide_pattern + self.hide_composition > 1,
                "hide_pattern and hide_composition: shares, together at most 1",
            ),
            (not 0 <= self.fraction_jitter <= 1, "fraction_jitter: 0 to 1"),
            (not 0 <= self.drop_light <= 1, "drop_light: a share, 0 to 1"),
            (
                "contrastive" in self.objectives and bool(self.hide_pattern or self.hide_composition),
                "no hide_pattern or hide_composition with contrastive: there would be nothing to align",
            ),
            (
                self.relatives is not None and bool(set(self.targets) & SHAPED_BY_LATTICE),
                f"no relatives with targets of the lattice itself, {sorted(SHAPED_BY_LATTICE)}: theirs are others",
            ),
            (min(self.matrix_rate, self.value_weight) <= 0, "matrix_rate and value_weight: above 0"),
            (not 0 < self.mask_ratio < 1, "mask_ratio: between 0 and 1"),
            (self.epochs <= 0 or self.batch_size < 1, "epochs above 0 and batch_size at least 1"),
            (not 0 <= self.warm_up < 1, "warm_up: a share of the run, 0 to 1"),
            (min(self.peak_rate, self.first_rate, self.last_rate) < 0, "learning rates: at least 0"),
            (self.freeze and self.objectives != ("targets",), "freeze goes with the objective 'targets' only"),
            (self.validate_every < 1 or self.save_every < 1, "validate_every and save_every: at least 1 step"),
            (min(self.validation_rows, self.remembered) < 0, "validation_rows and remembered: at least 0"),
            ("contrastive" in self.objectives and self.batch_size == 1, "contrastive: a batch of at least 2"),
            (self.micro_batch is not None and self.micro_batch < 1, "micro_batch: at least 1, or none"),
            (self.training_rows is not None and self.training_rows < 1, "training_rows: at least 1, or none"),
            (self.average is not None and not 0 < self.average < 1, "average: between 0 and 1, or none"),
            (self.clip is not None and self.clip <= 0, "clip: above 0, or none"),
            (self.seed < 0 or self.threads < 1, "seed at least 0 and threads at least 1"),
            (
                not all(0 <= beta < 1 for beta in self.betas) or self.weight_decay < 0,
                "betas in [0, 1), weight_decay ≥ 0",
            ),
            (self.device.partition(":")[0] not in {"auto", "cpu", "cuda"}, "device: 'auto', 'cpu' or 'cuda'"),
        ]
        for wrong, expected in problems:
            if wrong:
                msg = f"recipe {self.name!r} cannot be run; expected {expected}"
                raise RecipeError(msg, code="E_RECIPE")
        if (kind := self.model_config().kind) != "xxact" and set(self.objectives) != {"targets"}:
            msg = f"recipe {self.name!r} cannot be run; objectives of a model of the kind {kind!r}: 'targets' only, "
            msg += f"not {self.objectives}, which need two encoders and their fusion"
            raise RecipeError(msg, code="E_RECIPE")
        if kind != "xxact" and (self.hide_pattern or self.hide_composition):
            msg = f"recipe {self.name!r} cannot be run; a model of the kind {kind!r} has nothing else to look at than "
            msg += "what hide_pattern and hide_composition would hide"
            raise RecipeError(msg, code="E_RECIPE")
        if kind not in LOOK_AT_COMPOSITIONS and (self.fraction_jitter or self.drop_light):
            msg = f"recipe {self.name!r} cannot be run; a model of the kind {kind!r} does not look at the composition, "
            msg += "which fraction_jitter and drop_light would change"
            raise RecipeError(msg, code="E_RECIPE")

    def model_config(self) -> ModelConfig:
        """The model that the recipe trains."""
        base = preset(self.preset).to_dict()
        settings = dict(self.model_settings)
        for name, value in settings.items():
            part = asdict(value) if isinstance(value, BlockSizes) else value
            settings[name] = {**base[name], **part} if isinstance(part, Mapping) and name in base else part
        return ModelConfig.from_dict({**base, **settings, "targets": tuple(self.targets)})

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            **asdict(self),
            "distortions": self.distortions.to_dict() if self.distortions else None,
            "relatives": self.relatives.to_dict() if self.relatives else None,
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Recipe:
        """The inverse of `to_dict`; an unknown key is an error."""
        return override(cls(), values)


def override(recipe: Recipe, values: Mapping[str, Any]) -> Recipe:
    """A recipe with some values changed.

    Raises:
        RecipeError: a key is unknown or a value impossible.
    """
    known = {item.name for item in fields(Recipe)}
    unknown = sorted(set(values) - known)
    if unknown:
        msg = f"a recipe has no setting {unknown}; it has {sorted(known)}"
        raise RecipeError(msg, code="E_RECIPE")
    changed: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value for name, value in values.items()
    }
    try:
        if isinstance(distortions := changed.get("distortions"), Mapping):
            changed["distortions"] = Distortions.from_dict(distortions)
        elif distortions is False:  # TOML has no null
            changed["distortions"] = None
        if isinstance(relatives := changed.get("relatives"), Mapping):
            changed["relatives"] = Strain(**relatives)
        elif relatives is False:
            changed["relatives"] = None
        check_types(f"recipe {recipe.name!r}", Recipe, changed)
        return replace(recipe, **changed)
    except TypeError as error:
        msg = f"recipe {recipe.name!r}: {error}"
        raise RecipeError(msg, code="E_RECIPE") from error


def parse_settings(texts: Iterable[str]) -> dict[str, Any]:
    """Settings as people write them, `NAME=VALUE`: a value is JSON, or else the text itself.

    Raises:
        RecipeError: a text has no equals sign.
    """
    values: dict[str, Any] = {}
    for text in texts:
        name, separator, value = text.partition("=")
        if not separator:
            msg = f"--set takes NAME=VALUE, not {shorten(text)!r}"
            raise RecipeError(msg, code="E_RECIPE")
        try:
            values[name] = json.loads(value)
        except json.JSONDecodeError:
            values[name] = value
    return values
