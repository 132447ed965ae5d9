"""Settings of a training: dataset, recipe and changes to it, checked before a process is started."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path, PurePath
from typing import Any

from xxact_app.library.models import find_model
from xxact_app.library.structure_uploads import CIFS, is_upload
from xxact_app.library.workspace import Workspace, own_folders
from xxact_app.ui.safe_text import safe_text
from xxact_core.checkpoint import describe_checkpoint
from xxact_core.dataset.inspection import count_training_polymorphs, describe_dataset
from xxact_core.dataset.store import MANIFEST
from xxact_core.errors import RecipeError
from xxact_core.quantities import FORMATION_ENERGY, TARGETS
from xxact_core.training.config import Recipe, override, parse_settings
from xxact_core.training.recipes import DESCRIPTIONS, recipe_by_name

_FROM_SERVER = ("start_from", "extra_datasets")

ERRORS = "errors.csv"
"""Name of the file of a dataset that lists the structures left out."""

_UPLOADED = f"{PurePath(CIFS).stem}:"
"""Start of the names of structures that were uploaded as CIF files."""

_MOST_REASONS = 20
"""Number of structures left out whose reasons are listed."""


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
    reasons: Sequence[str]
    """Reasons of the first of them, each with the structure."""
    crystal_systems: Mapping[str, int]
    """Number of materials of each crystal system."""
    space_groups: int
    """Number of different space groups."""
    polymorphs: int
    """Number of formulas of which several training materials have formation energies that can be compared."""


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
    compare_polymorphs: bool = True
    """Whether formation energies of polymorphs are compared, where the recipe does so."""
    settings: str = ""
    """Further settings as on the command line, one NAME=VALUE per line."""


def recipe_labels() -> dict[str, str]:
    """The recipes: label → name."""
    return {f"{name}: {description}": name for name, description in DESCRIPTIONS.items()}


@dataclass(frozen=True)
class FittedRecipe:
    """What a form proposes for a recipe and a dataset."""

    batch_size: int
    """That of the recipe, or less where the training split is smaller."""
    targets: tuple[str, ...]
    """Empty where the dataset has labels of all targets of the recipe; else those of which it has."""
    compare_polymorphs: bool
    """Whether the dataset has polymorphs to compare, or the recipe compares none."""
    notes: tuple[str, ...]
    """What differs from the recipe, and why."""


def fit_recipe(recipe: Recipe, facts: DatasetFacts | None) -> FittedRecipe:
    """The batch size and targets of a recipe that a dataset allows; those of the recipe where there is no dataset.

    A smaller batch is a power of two, at most an eighth of the training split, so that an epoch has several steps.
    """
    if facts is None or not facts.train:
        return FittedRecipe(recipe.batch_size, (), compare_polymorphs=True, notes=())
    batch = recipe.batch_size
    targets: tuple[str, ...] = ()
    notes: list[str] = []
    if batch > facts.train and recipe.model_config().architecture != "extra-trees":
        batch = 2 ** max(0, (facts.train // 8).bit_length() - 1)
        notes.append(
            f"Batch size {batch} instead of the recipe's {recipe.batch_size}: the training split has "
            f"{facts.train} materials."
        )
    lacking = [name for name in recipe.targets if not facts.labelled.get(name)]
    if lacking and "targets" in recipe.objectives:
        targets = tuple(name for name in recipe.targets if name not in lacking)
        names = ", ".join(TARGETS[name].label for name in lacking)
        notes.append(f"Not trained, because the dataset has no labels: {names}.")
    compares = _compares_in_vain(recipe, facts)
    if compares and FORMATION_ENERGY.name not in lacking:
        notes.append(
            "Polymorphs are not compared: no formula has two training materials with formation energies of one kind "
            "(difference_weight 0 instead of the recipe's "
            f"{recipe.difference_weight:g})."
        )
    return FittedRecipe(batch, targets, compare_polymorphs=not compares, notes=tuple(notes))


def _compares_in_vain(recipe: Recipe, facts: DatasetFacts) -> bool:
    """Whether a recipe compares polymorphs of which the dataset has none."""
    compared = recipe.difference_weight > 0 and FORMATION_ENERGY.name in recipe.targets
    return compared and "targets" in recipe.objectives and not facts.polymorphs


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
        source="uploaded files" if is_upload(source := str(about["plan"].get("source", ""))) else source,
        errors=about["errors"],
        reasons=_read_reasons(path) if about["errors"] else (),
        crystal_systems=about["crystal_systems"],
        space_groups=about["space_groups"],
        polymorphs=count_training_polymorphs(path),
    )


def _read_reasons(path: Path) -> tuple[str, ...]:
    """The reasons why the first of the structures left out could not be used; none where they cannot be read."""
    try:
        with (path / ERRORS).open(encoding="utf-8", newline="") as file:
            rows = list(islice(csv.DictReader(file), _MOST_REASONS))
    except (OSError, UnicodeDecodeError, csv.Error):
        return ()
    texts = ((row.get("id") or "", row.get("reason") or "") for row in rows)
    named = (reason if reason.startswith(name) else f"{name}: {reason}" for name, reason in texts)
    return tuple(text.removeprefix(_UPLOADED) for text in named)


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
    recipe = recipe_by_name(choice.recipe)
    values |= {name: value for name, value in numbers.items() if value not in {None, getattr(recipe, name)}}
    if choice.targets:
        values["targets"] = list(choice.targets)
    if not choice.compare_polymorphs and recipe.difference_weight:
        values["difference_weight"] = 0.0
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
        available = [target.label.lower() for name, target in TARGETS.items() if facts.labelled.get(name)]
        names = ", ".join(TARGETS[name].label.lower() for name in lacking)
        msg = f"this dataset has no labels of {names}; available targets: {', '.join(available)}"
        raise RecipeError(msg, code="E_RECIPE")
    if not recipe.extra_datasets and _compares_in_vain(recipe, facts):
        msg = "polymorphs cannot be compared: no formula has two training materials with formation energies of one "
        msg += f"kind; set difference_weight=0 instead of {recipe.difference_weight:g}"
        raise RecipeError(msg, code="E_RECIPE")
    rows = min(facts.train, recipe.training_rows or facts.train)
    if recipe.batch_size > rows and recipe.model_config().architecture != "extra-trees":
        msg = f"the batch size {recipe.batch_size} is larger than the training split of {rows} materials; reduce it"
        raise RecipeError(msg, code="E_RECIPE")
    return recipe


def settings_to_arguments(settings: Mapping[str, Any]) -> list[str]:
    """Settings as command-line arguments."""
    return [part for name, value in settings.items() for part in ("--set", f"{name}={json.dumps(value)}")]
