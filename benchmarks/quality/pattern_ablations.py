"""What does each part of the recipe `compact` contribute that makes the model use the pattern? One change at a time.

    python -m benchmarks.quality.pattern_ablations DATASET RUNS --epochs 1 --start-from MODEL --only reference no-strain

DATASET has several materials of one formula, with energies of a teacher for some of them. Every run begins from the
same weights and is evaluated on the validation split. Called again with the same folder of runs, it continues; the page
holds the runs that have finished.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # the repository

from dataclasses import replace
from typing import Any

import torch

from benchmarks.harness import cpu_time, finish, markdown_table
from xxact_core.augmentation.config import AugmentationConfig
from xxact_core.augmentation.effects import Strain
from xxact_core.checkpoint import Checkpoint
from xxact_core.dataset.table import StickTable, read_dataset
from xxact_core.evaluation.breakdown import WITHOUT_PATTERN
from xxact_core.evaluation.report import measure_rows
from xxact_core.quantities import FORMATION_ENERGY
from xxact_core.training.config import Recipe, override
from xxact_core.training.recipes import recipe_by_name
from xxact_core.training.run import open_run, training_step

CHANGES: dict[str, tuple[str, dict[str, Any]]] = {
    "reference": ("the recipe `compact`", {}),
    "no-difference-loss": ("no loss on differences between polymorphs", {"difference_weight": 0.0}),
    "no-estimate": ("no composition estimate", {"model_settings": {"composition_estimate": False}}),
    "no-teacher-offset": ("labels of teacher and DFT as one", {"model_settings": {"teacher_offset": False}}),
    "no-embedding": (
        "deep class heads on the fused [CLS]",
        {"model_settings": {"embedding_width": 0}, "symmetry_contrast_weight": 0.0},
    ),
    "no-contrast": ("no contrastive term on crystal systems", {"symmetry_contrast_weight": 0.0}),
    "no-metal-head": ("band gap without a gate", {"model_settings": {"metal_head": False}}),
    "no-ratios": ("no ratios of peaks", {"model_settings": {"peak_ratios": 0}}),
    "linear-decoder": ("masked windows by a linear map", {"model_settings": {"decoder": "linear"}}),
    "no-masking": ("no masked windows", {"objectives": ("targets",), "mask_share": 1.0}),
    "more-strain": (
        "lattices strained as in version 0.1.0",
        {"lattice_strain": Strain(share=0.7, isotropic=(-0.02, 0.02), anisotropic=(0.0, 0.03))},
    ),
    "no-strain": ("no lattice strain of ideal patterns", {"lattice_strain": None}),
}
"""Changes of the recipe `compact` by name: in words, and as settings."""

ENERGY = FORMATION_ENERGY.name
COLUMNS = {
    f"{ENERGY}_mae_mev_per_atom": ("energy, DFT labels [meV/atom]", "{:.0f}"),
    f"{WITHOUT_PATTERN}{ENERGY}_mae_mev_per_atom": ("the same, pattern hidden", "{:.0f}"),
    "teacher_polymorphs_error_ratio": ("teacher labels, error with the pattern over error without", "{:.2f}"),
    "teacher_polymorph_pair_accuracy": ("polymorph pairs in order, teacher labels", "{:.3f}"),
    "teacher_polymorph_slope": ("slope", "{:.2f}"),
    "teacher_polymorph_pair_accuracy_augmented": ("pairs, augmented", "{:.3f}"),
    "polymorph_pair_accuracy": ("pairs, DFT labels", "{:.3f}"),
    "band_gap_mae_ev": ("band gap [eV]", "{:.3f}"),
    "crystal_system_accuracy": ("crystal system", "{:.3f}"),
    "crystal_system_accuracy_augmented": ("augmented", "{:.3f}"),
    "space_group_accuracy": ("space group", "{:.3f}"),
    "silhouette_mean": ("silhouette", "{:.2f}"),
    "reconstruction_gain": ("masked windows, error saved", "{:.2f}"),
    "reconstruction_gain_cubic": ("the same, cubic", "{:.2f}"),
    "materials_per_cpu_second": ("materials per CPU second", "{:.0f}"),
}


def changed(name: str, *, epochs: float, start_from: str | None) -> Recipe:
    """The recipe `compact` with one change, of a length and start that all changes share."""
    reference = recipe_by_name("compact")
    settings = dict(CHANGES[name][1])
    model = {**reference.model_settings, **settings.pop("model_settings", {})}
    shared = {
        "name": name,
        "epochs": epochs,
        "threads": 1,
        "retrieval_rows": 0,
        "start_from": start_from,
        "validate_every": 10**9,
        "save_every": 10**9,
        "model_settings": model,
    }
    return override(reference, {**settings, **shared})


def run_change(name: str, dataset: Path, folder: Path, *, epochs: float, start_from: str | None) -> dict[str, float]:
    """Train with one change and evaluate; the metrics by the names of `COLUMNS`."""
    recipe = changed(name, epochs=epochs, start_from=start_from)
    run = open_run(recipe, dataset, folder, device=torch.device("cpu"))
    began = cpu_time()
    while run.step < run.steps:
        training_step(run)
    speed = run.steps * recipe.batch_size / (cpu_time() - began)
    about = {"recipe": recipe.to_dict()}
    checkpoint = Checkpoint(run.module.inference_model.eval(), dict(run.statistics), {}, about)
    return {**evaluate(checkpoint, run.table), "materials_per_cpu_second": speed}


def evaluate(checkpoint: Checkpoint, table: StickTable) -> dict[str, float]:
    """Metrics on ideal and, with the suffix `_augmented`, on augmented patterns of the validation split."""
    rows = table.rows("validation")
    augmented = measure_rows(checkpoint, table, rows, augmentation=replace(AugmentationConfig(), share=1.0))
    return {
        **measure_rows(checkpoint, table, rows).metrics,
        **{f"{name}_augmented": value for name, value in augmented.metrics.items()},
    }


def main() -> None:
    """Train and evaluate the changes, and write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset", type=Path, help="dataset folder")
    parser.add_argument("runs", type=Path, help="folder of the runs; finished ones are not trained again")
    parser.add_argument("--epochs", type=float, default=1.0, help="length of every training")
    parser.add_argument("--start-from", help="checkpoint that every training starts from; random weights by default")
    parser.add_argument("--only", nargs="*", choices=list(CHANGES), default=list(CHANGES), help="changes to train")
    parser.add_argument("--quick", action="store_true", help="write no page")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    results: dict[str, dict[str, float]] = {}
    for name in CHANGES:
        path = arguments.runs / name / "metrics.json"
        if not path.is_file() and name in arguments.only:
            settings = {"epochs": arguments.epochs, "start_from": arguments.start_from}
            found = run_change(name, arguments.dataset, path.parent, **settings)
            path.write_text(json.dumps(found), encoding="utf-8")
        if path.is_file():
            results[name] = json.loads(path.read_text(encoding="utf-8"))
    table = read_dataset(arguments.dataset, resident=False)
    rows = [
        [
            f"**{name}**: {CHANGES[name][0]}",
            *(form.format(found.get(key, float("nan"))) for key, (_, form) in COLUMNS.items()),
        ]
        for name, found in results.items()
    ]
    begun = "from the weights of a trained model" if arguments.start_from else "from random weights"
    finish(
        __file__,
        markdown_table(["change", *(title for title, _ in COLUMNS.values())], rows),
        results,
        quick=arguments.quick,
        title="What makes the model use the pattern",
        introduction=f"One change at a time of the recipe `compact`, {arguments.epochs:g} epochs of "
        f"{len(table.rows('train')):,} materials {begun}, evaluated on {len(table.rows('validation')):,} materials of "
        "the validation split. One run each: differences of a percentage point mean little.",
        data_digest=table.digest,
    )


if __name__ == "__main__":
    main()
