"""What each idea is worth: one change at a time against one reference recipe, everything else and the budget alike.

    python benchmarks/ablations.py                    all, about an hour on one core, writes docs/results/ablations.md
    python benchmarks/ablations.py --only muon peaks  some; finished ones are not run again
    python benchmarks/ablations.py --quick            three of them for a few steps, on 600 materials

Each run is trained on the training split of the shipped table's data set, in a folder of its own below `--runs`, and
judged on the validation split: the test split is left for what comes out of it. The last line printed is a JSON object.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from xxact_core.checkpoint import Checkpoint, load_checkpoint
from xxact_core.dataset.batches import Batch, BatchMaker
from xxact_core.dataset.build import BuildPlan, build_dataset
from xxact_core.dataset.table import StickTable, read_dataset
from xxact_core.evaluation.evaluate import metrics_of, predict_rows
from xxact_core.evaluation.provenance import provenance, provenance_to_line
from xxact_core.patterns.distortions import Distortions
from xxact_core.patterns.grid import GRID
from xxact_core.quantities import TARGETS
from xxact_core.training.config import Recipe, override
from xxact_core.training.journal import read_journal
from xxact_core.training.recipes import recipe_by_name
from xxact_core.training.run import train

REPOSITORY = Path(__file__).resolve().parents[1]
TABLE = REPOSITORY / "data" / "materials_project.parquet"
RESULTS = REPOSITORY / "docs" / "results" / "ablations.md"

WITHOUT_DROPOUT = {part: {"dropout": 0.0} for part in ("pattern", "composition", "fusion")}

REFERENCE = override(
    recipe_by_name("compact"),
    {
        "name": "reference",
        "epochs": 0.5,
        "threads": 1,
        "optimiser": "adamw",
        "precision": "bfloat16",
        "average": None,
        "hide_pattern": 0.0,
        "hide_composition": 0.0,
        "relatives": None,
        "validation_rows": 2048,
        "validate_every": 100,
        "save_every": 1000,
        "model_settings": {"intensity": "root", "tokens": "convolution", "peaks": 0, **WITHOUT_DROPOUT},
    },
)
"""Half an epoch, so that all of them can be run; what pays after half an epoch need not pay after twenty."""


@dataclass(frozen=True)
class Ablation:
    """One change. `model` and `settings` change the reference; `pretraining` comes before where it is given."""

    name: str
    what: str
    model: Mapping[str, Any] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)
    pretraining: Mapping[str, Any] | None = None

    def recipe(self, reference: Recipe = REFERENCE) -> Recipe:
        """The reference with this change."""
        model = {**reference.model_settings, **self.model}
        return override(reference, {**self.settings, "name": self.name, "model_settings": model})

    def pretraining_recipe(self, reference: Recipe = REFERENCE) -> Recipe | None:
        """What comes before, where anything does."""
        if self.pretraining is None:
            return None
        return override(self.recipe(reference), {**self.pretraining, "name": f"{self.name}-pretraining"})


def _pretrained(name: str, what: str, **changes: object) -> Ablation:
    return Ablation(name, what, settings=HALF, pretraining={**HALF, **changes})


HALF = {"epochs": REFERENCE.epochs / 2}
DROPOUT = {part: {"dropout": 0.1} for part in WITHOUT_DROPOUT}
HIDDEN = {"hide_pattern": 0.1, "hide_composition": 0.1}
RELATIVES = {"relatives": recipe_by_name("compact").relatives}

ABLATIONS = (
    Ablation("reference", "compact's sizes, AdamW, √I, convolution stem, composition led past the fusion"),
    Ablation("linear-intensity", "I instead of √I", model={"intensity": "linear"}),
    Ablation("two-intensities", "√I and beside it the logarithm of I", model={"intensity": "both"}),
    Ablation("window-tokens", "the paper's tokens: a window through one linear map", model={"tokens": "windows"}),
    Ablation("finer-tokens", "85 tokens of 50 points instead of 17 of 250", model={"tokens_per_window": 5}),
    Ablation("peaks", "48 tokens of lines (log q, q², √I) beside the windows", model={"peaks": 48}),
    Ablation("no-shortcuts", "heads read the fused [CLS] only", model={"shortcuts_to_heads": False}),
    Ablation("dropout", "dropout 0.1 in every layer, as in the paper", model=DROPOUT),
    Ablation("muon", "Muon for the matrices, at 3 times the rate", settings={"optimiser": "muon"}),
    Ablation("muon-same-rate", "Muon at the rate of AdamW", settings={"optimiser": "muon", "matrix_rate": 1.0}),
    Ablation("average", "moving average of the weights, 0.99", settings={"average": 0.99}),
    Ablation("hidden-inputs", "no composition for 10 %, no pattern for 10 %", settings=HIDDEN),
    Ablation("ideal-only", "no distortions", settings={"distortions": None}),
    Ablation("relatives", "seven in ten ideal patterns of a strained lattice", settings=RELATIVES),
    Ablation("one-target", "one target a material as in the paper, not all", settings={"task_sampling": "one"}),
    Ablation("extra-targets", "lattice, volume and density learned besides", settings={"targets": tuple(TARGETS)}),
    Ablation("half-scratch", "half the supervised steps: what pretraining is held against", settings=HALF),
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
        return replace(batch, hidden=batch.hidden | outside, fractions=fractions)


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


def run_ablation(ablation: Ablation, dataset: Path, runs: Path, *, reference: Recipe = REFERENCE) -> Path:
    """Train one ablation, after its pretraining where it has one; goes on where it was interrupted."""
    recipe, before = ablation.recipe(reference), ablation.pretraining_recipe(reference)
    if before is not None:
        recipe = replace(recipe, start_from=str(train(before, dataset, runs / before.name)))
    return train(recipe, dataset, runs / ablation.name)


def measured(ablation: Ablation, dataset: Path, runs: Path, *, reference: Recipe = REFERENCE, rows: int) -> dict:
    """Metrics and cost of an ablation, kept beside its run so that they are measured once."""
    path = runs / f"{ablation.name}.json"
    if not path.is_file():
        folder = run_ablation(ablation, dataset, runs, reference=reference)
        checkpoint = load_checkpoint(folder)
        steps = [event for event in read_journal(runs / ablation.name / "journal.jsonl") if event["event"] == "step"]
        row = {
            "parameters": checkpoint.about["parameters"],
            "samples_per_second": float(np.median([step["samples_per_second"] for step in steps])),
            **judge(checkpoint, read_dataset(dataset), rows=rows),
        }
        path.write_text(json.dumps(row), encoding="utf-8")
    return json.loads(path.read_text(encoding="utf-8"))


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


def to_table(rows: Mapping[str, Mapping[str, float]]) -> str:
    """A Markdown table, one ablation a line, in the order of the list."""
    lines = ["| change | " + " | ".join(title for _, title, _, _ in COLUMNS) + " |", "|---" * (len(COLUMNS) + 1) + "|"]
    for ablation in ABLATIONS:
        if (row := rows.get(ablation.name)) is not None:
            cells = [f"{row[name] * factor:.{digits}f}" for name, _, factor, digits in COLUMNS]
            lines.append(f"| **{ablation.name}**: {ablation.what} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def write_page(rows: Mapping[str, Mapping[str, float]], reference: Recipe, dataset: Path, *, judged: int) -> None:
    """The page of results."""
    stated = provenance(table_digest=read_dataset(dataset).digest, seeds=[reference.seed])
    recipe = json.dumps(reference.to_dict() | {"distortions": "as in compact"}, sort_keys=True)
    text = f"""# Ablations

