"""Search and match: measured phases are found among the reference phases, and a mixture is detected."""

from __future__ import annotations

import dataclasses
import json
import sys
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from xxact_core.commands.main import app, main
from xxact_core.errors import DatasetError, FormulaError, InputError, PatternError, WavelengthError
from xxact_core.patterns.gridded_files import read_gridded, write_gridded
from xxact_core.patterns.pattern import Pattern
from xxact_core.peak_profiles.reference import broaden_sticks
from xxact_core.processing.gridding import put_on_grid
from xxact_core.readers.read import read_pattern
from xxact_core.search_match.identify import Identification, Identifier, _beside_parents
from xxact_core.search_match.match import Match
from xxact_core.search_match.opening import open_references
from xxact_core.search_match.phases import find_phases
from xxact_core.shipped import TABLE, shipped_path


@pytest.fixture(scope="module")
def identifier() -> Identifier:
    return Identifier.load()


@pytest.fixture(scope="module")
def mixture(identifier: Identifier, examples: Path) -> Identification:
    pattern = read_pattern(examples / "titania_zinc_oxide_mixture.xrdml")
    return identifier.identify(pattern, elements=["Ti", "Zn", "O"])


@pytest.mark.parametrize(
    ("file", "elements", "formula", "space_group"),
    [
        ("lanthanum_hexaboride.cif", "La B", "LaB6", 221),
        ("zincite.prn", "Zn O", "ZnO", 186),
        ("magnetite.prn", "Fe O", "Fe3O4", 227),
        ("anatase.xy", "Ti O", "TiO2", 141),
    ],
)
def test_a_measured_phase_is_the_best_match(
    identifier: Identifier, examples: Path, file: str, elements: str, formula: str, space_group: int
) -> None:
    found = identifier.identify(read_pattern(examples / file), elements=elements.split(), wavelength="CuKa")
    first = found.matches[0]
    assert (first.formula, first.space_group) == (formula, space_group)
    assert 0.9 < first.score <= 1
    assert 0.97 < first.scale < 1.01  # calculated cells are larger than measured ones
    assert abs(first.shift) < 0.2
    assert found.mixture is not None
    assert not found.mixture.likely
    probabilities = [match.probability for match in found.matches]
    assert probabilities[0] == max(probabilities)
    assert 0.9 < sum(probabilities) + found.no_match <= 1 + 1e-9  # the rest belongs to matches beyond the first ten
    names = [(match.formula, match.space_group) for match in found.matches]
    assert len(names) == len(set(names))


def test_fitted_reflections_coincide_with_measured_peaks(identifier: Identifier, examples: Path) -> None:
    found = identifier.identify(read_pattern(examples / "zincite.prn"), elements=["Zn", "O"], wavelength="CuKa")
    first = found.matches[0]
    strongest = first.two_theta[first.intensity > 25]
    assert len(strongest) >= 3
    for angle in strongest:
        near = np.abs(found.pattern.grid.two_theta - angle) < 0.15
        assert found.pattern.intensity[near].max() > 15


def test_the_strength_of_a_pattern_does_not_matter(identifier: Identifier, examples: Path) -> None:
    pattern = read_pattern(examples / "zincite.prn", wavelength=1.54184)
    stronger = Pattern(pattern.two_theta, 7.5 * pattern.intensity, wavelength=1.54184)
    once, again = (identifier.identify(one, elements=["Zn", "O"]) for one in (pattern, stronger))
    assert [one.id for one in once.matches] == [one.id for one in again.matches]
    assert once.matches[0].score == pytest.approx(again.matches[0].score, abs=1e-3)


def test_a_mixture_is_detected_and_both_phases_are_named(mixture: Identification) -> None:
    verdict = mixture.mixture
    assert verdict is not None
    assert verdict.likely
    assert {verdict.first, verdict.second} == {"ZnO", "TiO2"}
    assert verdict.unexplained_by_both < 0.05 < verdict.unexplained
    assert verdict.sentence.startswith("Mixture of 2 phases: ")
    assert mixture.verdict == "mixture"
    assert sum(phase.weight_fraction for phase in mixture.phases) == pytest.approx(1)
    # weighed: 60 wt% ZnO
    fractions = {phase.formula: phase.weight_fraction for phase in mixture.phases}
    assert fractions["ZnO"] == pytest.approx(0.6, abs=0.06)


