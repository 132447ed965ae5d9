"""The Answer screen: phases found by themselves, details, all patterns, files, the program."""

from __future__ import annotations

import csv
import io
import runpy
import threading
import time
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest
from app_fixtures import FakePredictor, loaded, scan_file
from bokeh.document import Document
from looking_fixtures import workspace_with
from panel.io.state import set_curdoc
from panel.models.tabulator import TableEditEvent

from xxact_app.jobs.tasks import BackgroundTask, Step
from xxact_app.samples.prediction_result import Answer, Missing
from xxact_app.samples.processing_steps import set_value
from xxact_app.samples.store import Store
from xxact_app.screens.prediction import export as files
from xxact_app.screens.prediction import phases_store
from xxact_app.screens.prediction import text as words
from xxact_app.screens.prediction.phases_store import PhaseRow, PhasesStore, SearchResult
from xxact_app.screens.prediction.report import Page, page_to_drawing, pages_to_pdf
from xxact_app.screens.prediction.store import PredictionStore
from xxact_app.screens.prediction.view import PredictionScreen
from xxact_app.session.session import Session
from xxact_core.errors import InputError
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
    search = PhasesStore(session, store, workspace=lambda: workspace, shipped=folder / "none.parquet")
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
    assert words.notes(partial, partial) == ("something else",)
    nothing = replace(prediction, composition_cost=CompositionCost("no composition", 0, 2.0, None, None, None))
    assert "the prediction uses the pattern alone" in words.certainty_words(nothing)
    assert words.certainty_words(prediction) == ""


def test_a_screen_that_nobody_looks_at_asks_for_nothing(tmp_path: Path) -> None:
    predictor = FakePredictor()
    session, store = loaded("scan.xy", predictor=predictor, wavelength="1.54184")
    workspace = workspace_with(tmp_path / "workspace", runs={})
    search = PhasesStore(session, store, workspace=lambda: workspace)
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


def test_without_reference_materials_it_says_what_is_missing(tmp_path: Path) -> None:
    view, _ = screen(tmp_path)
    assert "No reference materials are available" in view.matches.caption.object
    assert view.search.found(view.session.chosen) is None
    assert "no reference materials" in view.answered_by.object
    assert view.plot.figure.pattern.lines[0].data_source.data["x"].size == 3500


def test_phases_of_a_built_dataset_are_found_in_the_background(tmp_path: Path, small_dataset: Path) -> None:
    view, _ = screen(tmp_path, dataset=small_dataset, formula="Ca,O,?Si,?Al,?Mg,?Fe,?Ti")
    key = view.session.chosen
    assert list(view.matches.tables.options) == ["Dataset small"]
    assert "Phases not identified yet" in view.headline.object
    assert [button.visible for button in view.downloads.objects][-2:] == [False, False], "without phases there are none"
    view.task.button.param.trigger("clicks")
    task = view.search.task(key)
    task.join(seconds=240)
    view.task.look()
    assert (task.state, task.reason) == ("finished", "")
    found = view.search.found(key)
    assert len(view.matches.table.value) == len(found.matches) >= 2
    assert "Why" in view.headline.object
    assert view.plot.figure.pattern.lines[0].data_source.data["x"].size == found.curves.two_theta.size
    assert view.task.button.visible is False
    rows = len(found.phases)
    view.matches.table.selection = [1]
    second = found.matches[1]
    assert view.session.sample(key).phase in {second.id, second.source_id}
    names = view.plot.figure.reflections.names.data["text"]
    assert len(names) == rows + 1
    assert names[-1].startswith("compared: ")
    view.matches.table.selection = []
    assert view.session.sample(key).phase == ""
    assert "Identifier" in view.python.text
    assert view.downloads.objects[-1].visible
    with h5py.File(view.downloads.objects[-2].callback()) as file:
        entry = file["entry"]
        assert entry["phase_analysis/results/verdict"].asstr()[()] == found.verdict
        assert entry["phase_analysis/results/composition_given"].asstr()[()].startswith("Ca,O,?")
        np.testing.assert_array_equal(entry["experiment_result/intensity"], view.store.samples[key].pattern.intensity)
        np.testing.assert_allclose(entry["phase_analysis/fit/calculated"], found.curves.calculated, rtol=1e-6)
        np.testing.assert_array_equal(entry["model_input/gridded/intensity"], view.store.gridded(key).intensity)
        assert ("prediction" in entry) == (not found.several)
    with zipfile.ZipFile(view.downloads.objects[-1].callback()) as archive:
        assert "answer/ro-crate-metadata.json" in archive.namelist()
        assert archive.read("answer/results/scan.xy") == view.store.samples[key].content
    high = {"step": "subtract_background", "method": "points", "points": [[10.0, 1e9], [80.0, 1e9]]}
    view.session.steps = [high if step["step"] == "subtract_background" else step for step in view.session.steps]
    assert view.search.found(key) is found, "the phases do not depend on the background of the model input"
    for button in (view.downloads.objects[0], *view.downloads.objects[-2:]):
        with pytest.raises(InputError, match=r"scan.*nothing rises above the background between 5 and 90°"):
            button.callback()


