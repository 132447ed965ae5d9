"""The Patterns screen: stages, arrangements, references, scans, and files that match what is drawn."""

from __future__ import annotations

import csv
import io
import runpy
from collections.abc import Iterator
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pytest
from app_fixtures import FakePredictor, scan_file
from pattern_files import cif_of_rock_salt, raw_1

from xxact_app.page.upload_strip import UploadStrip
from xxact_app.samples.processing_steps import set_value
from xxact_app.samples.store import Store
from xxact_app.screens.patterns import text as words
from xxact_app.screens.patterns.view import PatternsScreen
from xxact_app.session.sample_choices import SampleChoices
from xxact_app.session.session import Session
from xxact_core.processes import end_child
from xxact_core.processing.pipeline import ProcessingPipeline, read_pipeline
from xxact_core.readers.read import read_scans
from xxact_core.simulation import cif_reading

pytestmark = pytest.mark.usefixtures("tables")


@pytest.fixture(scope="module", autouse=True)
def _no_process_left() -> Iterator[None]:
    yield
    while cif_reading.PROCESSES.idle:
        end_child(cif_reading.PROCESSES.idle.pop())


def screen(*files: tuple[str, bytes]) -> PatternsScreen:
    session = Session()
    store = Store(session, predictor=FakePredictor)
    view = PatternsScreen(session, store)
    UploadStrip(session, store).take_files(list(files))
    return view


@pytest.fixture
def pair() -> PatternsScreen:
    return screen(
        ("a<b>.xy", scan_file(peak=27.39, wavelength="1.54184 Å")), ("b.xy", scan_file(wavelength="1.54184 Å"))
    )


def test_angles_are_labelled_by_the_radiation_only_where_they_are_all_of_copper() -> None:
    pair = screen(("a.xy", scan_file(wavelength="0.7093 Å")), ("b.xy", scan_file(wavelength="1.54184 Å")))
    label = pair.figure.plot.xaxis[0]
    assert label.axis_label == "2θ (different wavelengths) [°]"
    pair.session.stage = "gridded"
    assert label.axis_label == "2θ (Cu Kα) [°]"
    pair.session.stage = "step"
    assert label.axis_label == "2θ (Cu Kα) [°]"
    crop = {"step": "crop_range", "start": 10, "stop": 60}
    pair.session.change(pair.session.files[:1], own_steps=(crop, *pair.session.steps))
    assert label.axis_label == "2θ (different wavelengths) [°]"
    pair.session.change(pair.session.files[1:], visible=False)
    assert label.axis_label == "2θ [°]"
    pair.session.axis = "q"
    assert "Cu" not in label.axis_label
    assert "wavelengths" not in label.axis_label


def test_tables_follow_the_session_while_the_screen_is_in_front(pair: PatternsScreen) -> None:
    pair.come_to_front(in_front=False)
    pair.session.remove(pair.session.files[:1])
    assert len(pair.list.table.value) == 2
    pair.come_to_front(in_front=True)
    assert pair.list.table.value["name"].tolist() == ["b.xy"]


def test_a_waterfall_stands_close_and_its_front_covers_its_back(pair: PatternsScreen) -> None:
    pair.session.arrangement = "waterfall"
    front, back = pair.figure.lines[1], pair.figure.lines[0]
    assert front.name == "a‹b›.xy"
    assert [min(line.data_source.data["y"]) for line in (front, back)] == pytest.approx([0, 0.3], abs=0.05)
    renderers = pair.figure.plot.renderers
    assert renderers.index(pair.figure.areas[1]) > renderers.index(back)
    assert all(area.visible for area in pair.figure.areas.values())
    ground = pair.figure.areas[0].glyph.fill_color
    pair.session.dark = True
    assert pair.figure.areas[0].glyph.fill_color != ground
    pair.session.arrangement = "overlay"
    assert not any(area.visible for area in pair.figure.areas.values())


def test_the_overview_shows_the_whole_range_while_the_plot_shows_a_part(pair: PatternsScreen) -> None:
    shown = pair.figure.plot.x_range
    shown.update(start=25, end=30)
    pair.session.steps = set_value(pair.session.steps, "smooth", sigma=0.1)
    assert (shown.start, shown.end) == (25, 30)
    overview = pair.overview.plot.x_range
    assert (overview.start, overview.end) == pytest.approx((10, 79.98))
    (tool,) = pair.overview.plot.tools
    assert tool.x_range is shown


