"""The widgets for notebooks: what they take, and that Python and page see the same choices."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import panel as pn
import pytest
import xarray as xr
from app_fixtures import FakePredictor
from looking_fixtures import embedded_of, workspace_with

from xxact_app.library.models import open_model
from xxact_app.widgets import EmbeddingView, PatternView, PredictionView, ReconstructionView, RunMonitor
from xxact_core.errors import CheckpointError, DatasetError, InputError, PatternError
from xxact_core.evaluation.embeddings import write_embeddings
from xxact_core.patterns.conversions import two_theta_to_d, two_theta_to_q
from xxact_core.patterns.pattern import Pattern

TWO_THETA = np.arange(10, 80, 0.02)
INTENSITY = 100 + 2000 * np.exp(-0.5 * ((TWO_THETA - 30) / 0.1) ** 2)
WAVELENGTH = 0.7093


def over(axis: str, positions: np.ndarray, units: str, **about: object) -> xr.DataArray:
    return xr.DataArray(INTENSITY, dims=axis, coords={axis: (axis, positions, {"units": units})}, **about)


# ------------------------------------------------------------------------------------------------------------ patterns
def test_a_file_an_array_a_pattern_and_xarray_are_the_same_pattern(tmp_path: Path) -> None:
    path = tmp_path / "scan.xy"
    np.savetxt(path, np.column_stack([TWO_THETA, INTENSITY]))
    given = {
        "path": path,
        "text": str(path),
        "pair": (TWO_THETA, INTENSITY),
        "columns": np.column_stack([TWO_THETA, INTENSITY]),
        "pattern": Pattern(TWO_THETA, INTENSITY),
        "array": over("two_theta", TWO_THETA, "deg"),
        "radians": over("tth", np.deg2rad(TWO_THETA), "rad"),
        "dataset": xr.Dataset({"intensity": over("two_theta", TWO_THETA, "deg"), "scale": 3.0}),
    }
    view = PatternView(given, wavelength="CuKa")
    assert list(view.patterns) == list(given)
    for name, pattern in view.patterns.items():
        np.testing.assert_allclose(pattern.two_theta, TWO_THETA, atol=1e-9, err_msg=name)
        np.testing.assert_allclose(pattern.intensity, INTENSITY, err_msg=name)
        assert pattern.wavelength == pytest.approx(1.54184), name


@pytest.mark.parametrize(("axis", "units"), [("q", "1/angstrom"), ("Q", "1/nm"), ("d", "angstrom"), ("d", "nm")])
def test_an_axis_in_q_or_d_is_turned_into_angles_at_the_wavelength(axis: str, units: str) -> None:
    convert = two_theta_to_d if axis == "d" else two_theta_to_q
    scale = {"1/nm": 10.0, "nm": 0.1}.get(units, 1.0)
    positions = scale * convert(TWO_THETA, wavelength=WAVELENGTH)
    (pattern,) = PatternView(over(axis, positions, units, attrs={"wavelength": WAVELENGTH})).patterns.values()
    np.testing.assert_allclose(pattern.two_theta, TWO_THETA, atol=1e-6)
    assert pattern.wavelength == WAVELENGTH


def test_a_table_of_patterns_is_as_many_with_the_names_of_its_coordinate() -> None:
    table = xr.DataArray(
        [INTENSITY, 2 * INTENSITY],
        dims=("temperature", "two_theta"),
        coords={"temperature": [300, 400], "two_theta": TWO_THETA},
        name="heated",
    )
    view = PatternView(table)
    assert list(view.patterns) == ["heated, temperature 300", "heated, temperature 400"]
    assert view.patterns["heated, temperature 400"].intensity.max() == pytest.approx(2 * INTENSITY.max())


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (over("energy", TWO_THETA, "keV"), "two_theta"),
        (over("q", TWO_THETA, ""), "1/Å or 1/nm"),
        ((TWO_THETA, INTENSITY[:-1]), "two arrays of one length"),
        (np.zeros((3, 4, 5)), "shape"),
        (object(), "is not a pattern"),
        ({}, "no pattern was passed"),
        (xr.Dataset({"a": ("x", [1.0, 2.0])}), "two_theta"),
    ],
)
def test_what_is_no_pattern_is_refused_in_words(given: object, words: str) -> None:
    with pytest.raises(PatternError, match=words):
        PatternView(given)


def test_no_wavelength_is_assumed() -> None:
    view = PatternView((TWO_THETA, INTENSITY))
    assert view.patterns["pattern"].wavelength is None
    assert view.store.without_wavelength()


def test_the_broadening_keeps_its_former_name() -> None:
    view = PatternView((TWO_THETA, INTENSITY), wavelength="CuKa")
    view.smearing = 0.1
    assert view.broadening == 0.1


def test_what_the_user_chooses_is_an_attribute_and_an_attribute_is_chosen() -> None:
    view = PatternView({"one": (TWO_THETA, INTENSITY), "two": (TWO_THETA, INTENSITY)}, wavelength="CuKa")
    view.session.axis = "q"
    assert view.axis == "q"
    view.shown = ["two"]
    assert "1 of 2 patterns" in view.view.summary.object
    view.stage = "gridded"
    assert "17 windows" in view.view.summary.object
    with pytest.raises(ValueError, match="two_theta"):
        view.axis = "energy"


def test_names_are_made_safe_where_they_are_shown() -> None:
    view = PatternView({"<img onerror=1>": (TWO_THETA, INTENSITY)})
    assert view.shown == ["<img onerror=1>"]
    assert [sample.name for sample in view.store.samples.values()] == ["‹img onerror=1›"]


# ---------------------------------------------------------------------------------------------------------- predictions
def test_a_prediction_follows_the_formula_and_the_pattern() -> None:
    model = FakePredictor()
    given = {"one": (TWO_THETA, INTENSITY), "two": (TWO_THETA, INTENSITY**2)}
    view = PredictionView(given, formula={"one": "LaB6"}, wavelength="CuKa", model=model)
    assert view.prediction is not None
    assert view.prediction.crystal_system[0].label == "cubic"
    view.chosen = "two"
    assert view.prediction is not None  # without a composition, the pattern alone answers
    assert not model.asked[-1][1].symbols
    view.formula = "MgO"
    assert view.prediction is not None
    assert set(model.asked[-1][1].symbols) == {"Mg", "O"}
    assert view.view.elements.formula.value == "MgO"


def test_a_model_is_taken_from_its_run(tmp_path: Path) -> None:
    workspace = workspace_with(tmp_path, runs={"one": ["targets"]})
    run = workspace.runs / "one"
    for folder in (run, run / "model"):
        assert open_model(folder).folder == run / "model"
        view = PredictionView((TWO_THETA, INTENSITY), wavelength="CuKa", model=folder)
        assert view.prediction is not None
        assert len(view.prediction.crystal_system) == 7
    with pytest.raises(CheckpointError):
        PredictionView((TWO_THETA, INTENSITY), model=tmp_path / "nothing")


def test_a_masked_window_is_reconstructed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XXACT_WORKSPACE", str(tmp_path / "own"))
    workspace = workspace_with(tmp_path / "trained", runs={"one": ["mxm"]})
    view = ReconstructionView((TWO_THETA, INTENSITY), formula="NaCl", wavelength="CuKa", model=workspace.runs / "one")
    view.masked = [4, 3]
    assert view.masked == [3, 4]
    assert view.reconstruction is not None
    assert np.flatnonzero(view.reconstruction.masked).tolist() == [3, 4]
    view.masked = []
    assert view.masked == []


# ----------------------------------------------------------------------------------------------------------- embeddings
def test_a_file_of_embeddings_is_a_map_whose_selection_python_sees(tmp_path: Path) -> None:
    path = tmp_path / "test.h5"
    write_embeddings(path, embedded_of(50))
    view = EmbeddingView(path)
    view.view.source.selected.indices = [5, 3]  # as the browser does at the end of a lasso
    assert view.selected == [3, 5]
    assert list(view.materials.id[view.selected]) == ["m3", "m5"]
    view.selected = [7]
    assert view.view.source.selected.indices == [7]
    assert view.map.panels[0].silhouettes["mean"] > 0.5
    view.part = "pattern"
    assert view.map.part == "pattern"


def test_arrays_have_labels_of_any_kind() -> None:
    table = embedded_of(30)
    values, systems = table.parts["fused"], table.targets["crystal_system"].astype(int)
    names = np.array(["triclinic", "monoclinic", "orthorhombic", "tetragonal", "trigonal", "hexagonal", "cubic"])
    labels = {"crystal_system": names[systems], "oven": np.array(["a", "b"])[systems % 2], "hours": systems * 1.5}
    view = EmbeddingView(values, labels={**labels, "id": np.arange(30), "formula": ["MgO"] * 30})
    assert view.materials.formula[0] == "MgO"
    assert set(view.map.panels[0].silhouettes) == {*names, "mean"}
    view.colour = "oven"
    assert view.view.colouring is not None
    assert view.view.colouring.classes == ("a", "b")
    view.colour = "hours"
    assert view.view.colouring.high > view.view.colouring.low
    with pytest.raises(ValueError, match="oven"):
        view.colour = "phase"
    view.selected = [1]
    assert view.view.selection.table.value["oven"].tolist() == [labels["oven"][1]]


def test_coordinates_of_xarray_are_labels() -> None:
    values = embedded_of(12).parts["fused"]
    coordinates = {"material": [f"mp-{n}" for n in range(12)], "band_gap": ("material", np.linspace(0, 5, 12))}
    view = EmbeddingView(xr.DataArray(values, dims=("material", "width"), coords=coordinates, name="mine"))
    assert view.materials.id[3] == "mp-3"
    assert view.colour in {"band_gap", "crystal_system"}
    assert view.materials.targets["band_gap"][-1] == 5


def test_two_models_stand_side_by_side() -> None:
    view = EmbeddingView({"first": embedded_of(20), "second": embedded_of(20, seed=1)})
    assert [panel.model.label for panel in view.map.panels] == ["first", "second"]


@pytest.mark.parametrize(
    ("given", "labels", "words"),
    [
        ((), None, "expected one or two"),
        ((np.zeros(5),), None, "materials, width"),
        ((np.full((5, 3), np.nan),), None, "finite"),
        ((np.zeros((5, 3)),), {"oven": [1, 2]}, "one value for each of 5 materials"),
        (
            (np.zeros((5, 3)),),
            {"crystal_system": ["cubic", "quasi", "cubic", "cubic", "cubic"]},
            "'quasi' is not one of",
        ),
    ],
)
def test_what_is_no_embedding_is_refused_in_words(given: tuple, labels: dict | None, words: str) -> None:
    with pytest.raises(DatasetError, match=words):
        EmbeddingView(*given, labels=labels)


# ----------------------------------------------------------------------------------------------------------------- runs
def write_run(folder: Path, *, state: str, step: int) -> Path:
    folder.mkdir()
    (folder / "recipe.json").write_text("{}")
    (folder / "status.json").write_text(json.dumps({"state": state, "steps": 10}))
    events = [{"event": "started", "step": 0, "steps": 10}]
    events += [
        {"event": "step", "step": number, "loss": 1 / number, "losses": {"band_gap": 1 / number}, "learning_rate": 1e-3,
         "samples_per_second": 100.0, "seconds_left": 10.0 - number}
        for number in range(1, step + 1)
    ]  # fmt: skip
    events.append({"event": "validation", "step": step, "metrics": {"band_gap_mae": 0.5}})
    (folder / "journal.jsonl").write_text("".join(json.dumps(event) + "\n" for event in events))
    return folder


def test_a_monitor_tells_how_far_a_run_is_and_asks_it_to_stop(tmp_path: Path) -> None:
    run = write_run(tmp_path / "one", state="running", step=4)
    monitor = RunMonitor(run)
    assert (monitor.state, monitor.step, monitor.steps, monitor.metrics) == ("running", 4, 10, {"band_gap_mae": 0.5})
    assert "40\N{NO-BREAK SPACE}%" in monitor.progress.object
    assert monitor.curves.loss.lines[0].data_source.data["x"].tolist() == [1, 2, 3, 4]
    monitor.cancel()
    assert (run / "stop").is_file()
    assert "stopping" in monitor.progress.object
    assert monitor.stop.disabled
    (run / "status.json").write_text(json.dumps({"state": "cancelled", "steps": 10}))
    assert monitor.wait(seconds=5) == "cancelled"
    with pytest.raises(InputError, match="it is cancelled"):
        monitor.cancel()


def test_a_run_that_has_not_begun_is_waited_for(tmp_path: Path) -> None:
    monitor = RunMonitor(tmp_path / "later")
    assert "waiting for" in monitor.progress.object
    assert monitor.wait(seconds=0) == ""
    write_run(tmp_path / "later", state="finished", step=10)
    assert monitor.wait(seconds=5) == "finished"
    assert "100\N{NO-BREAK SPACE}%" in monitor.progress.object


# -------------------------------------------------------------------------------------------------------------- display
def test_a_notebook_without_panel_is_told_what_it_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pn.extension, "_loaded", False)
    shown, _ = PatternView((TWO_THETA, INTENSITY))._repr_mimebundle_()
    assert "pn.extension('tabulator', inline=True)" in shown["text/plain"]


def test_a_widget_brings_all_that_it_needs_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pn.extension, "_loaded", True)
    monkeypatch.setattr(pn.config, "inline", True)
    widget = PredictionView((TWO_THETA, INTENSITY), formula="NaCl", wavelength="CuKa", model=FakePredictor())
    shown, _ = widget._repr_mimebundle_()
    text = shown["text/html"]
    assert text.count("window.xxactMaterial ??=") == 1
    assert len(text) < 2_000_000
    assert '"url":"http' not in text


def test_peaks_and_figures_of_the_pattern_widget(tmp_path: Path) -> None:
    view = PatternView({"a": (TWO_THETA, INTENSITY), "b": (TWO_THETA, INTENSITY)}, wavelength=WAVELENGTH)
    assert repr(view) == "PatternView of 2 patterns: a, b"
    (peak,) = view.peaks.peaks
    assert peak.two_theta == pytest.approx(30, abs=0.05)
    view.arrangement, view.offset, view.show_peaks = "offset", 0.5, True
    for ending, start in ((".svg", b"<?xml"), (".pdf", b"%PDF"), (".png", b"\x89PNG")):
        view.write_figure(tmp_path / f"figure{ending}")
        assert (tmp_path / f"figure{ending}").read_bytes().startswith(start)
    with pytest.raises(InputError, match=r"figure\.tiff: a figure ends in \.png, \.svg, \.pdf"):
        view.write_figure(tmp_path / "figure.tiff")