def test_a_search_starts_by_itself_once_and_not_again_after_a_stop(tmp_path: Path, small_dataset: Path) -> None:
    workspace = workspace_with(tmp_path / "workspace", runs={}, dataset=small_dataset)
    session, store = loaded("scan.xy", wavelength="1.54184")
    session.change(session.files, formula="Ca,O")
    search = PhasesStore(session, store, workspace=lambda: workspace, shipped=tmp_path / "none.parquet")
    view = PredictionScreen(session, store, search=search, by_itself=True)
    key = session.chosen
    assert search.task(key) is not None
    assert view.task.button.visible is False
    search.stop(key)
    search.task(key).join(seconds=60)
    assert not search.may_start(key)
    view.come_to_front(in_front=True)
    assert not search.task(key).active


def test_nothing_is_searched_by_itself_without_a_wavelength(tmp_path: Path, small_dataset: Path) -> None:
    workspace = workspace_with(tmp_path / "workspace", runs={}, dataset=small_dataset)
    session, store = loaded("scan.xy")
    session.change(session.files, formula="Ca,O")
    search = PhasesStore(session, store, workspace=lambda: workspace, shipped=tmp_path / "none.parquet")
    view = PredictionScreen(session, store, search=search, by_itself=True)
    assert search.task(session.chosen) is None
    assert view.ask_wavelength.visible is True
    assert view.task.button.visible is False


def test_a_cell_being_edited_is_left_alone(tmp_path: Path) -> None:
    view, predictions = screen(tmp_path, "a.xy", "b.xy")
    table = view.batch.table
    view.session.editing = True
    before = table.value
    predictions.ask(view.session.files[1])
    view.batch.show()
    assert table.value is before
    assert table.value["Verdict"].tolist() == ["prediction only", "not run"]
    view.session.editing = False
    assert table.value["Verdict"].tolist() == ["prediction only", "prediction only"]


