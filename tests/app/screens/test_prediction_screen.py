"""The Prediction screen beyond one answer: certainty, reference phases, attention, all patterns, files, the program."""

from __future__ import annotations

import csv
import io
import runpy
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from app_fixtures import FakePredictor, loaded, scan_file
from looking_fixtures import workspace_with
from panel.models.tabulator import TableEditEvent

from xxact_app.samples.prediction_result import Answer, Missing
from xxact_app.samples.processing_steps import set_value
from xxact_app.samples.store import WINDOW_EDGES, Store
from xxact_app.screens.prediction import export as files
from xxact_app.screens.prediction import text as words
from xxact_app.screens.prediction.matches_store import MatchesStore
from xxact_app.screens.prediction.report import Page, pages_to_pdf, printable
from xxact_app.screens.prediction.store import PredictionStore
from xxact_app.screens.prediction.view import PredictionScreen
from xxact_app.session.session import Session
from xxact_core.prediction.prediction import CompositionCost
from xxact_core.quantities import CRYSTAL_SYSTEMS

pytestmark = pytest.mark.usefixtures("tables")


def screen(
    folder: Path, *names: str, dataset: Path | None = None, formula: str = "LaB6"
) -> tuple[PredictionScreen, PredictionStore]:
    """The screen with scans of these names and one formula for all."""
    workspace = workspace_with(folder / "workspace", runs={}, dataset=dataset)
    session, store = loaded(*(names or ("scan.xy",)), wavelength="1.54184")
    session.change(session.files, formula=formula)
    predictions = PredictionStore(session, store, workspace=lambda: workspace)
    search = MatchesStore(session, store, workspace=lambda: workspace, shipped=folder / "none.parquet")
    return PredictionScreen(session, store, predictions, search), predictions


def test_the_cost_of_an_open_composition_is_told_once() -> None:
    _, store = loaded("scan.xy", wavelength="1.54184")
    (key,) = store.samples
    prediction = store.answer(key).prediction
    cost = CompositionCost("elements without amounts", 32, 1.25, 0.5, 0.1, None)
    partial = replace(prediction, composition_cost=cost, warnings=(str(cost), "something else"))
    text = words.certainty_words(partial)
    assert "1.2 bit (0 = certain, 2.8 = all seven equally likely), of which 0.5 bit are due to the composition" in text
    assert "formation energy 0.10 eV/atom" in text
    assert words.notes(partial) == ("something else",)
    nothing = replace(prediction, composition_cost=CompositionCost("no composition", 0, 2.0, None, None, None))
    assert "the prediction uses the pattern alone" in words.certainty_words(nothing)
    assert words.certainty_words(prediction) == ""


def test_a_screen_that_nobody_looks_at_asks_for_nothing(tmp_path: Path) -> None:
    predictor = FakePredictor()
    session, store = loaded("scan.xy", predictor=predictor, wavelength="1.54184")
    workspace = workspace_with(tmp_path / "workspace", runs={})
    search = MatchesStore(session, store, workspace=lambda: workspace)
    predictions = PredictionStore(session, store, workspace=lambda: workspace)
    view = PredictionScreen(session, store, predictions, search, in_front=False)
    session.set_formula("LaB6")
    assert predictor.asked == []
    view.come_to_front(in_front=True)
    assert len(predictor.asked) == 1


def test_the_map_of_attention_has_a_row_for_each_element_and_a_table_beside_it(tmp_path: Path) -> None:
    view, _ = screen(tmp_path)
    assert list(view.attention.figure.plot.y_range.factors) == ["whole composition", "La", "B"]
    shares = np.array(view.attention.figure.cells.data["share"]).reshape(3, 17)
    hidden = view.store.hidden_windows(view.session.chosen)
    np.testing.assert_allclose(shares.sum(axis=0)[~hidden], 1, rtol=1e-5)
    assert np.isnan(shares[:, hidden]).all()
    assert view.attention.table.object.count("<th scope='row'>") == 17
    view.session.set_formula("")
    assert "the composition is unknown" in view.attention.caption.object
    assert view.attention.plot.visible is False


