"""What each idea is worth: one change at a time against one reference recipe, everything else and the budget alike.

    ablations.py                    all, about an hour on one core, writes docs/results/ablations.md
    ablations.py --only muon peaks  some; finished ones of the same recipe and data are not run again
    ablations.py --quick            three of them for a few steps, on 600 materials

Each run is trained on the training split of the shipped table's data set, in a folder of its own below `--runs`, and
judged on the validation split: the test split is left for what comes out of it. The last line printed is a JSON object.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from xxact_core.augmentation.config import Distortions
from xxact_core.checkpoint import Checkpoint, load_checkpoint
from xxact_core.dataset.building.plan import BuildPlan
from xxact_core.dataset.loading.batches import Batch, BatchMaker
from xxact_core.dataset.splits import with_split
from xxact_core.dataset.table import StickTable, read_dataset
from xxact_core.errors import RecipeError
from xxact_core.evaluation.evaluate import metrics_of, predict_rows
from xxact_core.evaluation.provenance import UNKNOWN, provenance, provenance_to_line
from xxact_core.patterns.grid import GRID
from xxact_core.quantities import TARGETS
from xxact_core.training.config import Recipe, override, parse_settings
from xxact_core.training.journal import read_journal
from xxact_core.training.recipes import recipe_by_name
from xxact_core.training.run import train
from xxact_core.training.start import RUNTIME_SETTINGS

REPOSITORY = Path(__file__).resolve().parents[2]
TABLE = REPOSITORY / "xxact_core" / "data" / "materials_project.parquet"
RESULTS = REPOSITORY / "docs" / "results" / "ablations.md"

ROWS = 5397
"""Materials of the validation split that are judged: all."""

WITHOUT_DROPOUT = {part: {"dropout": 0.0} for part in ("pattern", "composition", "fusion")}

REFERENCE = override(
    recipe_by_name("compact"),
    {
        "name": "reference",
        "epochs": 0.5,
        "threads": 1,
        "optimiser": "adamw",
        "regression_loss": "squared",
        "regression_weight": 1.0,
        "precision": "bfloat16",
        "ema_decay": None,
        "drop_pattern": 0.0,
        "drop_composition": 0.0,
        "lattice_strain": None,
        "retrieval_rows": 0,
        "validation_rows": 2048,
        "validate_every": 100,
        "save_every": 1000,
        "model_settings": {"intensity_scale": "sqrt", "tokenizer": "convolution", "peak_tokens": 0, **WITHOUT_DROPOUT},
    },
)
"""Half an epoch, so that all of them can be run; what pays after half an epoch need not pay after twenty."""


@dataclass(frozen=True)
class Ablation:
    """One change. `model` and `settings` change the reference.

    pretraining: comes before where it is given, with these settings besides. length: epochs of each of the two, as a
    multiple of the reference's, so that a half after a half has the reference's budget.
    """

    name: str
    what: str
    model: Mapping[str, Any] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)
    pretraining: Mapping[str, Any] | None = None
    length: float = 1

    def recipe(self, reference: Recipe = REFERENCE) -> Recipe:
        """The reference with this change."""
        model = {**reference.model_settings, **self.model}
        own = {"name": self.name, "epochs": self.length * reference.epochs, "model_settings": model}
        return override(reference, {**self.settings, **own})

    def pretraining_recipe(self, reference: Recipe = REFERENCE) -> Recipe | None:
        """What comes before, where anything does."""
        if self.pretraining is None:
            return None
        return override(self.recipe(reference), {**self.pretraining, "name": f"{self.name}-pretraining"})


def _pretrained(name: str, what: str, **changes: object) -> Ablation:
    return Ablation(name, what, pretraining=changes, length=1 / 2)


DROPOUT = {part: {"dropout": 0.1} for part in WITHOUT_DROPOUT}
ABSOLUTE = {"regression_loss": "absolute"}
HIDDEN = {"drop_pattern": 0.1, "drop_composition": 0.1}
RELATIVES = {"lattice_strain": recipe_by_name("compact").lattice_strain}

ABLATIONS = (
    Ablation("reference", "compact's sizes, AdamW, √I, convolution stem, composition led past the fusion"),
    Ablation("linear-intensity", "I instead of √I", model={"intensity_scale": "linear"}),
    Ablation("two-intensities", "√I and beside it the logarithm of I", model={"intensity_scale": "sqrt_and_log"}),
    Ablation("window-tokens", "the paper's tokens: a window through one linear map", model={"tokenizer": "windows"}),
    Ablation("finer-tokens", "85 tokens of 50 points instead of 17 of 250", model={"tokens_per_window": 5}),
    Ablation("peaks", "48 tokens of lines (log q, q², √I) beside the windows", model={"peak_tokens": 48}),
    Ablation("no-shortcuts", "heads read the fused [CLS] only", model={"skip_to_heads": False}),
    Ablation("deep-heads", "heads with two hidden layers of 256", model={"head_hidden_width": 256}),
    Ablation("element-readout", "mean over what each element says, led to the heads", model={"element_readout": True}),
    Ablation("both-readouts", "both of these", model={"head_hidden_width": 256, "element_readout": True}),
    Ablation("dropout", "dropout 0.1 in every layer, as in the paper", model=DROPOUT),
    Ablation("muon", "Muon for the matrices, at 3 times the rate", settings={"optimiser": "muon"}),
    Ablation("muon-same-rate", "Muon at the rate of AdamW", settings={"optimiser": "muon", "muon_lr_factor": 1.0}),
    Ablation("average", "moving average of the weights, 0.99", settings={"ema_decay": 0.99}),
    Ablation("hidden-inputs", "no composition for 10 %, no pattern for 10 %", settings=HIDDEN),
    Ablation("ideal-only", "no distortions", settings={"augmentation": None}),
    Ablation("relatives", "seven in ten ideal patterns of a strained lattice", settings=RELATIVES),
    Ablation(
        "remembered", "what is near among the training materials has its say", settings={"retrieval_rows": 90_000}
    ),
    Ablation("absolute", "absolute errors of values, not squared", settings={"regression_loss": "absolute"}),
    Ablation(
        "absolute-six",
        "the same, six times as heavy",
        settings={"regression_loss": "absolute", "regression_weight": 6.0},
    ),
    Ablation("one-target", "one target a material as in the paper, not all", settings={"task_sampling": "one"}),
    Ablation("extra-targets", "lattice, volume and density learned besides", settings={"targets": tuple(TARGETS)}),
    Ablation("half-scratch", "half the supervised steps: what pretraining is held against", length=1 / 2),
    _pretrained("mxm-5", "MXM, 5 % of the windows masked, then half the steps", objectives=("mxm",), mask_ratio=0.05),
    _pretrained("mxm-15", "the same, 15 %", objectives=("mxm",), mask_ratio=0.15),
    _pretrained("mxm-40", "the same, 40 %", objectives=("mxm",), mask_ratio=0.40),
    _pretrained("mxm-75", "the same, 75 %", objectives=("mxm",), mask_ratio=0.75),
    _pretrained("contrastive", "contrastive, then half the steps", objectives=("contrastive",)),
    _pretrained("siglip", "the same, pair by pair", objectives=("contrastive",), contrastive_loss="sigmoid"),
)


class HidingMaker(BatchMaker):
    """Batches of which the model is not shown everything."""

    composition_hidden = False
    seen: tuple[float, float] = (-1.0, 181.0)

    def batch(self, rows: np.ndarray, *, seed: int) -> Batch:
        """The batch without compositions, or without the windows outside `seen` [deg]."""
        batch = super().batch(rows, seed=seed)
        starts = GRID.start + GRID.window_points * GRID.step * torch.arange(GRID.windows)
        outside = (starts < self.seen[0]) | (starts + GRID.window_points * GRID.step > self.seen[1])
        fractions = torch.zeros_like(batch.fractions) if self.composition_hidden else batch.fractions
        return replace(batch, window_mask=batch.window_mask | outside, fractions=fractions)


def judge(checkpoint: Checkpoint, table: StickTable, *, rows: int) -> dict[str, float]:
    """Metrics on the validation split: ideal, distorted, without composition, without pattern, and on 20-60° alone."""
    chosen = table.rows("validation")[:rows]
    cpu = torch.device("cpu")
    makers = {name: HidingMaker(table, device=cpu) for name in ("ideal", "no_composition", "no_pattern", "part")}
    makers["no_composition"].composition_hidden = True
    makers["no_pattern"].seen = (181.0, -1.0)
    makers["part"].seen = (20.0, 60.0)
    distorted = BatchMaker(table, device=cpu, distortions=replace(Distortions(), share=1.0))
    energy, system = "formation_energy_per_atom_mae_mev_per_atom", "crystal_system_accuracy"
    kept = {
        "ideal": (energy, "band_gap_mae_ev", system, "space_group_accuracy"),
        "distorted": (energy, system),
        "no_composition": (system,),
        "no_pattern": (energy,),
        "part": (system,),
    }
    judged = {}
    for name, maker in {**makers, "distorted": distorted}.items():
        metrics = metrics_of(predict_rows(checkpoint.model, maker, chosen, checkpoint.statistics), table)
        judged |= {f"{name}_{metric}": metrics[metric] for metric in kept[name]}
    return judged


def trainings(ablation: Ablation, runs: Path, *, reference: Recipe = REFERENCE) -> list[Recipe]:
    """What an ablation trains, in order, each in the folder of its name below `runs`."""
    recipe, before = ablation.recipe(reference), ablation.pretraining_recipe(reference)
    if before is None:
        return [recipe]
    return [before, replace(recipe, start_from=str(runs / before.name / "model"))]


def check_kept(kept: Mapping[str, Any], recipes: Sequence[Recipe], runs: Path, *, digest: str, rows: int) -> None:
    """See that a result is of these trainings, of this data and of so many materials; refuse it where it is of others.

    Settings that are younger than a run count as what they are by default; of the model that it began with the name
    counts, for the folder of all runs may have moved.
    """
    for recipe in recipes:
        about = json.loads((runs / recipe.name / "recipe.json").read_text(encoding="utf-8"))
        both = (Recipe.from_dict(about["recipe"]), recipe)
        before, wanted = (
            json.loads(
                json.dumps({**each.to_dict(), "start_from": each.start_from and Path(each.start_from).parts[-2:]})
            )
            for each in both
        )
        changed = [name for name, value in wanted.items() if name not in RUNTIME_SETTINGS and before[name] != value]
        changed += ["data set"] * (about["data_digest"] != digest) + ["rows"] * (kept.get("rows", ROWS) != rows)
        if changed:
            msg = f"{runs / recipe.name} is another ablation's; it differs in {changed}: choose other --runs"
            raise RecipeError(msg, code="E_RECIPE")


def measured(ablation: Ablation, dataset: Path, runs: Path, *, reference: Recipe = REFERENCE, rows: int) -> dict:
    """Metrics and cost of an ablation, kept beside its run so that they are measured once; refused if of another."""
    path, recipes = runs / f"{ablation.name}.json", trainings(ablation, runs, reference=reference)
    table = with_split(read_dataset(dataset), by=reference.split)
    if not path.is_file():
        for recipe in recipes:
            if train(recipe, dataset, runs / recipe.name) != runs / recipe.name / "model":
                sys.exit(f"{recipe.name} was stopped; called again, it goes on")
        checkpoint = load_checkpoint(runs / ablation.name / "model")
        steps = [event for event in read_journal(runs / ablation.name / "journal.jsonl") if event["event"] == "step"]
        row = {
            "rows": rows,
            **provenance(table_digest=table.digest, seeds=[reference.seed]),
            "parameters": checkpoint.about["parameters"],
            "samples_per_second": float(np.median([step["samples_per_second"] for step in steps])),
            **judge(checkpoint, table, rows=rows),
        }
        path.write_text(json.dumps(row), encoding="utf-8")
    kept = json.loads(path.read_text(encoding="utf-8"))
    check_kept(kept, recipes, runs, digest=table.digest, rows=rows)
    return kept


COLUMNS = (
    ("ideal_formation_energy_per_atom_mae_mev_per_atom", "formation energy [meV/atom]", 1.0, 0),
    ("ideal_band_gap_mae_ev", "band gap [eV]", 1.0, 3),
    ("ideal_crystal_system_accuracy", "crystal system [%]", 100.0, 1),
    ("ideal_space_group_accuracy", "space group [%]", 100.0, 1),
    ("distorted_crystal_system_accuracy", "crystal system, distorted [%]", 100.0, 1),
    ("no_composition_crystal_system_accuracy", "crystal system, no composition [%]", 100.0, 1),
    ("part_crystal_system_accuracy", "crystal system, 20-60° only [%]", 100.0, 1),
    ("no_pattern_formation_energy_per_atom_mae_mev_per_atom", "formation energy, no pattern [meV/atom]", 1.0, 0),
    ("samples_per_second", "materials/s", 1.0, 0),
)


def to_table(rows: Mapping[str, Mapping[str, Any]]) -> str:
    """A Markdown table, one ablation a line, in the order of the list."""
    lines = ["| change | " + " | ".join(title for _, title, _, _ in COLUMNS) + " |", "|---" * (len(COLUMNS) + 1) + "|"]
    for ablation in ABLATIONS:
        if (row := rows.get(ablation.name)) is not None:
            cells = [f"{row[name] * factor:.{digits}f}" for name, _, factor, digits in COLUMNS]
            lines.append(f"| **{ablation.name}**: {ablation.what} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def write_page(rows: Mapping[str, Mapping[str, Any]], reference: Recipe, dataset: Path, *, judged: int) -> None:
    """The page of results, with every date, commit and machine that made one of them."""
    stated = provenance(table_digest=read_dataset(dataset).digest, seeds=[reference.seed])
    made = ("date", "commit", "hardware")
    stated |= {name: ", ".join(sorted({row.get(name, UNKNOWN) for row in rows.values()})) for name in made}
    usual = reference.augmentation == recipe_by_name("compact").augmentation
    recipe = json.dumps(reference.to_dict() | ({"augmentation": "as in compact"} if usual else {}), sort_keys=True)
    text = f"""# Ablations