def test_a_chosen_pattern_stays_chosen_whatever_the_table_reports_late(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    view, _ = screen(tmp_path, "a.xy", "b.xy")
    first, second = view.session.files
    view.session.chosen = second
    late: list[Callable[[], None]] = []
    document = Document()
    monkeypatch.setattr(document, "add_timeout_callback", lambda call, _time: late.append(call))
    view.session.chosen = first
    assert view.batch.table.selection == [0]
    with set_curdoc(document):
        view.batch.table.param.trigger("selection")
        assert late == [], "it was no click"
        view.batch.table.selection = [1]
        late.pop()()
    assert view.session.chosen == second


def test_all_patterns_are_predicted_beside_the_page_and_listed(tmp_path: Path) -> None:
    view, predictions = screen(tmp_path, "a.xy", "b.xy", "c.xy")
    table = view.batch.table
    assert table.value["Verdict"].tolist() == ["prediction only", "not run", "not run"]
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
    assert table.value["Verdict"].tolist() == ["not run", "not run", "prediction only"]


def test_the_table_is_drawn_with_what_was_predicted_before(tmp_path: Path) -> None:
    view, _ = screen(tmp_path, "a.xy", "b.xy")
    drawn = view.batch.table.get_root()
    assert list(drawn.source.data["Verdict"]) == ["prediction only", "not run"]
    view.session.chosen = view.session.files[1]
    assert list(drawn.source.data["Verdict"]) == ["prediction only", "prediction only"]


def test_a_composition_is_typed_in_the_table(tmp_path: Path) -> None:
    view, _ = screen(tmp_path, "a.xy", "b.xy")
    view.batch._edited(TableEditEvent(view.batch.table, column="Composition", row=1, value="Xx", old="", pre=False))
    assert view.session.sample(view.session.files[1]).formula == "Xx"
    assert view.batch.table.value["Verdict"].tolist() == ["prediction only", "no prediction"]
    assert "Xx" in view.batch.table.value["Notes"][1]
    view.batch._edited(TableEditEvent(view.batch.table, column="Composition", row=1, value="", old="Xx", pre=False))
    assert view.batch.table.value["Verdict"].tolist() == ["prediction only", "prediction only"]


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


def test_all_patterns_are_identified_one_after_another(tmp_path: Path, small_dataset: Path) -> None:
    view, predictions = screen(tmp_path, "a.xy", "b.xy", dataset=small_dataset, formula="Ca,O,?Si,?Al,?Mg,?Fe,?Ti")
    first, second = view.session.files
    view.batch.identify.button.param.trigger("clicks")
    view.search.withdraw(keep=first)
    view.search.task_of_all().join(seconds=240)
    view.batch.identify.look()
    assert view.search.task_of_all().state == "finished"
    assert predictions.is_known(second)
    table, found = view.batch.table.value, view.search.found(second)
    level = view.conclusion(second).level
    assert table["Verdict"].tolist() == [level] * 2
    named = level != "no match"
    assert table["Phases"][1] == ("; ".join(phase.label for phase in found.phases) if named else "")
    rows = view.batch.rows()
    assert rows[1].conclusion is view.batch.rows()[1].conclusion, "concluded once"
    listed = list(csv.DictReader(io.StringIO(files.to_csv(rows).decode())))
    assert [row["verdict"] for row in listed] == [level] * 2
    assert float(listed[1]["unexplained_fraction"]) == pytest.approx(found.unexplained, rel=1e-6)


def test_a_search_that_was_withdrawn_is_repeated_for_all_patterns(
    tmp_path: Path, small_dataset: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    view, _ = screen(tmp_path, "a.xy", "b.xy", dataset=small_dataset)
    first, second = view.session.files
    view.session.change([second], formula="NaCl")
    running, asked = threading.Event(), []

    def search(task: BackgroundTask) -> None:
        asked.append(task)
        running.set()
        while len(asked) == 1 and not task.cancelled:
            time.sleep(0.01)
        task.result = {} if task.cancelled else {"matches": []}

    monkeypatch.setattr(view.search._process, "step", lambda text, **_: Step(text, search))
    monkeypatch.setattr(view.search._process, "is_serving", lambda _task: False)
    found = object()
    monkeypatch.setattr(phases_store, "parse_found", lambda _result: found)
    view.search.start(second)
    assert running.wait(10)
    view.search.start_all([second], before=lambda _key: None)
    view.search.withdraw(keep=first)
    view.search.task_of_all().join(seconds=30)
    assert view.search.task_of_all().state == "finished"
    assert [task.state for task in asked] == ["cancelled", "finished"]
    assert view.search.found(second) is found


def test_a_row_of_a_mixture_names_its_phases_and_no_crystal_system(tmp_path: Path) -> None:
    view, predictions = screen(tmp_path)
    phases = tuple(
        PhaseRow(formula, "", "Pm-3m (221)", f"{100 * share:.0f}(1)", "a 4.157", "-", 0.95, "x", 221, formula, share)
        for formula, share in (("LaB6", 0.9), ("=Si", 0.1))
    )
    found = SearchResult((), (), 2, "mixture", 0.0, phases, unexplained=0.05, restricted=True)
    (row,) = predictions.rows()
    conclusion = view._conclude(row.sample.key, row.answer, found)
    mixed = replace(row, conclusion=conclusion)
    cells = dict(zip(files.COLUMNS, files.table_row(mixed), strict=True))
    assert cells["Verdict"] == conclusion.level == "likely"
    assert (cells["Phases"], cells["Weights"]) == ("LaB6 (Pm-3m); =Si (Pm-3m)", "90(1); 10(1)")
    assert cells["Purity"] == pytest.approx(90)
    assert cells["Crystal system"] == ""
    assert "mixture" in cells["Notes"]
    (listed,) = csv.DictReader(io.StringIO(files.to_csv([mixed]).decode()))
    assert (listed["purity_percent"], listed["unexplained_fraction"]) == ("90.0", "0.05")
    assert (listed["verdict"], listed["crystal_system_verdict"]) == ("likely", "")
    nothing = replace(mixed, conclusion=replace(conclusion, level="no match"))
    assert files.table_row(nothing)[2:5] == ["no match", "", ""]


def test_a_report_survives_any_name_and_has_a_page_a_pattern(tmp_path: Path) -> None:
    view, predictions = screen(tmp_path, "a$x$_\\frac{1}{2}<b>😀試料.xy", "b.xy", formula="La,B,?O")
    predictions.ask(view.session.files[1])
    content = view._reports()
    assert content.startswith(b"%PDF")
    assert content.count(b"/Type /Page\n") + content.count(b"/Type /Page ") == 2
    assert view.to_picture("png").startswith(b"\x89PNG")
    svg = view.to_picture("svg").decode()
    assert "<svg" in svg
    assert "<b>" not in svg
    page = view._page(view.conclusion(view.session.files[0]))
    facts = dict(page.facts)
    assert facts["Processing"] == "Convert to Cu Kα; Resample to the grid; Subtract background: arPLS"
    assert facts["Wavelength"] == "1.54184 Å"
    assert "SHA-256" in facts["Model"]
    bare = Page(page.answer, page.conclusion, page.gridded, "log", ())
    assert pages_to_pdf([bare]).startswith(b"%PDF")


def test_a_report_says_that_the_composition_is_a_guess(tmp_path: Path) -> None:
    view, _ = screen(tmp_path, "LaB6.xy", formula="")
    (key,) = view.session.files
    shown = []
    for formula in ("", "LaB6"):
        view.session.change([key], formula=formula)
        texts = page_to_drawing(view._page(view.conclusion(key))).texts
        shown.append(next(text.get_text() for text in texts if text.get_text().startswith("Composition: ")))
    assert shown == ["Composition: La,B (guessed from the file name)", "Composition: LaB6"]


def test_the_program_makes_what_is_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    workspace = workspace_with(tmp_path / "workspace", runs={})
    session = Session()
    store = Store(session)
    predictions = PredictionStore(session, store, workspace=lambda: workspace)
    search = PhasesStore(session, store, workspace=lambda: workspace)
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
