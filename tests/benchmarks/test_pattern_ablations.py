"""Ablations: changes that are recipes, a subset with whole formulas, and differences that count."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks.quality.pattern_ablations import (
    CHANGES,
    NEW_PARTS,
    changed,
    conclusions,
    evaluated_rows,
    forget_new_parts,
)
from xxact_core.checkpoint import make_model
from xxact_core.dataset.table import StickTable
from xxact_core.training.config import override
from xxact_core.training.run import open_run


@pytest.mark.parametrize("name", list(CHANGES))
def test_every_change_is_a_recipe_with_a_model(name: str) -> None:
    recipe = changed(name, epochs=0.1, start_from=None)
    assert make_model(recipe.model_config(), seed=0).config == recipe.model_config()
    assert (recipe == changed("reference", epochs=0.1, start_from=None)) is (name == "reference")


def test_evaluated_materials_are_whole_formulas(small_table: StickTable) -> None:
    everything = small_table.rows("validation")
    assert np.array_equal(evaluated_rows(small_table, None), everything)
    assert np.array_equal(evaluated_rows(small_table, len(everything)), everything)
    some = evaluated_rows(small_table, len(everything) // 2)
    assert len(everything) // 2 <= len(some) <= len(everything) // 2 + 5
    rest = np.setdiff1d(everything, some)
    assert not set(small_table.formula[some]) & set(small_table.formula[rest])


def test_runs_begin_with_the_given_encoders_and_new_heads(small_dataset: Path, tmp_path: Path) -> None:
    recipe = override(changed("reference", epochs=0.1, start_from=None), {"batch_size": 8, "difference_weight": 0.0})
    run = open_run(recipe, small_dataset, tmp_path / "run", device=torch.device("cpu"))
    fresh = {name: value.clone() for name, value in run.module.inference_model.state_dict().items()}
    with torch.no_grad():
        for value in run.module.inference_model.parameters():
            value.add_(0.01)
    forget_new_parts(run)
    after = run.module.inference_model.state_dict()
    learned = {name for name, _ in run.module.inference_model.named_parameters()}
    same = {name for name in learned if torch.equal(after[name], fresh[name])}
    assert same == {name for name in learned if name.startswith(NEW_PARTS)}
    assert 0 < len(same) < len(learned)


def test_differences_count_where_they_exceed_the_scatter_of_all_runs() -> None:
    accuracy = {"reference": 0.80, "other-seed": 0.81, "no-contrast": 0.79, "no-masking": 0.70, "no-strain": 0.80}
    gap = {"reference": 0.30, "other-seed": 0.31, "no-contrast": 0.29, "no-masking": 0.30, "no-strain": 0.20}
    results = {name: {"crystal_system_accuracy": accuracy[name], "band_gap_mae_ev": gap[name]} for name in accuracy}
    lines = conclusions(results).splitlines()[2:]
    assert lines[0] == "- **no-contrast** makes no difference that counts."
    assert lines[1] == "- **no-masking** worse: crystal system −0.100."
    assert lines[2] == "- **no-strain** better: band gap [eV] −0.100."
    results["other-seed"]["crystal_system_accuracy"] = 0.74  # as far from the reference as the others from each other
    assert "makes no difference" in conclusions(results).splitlines()[3]