{provenance_to_line(stated)}

One change at a time against the first line, {reference.epochs:g} epochs of the training split, seed {reference.seed},
judged on {judged:,} materials of the validation split. One run each: with these materials a share is known to about
0.6 percentage points and differences below 1.5 mean little. What pays after {reference.epochs:g} epochs need not pay
after twenty. Made by `benchmarks/ablations.py`.

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
    parser.add_argument("--set", action="append", default=[], metavar="NAME=JSON", help="change the reference")
    parser.add_argument("--rows", type=int, default=5397, help="of the validation split that are judged")
    parser.add_argument("--quick", action="store_true")
    arguments = parser.parse_args()
    if arguments.quick:
        with tempfile.TemporaryDirectory() as scratch:
            dataset = Path(scratch) / "dataset"
            build_dataset(BuildPlan(source=str(TABLE), limit=600, shard_rows=300), dataset, workers=2, progress=False)
            reference = override(REFERENCE, {"epochs": 0.5, "batch_size": 32, "validation_rows": 20})
            chosen = [ablation for ablation in ABLATIONS if ablation.name in {"reference", "muon", "mxm-40"}]
            rows = {
                ablation.name: measured(ablation, dataset, Path(scratch), reference=reference, rows=20)
                for ablation in chosen
            }
        print(to_table(rows))
        print(json.dumps(rows))
        return
    build_dataset(BuildPlan(source=str(TABLE)), arguments.dataset, workers=2)
    changed = dict(text.partition("=")[::2] for text in arguments.set)
    reference = override(REFERENCE, {name: json.loads(value) for name, value in changed.items()})
    rows = {}
    for ablation in ABLATIONS:
        path = arguments.runs / f"{ablation.name}.json"
        if path.is_file() or not arguments.only or ablation.name in arguments.only:
            rows[ablation.name] = measured(
                ablation, arguments.dataset, arguments.runs, reference=reference, rows=arguments.rows
            )
            print(to_table(rows), flush=True)
    write_page(rows, reference, arguments.dataset, judged=arguments.rows)
    print(json.dumps(rows))


if __name__ == "__main__":
    main()
