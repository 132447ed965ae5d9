from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import numpy as np
import panel as pn
import panel_material_ui as pmui
import pytest
from app_fixtures import FakePredictor, loaded, scan_file
from bokeh.document import Document
from panel.io.state import set_curdoc
from panel.util import edit_readonly

from xxact_app.page import page as shell
from xxact_app.page.upload_strip import UploadStrip
from xxact_app.samples.prediction_result import Answer
from xxact_app.samples.store import Store
from xxact_app.samples.wavelength_form import EVERY_MISSING, WavelengthForm
from xxact_app.screens.patterns.view import PatternsScreen
from xxact_app.screens.prediction import text as words
from xxact_app.screens.prediction.view import PredictionScreen
from xxact_app.session.session import Session
from xxact_core.errors import InputError, InstallationError
from xxact_core.structures.space_groups import space_group_name

pytestmark = pytest.mark.usefixtures("tables")


@pytest.fixture(autouse=True)
def _workspace(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XXACT_WORKSPACE", str(tmp_path))


def answered(probability: float = 0.9) -> tuple[Session, Store, Answer]:
    session, store = loaded("scan<b>.xy", predictor=FakePredictor(probability=probability))
    session.change(session.files, wavelength=1.54184)
    session.set_formula("LaB6")
    answer = store.answer()
    assert isinstance(answer, Answer)
    return session, store, answer


def test_dropped_files_are_listed_and_drawn() -> None:
    session = Session()
    store = Store(session, predictor=FakePredictor)
    inputs, view = UploadStrip(session, store), PatternsScreen(session, store)
    assert "No patterns loaded" in view.summary.object
    inputs.take_files([("a.xy", scan_file()), ("b.xy", scan_file(peak=50)), ("c.xy", b"nothing")])
    assert view.list.table.value["name"].tolist() == ["a.xy", "b.xy"]
    assert view.list.table.value["wavelength"].tolist() == ["missing"] * 2
    assert view.list.table.value["range"].tolist() == ["10.00–79.98"] * 2
    assert [line.visible for line in view.figure.lines] == [True, True]
    (alert,) = inputs.problems.objects
    assert alert.object.startswith(r"c\.xy\: ")
    alert.closed = True
    assert inputs.problems.objects == []
    assert inputs.problems.visible is False


def test_the_stage_shows_what_the_model_sees() -> None:
    session, store, _ = answered()
    view = PatternsScreen(session, store)
    session.stage = "gridded"
    source = view.figure.lines[0].data_source.data
    gridded = store.gridded(session.files[0])
    assert np.nanmax(source["intensity"]) == pytest.approx(100)
    assert np.isfinite(source["intensity"]).sum() == gridded.coverage.sum()
    assert len(view.figure.windows.data["left"]) == 17
    assert len(view.figure.gaps.data["left"]) == int(store.hidden_windows(session.files[0]).sum())
    assert view.figure.backgrounds[0].visible is False
    session.show_windows = False
    assert view.figure.windows.data["left"] == []


def test_the_axis_and_the_theme_change_the_same_figure() -> None:
    session, store, _ = answered()
    view = PatternsScreen(session, store)
    plot, light = view.figure.plot, view.figure.lines[0].glyph.line_color
    session.axis = "d"
    assert plot.xaxis[0].axis_label == "d [Å]"
    assert plot.x_range.end < 10
    session.dark = True
    assert view.figure.plot is plot
    assert view.figure.lines[0].glyph.line_color != light


def test_patterns_are_hidden_chosen_and_removed_from_the_list() -> None:
    session, store = loaded("a.xy", "b.xy", "c.xy")
    view = PatternsScreen(session, store)
    view.list.table.selection = [1]
    view.list.show_selected.param.trigger("clicks")
    assert [line.visible for line in view.figure.lines] == [True, False, False]
    assert view.list.table.value["drawn"].tolist() == [False, True, False]
    view.list.show_all.param.trigger("clicks")
    assert all(record.visible for record in session.samples.values())
    view.list.table.selection = [0, 2]
    view.list.remove.param.trigger("clicks")
    assert view.list.table.value["name"].tolist() == ["b.xy"]
    assert session.chosen == session.files[0]


def test_a_wavelength_is_asked_for_all_that_lack_one() -> None:
    session, store = loaded("a.xy", "b.xy")
    form = WavelengthForm(session, store)
    assert form.warning.visible is True
    assert "none is assumed" in form.warning.object
    assert form.target.value == EVERY_MISSING
    form.radiation.value = "Mo Unobtainium"
    assert form.radiation.error_state is True
    assert "CuKa" in form.radiation.helper_text
    assert store.without_wavelength() == session.files
    form.radiation.value = "CoKa"  # with the Enter key, or from the list
    assert {record.wavelength for record in session.samples.values()} == {1.79026}
    assert form.warning.visible is False
    form.target.value = session.files[1]
    with edit_readonly(form.radiation):
        form.radiation.value_input = "1.5"  # typed only
    form.apply.param.trigger("clicks")
    assert [record.wavelength for record in session.samples.values()] == [1.79026, 1.5]


def test_typing_a_formula_tells_how_it_is_read_and_enter_predicts() -> None:
    session, store, _ = answered()
    session.change(session.files, formula="")
    view = PredictionScreen(session, store)
    form = view.elements
    assert "all elements are possible" in form.parsed.object
    form.formula.value_input = "La,B,?O"
    assert "Read as elements without amounts; O possible: La,B,?O" in form.parsed.object
    form.formula.value_input = "lab6"
    assert "character 1" in form.parsed.object
    assert form.formula.error_state is True
    form.formula.value_input = "LaB6"
    assert "B 85.7\N{NO-BREAK SPACE}%" in form.parsed.object
    assert session.formula == ""
    form.formula.param.trigger("enter_pressed")
    assert session.formula == "LaB6"
    assert "cubic" in view.facts.object
    systems = view.bars[words.CRYSTAL_SYSTEM][1].data
    assert systems["label"][0] == "cubic"
    assert systems["probability"][0] == pytest.approx(0.9)


def test_the_missing_wavelength_can_be_given_on_the_answer_screen() -> None:
    session, store = loaded("a.xy")
    view = PredictionScreen(session, store)
    session.set_formula("LaB6")
    assert view.ask_wavelength.visible is True
    session.change(session.files, wavelength=1.54184)
    assert view.ask_wavelength.visible is False
    assert "cubic" in view.facts.object


def test_little_coverage_can_be_overridden_by_a_button() -> None:
    session, store = loaded("a.xy", first=25.0, last=35.0)
    session.change(session.files, wavelength=1.54184)
    session.set_formula("LaB6")
    view = PredictionScreen(session, store)
    assert view.override.visible is True
    assert view.message.visible is True
    view.override.param.trigger("clicks")
    assert view.message.visible is False
    assert "cubic" in view.facts.object


def test_markup_of_files_and_warnings_is_shown_as_text() -> None:
    session, store, answer = answered()
    hidden = store.hidden_windows(session.files[0])
    text = words.basis(answer.prediction, hidden, shown=answer.prediction)
    assert "‹b›" in text
    assert "<b>warning" not in text
    assert "80–90°" in text


def test_the_tables_are_twins_of_the_bars() -> None:
    _, _, answer = answered()
    text = words.table(words.SPACE_GROUP, answer.prediction.space_group)
    assert "Pm-3m (221)" in text
    assert "90.0\N{NO-BREAK SPACE}%" in text


def test_downloads_hold_the_whole_answer() -> None:
    session, store, answer = answered()
    view = PredictionScreen(session, store)
    as_json, as_csv = (button.callback().read().decode() for button in view.downloads[:2])
    assert json.loads(as_json)["file"] == "scan<b>.xy"
    assert json.loads(as_json)["crystal_system"][0]["label"] == "cubic"
    rows = list(csv.DictReader(io.StringIO(as_csv)))
    assert len(rows) == 2 + len(answer.prediction.crystal_system) + len(answer.prediction.space_group)
    assert {row["file"] for row in rows} == {"scan<b>.xy"}


@pytest.mark.parametrize(
    ("label", "name"), [("1", "P1"), ("14", "P2₁/c"), ("62", "Pnma"), ("225", "Fm-3m"), ("230", "Ia-3d")]
)
def test_space_groups_have_their_symbols(label: str, name: str) -> None:
    assert space_group_name(label) == f"{name} ({label})"


def test_the_page_builds_and_a_fault_at_start_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("xxact_app.samples.store.warm_up", lambda: None)
    page = shell.build()
    assert page.get_root(Document()) is not None

    def fail() -> None:
        msg = "<b>secret path</b>"
        raise RuntimeError(msg)

    shown = []
    monkeypatch.setattr(shell, "build", fail)
    monkeypatch.setattr(shell.pmui.Page, "servable", lambda page, **_: shown.append(page))
    shell.serve()
    text = shown[0].main[0].object
    assert "cannot start" in text
    assert "secret" not in text


def test_an_action_that_fails_is_explained_on_the_page(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("xxact_app.samples.store.warm_up", lambda: None)
    document = Document()
    with set_curdoc(document):
        page = shell.build()
        strip, keys = page.main[0][0], page.header[0]
        pn.config.exception_handler(InputError("scan.xy: nothing rises above the background"))
        pn.config.exception_handler(InputError("scan.xy: nothing rises above the background"))
        assert keys.notice == {"number": 2, "text": "scan.xy: nothing rises above the background"}
        pn.config.exception_handler(RuntimeError("<b>secret</b>"))
        assert "an error in the app; see the server log" in keys.notice["text"]
    shown = [alert.object for alert in strip.select(pmui.Alert) if alert.visible]
    assert sum("nothing rises above the background" in text for text in shown) == 1
    assert not any("secret" in text for text in shown)


def test_the_page_of_a_damaged_installation_names_the_missing_file(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> None:
        msg = "the installation is damaged: xxact_core/weights/compact is missing; reinstall the package"
        raise InstallationError(msg, code="E_INSTALLATION")

    shown = []
    monkeypatch.setattr(shell, "build", fail)
    monkeypatch.setattr(shell.pmui.Page, "servable", lambda page, **_: shown.append(page))
    shell.serve()
    assert "weights/compact is missing" in shown[0].main[0].object.replace("\\", "")