def test_only_what_changed_is_sent_to_the_browser(pair: PatternsScreen) -> None:
    pair.session.stage = "gridded"
    source = pair.figure.lines[0].data_source
    before = dict(source.data)
    pair.session.steps = set_value(pair.session.steps, "smooth", sigma=0.1)
    assert source.data["x"] is before["x"]
    assert source.data["intensity"] is not before["intensity"]
    assert source.data["intensity"].shape == before["intensity"].shape


def test_the_background_that_is_drawn_is_the_one_that_is_taken_away(pair: PatternsScreen) -> None:
    pair.session.param.update(stage="step", shown_step=1)
    drawn = pair.drawn().curves[0]
    pair.session.shown_step = 2
    np.testing.assert_allclose(pair.drawn().curves[0].intensity, drawn.intensity - drawn.background, equal_nan=True)
    pair.steps.background.value = "none"
    pair.session.shown_step = 1
    assert pair.drawn().curves[0].background is None
    assert pair.figure.backgrounds[0].visible is False


def test_lines_of_a_dropped_structure_stand_under_its_peak() -> None:
    view = screen(
        ("a.xy", scan_file(peak=27.39, wavelength="1.54184 Å")), ("NaCl<b>.cif", cif_of_rock_salt().encode()),
        ("broken.cif", cif_of_rock_salt().encode()[:-30]),
    )  # fmt: skip
    (problem,) = view.store.problems
    assert problem.text.startswith("broken.cif: not a readable CIF structure")
    assert view.references.table.value["name"].tolist() == ["NaCl‹b›.cif"]
    assert view.references.table.value["formula"].tolist() == ["NaCl"]
    assert view.references.table.value["space_group"].tolist() == ["Fm-3m (225)"]
    lines = view.sticks.lines.data
    assert lines["hkl"][:2] == ["1 1 1", "2 0 0"]
    assert lines["x"][0] == pytest.approx(view.store.trace(view.session.files[0]).two_theta[869], abs=0.02)
    assert "at 1.5418 Å" in view.summary.object
    assert "<td>1 1 1</td><td>27.389°</td>" in view.tables.object
    view.session.axis = "d"
    assert view.sticks.lines.data["x"][0] == pytest.approx(5.6402 / np.sqrt(3), rel=1e-5)
    view.references.table.selection = [0]
    view.references.remove.param.trigger("clicks")
    assert view.sticks.plot.visible is False
    assert view.references.panel.visible is False


def test_each_structure_of_a_dropped_file_is_a_reference_and_notes_are_shown() -> None:
    both = cif_of_rock_salt() + cif_of_rock_salt().replace("data_NaCl", "data_b") + "H9 ? ? ?\n"
    view = screen(("both.cif", both.encode()))
    assert view.references.table.value["name"].tolist() == ["both.cif NaCl", "both.cif b"]
    assert view.references.table.value["formula"].tolist() == ["NaCl", "NaCl"]
    (problem,) = view.store.problems
    assert problem.text == "both.cif b: hydrogen without coordinates was left out: H9"


def test_lines_need_a_wavelength_and_none_is_assumed() -> None:
    view = screen(("a.xy", scan_file()), ("NaCl.cif", cif_of_rock_salt().encode()))
    assert view.sticks.plot.visible is False
    assert "no pattern shown has a wavelength" in view.summary.object
    view.session.change(view.session.files, wavelength=0.71073)
    assert view.sticks.lines.data["x"][0] == pytest.approx(12.53, abs=0.01)


def test_one_of_several_scans_is_read_or_their_sum() -> None:
    view = screen(("one.xy", scan_file()), ("two.raw", raw_1(scans=2)))
    assert view.scans.panel.visible is True
    assert list(view.scans.scan.options) == ["1 of 2", "2 of 2", "sum of all scans", "ranges joined"]
    first = view.drawn().curves[1].intensity
    view.scans.scan.value = 1
    second = view.drawn().curves[1].intensity
    view.scans.scan.value = "sum"
    np.testing.assert_allclose(view.drawn().curves[1].intensity, first + second)
    assert "the sum of 2 scans" in view.list.table.value["notes"][1]
    view.session.remove(view.session.files[1:])
    assert view.scans.panel.visible is False


def test_a_pattern_that_comes_back_is_read_at_the_scan_that_was_chosen() -> None:
    session = Session()
    store = Store(session, predictor=FakePredictor)
    (key,) = store.read_files([("two.raw", raw_1(scans=2))])
    first = store.samples[key].pattern
    session.samples = {key: SampleChoices(scan=1)}
    assert store.samples[key].scan == 1
    assert store.samples[key].pattern != first
    session.change(session.files, scan=0)
    assert store.samples[key].pattern == first


