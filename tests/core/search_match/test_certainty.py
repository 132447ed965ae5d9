"""How sure an identification is, and predictions in agreement with it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from xxact_core.prediction.prediction import Prediction, RankedLabel
from xxact_core.quantities import CRYSTAL_SYSTEMS
from xxact_core.search_match.certainty import agree_with_phases, credible_set, judge_phases, phase_probability
from xxact_core.search_match.match import Match


def match(formula: str, space_group: int, probability: float) -> Match:
    return Match(formula, space_group, "", 0.9, 0.0, 1.0, np.array([30.0]), np.array([100.0]), probability=probability)


def prediction(system: str, group: int, *, probability: float = 0.9) -> Prediction:
    rest = (1 - probability) / 6
    systems = sorted(
        (RankedLabel(name, probability if name == system else rest) for name in CRYSTAL_SYSTEMS),
        key=lambda one: -one.probability,
    )
    groups = (RankedLabel(str(group), probability), RankedLabel("1", 1 - probability))
    return Prediction("Al2O3", 1.0, None, None, tuple(systems), groups, (), (system,), (str(group),))


@pytest.mark.parametrize(
    ("probabilities", "unexplained", "extra", "level"),
    [
        ([0.97], 0.03, {}, "likely"),
        ([0.6], 0.03, {}, "uncertain"),
        ([0.97], 0.3, {}, "uncertain"),
        ([0.97, 0.9], 0.03, {}, "likely"),
        ([0.97], 0.03, {"in_domain": False}, "uncertain"),
        ([0.97], 0.03, {"agreeing": False}, "uncertain"),
        ([0.97], 0.03, {"in_domain": True, "agreeing": True}, "likely"),
    ],
)
def test_every_condition_is_needed(
    probabilities: list[float], unexplained: float, extra: dict[str, bool], level: str
) -> None:
    verdict = "single" if len(probabilities) == 1 else "mixture"
    found, conditions = judge_phases(verdict, probabilities, unexplained, restricted=True, **extra)
    assert found == level
    assert all(condition.met for condition in conditions) == (level == "likely")


def test_without_elements_more_is_needed_and_mixtures_are_never_likely() -> None:
    assert judge_phases("single", [0.75], 0.0, restricted=False)[0] == "uncertain"
    assert judge_phases("single", [0.85], 0.0, restricted=False)[0] == "likely"
    assert judge_phases("mixture", [0.99, 0.99], 0.0, restricted=False)[0] == "uncertain"


def test_nothing_that_explains_the_pattern_is_no_match() -> None:
    assert judge_phases("no match", [0.9], 0.64, restricted=True)[0] == "no match"
    assert judge_phases("single", [], 1.0, restricted=True)[0] == "no match"


def test_a_single_phase_competes_with_the_other_phases_that_fit() -> None:
    matches = [match("WO3", 14, 0.09), match("WO3", 62, 0.06)]
    given = {"matches": matches, "verdict": "single", "no_match": 0.7}
    assert phase_probability(0.98, "WO3", 14, **given) == pytest.approx(0.09)
    assert phase_probability(0.98, "WO3", 1, **given) == pytest.approx(0.15)
    assert phase_probability(0.98, "WO3", 14, **{**given, "verdict": "mixture"}) == pytest.approx(0.98)


def test_the_prediction_agrees_with_the_phase_that_is_named() -> None:
    told = agree_with_phases(prediction("cubic", 225), [match("Al2O3", 167, 0.1)], space_group=167, probability=0.8)
    assert told.space_group[0].label == "167"
    assert told.crystal_system[0].label == "trigonal"
    assert sum(one.probability for one in told.crystal_system) == pytest.approx(1)
    assert sum(one.probability for one in told.space_group) == pytest.approx(1)
    assert "trigonal" in told.crystal_system_set
    assert "167" in told.space_group_set


def test_the_sets_follow_the_rules_of_the_model_where_it_has_some() -> None:
    model = replace(prediction("cubic", 225), set_rules={"crystal_system": (0.01, 0.6), "space_group": (0.01, 0.6)})
    found = agree_with_phases(model, [match("Al2O3", 167, 0.1)], space_group=167, probability=0.8)
    expected = tuple(one.label for one in found.crystal_system if one.probability >= 0.01)
    assert (found.crystal_system[0].label, found.crystal_system_set) == ("trigonal", expected)
    assert len(expected) > 1


def test_where_they_agree_the_probabilities_are_those_of_both_combined() -> None:
    told = agree_with_phases(prediction("trigonal", 167), [match("Al2O3", 167, 0.9)], space_group=167, probability=0.9)
    assert told.space_group[0].label == "167"
    assert told.space_group[0].probability > 0.95


def test_a_set_never_has_less_than_its_name_says() -> None:
    ranked = [RankedLabel("a", 0.62), RankedLabel("b", 0.2), RankedLabel("c", 0.1), RankedLabel("d", 0.08)]
    assert credible_set(ranked, ("a",)) == ("a", "b", "c")
    assert credible_set(ranked, None) == ("a", "b", "c")
    assert credible_set(ranked, ("a", "d")) == ("a", "b", "c", "d")


def test_a_set_does_not_contradict_the_probability_of_its_first_class() -> None:
    assert credible_set([RankedLabel("a", 0.95), RankedLabel("b", 0.05)], ("a", "b")) == ("a",)
    assert credible_set([], ("a",)) == ()
