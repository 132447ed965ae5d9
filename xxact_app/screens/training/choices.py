"""Settings of a training: dataset, recipe and changes to it, checked before a process is started."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from xxact_app.library.models import find_model
from xxact_app.library.workspace import Workspace, own_folders
from xxact_app.ui.safe_text import safe_text
from xxact_core.checkpoint import describe_checkpoint
from xxact_core.dataset.inspection import describe_dataset
from xxact_core.dataset.store import MANIFEST
from xxact_core.errors import RecipeError
from xxact_core.quantities import TARGETS
from xxact_core.training.config import Recipe, override, parse_settings
from xxact_core.training.recipes import DESCRIPTIONS, recipe_by_name

_FROM_SERVER = ("start_from", "extra_datasets")


@dataclass(frozen=True)
class DatasetFacts:
    """The properties of a dataset that a training depends on."""

    path: Path
    materials: int
    """Number of materials in all splits."""
    train: int
    """Number of materials in the training split."""
    validation: int
    """Number of materials in the validation split."""
    labelled: Mapping[str, int]
    """Number of labelled materials of each target."""
    size: float
    """Size on disk [bytes]."""
    source: str
    """File or folder it was built from."""
    errors: int
    """Number of structures that could not be used."""


@dataclass(frozen=True)
class TrainingChoice:
    """The settings of a training; those that are empty or None are taken from the recipe."""

    dataset: str
    """Path of the dataset."""
    recipe: str
    """Name of the recipe."""
    targets: tuple[str, ...] = ()
    """Names of the targets."""
    epochs: float | None = None
    """Passes over the training split."""
    batch_size: int | None = None
    """Materials per step."""
    micro_batch_size: int | None = None
    """Materials per forward pass."""
    start_from: str = ""
    """Name of a run of the workspace to continue."""
    settings: str = ""
    """Further settings as on the command line, one NAME=VALUE per line."""


def recipe_labels() -> dict[str, str]:
    """The recipes: label → name."""
    return {f"{name}: {description}": name for name, description in DESCRIPTIONS.items()}


def list_datasets(workspace: Workspace) -> dict[str, str]:
    """The finished datasets of the workspace and its sources: label → path."""
    found = {folder.name: folder for folder in own_folders(workspace.datasets)}
    for source in workspace.sources:
        if source.is_dir():
            found |= {str(folder): folder for folder in (source, *own_folders(source))}
    return {safe_text(label): str(folder) for label, folder in found.items() if (folder / MANIFEST).is_file()}


def read_facts(path: Path) -> DatasetFacts:
    """The properties of a dataset.

    Raises:
        DatasetError: the folder holds no dataset, or a damaged one.
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
    """The settings in which a training differs from its recipe.

    Raises:
        RecipeError: a setting is invalid.
        WorkspaceError: there is no such run, or a setting names a folder that may not be read.
    """
    values: dict[str, Any] = {}
    if choice.start_from:
        folder = find_model(choice.start_from, workspace=lambda: workspace).folder
        before = describe_checkpoint(folder)["about"]["recipe"]
        values = {name: before[name] for name in ("preset", "model_settings") if before.get(name)}
        values["start_from"] = str(folder)
    numbers = {"epochs": choice.epochs, "batch_size": choice.batch_size, "micro_batch_size": choice.micro_batch_size}
    values |= {name: value for name, value in numbers.items() if value is not None}
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
    """The recipe of a training, if it can be run on the dataset.

    Raises:
        RecipeError: it cannot; the message says what to change.
    """
    recipe = override(recipe_by_name(choice.recipe), settings)
    if recipe.start_from == "":
        msg = f"{choice.recipe} continues a trained model: select the run to continue"
        raise RecipeError(msg, code="E_RECIPE")
    lacking = [name for name in recipe.targets if not facts.labelled.get(name)]
    if lacking and "targets" in recipe.objectives:
        available = [name for name in TARGETS if facts.labelled.get(name)]
        msg = f"this dataset has no labels of {', '.join(lacking)}; available targets: {', '.join(available)}"
        raise RecipeError(msg, code="E_RECIPE")
    rows = min(facts.train, recipe.training_rows or facts.train)
    if recipe.batch_size > rows and recipe.model_config().architecture != "extra-trees":
        msg = f"the batch size {recipe.batch_size} is larger than the training split of {rows} materials; reduce it"
        raise RecipeError(msg, code="E_RECIPE")
    return recipe


def settings_to_arguments(settings: Mapping[str, Any]) -> list[str]:
    """Settings as command-line arguments."""
    return [part for name, value in settings.items() for part in ("--set", f"{name}={json.dumps(value)}")]
