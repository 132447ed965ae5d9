"""Runs of experiments: folders with finished models and predictions; finished runs are kept."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from xxact_core.checkpoint import DESCRIPTION, describe_checkpoint
from xxact_core.dataset.splits import with_split
from xxact_core.dataset.store import write_csv, write_json
from xxact_core.dataset.table import StickTable, read_dataset
from xxact_core.errors import InputError, RecipeError
from xxact_core.evaluation.provenance import provenance
from xxact_core.evaluation.report import evaluate_checkpoint
from xxact_core.model.config import ModelConfig
from xxact_core.paper.experiments import EXPERIMENTS, GAP, TRIALS, Experiment, kind_of, with_prerequisites
from xxact_core.paper.trials import Choices, read_choices
from xxact_core.quantities import FORMATION_ENERGY
from xxact_core.stored_names import RECIPE_SETTINGS, rename, rename_model, rename_recipe
from xxact_core.training.config import Recipe, override
from xxact_core.training.distributed import ranks_from_environment
from xxact_core.training.recipes import recipe_by_name
from xxact_core.training.run import train
from xxact_core.training.start import check_same_run, describe_run

SIZES: dict[str, dict[str, Any]] = {
    "paper": {},
    "small": {
        "batch_size": 128,
        "epochs": 8,
        "lr_peak": 8e-4,
        "lr_init": 1e-5,
        "lr_final": 1e-6,
        "grad_clip_norm": 1.0,
    },
    "narrow": {
        "batch_size": 128,
        "epochs": 12,
        "pretrain-*:epochs": 12,
        "fcn*-50:epochs": 8,
        "fcn*-100:epochs": 12,
        "fcn*-200:epochs": 16,
        "lr_peak": 1e-3,
        "lr_init": 1e-5,
        "lr_final": 1e-6,
        "grad_clip_norm": 1.0,
    },
    "tiny": {"batch_size": 32, "epochs": 3, "lr_peak": 2e-3},
}
"""Model presets, and the settings that differ from the paper's to train one of that size on a CPU.

Names may begin with a pattern, as in `run_experiments`. In `narrow`, where hours count, pretraining is as long as a
supervised run, and FCNs, slower than the others, have 8, 12 and 16 epochs for the 50, 100 and 200 of the
paper.
"""

VALIDATIONS = 40
"""Number of validations in a run; table 2 needs the metrics after 5 % of it."""

DERIVED_SETTINGS = ("preset", "seed", "targets", "start_from", "training_rows")
"""Settings that follow from the experiment, its size and its seed."""

PREDICTIONS, ORIGIN = "predictions.h5", "provenance.json"

MATERIALS = "materials.csv"
"""Table of the test materials in a folder of runs: id, formula, and formation energy by DFT where there is one."""

DFT_ENERGY = "dft_formation_energy_per_atom"
"""Column of the latter [eV/atom]."""


@dataclass(frozen=True)
class Outcome:
    """Outcome of an experiment: `kept` (finished before), `trained` or `stopped`."""

    name: str
    seed: int
    state: str


def run_folder(folder: Path, name: str, seed: int) -> Path:
    """Folder of the run of an experiment with a seed."""
    return folder / f"{name}-seed{seed}"


def run_experiments(
    names: Iterable[str],
    dataset: Path,
    folder: Path,
    *,
    size: str,
    seeds: int | Iterable[int],
    settings: Mapping[str, Any],
    dft: Path | None = None,
    progress: bool = False,
) -> Iterator[Outcome]:
    """Train and evaluate these experiments and those that they start from, seed after seed.

    `seeds` is the number of seeds, which begin at 0, or the seeds. `settings` are settings of the recipes of all runs;
    `epochs` are those of a supervised run, and other runs multiply them. A name `PATTERN:NAME`, for instance
    `pretrain-*:epochs`, sets the exact value for matching experiments. Batch size and learning rate that trials in the
    folder have found hold where `settings` does not give them. `dft` is a dataset of the same split as `dataset` with
    band gaps, for the transfer.

    Raises:
        InputError: an experiment, a size or a setting does not exist, or the folder contains different runs.
    """
    if size not in SIZES:
        msg = f"there is no size {size!r}; choose from {', '.join(SIZES)}"
        raise InputError(msg, code="E_PAPER")
    settings = current_settings(settings)
    check_settings(settings)
    names, choices = list(names), read_choices(folder)
    tables: dict[Path, StickTable] = {}
    for seed in range(seeds) if isinstance(seeds, int) else seeds:
        for experiment in with_prerequisites(names):
            source = dataset_of(experiment, dataset, dft)
            if source not in tables:
                tables[source] = read_dataset(source, resident=False)
            recipe = experiment_to_recipe(
                experiment, tables[source], folder, size=size, seed=seed, settings=settings, choices=choices
            )
            run = run_folder(folder, experiment.name, seed)
            outcome = finish_experiment(
                recipe, tables[source], source, run, size=size, progress=progress, test=experiment.name not in TRIALS
            )
            yield Outcome(experiment.name, seed, outcome)
            if outcome == "stopped":
                return


def dataset_of(experiment: Experiment, dataset: Path, dft: Path | None) -> Path:
    """The dataset that an experiment is trained on: the band gap's is that with DFT labels, where there is one."""
    return dft if dft is not None and GAP in experiment.targets else dataset


