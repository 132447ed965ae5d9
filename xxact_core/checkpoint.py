"""Checkpoints: weights as safetensors and a description as JSON; nothing is unpickled."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch import Tensor

from xxact_core.checkpoint_fields import field_problems
from xxact_core.compositions.element_features import load_element_features
from xxact_core.errors import CheckpointError, RecipeError, shorten
from xxact_core.json_digest import CONTENT_DIGEST, is_damaged, with_digest
from xxact_core.model.config import ModelConfig
from xxact_core.model.knn_retrieval import KnnRetrieval
from xxact_core.model.model import Model
from xxact_core.model.registry import config_to_model
from xxact_core.shipped import CHECKPOINT, shipped_path
from xxact_core.stored_names import CHECKPOINT_FACTS, rename, rename_model, rename_recipe, rename_tensors

SCHEMA_NAME, SCHEMA_NUMBER = "xxact-checkpoint", 1
SCHEMA = f"{SCHEMA_NAME}-{SCHEMA_NUMBER}"
PARTS = ("model", "statistics", "calibration", "about")
_FIELDS = frozenset({"schema", "weights_sha256", *PARTS})
WEIGHTS = "model.safetensors"
DESCRIPTION = "checkpoint.json"
HUB_DESCRIPTION = "config.json"
"""Name of the description in the layout of model hubs, see `xxact_core.evaluation.model_hub`; it has more fields."""

HUB_FIELDS = frozenset({"architectures", "library_name", "model_type", "torch_dtype"})
MODEL_TYPE = "xxact"
"""Fields of that description beside those of a checkpoint, and its `model_type`."""

_RETRIEVAL = "knn_retrieval."
_MAX_UNCHECKED_DEPTH = 64

LARGEST_WEIGHT = 1e6
"""Largest absolute value of a weight; larger ones overflow to NaN in a layer. Ours: trained weights are below 10³."""

LARGEST_RETRIEVAL = 1e9
"""The same for the kNN retrieval, whose whitening divides by the spread of the embeddings."""


@dataclass(frozen=True)
class Checkpoint:
    """A model with what is needed to use it."""

    model: Model
    """The model, with its weights."""

    statistics: Mapping[str, tuple[float, float]]
    """Mean and standard deviation of each regression target over the training split, in its unit."""

    calibration: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """Fitted on the validation split: `temperature` and, where known, `set_threshold_90` of each classification target,
    `residual_90` of each regression target in its unit, and the `domain` of the patterns (see
    `xxact_core.prediction.reliability`)."""

    about: Mapping[str, Any] = field(default_factory=dict)
    """Recipe, digest of the dataset, seed, number of parameters, versions, metrics."""

    @property
    def predicts_targets(self) -> bool:
        """Whether the heads were trained; after pretraining without targets their weights are random."""
        return "targets" in self.about.get("recipe", {}).get("objectives", ("targets",))


def make_model(config: ModelConfig, *, seed: int) -> Model:
    """A new model with random weights that follow from the seed; the global random state is not changed."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return config_to_model(config, torch.tensor(load_element_features(), dtype=torch.float32))


def save_checkpoint(folder: Path, checkpoint: Checkpoint, *, dtype: torch.dtype = torch.float32) -> None:
    """Write weights (floating-point ones as `dtype`) and description to an existing folder."""
    weights = {
        name: value.detach().cpu().to(dtype if value.is_floating_point() else value.dtype).contiguous()
        for name, value in checkpoint.model.state_dict().items()
    }
    content = save_tensors(weights)
    (folder / WEIGHTS).write_bytes(content)
    description = {
        "schema": SCHEMA,
        "weights_sha256": hashlib.sha256(content).hexdigest(),
        "model": checkpoint.model.config.to_dict(),
        "statistics": {name: list(values) for name, values in checkpoint.statistics.items()},
        "calibration": {name: dict(values) for name, values in checkpoint.calibration.items()},
        "about": dict(checkpoint.about),
    }
    write_description(folder, description)