def test_no_second_phase_is_claimed_where_the_first_is_unknown(identifier: Identifier, examples: Path) -> None:
    found = identifier.identify(read_pattern(examples / "corundum.prn"), elements=["Ca", "S"], wavelength="CuKa")
    assert found.verdict == "no match"  # the elements are not those of corundum
    assert found.mixture is not None
    assert not found.mixture.likely
    assert found.mixture.sentence.startswith("No match")


def test_only_materials_of_the_given_elements_are_compared(mixture: Identification) -> None:
    assert mixture.elements == ("Ti", "Zn", "O")
    assert mixture.candidates > 50
    assert all(set("".join(c for c in one.formula if not c.isdigit())) <= set("OTiZn") for one in mixture.matches)


def test_elements_without_a_known_material_give_an_honest_empty_answer(identifier: Identifier, examples: Path) -> None:
    found = identifier.identify(read_pattern(examples / "zincite.prn"), elements=["Og"], wavelength="CuKa")
    assert found.matches == ()
    assert found.candidates == 0
    assert found.mixture is None


def test_phases_with_excluded_elements_are_not_compared(identifier: Identifier, examples: Path) -> None:
    pattern = read_pattern(examples / "zincite.prn", wavelength=1.54184)
    wide = identifier.identify(pattern, elements=["Zn"], maybe=["O", "S"])
    narrow = identifier.identify(pattern, elements=["Zn"], maybe=["O"], exclude=["S"])
    assert wide.matches[0].formula == narrow.matches[0].formula == "ZnO"
    assert wide.elements == ("Zn", "O", "S")
    assert narrow.candidates < wide.candidates
    assert not any("S" in match.formula for match in narrow.matches)


@pytest.mark.parametrize("elements", [["Xx"], ["La", "b"], []])
def test_what_is_no_element_is_refused(identifier: Identifier, examples: Path, elements: list[str]) -> None:
    with pytest.raises(FormulaError, match="expected symbols such as La and B"):
        identifier.identify(read_pattern(examples / "lanthanum_hexaboride.cif"), elements=elements)


def test_a_pattern_without_wavelength_is_refused(identifier: Identifier, examples: Path) -> None:
    with pytest.raises(WavelengthError):
        identifier.identify(read_pattern(examples / "zincite.prn"), elements=["Zn", "O"])


def test_a_pattern_of_noise_alone_is_refused(identifier: Identifier) -> None:
    counts = np.random.default_rng(0).poisson(1000, 3500)
    noise = Pattern(np.linspace(10, 80, 3500), counts, wavelength=1.54184)
    with pytest.raises(PatternError, match="no peak rises above the noise"):
        identifier.identify(noise, elements=["Zn", "O"])


def test_a_pattern_of_few_degrees_is_searched_with_a_warning(identifier: Identifier, examples: Path) -> None:
    pattern = read_pattern(examples / "zincite.prn", wavelength=1.54184)
    inside = (pattern.two_theta > 31) & (pattern.two_theta < 37)
    short = Pattern(pattern.two_theta[inside], pattern.intensity[inside], wavelength=1.54184)
    found = identifier.identify(short, elements=["Zn", "O"])
    assert "ZnO" in {match.formula for match in found.matches}
    assert any("many phases match so few reflections" in warning for warning in found.warnings)
    assert not any("few reflections" in one for one in identifier.identify(pattern, elements=["Zn", "O"]).warnings)


def test_sixty_thousand_points_give_the_same_match(identifier: Identifier, examples: Path) -> None:
    pattern = read_pattern(examples / "zincite.prn", wavelength=1.54184)
    fine = np.linspace(pattern.two_theta[0], pattern.two_theta[-1], 60_000)
    dense = Pattern(fine, np.interp(fine, pattern.two_theta, pattern.intensity), wavelength=1.54184)
    first, again = (identifier.identify(one, elements=["Zn", "O"]).matches[0] for one in (pattern, dense))
    assert (first.formula, first.space_group) == (again.formula, again.space_group) == ("ZnO", 186)
    assert again.scale == pytest.approx(first.scale, abs=1e-3)


