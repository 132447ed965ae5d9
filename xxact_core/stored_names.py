"""Names of settings, tensors and fields in files of version 0.1.0, and their names now.

Files are read under either name and written under the present one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from xxact_core.errors import RecipeError, shorten

RECIPE_SETTINGS = {
    "regression_loss": "regression_loss",
    "regression_weight": "regression_weight",
    "drop_pattern": "drop_pattern",
    "drop_composition": "drop_composition",
    "drop_light_elements": "drop_light_elements",
    "distortions": "augmentation",
    "relatives": "lattice_strain",
    "micro_batch_size": "micro_batch_size",
    "activation_checkpointing": "activation_checkpointing",
    "compiled": "torch_compile",
    "average": "ema_decay",
    "muon_lr_factor": "muon_lr_factor",
    "lr_peak": "lr_peak",
    "lr_init": "lr_init",
    "lr_final": "lr_final",
    "warm_up": "warmup_fraction",
    "clip": "grad_clip_norm",
    "freeze": "freeze_backbone",
    "streamed": "stream_from_disk",
    "split": "split_by",
    "extra_datasets": "extra_datasets",
    "remembered": "retrieval_rows",
}
"""Settings of `xxact_core.training.config.Recipe`."""

MODEL_SETTINGS = {
    "kind": "architecture",
    "tokens": "tokenizer",
    "peaks": "peak_tokens",
    "intensity": "intensity_scale",
    "skip_to_heads": "skip_to_heads",
    "head_hidden_width": "head_hidden_width",
}
"""Settings of `xxact_core.model.config.ModelConfig`."""

INTENSITY_SCALES = {"root": "sqrt", "both": "sqrt_and_log"}
"""Values of the model's `intensity_scale`."""

FOREST_SETTINGS = {"min_samples_leaf": "min_samples_leaf"}
"""Settings of `xxact_core.model.config.ForestSizes`."""

CHECKPOINT_FACTS = {"extra_digests": "extra_digests"}
"""What `checkpoint.json` and `recipe.json` state beside the recipe."""

JOURNAL_FIELDS = {"micro_batch_size": "micro_batch_size"}
"""Fields of the events in `journal.jsonl`."""

Notice = Callable[[str, str], None]
"""Called with the former and the present name of each setting that was given under its former name."""


def rename(
    values: Mapping[str, Any], names: Mapping[str, str], *, owner: str, notice: Notice | None = None
) -> dict[str, Any]:
    """Values under their present names, in their order.

    Raises:
        RecipeError: something is given under both its former and its present name; the message names `owner`.
    """
    renamed: dict[str, Any] = {}
    for name, value in values.items():
        present = names.get(name, name)
        if present != name and present in values:
            msg = f"{owner}: {shorten(name)!r} is the former name of {present!r}, and both are given; keep {present!r}"
            raise RecipeError(msg, code="E_RECIPE")
        if present != name and notice is not None:
            notice(name, present)
        renamed[present] = value
    return renamed


def rename_recipe(values: Mapping[str, Any], *, owner: str, notice: Notice | None = None) -> dict[str, Any]:
    """Settings of a recipe, those of its model included, under their present names.

    Raises:
        RecipeError: see `rename`.
    """
    renamed = rename(values, RECIPE_SETTINGS, owner=owner, notice=notice)
    if isinstance(model := renamed.get("model_settings"), Mapping):
        renamed["model_settings"] = rename_model(model, owner=f"{owner}, model_settings", notice=notice)
    return renamed


def rename_model(values: Mapping[str, Any], *, owner: str, notice: Notice | None = None) -> dict[str, Any]:
    """Settings of a model under their present names, and the values of `intensity_scale`, too.

    Raises:
        RecipeError: see `rename`.
    """
    renamed = rename(values, MODEL_SETTINGS, owner=owner, notice=notice)
    scale = renamed.get("intensity_scale")
    if isinstance(scale, str):
        renamed["intensity_scale"] = INTENSITY_SCALES.get(scale, scale)
    if isinstance(forest := renamed.get("forest"), Mapping):
        renamed["forest"] = rename(forest, FOREST_SETTINGS, owner=f"{owner}, forest", notice=notice)
    return renamed
