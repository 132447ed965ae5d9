"""One answer from prediction and phases: nothing in it contradicts anything else."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tests.app_fixtures import FakePredictor, loaded
from xxact_app.samples.prediction_result import Answer, Missing
from xxact_app.screens.prediction import text as words
from xxact_app.screens.prediction.conclusion import conclude
from xxact_app.screens.prediction.phases_store import PhaseRow, SearchResult
from xxact_core.prediction.prediction import CompositionCost, RankedLabel, doubt_warning, uncertainty_warning
from xxact_core.search_match.match import Match

RUTILE = PhaseRow(
    formula="TiO₂", name="rutile", space_group="P4₂/mnm (136)", weight="100", cell="a 4.59  c 2.96", size="-",
    probability=0.95, source_id="mp-2657", number=136, plain_formula="TiO2", fraction=1.0,
)  # fmt: skip
ZINCITE = replace(RUTILE, formula="ZnO", name="zincite", number=186, plain_formula="ZnO", fraction=0.4)
MATCH = Match(
    "TiO2", 136, "mp-2657", 0.95, 0.0, 1.0, np.array([27.4]), np.array([100.0]), source_id="mp-2657", name="rutile",
    probability=0.95,
)  # fmt: skip
SINGLE = SearchResult((MATCH,), (MATCH,), 200, "single", 0.05, (RUTILE,), unexplained=0.02, restricted=True)
MIXTURE = replace(SINGLE, verdict="mixture", phases=(replace(RUTILE, fraction=0.6), ZINCITE))
NO_MATCH = replace(SINGLE, verdict="no match", unexplained=0.7)


def answer(*, probability: float = 0.9, formula: str = "TiO2") -> Answer:
    """The fake model answers cubic."""
    session, store = loaded("scan.xy", predictor=FakePredictor(probability=probability), wavelength="1.54184")
    session.set_formula(formula)
    found = store.answer()
    assert isinstance(found, Answer)
    return replace(found, prediction=replace(found.prediction, formula=formula, warnings=()))


def refuse(_formula: str) -> Answer:
    raise AssertionError


def test_a_likely_phase_decides_crystal_system_and_space_group() -> None:
    one = conclude(answer(probability=0.4), SINGLE, predict_for=refuse, complete=True)
    assert one.level == "likely"
    told = one.answer.prediction
    assert (told.crystal_system[0].label, told.space_group[0].label) == ("tetragonal", "136")
    text = words.headline(one) + words.phases(one, colours=["#000"]) + words.facts(one)
    assert "Likely" in text
    assert "TiO₂ (rutile)" in text
    assert "tetragonal" in text
    assert "cubic" not in text


def test_values_without_a_formula_say_what_they_rest_on() -> None:
    doubtful = replace(SINGLE, phases=(replace(RUTILE, probability=0.5),))
    for draws, expected in ((32, "all amounts of the elements"), (0, "from the pattern alone")):
        alone = answer()
        cost = CompositionCost("elements without amounts", draws, 1.2, 0.5, 0.4, 1.0)
        alone = replace(alone, prediction=replace(alone.prediction, composition_cost=cost))
        assert expected in words.facts(conclude(alone, doubtful, predict_for=lambda _: answer(), complete=False))
    assert "muted'>Formation" not in words.facts(conclude(answer(), doubtful, predict_for=refuse, complete=True))


@pytest.mark.parametrize("found", [SINGLE, replace(SINGLE, phases=(replace(RUTILE, probability=0.5),))])
def test_the_most_probable_system_is_that_of_the_phase_wherever_a_single_one_is_named(found: SearchResult) -> None:
    one = conclude(answer(probability=0.4), found, predict_for=refuse, complete=True)
    assert one.answer.prediction.crystal_system[0].label == "tetragonal"


def test_a_doubt_of_the_model_that_the_phase_removes_is_not_listed() -> None:
    alone = answer(probability=0.4)
    (doubt,) = uncertainty_warning(alone.prediction.crystal_system)
    alone = replace(alone, prediction=replace(alone.prediction, warnings=(doubt, "covers 10-80°")))
    one = conclude(alone, SINGLE, predict_for=refuse, complete=True)
    assert words.notes(alone.prediction, one.answer.prediction) == ("covers 10-80°",)
    assert words.notes(alone.prediction, None) == ("covers 10-80°",)
    assert words.notes(alone.prediction, alone.prediction) == ("covers 10-80°", doubt)


@pytest.mark.parametrize(
    "warning",
    [
        "the pattern is unlike the training patterns (distance 99, limit 9): the prediction may be meaningless",
        *doubt_warning(0.6),
    ],
)
def test_a_material_out_of_the_domain_is_never_likely(warning: str) -> None:
    alone = answer(probability=0.4)
    strange = replace(alone, prediction=replace(alone.prediction, warnings=(warning,)))
    one = conclude(strange, SINGLE, predict_for=refuse, complete=True)
    assert one.level == "uncertain"
    assert "unlike those that the model was trained on" in words.headline(one)


@pytest.mark.parametrize(("warnings", "level"), [((), "likely"), (tuple(doubt_warning(0.6)), "uncertain")])
def test_the_domain_is_judged_with_the_formula_found_where_only_elements_are_given(
    warnings: tuple[str, ...], level: str
) -> None:
    of_formula = answer(probability=0.4)
    of_formula = replace(of_formula, prediction=replace(of_formula.prediction, warnings=warnings))
    one = conclude(answer(probability=0.4), SINGLE, predict_for=lambda _: of_formula, complete=False)
    assert one.level == level
    assert one.of_phase is (level == "likely")


def test_no_prediction_for_one_phase_stands_beside_a_mixture() -> None:
    one = conclude(answer(), MIXTURE, predict_for=refuse, complete=True)
    assert (one.level, one.answer) == ("likely", None)
    text = words.headline(one) + words.facts(one)
    assert "a mixture of TiO₂ (rutile) and ZnO (zincite)" in text
    assert "eV/atom" not in text
    assert "main phase 60\N{NO-BREAK SPACE}% by weight" in words.phases(one, colours=["#000"])


def test_no_match_names_no_phase_in_the_headline() -> None:
    one = conclude(answer(), NO_MATCH, predict_for=refuse, complete=True)
    assert one.level == "no match"
    assert "rutile" not in words.headline(one)
    assert "Closest reference materials" in words.phases(one, colours=["#000"])
    assert words.plain_headline(one) == "No match among the reference materials"


def test_values_are_those_of_the_phase_where_no_formula_is_given() -> None:
    asked: list[str] = []

    def predict_for(formula: str) -> Answer:
        asked.append(formula)
        return answer(probability=0.4, formula=formula)

    one = conclude(answer(probability=0.4, formula="Ti,O"), SINGLE, predict_for=predict_for, complete=False)
    assert asked == ["TiO2"]
    assert one.of_phase
    assert "for TiO₂, the phase found" in words.facts(one)


def test_phases_need_no_prediction() -> None:
    missing = Missing("The scan covers only 20 %", "coverage")
    one = conclude(missing, SINGLE, predict_for=refuse, complete=True)
    assert one.level == "likely"
    assert one.answer is missing
    assert words.facts(one) == ""


def test_sets_agree_with_the_probability_beside_them() -> None:
    one = conclude(answer(probability=0.6), None, predict_for=refuse, complete=True)
    text = words.facts(one)
    assert "60\N{NO-BREAK SPACE}%; 90\N{NO-BREAK SPACE}% set: cubic, " in text
    sure = conclude(answer(probability=0.96), None, predict_for=refuse, complete=True)
    assert "set: cubic," not in words.facts(sure)


def test_space_group_of_another_system_than_the_most_probable_one_is_explained() -> None:
    alone = answer(probability=0.45)
    assert "single space group" not in words.facts(conclude(alone, NO_MATCH, predict_for=refuse, complete=True))
    groups = (RankedLabel("62", 0.3), RankedLabel("225", 0.25), RankedLabel("221", 0.2))
    alone = replace(alone, prediction=replace(alone.prediction, space_group=groups))
    text = words.facts(conclude(alone, None, predict_for=refuse, complete=True))
    assert "Pnma (62) is orthorhombic. It is the most probable single space group, while the cubic ones" in text


@pytest.mark.parametrize(("probability", "sure"), [(0.49, False), (0.5, True)])
def test_it_says_when_a_class_is_not_sure(probability: float, sure: bool) -> None:
    text = words.facts(conclude(answer(probability=probability), None, predict_for=refuse, complete=True))
    assert ("not sure" in text) is not sure


def test_numbers_have_units_and_intervals_where_known() -> None:
    text = words.facts(conclude(answer(), None, predict_for=refuse, complete=True))
    assert "−0.61 eV/atom" in text
    assert "90\N{NO-BREAK SPACE}% interval: −0.70 to −0.50" in text
    assert "no interval available" in text


@pytest.mark.parametrize(("no_match", "said"), [(0.8, True), (0.05, False)])
def test_it_says_when_the_reference_materials_probably_lack_the_phase(no_match: float, said: bool) -> None:
    found = replace(SINGLE, no_match=no_match)
    text = words.phases(conclude(answer(), found, predict_for=refuse, complete=True), colours=["#000"])
    assert ("probably lack the phase of this specimen (80\N{NO-BREAK SPACE}%)" in text) is said
