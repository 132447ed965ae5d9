"""Patterns of a session as a series: what is searched, and how its result is read and drawn."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from app_fixtures import FakePredictor, scan_file

from xxact_app.library.workspace import open_workspace
from xxact_app.samples.store import Store
from xxact_app.screens.patterns.series_panel import SeriesPanel
from xxact_app.screens.patterns.series_store import SeriesStore, independent_lengths, parse_series
from xxact_app.session.session import Session
from xxact_core.errors import FormulaError
from xxact_core.series.frames import read_frames

pytestmark = pytest.mark.usefixtures("tables")


def series_of(folder: Path, count: int = 4) -> SeriesStore:
    session = Session()
    store = Store(session, predictor=FakePredictor)
    files = [
        (
            f"NaCl <{number}>_{300 + 50 * number}K.xy",
            scan_file(peak=27 + number / 50, wavelength="0.8 Å" if number else ""),
        )
        for number in range(count)
    ]  # fmt: skip
    session.add(store.read_files(files))
    session.change(session.files[:1], wavelength=0.8)
    return SeriesStore(store, workspace=lambda: open_workspace(folder))


def frame(place: int, *phases: dict[str, object]) -> dict[str, object]:
    return {"file": f"a<{place}>.xy", "value": 300.0 + 50 * place, "phases": list(phases)}


def phase(index: int, *, fraction: float, length: float) -> dict[str, object]:
    return {
        "phase": index, "weight_fraction": fraction, "u_weight_fraction": 0.01,
        "cell": [length, length, 2 * length, 90, 90, 90], "u_cell": [0.001, 0.001, None, None, None, None],
    }  # fmt: skip


RESULT = {
    "by": "temperature", "unit": "K", "changes": ["CaO appears <between> 350 and 400 K"], "notes": [],
    "phases": [{"label": "CaCO3 (calcite)"}, {"label": "CaO"}],
    "frames": [
        frame(0, phase(0, fraction=1.0, length=5.0)), frame(1, phase(0, fraction=1.0, length=5.05)),
        frame(2, phase(0, fraction=0.4, length=5.1), phase(1, fraction=0.6, length=4.8)),
    ],
}  # fmt: skip


def test_the_patterns_that_are_written_are_read_as_a_series_with_their_wavelengths(tmp_path: Path) -> None:
    series = series_of(tmp_path)
    question = series.question("Na, Cl")
    assert question.elements == ("Na", "Cl")
    series._write_patterns(question, tmp_path / "patterns")
    modes = [path.stat().st_mode & 0o777 for path in (tmp_path / "patterns", *(tmp_path / "patterns").iterdir())]
    assert modes == [0o700, *[0o600] * 4], "other users of the machine cannot read them"
    frames = read_frames(tmp_path / "patterns")
    assert (frames.by, frames.unit) == ("temperature", "K")
    assert [one.value for one in frames.frames] == [300, 350, 400, 450]
    for one, key in zip(frames.frames, question.keys, strict=True):
        assert one.pattern.wavelength == pytest.approx(0.8)
        np.testing.assert_allclose(one.pattern.intensity, series.store.samples[key].pattern.intensity)


def test_a_pattern_keeps_its_name_where_its_wavelength_was_entered(tmp_path: Path) -> None:
    series = series_of(tmp_path)
    series._write_patterns(series.question("Na"), tmp_path / "patterns")
    names = sorted(path.name for path in (tmp_path / "patterns").iterdir())
    assert [name[-7:] for name in names] == ["300K.xy", "350K.xy", "400K.xy", "450K.xy"]


def test_a_missing_wavelength_is_asked_for_before_the_search(tmp_path: Path) -> None:
    series = series_of(tmp_path)
    series.session.change(series.session.files[:1], wavelength=None)
    panel = SeriesPanel(series.session, series)
    panel.draw()
    panel.task.button.param.trigger("clicks")
    assert panel.missing.visible is True
    assert "wavelength of NaCl" in panel.missing.object
    assert series.task(series.question("")) is None, "nothing was started"
    series.session.change(series.session.files[:1], wavelength=0.8)
    panel.draw()
    assert panel.missing.visible is False


def test_a_question_is_what_is_shown_and_a_wrong_element_is_named(tmp_path: Path) -> None:
    series = series_of(tmp_path)
    series.session.show_only(series.session.files[:3])
    assert series.question("").keys == tuple(series.session.files[:3])
    assert series.question("").elements == ()
    with pytest.raises(FormulaError, match="Xx"):
        series.question("Na Xx")
    before = series._folder(series.question("Na"))
    assert series._folder(series.question("Na Cl")) != before
    series.session.change(series.session.files[:1], wavelength=0.7)
    assert series._folder(series.question("Na")) != before


def test_a_result_has_fractions_and_cells_of_each_phase_where_it_is_present(tmp_path: Path) -> None:
    result = parse_series(RESULT, folder=tmp_path)
    calcite, lime = result.phases
    assert result.quantity == "Temperature [K]"
    assert result.values.tolist() == [300, 350, 400]
    assert calcite.fraction == pytest.approx([100, 100, 40])
    assert lime.fraction[2] == pytest.approx(60)
    assert np.isnan(lime.fraction[:2]).all()
    assert independent_lengths(calcite) == [0, 2]
    assert result.changes == ("CaO appears ‹between› 350 and 400 K",)
    repeated = {**RESULT, "frames": [{**one, "value": 300.0} for one in RESULT["frames"]]}
    assert parse_series(repeated, folder=tmp_path).quantity == "Number of the pattern"


def test_a_result_of_an_earlier_visit_is_drawn_and_its_files_are_offered(tmp_path: Path) -> None:
    series = series_of(tmp_path, count=3)
    folder = series._folder(series.question("Ca O C"))
    folder.mkdir(parents=True)
    panel = SeriesPanel(series.session, series)
    panel.draw()
    assert panel.panel.visible is True
    assert panel.found.visible is False
    (folder / "series.json").write_text(json.dumps(RESULT))
    (folder / "series.csv").write_bytes(b"number,file\n")
    panel.elements.value = "Ca O C"
    assert panel.found.visible is True
    assert panel.fractions.points.data["y"] == pytest.approx([100, 100, 40, 60])
    assert panel.fractions.plot.xaxis[0].axis_label == "Temperature [K]"
    assert panel.cells.points.data["y"][:3] == pytest.approx([0, 1, 2])
    assert panel.cells.points.data["text"][0] == "5.0000(10) Å"
    assert "CaO appears" in panel.text.object
    assert panel.legend.object.count("<li>") == 4, "both phases, and the second cell length of each"
    assert "c of CaCO3" in panel.legend.object
    assert panel.table.value["Temperature [K]"].tolist() == [300, 350, 400]
    assert panel.table.value["CaO [wt%]"].tolist() == ["", "", "60.0(10)"]
    assert panel._file("series.csv") == b"number,file\n"
    panel.elements.value = "Ca Zz"
    assert panel.elements.error_state is True
    series.session.show_only(series.session.files[:2])
    panel.elements.value = ""
    assert panel.panel.visible is False
