from __future__ import annotations

from dataclasses import replace

import pytest

from xxact_app.screens.training.estimates import estimate_training, expected_rate, slowness
from xxact_core.checkpoint import make_model
from xxact_core.training.config import Recipe
from xxact_core.training.recipes import RECIPES, recipe_by_name

SIZES = {"materials": 10_000, "validation": 500, "dataset_bytes": 1e7}


@pytest.mark.parametrize("name", ["tiny", "crabnet-small", "fcn-mlp"])
def test_parameters_are_those_of_the_model(name: str) -> None:
    recipe = recipe_by_name(name)
    model = make_model(recipe.model_config(), seed=0)
    found = estimate_training(recipe, **SIZES)
    assert found.parameters == sum(parameter.numel() for parameter in model.parameters())
    assert found.steps == round(recipe.epochs * 10_000 / recipe.batch_size)


def test_the_shipped_recipe_takes_what_it_took() -> None:
    """258 to 291 materials a second on one core in bfloat16, within the factor that is stated."""
    recipe = replace(recipe_by_name("compact"), threads=1, precision="bfloat16", device="cpu")
    found = estimate_training(recipe, materials=90_476, validation=5_397, dataset_bytes=6e7)
    assert found.seconds / found.factor < 10_956 * 128 / 270 < found.seconds * found.factor
    assert found.fits
    assert found.memory == pytest.approx(1.5e9, rel=0.5)


def test_more_work_takes_longer_and_smaller_pieces_less_memory() -> None:
    tiny = replace(recipe_by_name("tiny"), epochs=300, device="cpu")
    base = estimate_training(tiny, **SIZES)
    assert estimate_training(replace(tiny, epochs=600), **SIZES).seconds == pytest.approx(2 * base.seconds, rel=0.1)
    assert estimate_training(replace(tiny, preset="small"), **SIZES).seconds > 5 * base.seconds
    assert estimate_training(replace(tiny, micro_batch_size=1), **SIZES).memory < base.memory
    assert estimate_training(replace(tiny, objectives=("contrastive",)), **SIZES).seconds < base.seconds
    both = estimate_training(replace(tiny, objectives=("mxm", "contrastive")), **SIZES)
    assert both.seconds > estimate_training(replace(tiny, objectives=("contrastive",)), **SIZES).seconds


def test_what_does_not_fit_is_told_with_what_would() -> None:
    large = Recipe(name="large", preset="small", batch_size=4_000_000, device="cpu")
    found = estimate_training(large, **{**SIZES, "materials": 10_000_000})
    assert not found.fits
    if found.fitting_micro_batch is not None:
        smaller = replace(large, micro_batch_size=found.fitting_micro_batch)
        assert estimate_training(smaller, **{**SIZES, "materials": 10_000_000}).memory < found.memory


def test_every_recipe_without_another_model_has_an_estimate_of_its_kind() -> None:
    kinds = {recipe.model_config().architecture: recipe for recipe in RECIPES.values()}
    for recipe in kinds.values():
        small = replace(recipe, preset=recipe.preset.removesuffix("-small"))
        assert estimate_training(small, **SIZES).seconds > 0


def test_earlier_runs_say_how_slow_the_machine_is() -> None:
    assert slowness([]) is None
    assert slowness([(100.0, 50.0, 5)]) is None
    assert slowness([(100.0, 50.0, 30), (100.0, 25.0, 30), (100.0, 100.0, 30)]) == 2
    found = estimate_training(recipe_by_name("tiny"), **SIZES)
    assert expected_rate(recipe_by_name("tiny"), found) > 0