def write_description(folder: Path, description: Mapping[str, Any]) -> None:
    """Write checkpoint.json with the digest of its content."""
    text = json.dumps(with_digest(description), indent=1, ensure_ascii=False)
    (folder / DESCRIPTION).write_text(text + "\n", encoding="utf-8")


def describe_checkpoint(folder: Path) -> dict[str, Any]:
    """The description of a checkpoint, without its weights; settings have their present names.

    Raises:
        CheckpointError: it is missing, not JSON, of another schema, incomplete, or made by a newer version, or it holds
            a setting under two names.
    """
    path = _description_of(folder)
    try:
        description = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError) as error:
        msg = f"{folder} is not a checkpoint: it has no {DESCRIPTION}"
        if (folder / "model" / DESCRIPTION).is_file():
            msg += f"; the checkpoint of this run is {folder / 'model'}"
        raise CheckpointError(msg, code="E_CHECKPOINT") from error
    except (ValueError, RecursionError) as error:
        msg = f"{path} is not JSON: {shorten(error)}"
        raise CheckpointError(msg, code="E_CHECKPOINT") from error
    schema = description.get("schema") if isinstance(description, dict) else None
    name, _, number = str(schema).rpartition("-")
    if name == SCHEMA_NAME and number.isdecimal() and int(number) > SCHEMA_NUMBER:
        msg = f"{folder} was made by a newer version of XxaCT: it has the schema {shorten(schema)!r}, and this version "
        msg += f"reads {SCHEMA!r}"
        raise CheckpointError(msg, code="E_CHECKPOINT")
    if schema != SCHEMA:
        msg = f"{path} is not of the schema {SCHEMA!r}"
        raise CheckpointError(msg, code="E_CHECKPOINT")
    missing = [part for part in PARTS if not isinstance(description.get(part), dict)]
    known = _FIELDS | HUB_FIELDS if path.name == HUB_DESCRIPTION else _FIELDS
    if damage := f"it lacks {missing}" if missing else is_damaged(description, known=known):
        msg = f"{path} is damaged: {damage}"
        raise CheckpointError(msg, code="E_CHECKPOINT")
    try:
        about = rename(description["about"], CHECKPOINT_FACTS, owner=str(path))
        if isinstance(recipe := about.get("recipe"), dict):
            about["recipe"] = rename_recipe(recipe, owner=f"{path}, recipe")
        model = rename_model(description["model"], owner=f"{path}, model")
    except RecipeError as error:
        raise CheckpointError(str(error), code="E_CHECKPOINT") from error
    described = {name: value for name, value in description.items() if name not in HUB_FIELDS | {CONTENT_DIGEST}}
    described |= {"model": model, "about": about}
    for problem in field_problems(described):
        msg = f"{path} cannot be used: {problem}"
        raise CheckpointError(msg, code="E_CHECKPOINT")
    return described


