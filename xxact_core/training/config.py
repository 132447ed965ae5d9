"""The recipe of a training: all settings of a run, as one frozen value that is saved with it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, get_args

from xxact_core.augmentation.config import AugmentationConfig
from xxact_core.augmentation.effects import Strain
from xxact_core.dataset.splits import GROUPINGS
from xxact_core.errors import RecipeError, shorten
from xxact_core.model.config import BlockSizes, ModelConfig, preset
from xxact_core.objectives.masked_patterns import MASK_RATIO
from xxact_core.objectives.targets import RegressionLoss
from xxact_core.quantities import DENSITY, LATTICE, PREDICTED, TARGETS, VOLUME_PER_ATOM
from xxact_core.setting_types import check_names, check_types, field_names
from xxact_core.stored_names import RECIPE_SETTINGS, Notice, rename, rename_recipe

OBJECTIVES = ("contrastive", "mxm", "targets")
OPTIMISERS = ("adamw", "muon")
CONTRASTIVE_LOSSES = ("softmax", "sigmoid")
PRECISIONS = ("auto", "float32", "bfloat16")

READ_COMPOSITIONS = ("xxact", "crabnet", "fcn-mlp")
"""Architectures whose input includes the composition."""

FROM_A_MODEL = ""
"""`start_from` of a recipe that needs a trained model to start from, which the user has to name."""

LATTICE_TARGETS = {target.name for target in (DENSITY, VOLUME_PER_ATOM, *LATTICE)}
"""Targets that change in proportion to a strain; formation energy and band gap depend on it weakly."""


@dataclass(frozen=True)
class Recipe:
    """How a model is trained. Defaults are those of the paper (XxaCT-NN sections 3.2 and 3.4)."""

    name: str = "multi-target"
    """Name of the recipe; it has no effect."""

    preset: str = "paper"
    """Name of the model preset, see `xxact_core.model.config.PRESETS`."""

    targets: tuple[str, ...] = PREDICTED
    """Names of the quantities to predict; they replace the targets of the preset."""

    objectives: tuple[str, ...] = ("targets",)
    """Objectives, whose losses are added: `contrastive`, `mxm` (masked XRD modelling) and `targets` (supervised)."""

    task_sampling: str = "one"
    """Labels of a material that are trained in a step: `one`, drawn uniformly as in the paper, or `all` of them."""

    regression_loss: RegressionLoss = "squared"
    """Loss of regression targets: `squared` error as in the paper, or `absolute` error, which is robust to outliers."""

    regression_weight: float = 1.0
    """Weight of the loss of a regression target relative to that of a classification target, above 0."""

    mask_ratio: float = MASK_RATIO
    """Fraction of the windows that `mxm` masks, between 0 and 1."""

    mask_share: float = 1.0
    """Probability, above 0 and at most 1, that `mxm` masks windows of a material; others are trained as they are."""

    mxm_weight: float = 1.0
    """Weight of the loss of `mxm`, above 0."""

    polymorphs_together: int = 1
    """Largest number of materials of one formula, with labels of one kind, that a batch holds side by side, at least 1;
    with 1 all materials are shuffled."""

    difference_weight: float = 0.0
    """Weight, relative to `regression_weight`, of a loss on differences of formation energy between materials of one
    formula in a batch, where that is a target; 0 for none. It needs `polymorphs_together` of at least 2."""

    symmetry_contrast_weight: float = 0.0
    """Weight of a supervised contrastive loss that brings embeddings of one crystal system together, where that is a
    target; 0 for none."""

    contrastive_loss: str = "softmax"
    """`softmax` over the batch (InfoNCE, the paper's), or `sigmoid` for each pair (SigLIP)."""

    drop_pattern: float = 0.0
    """Modality dropout: probability (0-1) that a material is trained without its pattern."""

    drop_composition: float = 0.0
    """Modality dropout: probability (0-1) that a material is trained without its composition."""

    fraction_jitter: float = 0.0
    """Largest standard deviation (0-1) of the logarithm of the atomic fractions; applied to half of the materials."""

    drop_light_elements: float = 0.0
    """Probability (0-1) that H, Li, C and O are left out of a composition, as by X-ray fluorescence."""

    augmentation: AugmentationConfig | None = None
    """Instrument and sample effects that are added to patterns; None (in TOML `false`) for ideal patterns."""

    lattice_strain: Strain | None = None
    """Random strain of the lattice, within its crystal system, of patterns without augmentation; None for no strain."""

    epochs: float = 50
    """Passes over the training materials, above 0; may be a fraction."""

    batch_size: int = 32_768
    """Materials of an optimiser step, over all processes."""

    micro_batch_size: int | None = None
    """Materials of a forward pass, whose gradients are accumulated over the batch; None for the whole batch."""

    activation_checkpointing: bool = False
    """Recompute the activations of transformer layers in the backward pass: less memory, more time."""

    torch_compile: bool = False
    """Compile the layers of the model by `torch.compile`."""

    ema_decay: float | None = None
    """Decay of an exponential moving average (EMA) of the weights, in (0, 1), e.g. 0.999; the average is validated and
    saved. None for no average."""

    optimiser: str = "adamw"
    """`adamw`, or `muon` for the hidden weight matrices and AdamW for all other parameters."""

    muon_lr_factor: float = 3.0
    """Learning rate of Muon as a multiple of that of AdamW, above 0."""

    lr_peak: float = 5e-4
    """Learning rate at the end of the warm-up."""

    lr_init: float = 1e-6
    """Learning rate of the first step."""

    lr_final: float = 1e-7
    """Learning rate at the end of the run, reached by a cosine."""

    warmup_fraction: float = 0.1
    """Fraction of the steps, in [0, 1), in which the learning rate rises linearly."""

    betas: tuple[float, float] = (0.9, 0.98)
    """Decay rates of AdamW's moments, each in [0, 1)."""

    weight_decay: float = 0.01
    """Decoupled weight decay, at least 0."""

    grad_clip_norm: float | None = None
    """Norm that gradients are clipped to, above 0; None for no clipping, as in the paper."""

    seed: int = 0
    """Seed of weights, order, augmentation and dropout, at least 0."""

    start_from: str | None = None
    """Checkpoint folder whose weights, with the scale of its heads, the run starts from; None for random weights."""

    freeze_backbone: bool = False
    """Train the target heads only (transfer learning), and with `mxm` the decoder of masked windows."""

    freeze_heads: bool = False
    """Train the decoder of masked windows alone, with `freeze_backbone` and the objectives `targets` and `mxm`."""

    device: str = "auto"
    """`cpu`, `cuda`, or `auto`: CUDA where there is a GPU."""

    precision: str = "auto"
    """Precision of matrix products: `float32`, `bfloat16` (autocast), or `auto`: bfloat16 on a GPU, and on a CPU that
    computes it faster, which is measured at the start; a model narrower than 128 stays in float32 there."""

    threads: int = 1
    """CPU threads of torch and of the data pipeline, at least 1."""

    stream_from_disk: bool = False
    """Read the dataset from disk, in blocks of shards, instead of loading it into memory."""

    split_by: str = "formula"
    """What no two of training, validation and test split share: a `formula`, or a structure `prototype`."""

    training_rows: int | None = None
    """Number of training materials to use, drawn by the seed; fewer are a subset of more. None for all."""

    extra_datasets: tuple[str, ...] = ()
    """Folders or URLs of datasets whose training materials are used as well, e.g. element-substituted structures."""

    retrieval_rows: int = 0
    """Number of training materials that the finished model retrieves nearest neighbours from; 0 for no retrieval."""

    validate_every: int = 500
    """Steps between validations, at least 1."""

    validation_rows: int = 2048
    """Number of validation materials that a validation uses at most, evenly spaced in the dataset."""

    save_every: int = 500
    """Steps between snapshots, at least 1."""

    model_settings: Mapping[str, Any] = field(default_factory=dict)
    """Settings of the model that replace those of the preset, see `xxact_core.model.config.ModelConfig`."""

    def __post_init__(self) -> None:
        """Check every value before the training starts."""
        problems = [
            (not self.objectives or set(self.objectives) - set(OBJECTIVES), f"objectives: any of {OBJECTIVES}"),
            (not self.targets or set(self.targets) - set(TARGETS), f"targets: any of {', '.join(TARGETS)}"),
            (self.task_sampling not in {"one", "all"}, "task_sampling: 'one' or 'all'"),
            (
                self.regression_loss not in get_args(RegressionLoss),
                f"regression_loss: any of {get_args(RegressionLoss)}",
            ),
            (self.split_by not in GROUPINGS, f"split_by: any of {GROUPINGS}"),
            (self.optimiser not in OPTIMISERS, f"optimiser: any of {OPTIMISERS}"),
            (self.contrastive_loss not in CONTRASTIVE_LOSSES, f"contrastive_loss: any of {CONTRASTIVE_LOSSES}"),
            (self.precision not in PRECISIONS, f"precision: any of {PRECISIONS}"),
            (
                min(self.drop_pattern, self.drop_composition) < 0 or self.drop_pattern + self.drop_composition > 1,
                "drop_pattern and drop_composition: probabilities that add up to at most 1",
            ),
            (not 0 <= self.fraction_jitter <= 1, "fraction_jitter: 0 to 1"),
            (not 0 <= self.drop_light_elements <= 1, "drop_light_elements: a probability, 0 to 1"),
            (
                "contrastive" in self.objectives and bool(self.drop_pattern or self.drop_composition),
                "no drop_pattern or drop_composition with the objective 'contrastive', which needs both inputs",
            ),
            (
                self.lattice_strain is not None and bool(set(self.targets) & LATTICE_TARGETS),
                f"no lattice_strain with targets that follow from the lattice: {', '.join(sorted(LATTICE_TARGETS))}",
            ),
            (min(self.muon_lr_factor, self.regression_weight) <= 0, "muon_lr_factor and regression_weight: above 0"),
            (not 0 < self.mask_ratio < 1, "mask_ratio: between 0 and 1"),
            (not 0 < self.mask_share <= 1, "mask_share: above 0, at most 1"),
            (self.mxm_weight <= 0, "mxm_weight: above 0"),
            (self.polymorphs_together < 1, "polymorphs_together: at least 1"),
            (
                min(self.difference_weight, self.symmetry_contrast_weight) < 0,
                "difference_weight and symmetry_contrast_weight: at least 0",
            ),
            (
                self.difference_weight > 0 and self.polymorphs_together < 2,  # noqa: PLR2004 - a pair
                "difference_weight with polymorphs_together of at least 2",
            ),
            (self.epochs <= 0 or self.batch_size < 1, "epochs above 0 and batch_size at least 1"),
            (not 0 <= self.warmup_fraction < 1, "warmup_fraction: a fraction of the run, in [0, 1)"),
            (min(self.lr_peak, self.lr_init, self.lr_final) < 0, "lr_peak, lr_init and lr_final: at least 0"),
            (
                self.freeze_backbone and "contrastive" in self.objectives,
                "freeze_backbone with the objectives 'targets' and 'mxm' only",
            ),
            (
                self.freeze_heads and not (self.freeze_backbone and {"targets", "mxm"} <= set(self.objectives)),
                "freeze_heads with freeze_backbone and the objectives 'targets' and 'mxm' only",
            ),
            (self.validate_every < 1 or self.save_every < 1, "validate_every and save_every: at least 1 step"),
            (min(self.validation_rows, self.retrieval_rows) < 0, "validation_rows and retrieval_rows: at least 0"),
            ("contrastive" in self.objectives and self.batch_size == 1, "contrastive: a batch of at least 2"),
            (self.micro_batch_size is not None and self.micro_batch_size < 1, "micro_batch_size: at least 1, or none"),
            (self.training_rows is not None and self.training_rows < 1, "training_rows: at least 1, or none"),
            (self.ema_decay is not None and not 0 < self.ema_decay < 1, "ema_decay: between 0 and 1, or none"),
            (self.grad_clip_norm is not None and self.grad_clip_norm <= 0, "grad_clip_norm: above 0, or none"),
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
        architecture = self.model_config().architecture
        if architecture != "xxact" and set(self.objectives) != {"targets"}:
            msg = f"recipe {self.name!r} cannot be run; objectives of the architecture {architecture!r}: 'targets' "
            msg += f"only, not {self.objectives}, which need two encoders and their fusion"
            raise RecipeError(msg, code="E_RECIPE")
        if architecture != "xxact" and (self.drop_pattern or self.drop_composition):
            msg = f"recipe {self.name!r} cannot be run; drop_pattern and drop_composition are for the architecture "
            msg += f"'xxact', not for {architecture!r}"
            raise RecipeError(msg, code="E_RECIPE")
        if architecture not in READ_COMPOSITIONS and (self.fraction_jitter or self.drop_light_elements):
            msg = f"recipe {self.name!r} cannot be run; the architecture {architecture!r} does not read the "
            msg += "composition, which fraction_jitter and drop_light_elements change"
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
            "augmentation": self.augmentation.to_dict() if self.augmentation else None,
            "lattice_strain": self.lattice_strain.to_dict() if self.lattice_strain else None,
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any], *, owner: str = "the recipe") -> Recipe:
        """The inverse of `to_dict`; settings of version 0.1.0 are read under their former names, too.

        Raises:
            RecipeError: a setting is unknown, given under two names, or impossible; the message names `owner`.
        """
        return override(cls(), values, owner=owner)