{provenance_to_line(stated)}

One change at a time against the first line, {reference.epochs:g} epochs of the training split, seed {reference.seed},
judged on {judged:,} materials of the validation split. One run each: with these materials a share is known to about
0.6 percentage points and differences below 1.5 mean little. What pays after {reference.epochs:g} epochs need not pay
after twenty. Materials a second are by the clock of a machine that others used, too.
Made by `benchmarks/studies/ablations.py`.

{to_table(rows)}

The reference recipe: `{recipe}`
"""
    RESULTS.write_text(text, encoding="utf-8")


def main() -> None:
    """Train, judge, print, and write the page unless in a hurry."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset", type=Path, default=REPOSITORY / "build" / "materials_project")
    parser.add_argument("--runs", type=Path, default=REPOSITORY / "build" / "ablations")
    parser.add_argument("--only", nargs="+", choices=[ablation.name for ablation in ABLATIONS], metavar="NAME")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="of the reference")
    parser.add_argument("--rows", type=int, default=ROWS, help="of the validation split that are judged")
    parser.add_argument("--quick", action="store_true")
    arguments = parser.parse_args()
    from xxact_core.dataset.building.build import (
        build_dataset,  # here, for the changes are read where it cannot be imported
    )

    plan, reference, rows = BuildPlan(source=str(TABLE)), override(REFERENCE, parse_settings(arguments.set)), {}
    with tempfile.TemporaryDirectory() as scratch:
        if arguments.quick:
            plan = replace(plan, limit=600, shard_rows=300)
            reference = override(reference, {"batch_size": 32, "validation_rows": 20})
            arguments.dataset, arguments.runs = Path(scratch) / "dataset", Path(scratch) / "runs"
            arguments.only, arguments.rows = ["reference", "muon", "mxm-40"], 20
        build_dataset(plan, arguments.dataset, workers=2, progress=not arguments.quick)
        for ablation in ABLATIONS:
            kept = (arguments.runs / f"{ablation.name}.json").is_file()
            if kept or not arguments.only or ablation.name in arguments.only:
                places = arguments.dataset, arguments.runs
                rows[ablation.name] = measured(ablation, *places, reference=reference, rows=arguments.rows)
                print(to_table(rows), flush=True)
        if not arguments.quick:
            write_page(rows, reference, arguments.dataset, judged=arguments.rows)
    print(json.dumps(rows))


if __name__ == "__main__":
    main()
