"""Phases over a series: identities, where they appear and vanish, the second look, and tables."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import xarray

from xxact_core.errors import InputError, PatternError
from xxact_core.patterns.pattern import Pattern
from xxact_core.search_match.phase_analysis import Phase, PhaseAnalysis
from xxact_core.series.figure import draw_series, write_figure
from xxact_core.series.frames import Frame, Frames
from xxact_core.series.journal import Journal
from xxact_core.series.outputs import series_to_csv, write_series
from xxact_core.series.phase_series import PhaseSeries, patterns_to_image
from xxact_core.series.phases import find_phases_of_series

ANGLES = np.linspace(20, 60, 50)
CELLS = {
    "calcite": (4.99, 4.99, 17.06),
    "lime": (4.81, 4.81, 4.81),
    "lime 2": (4.86, 4.86, 4.86),
    "quartz": (4.9, 4.9, 5.4),
}
FORMULAS = {"calcite": ("CaCO3", 167), "lime": ("CaO", 225), "lime 2": ("CaO", 225), "quartz": ("SiO2", 152)}


def analysis(weights: dict[str, float], *, residual: float = 0.1) -> PhaseAnalysis:
    """An analysis with phases of these source ids and weight fractions."""
    phases = tuple(
        Phase(
            formula=FORMULAS[source_id][0], name=None, space_group=FORMULAS[source_id][1], id=source_id,
            source_id=source_id, row=list(CELLS).index(source_id), weight_fraction=weight, u_weight_fraction=0.01,
            cell=np.array([*CELLS[source_id], 90, 90, 90.0]), u_cell=np.full(6, 0.001), scale_factor=1.0, matched=5,
            missing=0, probability=0.9, size=math.nan, u_size=math.nan, strain=math.nan, u_strain=math.nan,
            calculated=np.zeros(50), two_theta=np.zeros(0), hkl=np.zeros((0, 3)), intensity=np.zeros(0),
        )
        for source_id, weight in weights.items()
    )  # fmt: skip
    return PhaseAnalysis(
        phases=phases, two_theta=ANGLES, measured=np.ones(50), background=np.zeros(50), unexplained_peaks=(),
        unexplained_fraction=0.05, amorphous=None, verdict="mixture" if len(phases) > 1 else "single",
        wavelength=1.5406,
        zero_shift=0.0, u_zero_shift=0.0, displacement=0.0, width=0.1, weighted_residual=residual,
    )  # fmt: skip


def frames_of(count: int) -> Frames:
    """Frames at 0, 100, 200 ... °C, told apart by their first intensity."""
    patterns = [Pattern(ANGLES, np.full(50, 1.0 + number), wavelength=1.5406) for number in range(count)]
    return Frames(
        "temperature",
        "°C",
        tuple(Frame(f"{100 * k}C.xy", None, 100.0 * k, pattern) for k, pattern in enumerate(patterns)),
    )


class Analyser:
    """Answers from a list, one for each frame; records with which start and rows it was called."""

    def __init__(self, answers: Sequence[PhaseAnalysis | Exception]) -> None:
        self.answers = answers
        self.calls: list[tuple[int, PhaseAnalysis | None, list[int] | None]] = []
        self.again: dict[int, PhaseAnalysis] = {}

    def __call__(self, pattern: Pattern, *, rows: np.ndarray | None, start: PhaseAnalysis | None) -> PhaseAnalysis:
        number = round(float(pattern.intensity[0])) - 1
        second = any(call[0] == number for call in self.calls)
        self.calls.append((number, start, None if rows is None else rows.tolist()))
        answer = self.again.get(number, self.answers[number]) if second else self.answers[number]
        if isinstance(answer, Exception):
            raise answer
        return answer


def test_each_frame_starts_from_the_one_before_and_phases_appear_and_vanish() -> None:
    answers = [
        analysis({"calcite": 1.0}),
        analysis({"calcite": 0.6, "lime": 0.4}),
        PatternError("no peak rises above the noise", code="E_VALUES"),
        analysis({"lime 2": 0.9, "calcite": 0.1}),
        analysis({"lime": 1.0}),
    ]
    analyse = Analyser(answers)
    found = find_phases_of_series(frames_of(5), analyse)
    starts = [start for _, start, _ in analyse.calls[:5]]
    assert starts == [None, answers[0], answers[1], answers[1], answers[3]]
    assert [phase.label for phase in found.phases] == ["CaCO3", "CaO"]  # two entries of lime are one phase
    assert found.phases[1].source_id == "lime"
    assert [phase.stretches for phase in found.phases] == [((0, 3),), ((1, 4),)]
    assert found.changes() == [
        "CaO appears between temperature 0 and 100 °C",
        "CaCO3 vanishes between temperature 300 and 400 °C",
    ]
    assert found.weight_fraction[:, 0].tolist()[:2] == [1.0, 0.6]
    assert np.isnan(found.weight_fraction[2]).all()
    assert found.weight_fraction[4].tolist() == [0.0, 1.0]
    assert np.isnan(found.cell[4, 0]).all()
    assert found.cell[3, 1, 0] == 4.86
    assert found.notes == ("1 of 5 frames have no result; the first is 200C.xy: no peak rises above the noise",)


def test_entries_that_occur_together_are_different_phases() -> None:
    found = find_phases_of_series(
        frames_of(2), Analyser([analysis({"lime": 0.5, "lime 2": 0.5}), analysis({"lime": 1.0})])
    )
    assert [phase.label for phase in found.phases] == ["CaO (lime)", "CaO (lime 2)"]


def test_frames_before_the_first_with_a_new_phase_are_searched_for_less_of_it() -> None:
    answers = [*(analysis({"calcite": 1.0}, residual=0.1) for _ in range(4)), analysis({"calcite": 0.8, "lime": 0.2})]
    analyse = Analyser(answers)
    analyse.again = {
        3: analysis({"calcite": 0.95, "lime": 0.05}, residual=0.09),
        2: analysis({"calcite": 0.99, "lime": 0.01}, residual=0.11),  # not better than without
    }
    found = find_phases_of_series(frames_of(5), analyse)
    assert found.weight_fraction[:, 1].tolist() == [0, 0, 0, 0.05, 0.2]
    assert [call[0] for call in analyse.calls[5:]] == [3, 2]
    assert analyse.calls[5][1] is answers[4]


def test_a_phase_of_one_frame_alone_is_left_out_where_the_fit_is_as_good_without_it() -> None:
    answers = [analysis({"calcite": 1.0}) for _ in range(6)]
    answers[2] = analysis({"calcite": 0.97, "quartz": 0.03}, residual=0.1)
    for residual, kept in ((0.102, False), (0.15, True)):
        analyse = Analyser(answers)
        analyse.again = {2: analysis({"calcite": 1.0}, residual=residual), 1: answers[1]}
        found = find_phases_of_series(frames_of(6), analyse)
        assert ("SiO2" in [phase.label for phase in found.phases]) == kept
        assert analyse.calls[-1][2] == [0]  # calcite alone to choose from


def test_a_phase_that_both_neighbours_have_is_searched_again() -> None:
    answers = [analysis({"calcite": 0.9, "lime": 0.1}) for _ in range(6)]
    answers[3] = analysis({"calcite": 1.0}, residual=0.1)
    analyse = Analyser(answers)
    analyse.again = {3: analysis({"calcite": 0.92, "lime": 0.08}, residual=0.09)}
    found = find_phases_of_series(frames_of(6), analyse)
    assert found.weight_fraction[3].tolist() == [0.92, 0.08]
    assert found.changes() == []


def test_a_series_without_any_result_is_an_error_with_the_first_reason() -> None:
    with pytest.raises(InputError, match=r"no frame could be analysed; 0C\.xy: no peak"):
        find_phases_of_series(frames_of(2), Analyser([PatternError("no peak", code="E_VALUES")] * 2))


def test_an_interrupted_analysis_goes_on_where_it_ended(tmp_path: Path) -> None:
    answers: list[PhaseAnalysis | Exception] = [analysis({"calcite": 1.0}) for _ in range(4)]
    interrupted = Analyser([*answers[:2], KeyboardInterrupt(), answers[3]])  # type: ignore[list-item]  # as of Ctrl-C

    def stop(pattern: Pattern, *, rows: np.ndarray | None, start: PhaseAnalysis | None) -> PhaseAnalysis:
        if pattern.intensity[0] == 3:
            raise KeyboardInterrupt
        return interrupted(pattern, rows=rows, start=start)

    settings = {"elements": ["Ca"], "reference": "ab"}
    with pytest.raises(KeyboardInterrupt):
        find_phases_of_series(frames_of(4), stop, journal=Journal(tmp_path / "frames.jsonl", settings))
    with (tmp_path / "frames.jsonl").open("a") as file:
        file.write('{"pattern": "cut o')
    again = Analyser(answers)
    found = find_phases_of_series(frames_of(4), again, journal=Journal(tmp_path / "frames.jsonl", settings))
    assert [call[0] for call in again.calls] == [2, 3]
    assert found.weight_fraction.tolist() == [[1.0]] * 4
    assert np.isnan(found.results[0].phases[0].size)
    other = Analyser(answers)
    find_phases_of_series(frames_of(4), other, journal=Journal(tmp_path / "frames.jsonl", {"elements": ["Si"]}))
    assert len(other.calls) == 4


@pytest.fixture
def short() -> PhaseSeries:
    answers = [
        analysis({"calcite": 1.0}),
        analysis({"calcite": 0.6, "lime": 0.4}),
        PatternError("unusable", code="E_VALUES"),
        analysis({}),
    ]
    return find_phases_of_series(frames_of(4), Analyser(answers))


def test_the_table_has_a_row_for_each_frame_and_phase(short: PhaseSeries) -> None:
    rows = short.to_rows()
    assert [(row["number"], row["temperature [°C]"], row["phase"], row["change"]) for row in rows] == [
        (0, 0.0, "CaCO3", None),
        (1, 100.0, "CaCO3", "vanishes"),
        (1, 100.0, "CaO", "appears and vanishes"),
        (2, 200.0, None, None),
        (3, 300.0, None, None),
    ]
    assert rows[3]["error"] == "unusable"
    assert rows[0]["a"] == 4.99
    assert rows[0]["size"] is None
    text = series_to_csv(short).splitlines()
    assert len(text) == 6
    assert text[0].startswith("number,file,scan,temperature [°C],phase,formula")


def test_a_quantity_called_as_a_column_of_the_table_keeps_its_values(short: PhaseSeries) -> None:
    for by in ("strain", "c", "file"):
        rows = replace(short, by=by, unit="").to_rows()
        assert [row[f"{by}_value"] for row in rows] == [0, 100, 100, 200, 300]
        assert rows[0]["c"] == short.results[0].phases[0].cell[2]
        assert rows[0]["file"] == short.frames[0].file


def test_everything_is_written_and_read_again(short: PhaseSeries, tmp_path: Path) -> None:
    written = write_series(short, tmp_path / "out")
    assert [path.name for path in written] == ["series.csv", "series.json", "series.nc", "series.png"]
    told = json.loads((tmp_path / "out" / "series.json").read_text())
    assert told["phases"][1]["stretches"] == [[1, 1]]
    assert told["frames"][1]["phases"][1]["weight_fraction"] == 0.4
    assert told["frames"][2]["error"] == "unusable"
    with xarray.open_dataset(tmp_path / "out" / "series.nc", engine="h5netcdf") as data:
        assert data.sizes == {"frame": 4, "phase": 2, "cell_parameter": 6, "two_theta": 50}
        assert data["temperature"].attrs["units"] == "°C"
        assert data["weight_fraction"].values[1].tolist() == [0.6, 0.4]
        assert np.isnan(data["weight_fraction"].values[2]).all()
        assert data["intensity"].values[2, 0] == 3
    assert (tmp_path / "out" / "series.png").read_bytes().startswith(b"\x89PNG")


def test_any_name_of_a_quantity_is_written_to_netcdf(short: PhaseSeries, tmp_path: Path) -> None:
    names = (("ZnO wt%", "ZnO_wt"), ("phase", "phase_value"), ("frame", "frame"), ("probability", "probability_value"))
    for by, name in names:
        replace(short, by=by).to_xarray().to_netcdf(tmp_path / f"{name}.nc", engine="h5netcdf")
        with xarray.open_dataset(tmp_path / f"{name}.nc", engine="h5netcdf") as data:
            assert data[name].values.tolist() == [0, 100, 200, 300]


def test_the_figure_has_patterns_fractions_and_cells_with_marks_of_changes(short: PhaseSeries, tmp_path: Path) -> None:
    figure = draw_series(short)
    patterns, fractions, cells = figure.axes
    assert patterns.get_ylabel() == "2θ [°] at 1.5406 Å"
    assert cells.get_xlabel() == "temperature [°C]"
    marks = [line for line in fractions.lines if len(set(np.asarray(line.get_xdata(), dtype=float))) == 1]
    assert sorted(float(np.asarray(line.get_xdata(), dtype=float)[0]) for line in marks) == [50, 200, 200]
    assert [text.get_text() for text in fractions.get_legend().get_texts()] == ["CaCO3", "CaO"]
    for ending in (".svg", ".pdf"):
        write_figure(short, tmp_path / f"series{ending}")
        assert (tmp_path / f"series{ending}").stat().st_size > 1000
    with pytest.raises(InputError, match=r"series.gif: a figure ends in .png, .svg, .pdf"):
        write_figure(short, tmp_path / "series.gif")


def test_patterns_of_unequal_ranges_and_wavelengths_share_their_angles() -> None:
    full = Pattern(np.arange(20, 60, 0.1), np.arange(400) + 1.0, wavelength=1.5406)
    short = Pattern(np.arange(30, 40, 0.1), np.full(100, 5.0), wavelength=0.7093)
    frames = [Frame("a", None, 0, full), Frame("b", None, 1, short), Frame("c", None, 2, None, error="lost")]
    angles, image, wavelength = patterns_to_image(frames)
    assert wavelength == 1.5406
    assert image.shape == (3, angles.size)
    assert np.isnan(image[2]).all()
    covered = angles[np.isfinite(image[1])]
    expected = 2 * np.degrees(np.arcsin(np.sin(np.radians(np.array([15, 19.95]))) * 1.5406 / 0.7093))
    assert covered[[0, -1]] == pytest.approx(expected, abs=0.2)