def test_without_a_reference_database_it_says_what_is_missing(tmp_path: Path) -> None:
    view, _ = screen(tmp_path)
    assert "No reference database" in view.matches.hint.object
    assert view.matches.task.panel.visible is False
    assert view.matches.figure.measured.data["x"].size == 4250


def test_reference_phases_of_a_built_dataset_are_found_in_the_background(tmp_path: Path, small_dataset: Path) -> None:
    view, _ = screen(tmp_path, dataset=small_dataset, formula="Ca,O,?Si,?Al,?Mg,?Fe,?Ti")
    matches = view.matches
    assert list(matches.tables.options) == ["Dataset small"]
    assert "reference phases in the chemical system Ca–O–Si–Al–Mg–Fe–Ti" in matches.hint.object
    matches.task.button.param.trigger("clicks")
    task = matches.search.task(view.predictions.rows()[0].answer)
    task.join(seconds=240)
    matches.task.look()
    assert (task.state, task.reason) == ("finished", "")
    found = matches.search.matches(view.predictions.rows()[0].answer)
    assert len(matches.table.value) == len(found.matches) >= 2
    assert found.sentence in matches.verdict.object
    assert "Combined with the reference phases: cubic" in matches.verdict.object
    assert "(model alone: 90\N{NO-BREAK SPACE}%)." in matches.verdict.object
    assert matches.table.selection == [0]
    matches.table.selection = [1]
    second = found.matches[1]
    assert view.session.sample(view.session.chosen).phase == second.id
    inside = (second.two_theta >= WINDOW_EDGES[0]) & (second.two_theta <= WINDOW_EDGES[-1])
    np.testing.assert_allclose(matches.figure.lines.data["x"], second.two_theta[inside])
    assert second.label in matches.caption.object
    assert "Identifier" in view.python.text


def test_all_patterns_are_predicted_beside_the_page_and_listed(tmp_path: Path) -> None:
    view, predictions = screen(tmp_path, "a.xy", "b.xy", "c.xy")
    table = view.batch.table
    assert table.value["Verdict"].tolist() == ["sure", "not run", "not run"]
    view.batch.task.button.param.trigger("clicks")
    predictions.batch().join(seconds=120)
    view.batch.task.look()
    assert predictions.batch().progress.share == 1
    assert table.value["Crystal system"].tolist() == ["cubic"] * 3
    assert table.value["Space group"].tolist() == ["Pm-3m (221)"] * 3
    assert table.value["Energy"].tolist() == [-0.61] * 3
    table.selection = [2]
    assert view.session.chosen == view.session.files[2]
    view.session.steps = set_value(view.session.steps, "smooth", sigma=0.1)
    assert table.value["Verdict"].tolist() == ["not run", "not run", "sure"]


def test_the_table_is_drawn_with_what_was_predicted_before(tmp_path: Path) -> None:
    view, _ = screen(tmp_path, "a.xy", "b.xy")
    drawn = view.batch.table.get_root()
    assert list(drawn.source.data["Verdict"]) == ["sure", "not run"]
    view.session.chosen = view.session.files[1]
    assert list(drawn.source.data["Verdict"]) == ["sure", "sure"]


def test_a_composition_is_typed_in_the_table(tmp_path: Path) -> None:
    view, _ = screen(tmp_path, "a.xy", "b.xy")
    view.batch._edited(TableEditEvent(view.batch.table, column="Composition", row=1, value="Xx", old="", pre=False))
    assert view.session.sample(view.session.files[1]).formula == "Xx"
    assert view.batch.table.value["Verdict"].tolist() == ["sure", "no prediction"]
    assert "Xx" in view.batch.table.value["Notes"][1]
    view.batch._edited(TableEditEvent(view.batch.table, column="Composition", row=1, value="", old="Xx", pre=False))
    assert view.batch.table.value["Verdict"].tolist() == ["sure", "sure"]