def override(
    recipe: Recipe, values: Mapping[str, Any], *, owner: str | None = None, notice: Notice | None = None
) -> Recipe:
    """A recipe with some settings changed.

    Args:
        recipe: The recipe to begin with.
        values: Settings by name; settings of version 0.1.0 have their former names, too.
        owner: Origin of the settings, named in messages; by default the recipe by its name.
        notice: Called with each former name and the present one.

    Raises:
        RecipeError: a setting is unknown, given under two names, or impossible.
    """
    owner = f"recipe {recipe.name!r}" if owner is None else owner
    changed: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value
        for name, value in rename_recipe(values, owner=owner, notice=notice).items()
    }
    check_names(f"{owner}: a recipe", changed, known=field_names(Recipe))
    try:
        if isinstance(augmentation := changed.get("augmentation"), Mapping):
            changed["augmentation"] = AugmentationConfig.from_dict(augmentation)
        elif augmentation is False:  # TOML has no null
            changed["augmentation"] = None
        if isinstance(lattice_strain := changed.get("lattice_strain"), Mapping):
            check_names(f"{owner}: lattice_strain", lattice_strain, known=field_names(Strain))
            changed["lattice_strain"] = Strain(**lattice_strain)
        elif lattice_strain is False:
            changed["lattice_strain"] = None
        check_types(owner, Recipe, changed)
        return replace(recipe, **changed)
    except TypeError as error:
        msg = f"{owner}: {error}"
        raise RecipeError(msg, code="E_RECIPE") from error


def parse_settings(texts: Iterable[str], *, notice: Notice | None = None) -> dict[str, Any]:
    """Settings of a recipe from `NAME=VALUE`, under their present names; a value that is not JSON is text.

    Raises:
        RecipeError: a text has no equals sign, or a setting is given under two names.
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
    return rename(values, RECIPE_SETTINGS, owner="--set", notice=notice)