def test_a_table_that_is_missing_or_no_table_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="no table of reference phases"):
        open_references(tmp_path / "none.parquet")
    bad = tmp_path / "bad.parquet"
    bad.write_bytes(b"PAR1 but nothing else")
    with pytest.raises(DatasetError, match="not a readable parquet table"):
        open_references(bad)


def test_the_command_prints_a_ranked_list(examples: Path) -> None:
    file = str(examples / "lanthanum_hexaboride.cif")
    result = CliRunner().invoke(app, ["identify", file, "--elements", "La,B", "--json"])
    assert result.exit_code == 0, result.output
    answer = json.loads(result.stdout)
    assert answer["verdict"] == "single"
    assert [phase["formula"] for phase in answer["phases"]] == ["LaB6"]
    assert 0 <= answer["unexplained_fraction"] < 0.1
    ranked = answer["matches"]
    assert answer["neighbours"] == ranked
    assert set(ranked[0]) == {
        "formula",
        "name",
        "space_group",
        "id",
        "source_id",
        "score",
        "shift",
        "scale",
        "probability",
    }
    assert ranked[0]["id"] == "mp-2680"
    assert ranked[0]["source_id"].startswith("amcsd-")
    assert (ranked[0]["formula"], ranked[0]["space_group"]) == ("LaB6", 221)


def test_the_command_states_whether_one_phase_is_enough(examples: Path) -> None:
    file = str(examples / "lanthanum_hexaboride.cif")
    result = CliRunner().invoke(app, ["identify", file, "--formula", "LaB6", "--count", "1"])
    assert result.exit_code == 0, result.output
    assert "Single phase: LaB6 (" in result.stdout
    assert "a 4.15" in result.stdout  # the refined cell
    assert result.stdout.count("mp-2680") == 1


def test_the_command_takes_what_is_known_of_a_composition(examples: Path) -> None:
    file = str(examples / "lanthanum_hexaboride.cif")
    for formula in ("La,B,?O", "La 14±2 B 86±5 at% ?O"):
        result = CliRunner().invoke(app, ["identify", file, "--formula", formula, "--json", "--full"])
        assert result.exit_code == 0, result.output
        answer = json.loads(result.stdout)
        assert answer["elements"] == ["La", "B", "O"]
        assert answer["neighbours"][0]["formula"] == "LaB6"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--elements", "La,Bb"], "'Bb' is not a chemical element"),
        (["--elements", "La", "--formula", "LaB6"], "either elements or a formula"),
        (["--elements", ""], "no element is given"),
        (["--elements", "Zn,O", "--exclude", "O"], "O cannot be both in elements and excluded"),
        (["--maybe", "Zn,O", "--exclude", "Zn"], "Zn cannot be both in maybe and excluded"),
        (["--one-of", "Zn", "--exclude", "Zn"], "Zn cannot be both in one_of and excluded"),
    ],
)
def test_the_command_refuses_what_cannot_be_meant(examples: Path, arguments: list[str], message: str) -> None:
    result = CliRunner().invoke(app, ["identify", str(examples / "zincite.prn"), *arguments])
    assert isinstance(result.exception, InputError)
    assert message in str(result.exception)


@pytest.mark.parametrize("arguments", [["identify", "--elements", "La"], ["predict", "--formula", "LaB6"]], ids=str)
def test_a_file_that_does_not_exist_is_named_in_one_line(
    arguments: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["xxact", *arguments, str(tmp_path / "nowhere.xy")])
    with pytest.raises(SystemExit) as end:
        main()
    assert end.value.code == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.endswith("nowhere.xy: cannot be opened: no such file or directory\n")
    assert printed.err.count("\n") == 1