def test_a_batch_can_be_stopped_and_goes_on_from_there(tmp_path: Path) -> None:
    from threading import Event

    view, predictions = screen(tmp_path, "a.xy", "b.xy", "c.xy")
    asked, go_on, ask = Event(), Event(), predictions.ask

    def wait(key: str) -> Answer | Missing:
        asked.set()
        assert go_on.wait(60)
        return ask(key)

    predictions.ask = wait
    predictions.start()
    assert asked.wait(60)
    predictions.batch().cancel()
    go_on.set()
    predictions.batch().join(seconds=60)
    assert predictions.batch().reason == "Stopped after 1 of 2 patterns."
    predictions.start()
    predictions.batch().join(seconds=60)
    assert all(isinstance(row.answer, Answer) for row in predictions.rows())
    assert len(view.batch.table.value) == 3


def test_the_files_of_the_batch_hold_what_the_table_says(tmp_path: Path) -> None:
    view, predictions = screen(tmp_path, "=SUM(a).xy", "b.xy")
    rows = predictions.rows()
    listed = list(csv.DictReader(io.StringIO(files.to_csv(rows).decode())))
    assert [row["file"] for row in listed] == ["'=SUM(a).xy", "b.xy"]
    assert [row["verdict"] for row in listed] == view.batch.table.value["Verdict"].tolist()
    assert (listed[0]["crystal_system"], listed[1]["crystal_system"]) == ("cubic", "")
    import xarray as xr

    (tmp_path / "made.h5").write_bytes(view.batch._hdf5())
    with xr.open_dataset(tmp_path / "made.h5", engine="h5netcdf") as made:
        assert made.sizes["pattern"] == 2
        cubic = made["crystal_system_probabilities"][0, CRYSTAL_SYSTEMS.index("cubic")]
        assert float(cubic) == pytest.approx(float(listed[0]["crystal_system_probability"]))
        assert made["formation_energy_per_atom_value"].attrs["units"] == "eV/atom"
        assert len(made.attrs["model_sha256"]) == 64


def test_a_report_survives_any_name_and_has_a_page_a_pattern(tmp_path: Path) -> None:
    view, predictions = screen(tmp_path, "a$x$_\\frac{1}{2}<b>😀試料.xy", "b.xy", formula="La,B,?O")
    predictions.ask(view.session.files[1])
    assert printable("$x$ 試 é") == "$x$ □ é"
    content = view._reports()
    assert content.startswith(b"%PDF")
    assert content.count(b"/Type /Page\n") + content.count(b"/Type /Page ") == 2
    assert view.to_picture("png").startswith(b"\x89PNG")
    svg = view.to_picture("svg").decode()
    assert "<svg" in svg
    assert "<b>" not in svg
    page = view._page(predictions.rows()[0].answer)
    facts = dict(page.facts)
    assert facts["Processing"] == "Convert to Cu Kα; Resample to the grid; Subtract background: arPLS"
    assert facts["Wavelength"] == "1.54184 Å"
    assert "SHA-256" in facts["Model"]
    bare = Page(page.answer, page.gridded, "log", ())
    assert pages_to_pdf([bare]).startswith(b"%PDF")


def test_the_program_makes_what_is_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    workspace = workspace_with(tmp_path / "workspace", runs={})
    session = Session()
    store = Store(session)
    predictions = PredictionStore(session, store, workspace=lambda: workspace)
    search = MatchesStore(session, store, workspace=lambda: workspace)
    view = PredictionScreen(session, store, predictions, search)
    session.add(store.read_files([("it's <b>.xy", scan_file(wavelength="1.54184 Å"))]))
    session.change(session.files, wavelength=1.54184)
    session.set_formula("La,B,?O")
    shown = store.answer()
    assert isinstance(shown, Answer)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "it's <b>.xy").write_bytes(scan_file(wavelength="1.54184 Å"))
    (tmp_path / "made.py").write_text(view.python.text)
    made = runpy.run_path(str(tmp_path / "made.py"))["prediction"]
    assert made.crystal_system[0].label == shown.prediction.crystal_system[0].label
    assert made.crystal_system[0].probability == pytest.approx(shown.prediction.crystal_system[0].probability)
    assert made.band_gap.value == pytest.approx(shown.prediction.band_gap.value)
    assert "it&#x27;s &lt;b&gt;.xy" in view.python.panel.object
