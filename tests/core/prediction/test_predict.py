"""Pattern + formula → prediction, through the Python call and the command line."""

from __future__ import annotations

import copy
import csv
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from locations import REPOSITORY
from strategies import compositions

from xxact_core.checkpoint import load_checkpoint
from xxact_core.compositions.composition import Composition
from xxact_core.compositions.formula import parse_formula
from xxact_core.compositions.formula_format import format_formula
from xxact_core.compositions.partial import PartialComposition, parse_composition
from xxact_core.compositions.sampling import SAMPLES, sample_compositions
from xxact_core.errors import FormulaError, InputError, PatternError, WavelengthError
from xxact_core.model.inputs import ModelInput
from xxact_core.objectives.targets import from_z_scores
from xxact_core.patterns.pattern import Pattern
from xxact_core.prediction.prediction import UNLIKE
from xxact_core.prediction.predictor import Prediction, Predictor
from xxact_core.processing.gridding import put_on_grid
from xxact_core.processing.pipeline import ProcessingPipeline
from xxact_core.processing.steps import ConvertWavelength, PutOnGrid
from xxact_core.readers.read import read_pattern

_TABLE = REPOSITORY / "xxact_core" / "data" / "examples" / "examples.csv"
ROWS = list(csv.DictReader(_TABLE.read_text(encoding="utf-8").splitlines()))
WITH_FORMULA = [row for row in ROWS if row["formula"]]


@pytest.fixture(scope="session")
def predictor() -> Predictor:
    return Predictor.load()


def pattern_of(row: dict[str, str], examples: Path) -> Pattern:
    from xxact_core.patterns.conversions import parse_wavelength

    said = row["wavelength"]
    return read_pattern(examples / row["file"], wavelength=parse_wavelength(said) if said else None)


