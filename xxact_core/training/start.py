"""How a run begins: its folder, what it is, and the weights that it starts from."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch

from xxact_core.checkpoint import load_checkpoint, make_model
from xxact_core.dataset.loading.concat import with_more_training
from xxact_core.dataset.splits import with_split, with_training_rows
from xxact_core.dataset.store import write_json
from xxact_core.dataset.table import StickTable, read_dataset
from xxact_core.errors import RecipeError, shorten
from xxact_core.model.model import Model
from xxact_core.stored_names import CHECKPOINT_FACTS, rename
from xxact_core.training.config import FROM_A_MODEL, Recipe
from xxact_core.training.journal import Journal

WHERE_IT_RUNS = (
    "device", "threads", "micro_batch_size", "activation_checkpointing", "torch_compile", "validate_every",
    "validation_rows", "save_every",
)  # fmt: skip
"""Settings that may change when a run is resumed: they decide where it runs and what it reports, not what it learns."""


def open_table(recipe: Recipe, dataset: Path) -> StickTable:
    """What a recipe learns from: the data set, split as it says, and the training materials of `extra_datasets`.

    Raises:
        RecipeError: more data are asked for and sticks shall stay on disk.
        DatasetError: a data set cannot be read, or does not go with the others.
    """
    if recipe.extra_datasets and recipe.stream_from_disk:
        msg = f"recipe {recipe.name!r}: extra_datasets are joined in memory; use `xxact dataset merge` instead"
        raise RecipeError(msg, code="E_RECIPE")
    table, *others = (
        with_split(read_dataset(folder, resident=not recipe.stream_from_disk), by=recipe.split_by)
        for folder in (dataset, *map(Path, recipe.extra_datasets))
    )
    table = with_training_rows(table, rows=recipe.training_rows, seed=recipe.seed)
    return with_more_training(table, others, by=recipe.split_by)


def describe_run(recipe: Recipe, table: StickTable) -> dict[str, Any]:
    """What decides a run: recipe, digests of its data sets, seed, and the version of torch."""
    about = {"recipe": recipe.to_dict(), "data_digest": table.digest, "seed": recipe.seed, "torch": torch.__version__}
    if table.others:
        about["extra_digests"] = table.others
    return json.loads(json.dumps(about))


def open_journal(recipe: Recipe, table: StickTable, folder: Path, *, steps: int) -> Journal:
    """Make the run folder with its recipe.json, or check that it holds this very run.

    Raises:
        RecipeError: the folder holds a run of another recipe or data set, or cannot be a folder.
    """
    try:
        (folder / "checkpoints").mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError, PermissionError) as error:
        msg = f"{folder} cannot be a run folder: {shorten(error.strerror)}; choose another path"
        raise RecipeError(msg, code="E_RECIPE") from error
    path, described = folder / "recipe.json", describe_run(recipe, table)
    if path.is_file():
        check_same_run(described, folder)
    else:
        write_json(path, described)
    journal = Journal(folder / "journal.jsonl")
    if not journal.path.exists():
        journal.write("started", step=0, steps=steps, materials=len(table.rows("train")))
    return journal


def check_same_run(described: dict[str, Any], folder: Path) -> None:
    """See that a run folder holds the run of this description; settings younger than it have their defaults there.

    Raises:
        RecipeError: it holds a run of another recipe or data set.
    """
    path = folder / "recipe.json"
    before = rename(json.loads(path.read_text(encoding="utf-8")), CHECKPOINT_FACTS, owner=str(path))
    settings = json.loads(json.dumps(Recipe.from_dict(before["recipe"], owner=str(path)).to_dict()))
    changed = [
        name for name, value in described["recipe"].items() if name not in WHERE_IT_RUNS and settings[name] != value
    ]
    if any(before.get(name) != described.get(name) for name in ("data_digest", "extra_digests")):
        changed.append("data set")
    if changed:
        msg = f"{folder} holds another run; it differs in {changed}: choose another folder"
        raise RecipeError(msg, code="E_RECIPE")


def first_model(recipe: Recipe) -> Model:
    """A model with random weights, or with those of the recipe's `start_from`; what it has more than that stays random.

    More are heads of other targets or of another depth and, where not only the heads are trained, a readout of the
    elements.

    Raises:
        RecipeError: that checkpoint is a model of another make, or the recipe needs one and names none.
    """
    if recipe.start_from == FROM_A_MODEL or (recipe.freeze_backbone and recipe.start_from is None):
        msg = f"recipe {recipe.name!r} begins with a trained model: name its folder, for instance start_from=RUN/model"
        raise RecipeError(msg, code="E_RECIPE")
    model = make_model(recipe.model_config(), seed=recipe.seed)
    if recipe.start_from is None:
        return model
    trained = load_checkpoint(Path(recipe.start_from)).model
    trained.memory = None  # of another model's embeddings
    before = trained.state_dict()
    wanted = model.state_dict()
    kept = {
        name: value
        for name, value in before.items()
        if not name.startswith("heads.") or (name in wanted and value.shape == wanted[name].shape)
    }
    unfit = [name for name, value in kept.items() if name not in wanted or value.shape != wanted[name].shape]
    random = ("heads.",) if recipe.freeze_backbone else ("heads.", "element_readout.")
    unfit += [name for name in wanted if name not in kept and not name.startswith(random)]
    if unfit:
        msg = f"{recipe.start_from} is a model of another make than the preset {recipe.preset!r}: {unfit[:3]} differ"
        raise RecipeError(msg, code="E_RECIPE")
    model.load_state_dict(kept, strict=False)
    return model