def test_a_missing_scan_is_reported_and_the_choice_stays() -> None:
    view = screen(("two.raw", raw_1(scans=2)))
    (key,) = view.session.files
    before = view.drawn().curves[0].intensity
    view.session.change([key], scan=7)
    assert "there is no scan 7" in view.store.problems[0].text
    assert view.session.sample(key).scan == 0
    assert view.scans.scan.value == 0
    np.testing.assert_array_equal(view.drawn().curves[0].intensity, before)


def test_the_files_hold_what_is_drawn(pair: PatternsScreen, tmp_path: Path) -> None:
    import xarray as xr

    shown = pair.drawn()
    rows = list(csv.DictReader(io.StringIO(words.to_csv(shown).decode())))
    assert len(rows) == sum(curve.x.size for curve in shown.curves)
    assert {row["pattern"] for row in rows} == {"a‹b›.xy", "b.xy"}
    assert float(rows[0]["background"]) == pytest.approx(shown.curves[0].background[0])
    (tmp_path / "made.nc").write_bytes(words.to_netcdf(shown, pair.session))
    with xr.open_dataset(tmp_path / "made.nc", engine="h5netcdf") as made:
        assert made["two_theta"].attrs["units"] == "degree"
        np.testing.assert_allclose(made["intensity"], words.to_columns(shown)["intensity"])
    for name, content in (("made.csv", words.to_csv(shown)), ("made.nc", (tmp_path / "made.nc").read_bytes())):
        scans = read_scans(content, name=name)
        assert len(scans) == len(shown.curves)
        for scan, curve in zip(scans, shown.curves, strict=True):
            known = np.isfinite(curve.intensity)
            np.testing.assert_allclose(scan.two_theta, curve.two_theta[known], atol=1e-6)
            np.testing.assert_allclose(scan.intensity, curve.intensity[known])
            assert (scan.wavelength is None) == bool(np.isnan(curve.d).all())
    for arrangement in ("overlay", "offset", "waterfall"):
        pair.session.arrangement = arrangement
        assert words.to_picture(pair.drawn(), pair.session, kind="png").startswith(b"\x89PNG")
        svg = words.to_picture(pair.drawn(), pair.session, kind="svg").decode()
        assert "<svg" in svg
        assert "<b>" not in svg
    (tmp_path / "steps.json").write_bytes(words.pipeline_to_json(pair.session))
    assert read_pipeline(tmp_path / "steps.json") == ProcessingPipeline()


@pytest.mark.parametrize(
    ("stage", "axis", "scale"),
    [("measured", "two_theta", "linear"), ("step", "d", "log"), ("gridded", "q", "root"), ("measured", "q", "linear")],
)
def test_the_program_draws_what_is_drawn(
    stage: str, axis: str, scale: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    view = screen(("a<b>.xy", scan_file(peak=27.39)), ("two.raw", raw_1(scans=2)))
    view.session.change(view.session.files, wavelength=0.71073)
    view.session.change(view.session.files[1:2], scan=1)
    view.session.steps = set_value(view.session.steps, "zero_shift", shift=0.05)
    view.session.steps = set_value(view.session.steps, "smooth", sigma=0.05)
    view.session.param.update(stage=stage, shown_step=1, axis=axis, scale=scale)
    monkeypatch.chdir(tmp_path)
    mpl.use("agg")
    (tmp_path / "a<b>.xy").write_bytes(scan_file(peak=27.39))
    (tmp_path / "two.raw").write_bytes(raw_1(scans=2))
    (tmp_path / "made.py").write_text(view.python.text)
    names = runpy.run_path(str(tmp_path / "made.py"))
    heights = {"linear": lambda y: y, "root": lambda y: np.sqrt(np.maximum(y, 0)), "log": lambda y: np.maximum(y, 0.01)}
    for line, curve in zip(names["axes"].lines, view.drawn().curves, strict=True):
        np.testing.assert_allclose(line.get_xdata(), curve.x, rtol=1e-6)
        np.testing.assert_allclose(line.get_ydata(), heights[scale](curve.intensity), rtol=1e-4, equal_nan=True)
    names["plt"].close("all")
    assert (tmp_path / "patterns.png").exists()
    assert "a&lt;b&gt;.xy" in view.python.panel.object
