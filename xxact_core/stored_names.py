"""Names of settings, tensors and fields in files of version 0.1.0, and their names now.

Files are read under either name and written under the present one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from xxact_core.errors import RecipeError, shorten

if TYPE_CHECKING:  # torch is slow to import, and only names are changed here
    from torch import Tensor

RECIPE_SETTINGS = {
    "value_loss": "regression_loss",
    "value_weight": "regression_weight",
    "hide_pattern": "drop_pattern",
    "hide_composition": "drop_composition",
    "drop_light": "drop_light_elements",
    "distortions": "augmentation",
    "relatives": "lattice_strain",
    "micro_batch": "micro_batch_size",
    "recompute": "activation_checkpointing",
    "compiled": "torch_compile",
    "average": "ema_decay",
    "matrix_rate": "muon_lr_factor",
    "peak_rate": "lr_peak",
    "first_rate": "lr_init",
    "last_rate": "lr_final",
    "warm_up": "warmup_fraction",
    "clip": "grad_clip_norm",
    "freeze": "freeze_backbone",
    "streamed": "stream_from_disk",
    "split": "split_by",
    "more_data": "extra_datasets",
    "remembered": "retrieval_rows",
}
"""Settings of `xxact_core.training.config.Recipe`."""

AUGMENTATION_SETTINGS = {"line_form": "peak_shape"}
"""Settings of `xxact_core.augmentation.config.AugmentationConfig`."""

MODEL_SETTINGS = {
    "kind": "architecture",
    "tokens": "tokenizer",
    "peaks": "peak_tokens",
    "intensity": "intensity_scale",
    "shortcuts_to_heads": "skip_to_heads",
    "head_width": "head_hidden_width",
}
"""Settings of `xxact_core.model.config.ModelConfig`."""

INTENSITY_SCALES = {"root": "sqrt", "both": "sqrt_and_log"}
"""Values of the model's `intensity_scale`."""

FOREST_SETTINGS = {"smallest_leaf": "min_samples_leaf"}
"""Settings of `xxact_core.model.config.ForestSizes`."""

CHECKPOINT_FACTS = {"more_digests": "extra_digests"}
"""What `checkpoint.json` and `recipe.json` state beside the recipe."""

JOURNAL_FIELDS = {"micro_batch": "micro_batch_size"}
"""Fields of the events in `journal.jsonl`."""

TENSORS = {
    "memory.centre": "knn_retrieval.mean",
    "memory.directions": "knn_retrieval.whitening",
    "memory.missed": "knn_retrieval.residuals",
    "memory.known": "knn_retrieval.has_residual",
    "memory.": "knn_retrieval.",
    "average.": "ema_model.",
    "jump": "right_or_leaf",
    "shares": "leaf_probabilities",
}
"""Beginnings of the names of tensors: of `KnnRetrieval`, of the average of the weights, and of `ExtraTrees`."""

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


def rename_tensors(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Tensors of a checkpoint or a snapshot under their present names; values are not copied."""
    renamed = {}
    for name, value in tensors.items():
        former = next((former for former in TENSORS if name.startswith(former)), None)
        renamed[name if former is None else TENSORS[former] + name[len(former) :]] = value
    return renamed
