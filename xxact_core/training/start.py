"""The start of a run: its dataset with label statistics, its folder, its initial weights, and its layers."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from xxact_core.checkpoint import load_checkpoint, make_model
from xxact_core.dataset.loading.concat import join_training_data
from xxact_core.dataset.splits import with_split, with_training_rows
from xxact_core.dataset.table import StickTable, count_compared_formulas, read_dataset
from xxact_core.errors import RecipeError, shorten
from xxact_core.model.attention import DecoderLayer, EncoderLayer
from xxact_core.model.dropout import replayed_dropout
from xxact_core.model.model import Model
from xxact_core.quantities import FORMATION_ENERGY, TARGETS
from xxact_core.stored_names import CHECKPOINT_FACTS, rename
from xxact_core.training.config import FROM_A_MODEL, Recipe
from xxact_core.training.journal import JOURNAL, Journal
from xxact_core.training.run_folder import RECIPE, read_recipe, write_recipe

RUNTIME_SETTINGS = (
    "device", "threads", "micro_batch_size", "activation_checkpointing", "torch_compile", "validate_every",
    "validation_rows", "save_every",
)  # fmt: skip
"""Settings that may change when a run is resumed: they do not affect what it learns."""


def open_table(recipe: Recipe, dataset: Path | str) -> StickTable:
    """The training data of a recipe: the dataset with its split, and the training materials of `extra_datasets`.

    Raises:
        RecipeError: `extra_datasets` and `stream_from_disk` are combined.
        DatasetError: a dataset cannot be read, or does not fit the others.
    """
    if recipe.extra_datasets and recipe.stream_from_disk:
        msg = f"recipe {recipe.name!r}: extra_datasets are joined in memory; use `xxact dataset merge` instead"
        raise RecipeError(msg, code="E_RECIPE")
    table, *others = (
        with_split(read_dataset(folder, resident=not recipe.stream_from_disk), by=recipe.split_by)
        for folder in (dataset, *recipe.extra_datasets)
    )
    table = with_training_rows(table, rows=recipe.training_rows, seed=recipe.seed)
    return join_training_data(table, others, by=recipe.split_by)


def check_materials(table: StickTable, recipe: Recipe) -> int:
    """Number of training materials; a batch must not be larger.

    Raises:
        RecipeError: there are fewer than two, or fewer than in a batch.
    """
    materials = len(table.rows("train"))
    if materials < 2:  # noqa: PLR2004 - a standard deviation takes two
        msg = f"the dataset has {materials} materials in its training split; expected at least two"
        raise RecipeError(msg, code="E_RECIPE")
    if recipe.batch_size > materials:
        msg = f"a batch of {recipe.batch_size} is larger than the training split of {materials} materials; "
        msg += "choose a smaller batch_size"
        raise RecipeError(msg, code="E_RECIPE")
    return materials


def check_polymorphs(table: StickTable, recipe: Recipe) -> None:
    """Check that a recipe which compares polymorphs finds some.

    Raises:
        RecipeError: no formula has two training materials with formation energies of one kind.
    """
    if not recipe.difference_weight or FORMATION_ENERGY.name not in recipe.targets:
        return
    rows = table.rows("train")
    energy = table.targets[FORMATION_ENERGY.name]
    if not count_compared_formulas(table.formula[rows], energy[rows], table.energy_kind[rows]):
        msg = f"recipe {recipe.name!r} compares polymorphs (difference_weight {recipe.difference_weight:g}), but no "
        msg += "formula has two training materials with formation energies of one kind; expected at least one, or "
        msg += "difference_weight=0"
        raise RecipeError(msg, code="E_RECIPE")


def target_statistics(table: StickTable, recipe: Recipe, *, inherit: bool = True) -> dict[str, tuple[float, float]]:
    """Mean and standard deviation of every regression target over the labelled training rows, in its unit.

    Trained heads that are taken over from `start_from` keep those of the data that they learned from, so that their
    predictions mean the same. In runs of earlier versions (not `inherit`) only frozen heads do.

    Raises:
        RecipeError: a target of the recipe has no label, or all its labels are equal.
        CheckpointError: the heads are those of a checkpoint that cannot be read.
    """
    inherited = inherited_statistics(recipe) if inherit or recipe.freeze_heads else {}
    if recipe.freeze_heads and recipe.start_from is not None:
        return inherited
    rows, statistics = table.rows("train"), {}
    for name in recipe.targets:
        values = table.targets[name][rows]
        values = values[~np.isnan(values)].astype(np.float64)
        if "targets" in recipe.objectives and not values.size:
            msg = f"no training material has a label of {TARGETS[name].label.lower()}; remove {name} from the targets"
            raise RecipeError(msg, code="E_RECIPE")
        if "targets" in recipe.objectives and values.std() == 0:
            target = TARGETS[name]
            only = target.classes[int(values[0])] if target.kind == "class" else f"{values[0]:g}"
            msg = f"{target.label.lower()} is {only} for every labelled training material; "
            msg += f"remove {name} from the targets"
            raise RecipeError(msg, code="E_RECIPE")
        if TARGETS[name].kind == "value" and values.size and values.std() > 0:
            statistics[name] = (float(values.mean()), float(values.std()))
    return statistics | inherited


def inherited_statistics(recipe: Recipe) -> dict[str, tuple[float, float]]:
    """Mean and standard deviation of the regression targets whose trained heads `start_from` provides.

    Heads that are not taken over whole have none, nor those of a checkpoint that was pretrained without targets.

    Raises:
        CheckpointError: the checkpoint cannot be read.
    """
    if recipe.start_from in {None, FROM_A_MODEL}:
        return {}
    checkpoint = load_checkpoint(Path(str(recipe.start_from)))
    if recipe.freeze_heads:
        return {name: checkpoint.statistics[name] for name in recipe.targets if name in checkpoint.statistics}
    if not checkpoint.predicts_targets:
        return {}
    before, wanted = checkpoint.model.heads, make_model(recipe.model_config(), seed=recipe.seed).heads
    return {
        name: statistics
        for name, statistics in checkpoint.statistics.items()
        if name in wanted and name in before and _shapes(wanted[name]).items() <= _shapes(before[name]).items()
    }


def _shapes(module: nn.Module) -> dict[str, torch.Size]:
    return {name: value.shape for name, value in module.state_dict().items()}


def describe_run(recipe: Recipe, table: StickTable) -> dict[str, Any]:
    """What identifies a run: recipe, digests of its datasets, seed, and version of torch."""
    about = {"recipe": recipe.to_dict(), "data_digest": table.digest, "seed": recipe.seed, "torch": torch.__version__}
    if table.others:
        about["extra_digests"] = table.others
    plain: dict[str, Any] = json.loads(json.dumps(about))
    return plain


def open_journal(
    recipe: Recipe,
    table: StickTable,
    folder: Path,
    *,
    steps: int,
    pieces: int = 1,
    statistics: Mapping[str, tuple[float, float]] | None = None,
) -> Journal:
    """Create the run folder with its recipe.json, or check that it belongs to the same run.

    The journal of a new run states its steps, materials, pieces of a batch with random numbers of their own, and the
    mean and standard deviation of its regression targets.

    Raises:
        RecipeError: the folder belongs to a run of another recipe or dataset, or cannot be created.
    """
    try:
        (folder / "checkpoints").mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError, PermissionError) as error:
        msg = f"{folder} cannot be a run folder: {shorten(error.strerror)}; choose another path"
        raise RecipeError(msg, code="E_RECIPE") from error
    described = describe_run(recipe, table)
    if (folder / RECIPE).is_file():
        check_same_run(described, folder)
    else:
        write_recipe(folder, described)
    journal = Journal(folder / JOURNAL)
    if not journal.path.exists():
        materials = len(table.rows("train"))
        journal.write(
            "started", step=0, steps=steps, materials=materials, pieces=pieces, statistics=dict(statistics or {})
        )
    return journal


def check_same_run(described: dict[str, Any], folder: Path) -> None:
    """Check that a run folder belongs to the run of this description; settings that it lacks have their defaults.

    Raises:
        RecipeError: it belongs to a run of another recipe or dataset, or its recipe.json is damaged or has an unknown
            setting.
    """
    path = folder / RECIPE
    before = rename(read_recipe(folder), CHECKPOINT_FACTS, owner=str(path))
    settings = json.loads(json.dumps(Recipe.from_dict(before["recipe"], owner=str(path)).to_dict()))
    changed = [
        name for name, value in described["recipe"].items() if name not in RUNTIME_SETTINGS and settings[name] != value
    ]
    if any(before.get(name) != described.get(name) for name in ("data_digest", "extra_digests")):
        changed.append("dataset")
    if changed:
        msg = f"{folder} belongs to another run, which differs in {changed}; choose another folder"
        raise RecipeError(msg, code="E_RECIPE")


def initial_model(recipe: Recipe) -> Model:
    """A model with random weights, or with those of `start_from`.

    Heads of other targets or sizes stay random. Unless the backbone is frozen, so do readouts of elements and
    peak ratios, an embedding and a decoder of masked windows that the checkpoint lacks or has in another form.

    Raises:
        RecipeError: the checkpoint has a different architecture, or the recipe needs one and names none.
    """
    if recipe.start_from == FROM_A_MODEL or (recipe.freeze_backbone and recipe.start_from is None):
        msg = f"recipe {recipe.name!r} starts from a trained model; name its folder, for instance start_from=RUN/model"
        raise RecipeError(msg, code="E_RECIPE")
    model = make_model(recipe.model_config(), seed=recipe.seed)
    if recipe.start_from is None:
        return model
    trained = load_checkpoint(Path(recipe.start_from)).model
    trained.knn_retrieval = None  # it belongs to the embeddings of that model
    random: tuple[str, ...] = ("heads.",)
    if not recipe.freeze_backbone:
        random += ("element_readout.", "peak_ratios.", "symmetry_embedding.", "reconstruction_head.")
    before = trained.state_dict()
    wanted = model.state_dict()
    kept = {
        name: value
        for name, value in before.items()
        if not name.startswith(random) or (name in wanted and value.shape == wanted[name].shape)
    }
    unfit = [name for name, value in kept.items() if name not in wanted or value.shape != wanted[name].shape]
    unfit += [name for name in wanted if name not in kept and not name.startswith(random)]
    if unfit:
        msg = f"{recipe.start_from} has a different architecture than the preset {recipe.preset!r}: {unfit[:3]} differ"
        raise RecipeError(msg, code="E_RECIPE")
    model.load_state_dict(kept, strict=False)
    return model


def compile_layers(model: Model, *, backend: str = "inductor") -> None:
    """Compile every part of a model by torch.compile; the first steps then take a minute.

    Layers of a stack are compiled one by one, so that they share their kernels; the numbers of materials and elements
    stay dynamic. Results change by rounding and by the random numbers of dropout. No tensor changes its name.
    """
    for part in _parts(model):
        part.forward = torch.compile(part.forward, dynamic=True, backend=backend)


def checkpoint_activations(model: Model) -> None:
    """Keep only the input of each transformer layer, and recompute its activations in the backward pass.

    The random state is kept, so that dropout is the same. Convolutions with batch normalisation are not checkpointed,
    because they would update their running statistics twice. Layers are compiled before, not after.
    Source: Chen et al. 2016, arXiv:1604.06174.
    """
    for part in model.modules():
        if isinstance(part, EncoderLayer | DecoderLayer):
            part.forward = partial(checkpoint, part.forward, use_reentrant=False, context_fn=replayed_dropout)  # type: ignore[method-assign]  # fmt: skip


def _parts(module: nn.Module) -> Iterator[nn.Module]:
    """The largest submodules without a stack of layers, and each layer of a stack; single operations are left out."""
    for part in module.children():
        if any(isinstance(inner, nn.ModuleList) for inner in part.modules()):
            yield from _parts(part)
        elif any(True for _ in part.children()):
            yield part