def xxact(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "xxact_core.commands.main", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("row", WITH_FORMULA, ids=[row["file"] for row in WITH_FORMULA])
def test_every_example_with_a_formula_is_answered(row: dict[str, str], examples: Path, predictor: Predictor) -> None:
    prediction = predictor.predict(pattern_of(row, examples), row["formula"])
    assert sum(entry.probability for entry in prediction.crystal_system) == pytest.approx(1)
    assert sum(entry.probability for entry in prediction.space_group) == pytest.approx(1)
    assert len(prediction.crystal_system) == 7
    ranks = [entry.probability for entry in prediction.crystal_system]
    assert ranks == sorted(ranks, reverse=True)
    for estimate, unit in ((prediction.formation_energy_per_atom, "eV/atom"), (prediction.band_gap, "eV")):
        assert estimate.low <= estimate.value <= estimate.high
        assert estimate.unit == unit
    assert prediction.band_gap.low >= 0


def test_most_examples_with_a_known_crystal_system_are_recognised(examples: Path, predictor: Predictor) -> None:
    known = [row for row in ROWS if row["formula"] and row["crystal_system"]]
    right = 0
    for row in known:
        prediction = predictor.predict(pattern_of(row, examples), row["formula"])
        right += row["crystal_system"] in {entry.label for entry in prediction.crystal_system[:2]}
    assert right / len(known) >= 0.7


def test_prediction_does_not_depend_on_the_scale_of_the_counts(examples: Path, predictor: Predictor) -> None:
    row = next(row for row in ROWS if row["formula"] == "LaB6")
    pattern = pattern_of(row, examples)
    louder = Pattern(pattern.two_theta, 37 * pattern.intensity, wavelength=pattern.wavelength)
    first, second = predictor.predict(pattern, "LaB6"), predictor.predict(louder, "LaB6")
    assert second.band_gap.value == pytest.approx(first.band_gap.value, abs=1e-3)
    assert second.formula == first.formula == "LaB6"
    assert predictor.predict(pattern, parse_formula("LaB6")).formula == "LaB6"


def test_gridded_pattern_gives_the_same_answer_as_the_measured_one(examples: Path, predictor: Predictor) -> None:
    pattern = pattern_of(next(row for row in ROWS if row["formula"] == "LaB6"), examples)
    gridded = put_on_grid(pattern)
    assert predictor.predict(gridded, "LaB6") == predictor.predict(pattern, "LaB6")


def test_same_answer_alone_and_whatever_was_asked_before(examples: Path, predictor: Predictor) -> None:
    pattern = pattern_of(next(row for row in ROWS if row["formula"] == "LaB6"), examples)
    first = predictor.predict(pattern, "LaB6")
    predictor.predict(pattern, "NaCl")
    assert predictor.predict(pattern, "LaB6") == first


def long_scan(**options: object) -> Pattern:
    two_theta = np.arange(10, 80, 0.02)
    intensity = 5 + 100 * np.exp(-0.5 * ((two_theta[:, None] - [28.4, 47.3, 56.1]) / 0.05) ** 2).sum(axis=1)
    return Pattern(two_theta, intensity, **options)


def test_what_was_not_measured_is_said(predictor: Predictor) -> None:
    prediction = predictor.predict(long_scan(wavelength=1.54184), "Si")
    assert prediction.coverage == pytest.approx(70 / 85, abs=0.01)
    assert any("masked" in warning for warning in prediction.warnings)


def test_missing_wavelength_is_asked_for_and_an_explicit_one_wins(predictor: Predictor) -> None:
    with pytest.raises(WavelengthError, match="wavelength"):
        predictor.predict(long_scan(), "Si")
    right = predictor.predict(long_scan(wavelength=1.54184), "Si")
    assert predictor.predict(long_scan(), "Si", wavelength=1.54184) == right
    assert predictor.predict(long_scan(wavelength=0.7107), "Si", wavelength=1.54184) == right


def test_bad_formula_and_short_scan_are_refused(predictor: Predictor) -> None:
    with pytest.raises(FormulaError, match="Xx"):
        predictor.predict(long_scan(wavelength=1.54184), "Xx2O3")
    short = Pattern(np.arange(30, 50, 0.02), np.arange(1000) % 50, wavelength=1.54184)
    with pytest.raises(PatternError, match="30%"):
        predictor.predict(short, "Si")
    assert isinstance(predictor.predict(short, "Si", override_coverage=True), Prediction)


def told(prediction: Prediction) -> str:
    return json.dumps(prediction.to_dict())


def test_a_composition_with_nothing_open_costs_nothing_and_changes_no_bit(predictor: Predictor) -> None:
    pattern = long_scan(wavelength=1.54184)
    plain = predictor.predict(pattern, "Fe2O3")
    assert plain.composition_cost is None
    assert "composition_cost" not in plain.to_dict()
    for same in ("Fe 2, O 3", PartialComposition(("Fe", "O"), (2.0, 3.0)), parse_formula("Fe2O3")):
        assert told(replace(predictor.predict(pattern, same), formula=plain.formula)) == told(plain)


@settings(max_examples=5)
@given(compositions())
def test_any_formula_is_answered_as_by_one_row_of_the_model(predictor: Predictor, composition: Composition) -> None:
    gridded = put_on_grid(long_scan(wavelength=1.54184))
    with torch.inference_mode():
        inputs = ModelInput(
            intensity=torch.tensor(gridded.intensity, dtype=torch.float32)[None],
            window_mask=torch.tensor(gridded.hidden_windows)[None],
            atomic_numbers=torch.tensor(composition.atomic_numbers)[None],
            fractions=torch.tensor(composition.fractions, dtype=torch.float32)[None],
        )
        (energy,) = from_z_scores(
            predictor.checkpoint.model(inputs)["formation_energy_per_atom"],
            predictor.checkpoint.statistics["formation_energy_per_atom"],
        )
    answer = predictor.predict(gridded, format_formula(composition))
    assert answer.formation_energy_per_atom.value == float(energy)


@pytest.mark.parametrize("known", ["Si 50±5 O 50±5", "Si,O", "Si 70 wt% ?O", "SiO2 ?H"])
def test_the_answer_of_partial_knowledge_is_the_mean_over_what_it_may_be(predictor: Predictor, known: str) -> None:
    pattern = long_scan(wavelength=1.54184)
    answer = predictor.predict(pattern, known)
    drawn = sample_compositions(parse_composition(known))
    single = [predictor.predict(pattern, composition) for composition in drawn]
    for name in ("crystal_system", "space_group"):
        mean: dict[str, float] = {}
        for each in single:
            for entry in getattr(each, name):
                mean[entry.label] = mean.get(entry.label, 0) + entry.probability / len(drawn)
        found = {entry.label: entry.probability for entry in getattr(answer, name)}
        assert found == pytest.approx(mean, abs=1e-4)
    energies = [each.formation_energy_per_atom.value for each in single]
    assert answer.formation_energy_per_atom.value == pytest.approx(np.mean(energies), abs=1e-4)
    cost = answer.composition_cost
    assert cost.formation_energy_spread == pytest.approx(np.std(energies), abs=1e-4)
    widths = [each.high - each.low for each in (answer.formation_energy_per_atom, single[0].formation_energy_per_atom)]
    assert widths[0] > widths[1]
    doubts = [-sum(entry.probability * np.log2(entry.probability) for entry in each.crystal_system) for each in single]
    assert 0 <= cost.composition_bits <= cost.crystal_system_bits
    assert cost.composition_bits == pytest.approx(cost.crystal_system_bits - np.mean(doubts), abs=1e-3)
    assert str(cost) in answer.warnings
    assert answer.to_dict()["composition_cost"]["draws"] == len(drawn) == SAMPLES
    assert told(predictor.predict(pattern, known)) == told(answer)


def test_without_a_composition_the_pattern_alone_is_asked(predictor: Predictor) -> None:
    pattern = long_scan(wavelength=1.54184)
    answer = predictor.predict(pattern, "?")
    assert answer.formula == "?"
    assert answer.composition_cost.composition_bits is None
    assert answer.formation_energy_per_atom.low is None
    assert answer.crystal_system_set is None
    assert any("from the pattern alone" in warning for warning in answer.warnings)
    assert not any("not trained" in warning for warning in answer.warnings)
    checkpoint = predictor.checkpoint
    recipe = {**checkpoint.about["recipe"], "drop_composition": 0.0}
    never = replace(checkpoint, about={**checkpoint.about, "recipe": recipe})
    remarks = Predictor(never, device=predictor.device).predict(pattern, PartialComposition()).warnings
    assert any("not trained without compositions" in remark for remark in remarks)


@pytest.mark.parametrize(("known", "judged"), [("TiO2", True), ("Ti 33±2 O 67±2", True), ("Ti,O", False), ("?", False)])
def test_a_material_is_held_against_those_of_the_training_where_amounts_are_known(
    known: str, *, judged: bool, examples: Path, predictor: Predictor
) -> None:
    strict = copy.copy(predictor)
    strict._trust = replace(predictor._trust, constant=50.0)
    prediction = strict.predict(read_pattern(examples / "rutile.raw"), known)
    assert any(UNLIKE in warning for warning in prediction.warnings) is judged


def test_steps_of_the_preparation_are_taken_and_the_wavelength_of_the_call_wins(predictor: Predictor) -> None:
    pattern, steps = long_scan(wavelength=0.7), ProcessingPipeline((ConvertWavelength(wavelength=1.54184), PutOnGrid()))
    gridded = steps.apply(pattern).gridded
    assert predictor.predict(pattern, "Si", preparation=steps) == predictor.predict(gridded, "Si")
    other = steps.replace_step(ConvertWavelength(wavelength=1.5))
    assert predictor.predict(pattern, "Si", preparation=other, wavelength=1.54184) == predictor.predict(gridded, "Si")


def test_command_line_takes_partial_knowledge_and_a_preparation(examples: Path, tmp_path: Path) -> None:
    file, steps = examples / "corundum.prn", tmp_path / "steps.json"
    steps.write_text(json.dumps(ProcessingPipeline((ConvertWavelength(wavelength="CuKa"), PutOnGrid())).to_dict()))
    result = xxact("predict", file, "--formula", "Al,O", "--processing", steps, "--json")
    assert result.returncode == 0, result.stderr
    (answer,) = json.loads(result.stdout)
    assert answer["composition_cost"]["known"] == "elements without amounts"
    steps.write_text('{"steps": [{"step": "to_cobalt"}]}')
    refused = xxact("predict", file, "--formula", "Al,O", "--preparation", steps)
    assert refused.returncode == 2
    assert "to_cobalt" in refused.stderr
    assert "Traceback" not in refused.stderr


def test_element_that_no_training_material_has_is_named(predictor: Predictor) -> None:
    prediction = predictor.predict(long_scan(wavelength=1.54184), "FrCl")
    assert any("Fr" in warning for warning in prediction.warnings)


def test_shipped_checkpoint_says_what_it_is() -> None:
    about = load_checkpoint().about
    tests, baselines = about["test_metrics"], about["baselines"]
    assert tests["crystal_system_accuracy"] > baselines["trees_visible_lines"]["crystal_system_accuracy"]
    for name in ("formation_energy_per_atom_mae_mev_per_atom", "band_gap_mae_ev"):
        assert tests[name] < baselines["constant"][name]


def with_sets(predictor: Predictor, threshold: float) -> Predictor:
    calibration = {
        name: {**fit, **({"set_threshold_90": threshold} if "temperature" in fit else {})}
        for name, fit in predictor.checkpoint.calibration.items()
    }
    return Predictor(replace(predictor.checkpoint, calibration=calibration), device=predictor.device)


def test_set_of_labels_is_told_where_the_checkpoint_knows_it_and_changes_nothing_else(predictor: Predictor) -> None:
    pattern = long_scan(wavelength=1.54184)
    plain, told = predictor.predict(pattern, "Si"), with_sets(predictor, 0.05).predict(pattern, "Si")
    expected = tuple(entry.label for entry in told.space_group if entry.probability >= 0.05)
    assert told.space_group_set == expected
    assert 0 < len(expected) < 20
    assert told.crystal_system_set is not None
    assert told.crystal_system_set[0] == told.crystal_system[0].label
    assert replace(told, crystal_system_set=None, space_group_set=None) == replace(
        plain, crystal_system_set=None, space_group_set=None
    )
    assert set(told.to_dict()) >= {"crystal_system_set", "space_group_set"}
    without = replace(plain, crystal_system_set=None, space_group_set=None).to_dict()
    assert not set(without) & {"crystal_system_set", "space_group_set"}


def test_command_line_prints_the_promised_json(examples: Path) -> None:
    row = next(row for row in ROWS if row["formula"] == "LaB6")
    result = xxact("predict", examples / row["file"], "--formula", "LaB6", "--wavelength", "CuKa", "--json")
    assert result.returncode == 0, result.stderr
    (answer,) = json.loads(result.stdout)
    assert {"file", "formula", "coverage", "warnings"} <= set(answer)
    assert set(answer["band_gap"]) == {"value", "unit", "low", "high"}
    assert set(answer["crystal_system"][0]) == {"label", "probability"}
    assert 0 < answer["coverage"] <= 1


def test_command_line_answers_the_good_file_and_names_the_bad_one(examples: Path, tmp_path: Path) -> None:
    row = next(row for row in ROWS if row["formula"] == "LaB6")
    bad = tmp_path / "empty.xy"
    bad.write_text("")
    result = xxact("predict", examples / row["file"], bad, "--formula", "LaB6", "--wavelength", "CuKa", "--json")
    good, refused = json.loads(result.stdout)
    assert result.returncode == 2
    assert "crystal_system" in good
    assert "empty.xy" in refused["error"]
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("predict", "nothing.xy", "--formula", "LaB6", "--wavelength", "CuKa"), "nothing.xy"),
        (("predict", "nothing.xy", "--formula", "Fe0"), "Fe"),
        (("predict", "nothing.xy", "--formula", "LaB6", "--wavelength", "CuKx"), "CuKx"),
        (("predict", "nothing.xy", "--formula", "LaB6", "--model", "nowhere"), "nowhere"),
        (("train", "nowhere", "run", "--recipe", "none"), "none"),
        (("train", "nowhere", "run", "--set", "epochs"), "NAME=VALUE"),
        (("train", "nowhere", "run"), "nowhere"),
        (("build", "nowhere.parquet", "data"), "nowhere.parquet"),
        (("evaluate", "nowhere", "nowhere"), "nowhere"),
        (("info", "--model", "nowhere"), "nowhere"),
        (("tables", "nowhere.h5"), "nowhere"),
    ],
)
def test_bad_input_ends_in_one_line_and_exit_code_2(
    arguments: tuple[str, ...], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    result = xxact(*arguments)
    assert result.returncode == 2
    assert said in result.stderr
    assert "Traceback" not in result.stderr


def test_all_errors_of_bad_input_are_of_one_kind() -> None:
    assert issubclass(PatternError, InputError)
    assert issubclass(FormulaError, InputError)


def test_info_prints_recipe_size_digest_and_metrics() -> None:
    result = xxact("info", "--json")
    assert result.returncode == 0, result.stderr
    about = json.loads(result.stdout)
    assert about["recipe"]["name"] == "compact"
    assert about["parameters"] > 1_000_000
    assert len(about["data_digest"]) == 64
    assert {"constant", "trees_visible_lines", "trees_all_sticks"} <= set(about["baselines"])
    assert about["test_metrics"]["crystal_system_accuracy"] > 0


def test_a_data_set_a_run_and_its_evaluation_from_the_command_line(repository: Path, tmp_path: Path) -> None:
    table = repository / "xxact_core" / "data" / "materials_project.parquet"
    built = xxact("build", table, tmp_path / "data", "--limit", 60, "--workers", 1)
    assert built.returncode == 0, built.stderr
    assert "60 materials" in built.stdout
    settings = ("--set", "epochs=1", "--set", "batch_size=16")
    trained = xxact("train", tmp_path / "data", tmp_path / "run", "--recipe", "tiny", *settings)
    assert trained.returncode == 0, trained.stderr
    evaluated = xxact(
        "evaluate",
        tmp_path / "run" / "model",
        tmp_path / "data",
        "--split",
        "train",
        "--json",
        "--predictions",
        tmp_path / "predictions.h5",
    )
    assert evaluated.returncode == 0, evaluated.stderr
    metrics = json.loads(evaluated.stdout)
    low, high = metrics["crystal_system_accuracy_interval_95"]
    assert 0 <= low <= metrics["crystal_system_accuracy"] <= high <= 1
    tables = xxact("tables", tmp_path / "predictions.h5", "--json")
    assert tables.returncode == 0, tables.stderr
    (of_all,) = [row for row in json.loads(tables.stdout) if row["crystal_system"] == "all materials"]
    assert of_all["accuracy"] == metrics["crystal_system_accuracy"]