def test_a_dataset_is_searched_like_the_table_it_was_built_from(small_dataset: Path) -> None:
    known, table = open_references(small_dataset), open_references(shipped_path(TABLE))
    row = next(row for row in range(len(known)) if len(known.symbols(row)) == 2)
    elements, here = known.symbols(row), known.rows_within(known.symbols(row))
    assert row in here
    assert known.id[here].tolist() == [name for name in table.id[table.rows_within(elements)] if name in known.id]
    pattern = broaden_sticks(known.sticks(row), sigma=0.05)
    found = Identifier(known).identify(pattern, elements=elements)
    first = found.matches[0]
    (there,) = np.flatnonzero(table.id == first.source_id)
    assert first.id == first.source_id == known.id[row]
    assert first.score > 0.98
    assert (first.formula, first.space_group) == (table.formula(there), table.symmetry(there)[0])


def test_former_options_read_a_gridded_pattern_and_progress_is_printed(examples: Path, tmp_path: Path) -> None:
    pattern = put_on_grid(read_pattern(examples / "zincite.prn"), wavelength="CuKa")
    write_gridded(tmp_path / "zincite.npz", pattern)
    again = read_gridded(tmp_path / "zincite.npz")
    np.testing.assert_array_equal(again.intensity, pattern.intensity)
    np.testing.assert_array_equal(again.coverage, pattern.coverage)
    line = ["identify", str(tmp_path / "zincite.npz"), "--prepared", "--elements", "Zn,O", "--json", "--whole"]
    result = CliRunner().invoke(app, [*line, "--progress"])
    assert result.exit_code == 0, result.output
    *told, answer = (json.loads(text) for text in result.stdout.splitlines())
    assert told
    assert all(set(one) == {"done", "total"} and one["done"] <= one["total"] for one in told)
    first = answer["neighbours"][0]
    assert (first["formula"], first["space_group"]) == ("ZnO", 186)
    assert len(first["two_theta"]) == len(first["intensity"]) > 10


def test_a_file_without_a_gridded_pattern_is_refused(tmp_path: Path) -> None:
    (tmp_path / "text.npz").write_text("no archive")
    for name in ("text.npz", "none.npz"):
        with pytest.raises(PatternError, match="gridded pattern"):
            read_gridded(tmp_path / name)


@pytest.mark.parametrize(("unexplained", "expected"), [(0.5, 186), (-0.5, 216)])
def test_a_single_phase_is_the_probable_match_where_it_explains_as_much(
    identifier: Identifier, examples: Path, monkeypatch: pytest.MonkeyPatch, unexplained: float, expected: int
) -> None:
    references = identifier.references
    rows = references.rows_within(["Zn", "O"])
    match, other = (
        next(row for row in rows if references.formula(row) == "ZnO" and references.space_group[row] == group)
        for group in (186, 216)
    )
    pattern = read_pattern(examples / "zincite.prn", wavelength="CuKa")
    alone, another = (find_phases(pattern, references, rows=np.array([row])) for row in (match, other))
    another = dataclasses.replace(
        another, verdict="single", phases=another.phases or alone.phases, unexplained_fraction=unexplained
    )
    another = dataclasses.replace(another, phases=(dataclasses.replace(another.phases[0], space_group=216),))
    monkeypatch.setattr(
        "xxact_core.search_match.identify.find_phases",
        lambda *_, rows, **__: another if len(rows) > 1 else alone,
    )
    found = identifier.identify(pattern, elements=["Zn", "O"])
    assert found.matches[0].space_group == 186
    assert [phase.space_group for phase in found.phases] == [expected]


def test_hydrates_and_solid_solutions_stand_beside_their_parents() -> None:
    def match(formula: str, space_group: int, name: str | None = None) -> Match:
        return Match(formula, space_group, "", 0.9, 0.0, 1.0, np.zeros(0), np.zeros(0), name=name)

    given = [
        match("CaSO4", 63, "anhydrite"), match("MgO", 225), match("CaH4SO6", 15, "gypsum"), match("Mg(OH)2", 164),
        match("CaCO3", 167, "calcite"), match("Ca2H2S2O9", 5), match("Ca0.9Mg0.1CO3", 167, "calcite"),
        match("CaSO4", 152),
    ]  # fmt: skip
    formulas = [one.formula for one in _beside_parents(given)]
    assert formulas[:3] == ["CaSO4", "CaH4SO6", "Ca2H2S2O9"]
    assert formulas[3:] == ["MgO", "Mg(OH)2", "CaCO3", "Ca0.9Mg0.1CO3", "CaSO4"]
