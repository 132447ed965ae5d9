"""What a training can be made of: data sets, recipes and changes to them, checked before a process is started."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from xxact_app.library.workspace import Workspace, WorkspaceError, own_folders
from xxact_app.ui.safe_text import safe_text
from xxact_core.checkpoint import describe_checkpoint
from xxact_core.dataset.inspection import describe_dataset
from xxact_core.dataset.store import MANIFEST
from xxact_core.errors import InputError, RecipeError
from xxact_core.quantities import TARGETS
from xxact_core.training.config import Recipe, override, parse_settings
from xxact_core.training.recipes import RECIPES, recipe_by_name

RECIPE_WORDS = {
    "compact": "as the model that ships: for about 100,000 materials and a laptop",
    "tiny": "a lesson: seconds a hundred steps",
    "multi-target": "the paper's size, four targets from scratch; needs a GPU",
    "formation-energy": "the paper's size, one target; needs a GPU",
    "band-gap": "the paper's size, one target; needs a GPU",
    "crystal-system": "the paper's size, one target; needs a GPU",
    "space-group": "the paper's size, one target; needs a GPU",
    "pretrain-contrastive": "without labels: pattern and composition aligned",
    "pretrain-mxm": "without labels: masked windows reconstructed",
    "pretrain": "without labels: aligned and masked",
    "fine-tune": "goes on from a finished run, all weights",
    "transfer-band-gap": "goes on from a finished run, a new head only",
    "crabnet": "baseline: composition only, the paper's size",
    "xrd-transformer": "baseline: pattern only, the paper's size",
    "fcn": "baseline: convolutions on the pattern",
    "fcn-mlp": "baseline: convolutions and the composition",
    "extra-trees": "baseline: trees on the lines of the pattern",
    "crabnet-small": "baseline: composition only, small",
    "xrd-transformer-small": "baseline: pattern only, small",
}
"""Recipes in a few words, those for a laptop first. A recipe without words is offered by its name."""

_FROM_SERVER = ("start_from", "more_data")


@dataclass(frozen=True)
class DatasetFacts:
    """What a training needs to know of a data set: materials of each split, labels, bytes, origin."""

    path: Path
    materials: int
    train: int
    validation: int
    labelled: Mapping[str, int]
    size: float
    source: str
    errors: int


@dataclass(frozen=True)
class TrainingChoice:
    """A training as the user puts it together; what is empty or None is the recipe's.

    start_from: name of a run of the workspace. settings: further ones as on the command line, NAME=VALUE a line.
    """

    dataset: str
    recipe: str
    targets: tuple[str, ...] = ()
    epochs: float | None = None
    batch_size: int | None = None
    micro_batch: int | None = None
    start_from: str = ""
    settings: str = ""


def recipe_labels() -> dict[str, str]:
    """Recipes to choose from: words to names."""
    names = [name for name in dict.fromkeys([*RECIPE_WORDS, *RECIPES]) if name in RECIPES]
    return {f"{name}: {RECIPE_WORDS[name]}" if name in RECIPE_WORDS else name: name for name in names}


def list_datasets(workspace: Workspace) -> dict[str, str]:
    """Finished data sets that may be trained on: what they are called to where they are."""
    found = {folder.name: folder for folder in own_folders(workspace.datasets)}
    for source in workspace.sources:
        if source.is_dir():
            found |= {str(folder): folder for folder in (source, *own_folders(source))}
    return {safe_text(label): str(folder) for label, folder in found.items() if (folder / MANIFEST).is_file()}


def read_facts(path: Path) -> DatasetFacts:
    """What a data set holds.

    Raises:
        DatasetError: it is none, or damaged.
    """
    about = describe_dataset(path)
    return DatasetFacts(
        path=path,
        materials=about["materials"],
        train=about["splits"]["train"],
        validation=about["splits"]["validation"],
        labelled=about["labelled"],
        size=about["bytes_per_material"] * about["materials"],
        source=str(about["plan"].get("source", "")),
        errors=about["errors"],
    )


def choice_to_settings(choice: TrainingChoice, workspace: Workspace) -> dict[str, Any]:
    """The settings that a choice changes of its recipe.

    Raises:
        RecipeError: a setting cannot be understood.
        WorkspaceError: a folder that a setting names may not be read.
    """
    values: dict[str, Any] = {}
    if choice.start_from:
        run = workspace.runs / choice.start_from
        if run not in set(own_folders(workspace.runs)):
            msg = f"there is no run {choice.start_from!r} to begin with: choose another"
            raise WorkspaceError(msg, code="E_WORKSPACE")
        before = describe_checkpoint(run / "model")["about"]["recipe"]
        values = {name: before[name] for name in ("preset", "model_settings") if before.get(name)}
        values["start_from"] = str(run / "model")
    given = {"epochs": choice.epochs, "batch_size": choice.batch_size, "micro_batch": choice.micro_batch}
    values |= {name: value for name, value in given.items() if value is not None}
    if choice.targets:
        values["targets"] = list(choice.targets)
    lines = [line.strip() for line in choice.settings.splitlines() if line.strip()]
    typed = parse_settings([line.removeprefix("--set ") for line in lines])
    for name in _FROM_SERVER:
        if isinstance(value := typed.get(name), str) and value:
            typed[name] = str(workspace.readable_path(value))
        elif isinstance(value, list):
            typed[name] = [str(workspace.readable_path(str(item))) for item in value]
    return values | typed


def check_choice(choice: TrainingChoice, facts: DatasetFacts, settings: Mapping[str, Any]) -> Recipe:
    """The recipe of a choice, if it can be run on this data set.

    Raises:
        RecipeError: it cannot, with what to change.
    """
    recipe = override(recipe_by_name(choice.recipe), settings)
    if recipe.start_from == "":
        msg = f"{choice.recipe} goes on from a trained model: choose the run to begin with"
        raise RecipeError(msg, code="E_RECIPE")
    lacking = [name for name in recipe.targets if not facts.labelled.get(name)]
    if lacking and "targets" in recipe.objectives:
        there = [name for name in TARGETS if facts.labelled.get(name)]
        msg = f"this data set has no label of {', '.join(lacking)}; choose targets among {', '.join(there)}"
        raise RecipeError(msg, code="E_RECIPE")
    rows = min(facts.train, recipe.training_rows or facts.train)
    if recipe.batch_size > rows and recipe.model_config().kind != "extra-trees":
        msg = f"a batch of {recipe.batch_size} is larger than the {rows} training materials; choose a smaller batch"
        raise RecipeError(msg, code="E_RECIPE")
    return recipe


def settings_to_arguments(settings: Mapping[str, Any]) -> list[str]:
    """Settings as arguments of the command line."""
    return [part for name, value in settings.items() for part in ("--set", f"{name}={json.dumps(value)}")]


def answers_of(run: Path) -> bool | None:
    """Whether a run has a finished model, and one that answers; None where it has none."""
    try:
        about = describe_checkpoint(run / "model")["about"]
    except InputError:
        return None
    return "targets" in about.get("recipe", {}).get("objectives", ("targets",))
