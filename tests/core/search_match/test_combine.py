"""A prediction combined with the reference phases that match the pattern."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from xxact_core.commands.former_names import PredictOptions, rename_options
from xxact_core.commands.main import app
from xxact_core.compositions.formula import parse_formula
from xxact_core.compositions.partial import parse_composition
from xxact_core.errors import DatasetError, FormulaError
from xxact_core.prediction.prediction import (
    UNLIKE,
    Estimate,
    Prediction,
    doubt_warning,
    rank_classes,
    ranked_to_probabilities,
)
from xxact_core.prediction.predictor import Predictor
from xxact_core.processing.gridding import put_on_grid
from xxact_core.quantities import (
    CRYSTAL_SYSTEM,
    CRYSTAL_SYSTEMS,
    SPACE_GROUP,
    SYSTEM_OF_GROUP,
    space_group_to_crystal_system,
)
from xxact_core.readers.read import read_pattern
from xxact_core.search_match.combine import (
    combine_with_matches,
    composition_distance,
    prediction_to_elements,
    read_match_formula,
    sum_by_system,
)
from xxact_core.search_match.identify import Identifier
from xxact_core.search_match.match import Match


def said(formula: str = "TiO2", **systems: float) -> Prediction:
    """A prediction with these probabilities of crystal systems, the rest even, and space groups even within them."""
    rest = (1 - sum(systems.values())) / (7 - len(systems))
    of_system = np.array([systems.get(name, rest) for name in CRYSTAL_SYSTEMS])
    groups = (of_system / np.bincount(SYSTEM_OF_GROUP))[list(SYSTEM_OF_GROUP)]
    return Prediction(
        formula=formula,
        coverage=1.0,
        formation_energy_per_atom=Estimate(-3.0, "eV/atom", -3.1, -2.9),
        band_gap=None,
        crystal_system=rank_classes(CRYSTAL_SYSTEM, of_system),
        space_group=rank_classes(SPACE_GROUP, groups),
        warnings=("as it was",),
        crystal_system_set=CRYSTAL_SYSTEMS,
    )


def found(formula: str, space_group: int | None, likely: float) -> Match:
    """A reference phase with this probability."""
    return Match(formula, space_group, "id", 0.97, 0.0, 1.0, np.array([30.0]), np.array([100.0]), probability=likely)


def probability(prediction: Prediction, system: str) -> float:
    return next(entry.probability for entry in prediction.crystal_system if entry.label == system)


def test_a_phase_that_matches_well_changes_an_uncertain_prediction() -> None:
    alone = said(orthorhombic=0.5, tetragonal=0.3)
    both = combine_with_matches(alone, [found("TiO2", 141, 0.9), found("TiO2", 61, 0.02)])
    assert both.crystal_system[0].label == "tetragonal"
    assert both.space_group[0].label == "141"
    assert both.crystal_system_set[0] == "tetragonal"
    assert both.formation_energy_per_atom == alone.formation_energy_per_atom


def test_an_improbable_phase_hardly_changes_anything() -> None:
    alone = said(orthorhombic=0.5, tetragonal=0.3)
    both = combine_with_matches(alone, [found("TiO2", 141, 0.01)])
    for system in CRYSTAL_SYSTEMS:
        assert probability(both, system) == pytest.approx(probability(alone, system), abs=0.02)


def test_a_more_probable_match_has_more_weight() -> None:
    alone = said(orthorhombic=0.5, tetragonal=0.3)
    counted = [
        probability(combine_with_matches(alone, [found("TiO2", 141, likely)]), "tetragonal")
        for likely in (0.1, 0.5, 0.97)
    ]
    assert counted == sorted(counted)


def test_a_phase_of_another_composition_has_less_weight() -> None:
    alone = said(orthorhombic=0.5, tetragonal=0.3)
    same, other = (combine_with_matches(alone, [found(formula, 141, 0.95)]) for formula in ("TiO2", "Ti4O3"))
    assert probability(same, "tetragonal") > probability(other, "tetragonal") + 0.05


def test_decimals_in_the_formula_of_a_match_are_amounts() -> None:
    formula = "K0.81Fe2.88H5.83S2O13.6"
    read = read_match_formula(formula)
    assert dict(zip(read.symbols, read.amounts, strict=True)) == {"K": 0.81, "Fe": 2.88, "H": 5.83, "S": 2, "O": 13.6}
    assert read_match_formula("CaSO4·2H2O").symbols == parse_formula("CaSO4·2H2O").symbols
    alone = said("K,Fe,H,S,O", cubic=0.6)
    both = combine_with_matches(alone, [found(formula, 166, 0.9)])
    assert both.crystal_system[0].label == "trigonal"


def test_as_far_as_no_phase_matches_the_model_decides() -> None:
    alone = said(cubic=0.6)
    both = combine_with_matches(alone, [found("TiO2", 141, 0.3), found("TiO2", 136, 0.2)])
    assert probability(both, "cubic") == pytest.approx(0.3)
    assert probability(both, "tetragonal") == pytest.approx(0.5 + probability(alone, "tetragonal") / 2)


def test_without_a_match_the_prediction_is_unchanged() -> None:
    alone = said(cubic=0.6)
    assert combine_with_matches(alone, []) is alone
    assert combine_with_matches(alone, [found("TiO2", None, 0.99)]) is alone


def test_the_set_of_a_model_calibrated_by_similarity_has_its_threshold_and_mass() -> None:
    alone = said(orthorhombic=0.5, tetragonal=0.3)
    unknown_kind = replace(alone, set_rules={"crystal_system": (0.02, 0.6)})
    matches = [found("TiO2", 141, 0.3)]
    former, present = (combine_with_matches(one, matches).crystal_system_set for one in (alone, unknown_kind))
    assert set(former) == {"orthorhombic", "tetragonal"}
    assert set(present) > set(former)  # 20 % are spread over five systems
    sure = combine_with_matches(replace(alone, set_rules={"crystal_system": (0.9, 0.6)}), matches)
    assert len(sure.crystal_system_set) == 2  # neither has 0.9, and the first alone has less than 0.6
    assert "set_rules" not in unknown_kind.to_dict()


@pytest.mark.parametrize(("likely", "doubted"), [(0.95, False), (0.5, True)])
def test_a_doubt_ends_where_a_reference_phase_matches_well(likely: float, *, doubted: bool) -> None:
    alone = said(orthorhombic=0.5, tetragonal=0.3)
    alone = replace(alone, warnings=(*alone.warnings, *doubt_warning(0.6)))
    both = combine_with_matches(alone, [found("TiO2", 141, likely)])
    assert any(UNLIKE in warning for warning in both.warnings) is doubted
    assert "as it was" in both.warnings


def test_a_warning_states_the_best_match_and_the_model_alone() -> None:
    alone = said(orthorhombic=0.5, tetragonal=0.3)
    *before, remark = combine_with_matches(alone, [found("TiO2", 141, 0.97)]).warnings
    assert before == ["as it was"]
    assert "TiO2 (id)" in remark
    assert "score 0.97" in remark
    assert "model alone 30%" in remark


def test_an_uncertainty_that_a_match_removes_is_not_reported() -> None:
    alone = said(orthorhombic=0.45, tetragonal=0.4)
    doubtful = "the crystal system is uncertain: the most probable one has only 45%"
    told = Prediction(**{**vars(alone), "warnings": (doubtful,)})
    assert not any(
        "uncertain" in warning for warning in combine_with_matches(told, [found("TiO2", 141, 0.98)]).warnings
    )


@given(
    st.lists(
        st.tuples(st.integers(1, 230), st.floats(0, 0.1), st.sampled_from(["TiO2", "Ti", "O", "Ti3O5"])), max_size=10
    ),
    st.floats(0.01, 0.99),
)
def test_probabilities_add_up_and_groups_agree_with_systems(told: list[tuple[int, float, str]], cubic: float) -> None:
    both = combine_with_matches(said(cubic=cubic), [found(formula, group, likely) for group, likely, formula in told])
    groups = ranked_to_probabilities(both.space_group, SPACE_GROUP)
    systems = ranked_to_probabilities(both.crystal_system, CRYSTAL_SYSTEM)
    assert systems.sum() == pytest.approx(1)
    assert (groups >= 0).all()
    np.testing.assert_allclose(sum_by_system(groups), systems, atol=1e-9)


def test_the_system_of_each_space_group_is_that_of_the_tables() -> None:
    names = [CRYSTAL_SYSTEMS[index] for index in SYSTEM_OF_GROUP]
    assert names == [space_group_to_crystal_system(number) for number in range(1, 231)]


@pytest.mark.parametrize(
    ("known", "other", "distance"),
    [
        ("TiO2", "Ti2O4", 0.0),
        ("TiO2", "TiO", 1 / 6),
        ("TiO2", "Zn", 1.0),
        ("Ti 30±10 O 70±10", "TiO2", 0.0),  # within the error
        ("Ti,O", "Ti4O", 0.0),  # no amounts are known
        ("TiO2 ?Zn", "TiO2Zn", 0.0),  # zinc may be there, and as much as it likes
    ],
)
def test_the_distance_of_a_composition_is_the_share_of_other_atoms(known: str, other: str, distance: float) -> None:
    assert composition_distance(parse_composition(known), parse_formula(other)) == pytest.approx(distance)


def test_without_a_composition_no_reference_phases_are_searched() -> None:
    assert prediction_to_elements(said("Ti,?O")) == (("Ti",), ("O",))
    with pytest.raises(FormulaError, match="expected a composition"):
        prediction_to_elements(said("?"))


def test_one_call_and_the_command_combine_a_measured_pattern_alike(examples: Path) -> None:
    pattern = put_on_grid(read_pattern(examples / "anatase.xy"), wavelength="CuKa")
    alone = Predictor.load().predict(pattern, "TiO2")
    both = Identifier.load().combine(alone, pattern)
    assert probability(both, "tetragonal") > probability(alone, "tetragonal")  # as anatase is, which the table contains
    line = [
        "predict",
        str(examples / "anatase.xy"),
        "--formula",
        "TiO2",
        "--wavelength",
        "CuKa",
        "--search-match",
        "--json",
    ]
    result = CliRunner().invoke(app, line)
    assert result.exit_code == 0, result.output
    (answer,) = json.loads(result.stdout)
    for told in answer["crystal_system"]:
        assert told["probability"] == pytest.approx(probability(both, told["label"]), abs=1e-4)
    assert "TiO2" in answer["warnings"][-1]


@pytest.mark.parametrize("option", ["--reference", "--table"])
def test_a_missing_table_of_reference_phases_is_reported_by_former_and_present_option(
    examples: Path, tmp_path: Path, option: str
) -> None:
    line = ["predict", str(examples / "anatase.xy"), "--formula", "TiO2", option, str(tmp_path / "none.parquet")]
    with pytest.raises(DatasetError, match="there is no table of reference phases at"):
        CliRunner().invoke(app, line, catch_exceptions=False)


def test_the_former_name_of_combine_is_deprecated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Identifier, "combine", lambda *_arguments, **_more: "combined")
    with pytest.warns(DeprecationWarning, match="Identifier.combine"):
        assert Identifier(None).weigh(None, None) == "combined"


def test_former_options_are_replaced_before_a_double_dash() -> None:
    arguments = ["a.xy", "--known", "--table=x.parquet", "--formula", "TiO2", "--", "--known"]
    assert rename_options(arguments, PredictOptions.present) == [
        "a.xy", "--search-match", "--reference=x.parquet", "--formula", "TiO2", "--", "--known",
    ]  # fmt: skip