def current_settings(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings as `run_experiments` takes them, under their present names.

    Raises:
        RecipeError: a setting is given under its former and its present name.
    """
    former = {}
    for name in settings:
        pattern, separator, setting = name.rpartition(":")
        former[name] = f"{pattern}{separator}{RECIPE_SETTINGS.get(setting, setting)}"
    return rename(settings, former, owner="--set")


def check_settings(settings: Mapping[str, Any]) -> None:
    """Check that settings, as `run_experiments` takes them, have an effect.

    Raises:
        InputError: a setting matches no experiment, or follows from the experiment.
    """
    for name in settings:
        pattern, _, setting = name.rpartition(":")
        if pattern and not any(fnmatchcase(experiment, pattern) for experiment in EXPERIMENTS):
            msg = f"the setting {name!r} matches no experiment; choose from {', '.join(EXPERIMENTS)}"
            raise InputError(msg, code="E_PAPER")
        if setting in DERIVED_SETTINGS:
            msg = f"{setting} cannot be set: experiment, size and seed determine {', '.join(DERIVED_SETTINGS)}"
            raise InputError(msg, code="E_PAPER")


def experiment_to_recipe(
    experiment: Experiment,
    table: StickTable,
    folder: Path,
    *,
    size: str,
    seed: int,
    settings: Mapping[str, Any],
    choices: Choices | None = None,
) -> Recipe:
    """The recipe of an experiment in a size; the architecture is that of the first experiment that it starts from.

    The settings of trees do not depend on the size. `choices` are settings of each kind that trials have found.

    Raises:
        RecipeError: a setting is unknown or impossible.
    """
    kind = None if experiment.name in TRIALS else kind_of(experiment.name)
    found = choices.get(kind, {}) if choices and kind else {}
    # Where the user sets the epochs, those of the size hold for no experiment.
    of_size = {name: value for name, value in SIZES[size].items() if not ("epochs" in settings and ":epochs" in name)}
    given = {name: value for name, value in settings.items() if ":" not in name}
    of_size_alone = {name: value for name, value in of_size.items() if ":" not in name}
    common = {**of_size_alone, **found, **given, **experiment.settings}
    own = {
        name.rpartition(":")[2]: value
        for name, value in [*of_size.items(), *settings.items()]
        if ":" in name and fnmatchcase(experiment.name, name.rpartition(":")[0])
    }
    base = recipe_by_name(experiment.recipe)
    architecture = recipe_by_name(_first(experiment).recipe).model_config().architecture
    values: dict[str, Any] = {
        **common,
        "preset": base.preset if architecture == "extra-trees" else size,
        "epochs": experiment.length * _number(common.get("epochs", Recipe().epochs), "epochs"),
        **own,
        "seed": seed,
    }
    changed = {
        name: value
        for settings_of_model in (given.get("model_settings", {}), experiment.settings.get("model_settings", {}),
                                  own.get("model_settings", {}))
        for name, value in rename_model(settings_of_model, owner="model_settings").items()
    }  # fmt: skip
    if architecture != "xxact":
        changed["architecture"] = architecture
    if changed:
        values["model_settings"] = changed
    if experiment.targets:
        values["targets"] = experiment.targets
    if experiment.start_from is not None:
        values["start_from"] = str(run_folder(folder.resolve(), experiment.start_from, seed) / "model")
    recipe = override(base, values)
    materials = len(with_split(table, by=recipe.split_by).rows("train"))
    if experiment.share < 1:
        materials = max(1, round(experiment.share * materials))
        recipe = override(recipe, {"training_rows": materials})
    if "validate_every" not in values:
        steps = recipe.epochs * materials / recipe.batch_size
        recipe = override(recipe, {"validate_every": max(1, round(steps / VALIDATIONS))})
    return recipe


def finish_experiment(
    recipe: Recipe, table: StickTable, dataset: Path, run: Path, *, size: str, progress: bool = False, test: bool = True
) -> str:
    """Train, and write the predictions of the test split, unless both are done; returns the state of an `Outcome`.

    Without `test`, as for trials, there are no predictions. Of several processes that train together the first writes.

    Raises:
        RecipeError: the folder belongs to another run.
    """
    model, predictions = run / "model", run / PREDICTIONS
    trained, supervised = (model / DESCRIPTION).is_file(), test and "targets" in recipe.objectives
    if trained:
        check_same_run(describe_run(recipe, table), run)
        _check_same_model(recipe, run)
        if (run / ORIGIN).is_file() and (predictions.is_file() or not supervised):
            return "kept"
    elif train(recipe, dataset, run, progress=progress) != model:
        return "stopped"
    if not ranks_from_environment().is_main:
        return "trained"
    device = recipe.device if recipe.device != "auto" else _best_device()
    # Written before the predictions, which mark a run as finished.
    about = provenance(table_digest=table.digest, seeds=[recipe.seed])
    write_json(run / ORIGIN, {**about, "size": size, "split": recipe.split_by, "device": device})
    if supervised:
        part = predictions.with_name(f"{PREDICTIONS}.part")
        evaluate_checkpoint(model, dataset, predictions_file=part, device=device)
        part.replace(predictions)
    return "trained"


def read_origin(run: Path) -> dict[str, Any] | None:
    """Provenance of a run, with its epochs and batch size; None where it is not finished.

    Seeds of one experiment may have been trained differently; tables then state every value.
    """
    path = run / ORIGIN
    if not path.is_file():
        return None
    recipe = rename_recipe(json.loads((run / "recipe.json").read_text(encoding="utf-8"))["recipe"], owner=str(run))
    chosen = {name: recipe[name] for name in ("epochs", "batch_size", "lr_peak")}
    return {**json.loads(path.read_text(encoding="utf-8")), **chosen}


def _check_same_model(recipe: Recipe, run: Path) -> None:
    """Check that the model of a finished run is the recipe's; a preset of the same name was another one before.

    Raises:
        RecipeError: it is not.
    """
    wanted = recipe.model_config()
    found = ModelConfig.from_dict(describe_checkpoint(run / "model")["model"])
    changed = [name for name, value in vars(wanted).items() if name != "forest" and getattr(found, name) != value]
    if changed:
        msg = f"{run} has another model, which differs in {changed}; choose another folder"
        raise RecipeError(msg, code="E_RECIPE")


def write_materials(dataset: Path, folder: Path, *, dft: Path | None = None) -> None:
    """Write `MATERIALS` for the test split of a dataset; `dft` has the same materials with DFT labels.

    Formulas are needed for intervals over formulas, and energies by DFT to judge models that were trained on others.
    """
    table = read_dataset(dataset, resident=False)
    known: dict[str, float] = {}
    if dft is not None:
        other = read_dataset(dft, resident=False)
        energies = other.targets[FORMATION_ENERGY.name]
        known = dict(zip(other.id[other.energy_is_exact], energies[other.energy_is_exact].tolist(), strict=True))
    rows = table.rows("test")
    lines = [(table.id[row], table.formula[row], str(known.get(table.id[row], ""))) for row in rows]
    write_csv(folder / MATERIALS, ("id", "formula", DFT_ENERGY), lines)


@dataclass(frozen=True)
class TestMaterials:
    """What `MATERIALS` states, by id."""

    formula: Mapping[str, str]
    dft: Mapping[str, float]
    """Formation energies by DFT [eV/atom]."""


def read_materials(folder: Path) -> TestMaterials | None:
    """The test materials of a folder of runs; None where they are not stated."""
    path = folder / MATERIALS
    if not path.is_file():
        return None
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    return TestMaterials(
        formula={row["id"]: row["formula"] for row in rows},
        dft={row["id"]: float(row[DFT_ENERGY]) for row in rows if row[DFT_ENERGY]},
    )


def _first(experiment: Experiment) -> Experiment:
    return experiment if experiment.start_from is None else _first(EXPERIMENTS[experiment.start_from])


def _best_device() -> str:
    import torch  # noqa: PLC0415 - slow to import

    return "cuda" if torch.cuda.is_available() else "cpu"


def _number(value: object, name: str) -> float:
    if not isinstance(value, int | float) or isinstance(value, bool):
        msg = f"{name} is {value!r}; expected a number"
        raise RecipeError(msg, code="E_RECIPE")
    return value