def _description_of(folder: Path) -> Path:
    """Path of checkpoint.json, or of the config.json of an exported model."""
    exported = folder / HUB_DESCRIPTION
    if (folder / DESCRIPTION).exists() or not exported.is_file():
        return folder / DESCRIPTION
    try:
        described = json.loads(exported.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return exported
    of_other = isinstance(described, dict) and described.get("model_type") not in {None, MODEL_TYPE}
    return folder / DESCRIPTION if of_other else exported


def load_checkpoint(folder: Path | None = None, *, device: str | torch.device = "cpu") -> Checkpoint:
    """Read a checkpoint folder, by default the shipped one; the model is in evaluation mode.

    Raises:
        CheckpointError: it is missing, damaged, or its weights do not fit its model.
        InstallationError: a file of the shipped checkpoint is missing.
    """
    if folder is None:
        folder = shipped_path(CHECKPOINT)
        for part in (DESCRIPTION, WEIGHTS):
            shipped_path(f"{CHECKPOINT}/{part}")
    description = describe_checkpoint(folder)
    try:
        content = (folder / WEIGHTS).read_bytes()
    except FileNotFoundError as error:
        msg = f"{folder} is not a checkpoint: it has no {WEIGHTS}"
        raise CheckpointError(msg, code="E_CHECKPOINT") from error
    if hashlib.sha256(content).hexdigest() != description.get("weights_sha256"):
        msg = f"{folder / WEIGHTS} is damaged: its SHA-256 is not the one in {_description_of(folder).name}"
        raise CheckpointError(msg, code="E_CHECKPOINT")
    try:
        config, weights = ModelConfig.from_dict(description["model"]), rename_tensors(load_tensors(content))
        retrieval = {
            name[len(_RETRIEVAL) :]: weights.pop(name) for name in list(weights) if name.startswith(_RETRIEVAL)
        }
        _check_size(config, weights)
        model = make_model(config, seed=0)
        load_weights(model, weights)
        if retrieval:
            _check_values(retrieval, limit=LARGEST_RETRIEVAL)
            model.knn_retrieval = KnnRetrieval.from_weights(config.targets, retrieval, width=model.heads.width)
    except (KeyError, TypeError, RecipeError, SafetensorError) as error:
        msg = f"{folder} cannot be used: {shorten(error, limit=800)}"
        raise CheckpointError(msg, code="E_CHECKPOINT") from error
    return Checkpoint(
        model=model.to(device).eval(),
        statistics={name: (values[0], values[1]) for name, values in description["statistics"].items()},
        calibration=description["calibration"],
        about=description["about"],
    )


def load_weights(model: Model, weights: Mapping[str, Tensor]) -> None:
    """Load weights into a model of the same architecture.

    Raises:
        CheckpointError: a tensor is missing, left over or of another shape, or holds NaN, infinity, or values beyond
            `LARGEST_WEIGHT`.
    """
    wanted = model.state_dict()
    _check_shapes(wanted, weights)
    _check_values(weights)
    model.load_state_dict({name: value.to(wanted[name].dtype) for name, value in weights.items()})


def _check_values(weights: Mapping[str, Tensor], *, limit: float = LARGEST_WEIGHT) -> None:
    for name, value in weights.items():
        if not value.is_floating_point():
            continue
        if name.endswith("running_var") and bool((value < 0).any()):
            msg = f"{name} holds a negative variance; the checkpoint is damaged"
            raise CheckpointError(msg, code="E_CHECKPOINT")
        largest = float(value.abs().max()) if value.numel() else 0.0  # NaN where there is one
        if not largest <= limit:
            msg = f"{name} holds {'NaN' if math.isnan(largest) else f'{largest:g}'}, with which predictions would be "
            msg += "NaN; the checkpoint is damaged"
            raise CheckpointError(msg, code="E_CHECKPOINT")


def _check_size(config: ModelConfig, weights: Mapping[str, Tensor]) -> None:
    """Compare a description with its weights before the model is made, which could be larger than the memory."""
    deepest = max(config.pattern.depth, config.composition.depth, config.fusion.depth)
    if deepest > max(_MAX_UNCHECKED_DEPTH, len(weights)):
        msg = f"the description has {deepest} layers, but there are only {len(weights)} tensors"
        raise CheckpointError(msg, code="E_CHECKPOINT")
    features = torch.tensor(load_element_features(), dtype=torch.float32)
    try:
        with torch.device("meta"):  # shapes without data
            wanted = config_to_model(config, features).state_dict()
    except RuntimeError as error:
        msg = f"no model has these sizes: {shorten(error)}"
        raise CheckpointError(msg, code="E_CHECKPOINT") from error
    _check_shapes(wanted, weights)


def _check_shapes(wanted: Mapping[str, Tensor], weights: Mapping[str, Tensor]) -> None:
    missing, extra = sorted(set(wanted) - set(weights)), sorted(set(weights) - set(wanted))
    if missing or extra:
        msg = f"the weights do not fit the model: missing {missing[:3]}, left over {extra[:3]}"
        raise CheckpointError(msg, code="E_CHECKPOINT")
    for name, value in weights.items():
        if value.shape != wanted[name].shape:
            msg = f"{name} has the shape {tuple(value.shape)}; the model has {tuple(wanted[name].shape)}"
            raise CheckpointError(msg, code="E_CHECKPOINT")
