"""Peaks, figures for papers, heat maps and the axis of the Patterns screen."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator

import pytest
from app_fixtures import FakePredictor, scan_file
from pattern_files import cif_of_rock_salt

from xxact_app.page.upload_strip import UploadStrip
from xxact_app.samples.processing_steps import set_value
from xxact_app.samples.store import Store
from xxact_app.screens.patterns.view import PatternsScreen
from xxact_app.session.session import HEATMAP_FROM, Session
from xxact_core.processes import end_child
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


def scans(count: int, *, wavelength: str = "0.8 Å") -> list[tuple[str, bytes]]:
    return [
        (f"NaCl_{300 + 10 * number}K.xy", scan_file(peak=30 + number / 50, wavelength=wavelength))
        for number in range(count)
    ]


def test_peaks_are_listed_labelled_and_exported_with_the_nearest_reflection() -> None:
    view = screen(
        ("a<b>.xy", scan_file(peak=14.1, wavelength="0.8 Å")), ("NaCl.cif", cif_of_rock_salt().encode())
    )  # fmt: skip
    assert view.peaks.table.visible is False
    view.session.show_peaks = True
    (row,) = view.peaks.table.value.to_dict("records")
    assert row["two_theta"] == pytest.approx(14.1, abs=0.01)
    assert row["height"] == pytest.approx(2000, rel=0.05)
    assert row["fwhm"] == pytest.approx(0.2355, rel=0.05)
    assert row["d"] == pytest.approx(3.259, abs=0.01)
    assert row["hkl"] == "1 1 1"
    assert view.peaks._source.data["text"] == ["14.10°"]
    assert "a‹b›.xy" in view.peaks.text.object
    (written,) = csv.DictReader(io.StringIO(view.peaks.to_csv().decode()))
    assert float(written["d_angstrom"]) == pytest.approx(row["d"])
    assert float(written["area"]) == pytest.approx(row["area"])
    assert written["hkl"] == "1 1 1"
    view.session.axis = "d"
    assert view.peaks._source.data["x"] == pytest.approx([row["d"]], abs=1e-3)
    view.session.show_peaks = False
    assert view.peaks.table.visible is False
    assert list(view.peaks._source.data["x"]) == []
    assert view.peaks.to_csv() == b""


def test_peaks_stand_on_their_curve_in_a_stack_and_follow_the_selected_pattern() -> None:
    view = screen(*scans(3))
    view.session.show_peaks = True
    heights = []
    for key in view.session.files:
        view.session.chosen = key
        heights.append(float(view.peaks._source.data["y"][0]))
    assert heights == pytest.approx([1, 2, 3], abs=0.05)
    view.session.show_only(view.session.files[:1])
    assert "not shown" in view.peaks.text.object


def test_many_dropped_patterns_of_a_series_become_a_heat_map_by_temperature() -> None:
    files = scans(HEATMAP_FROM)
    view = screen(*files[::-1])
    assert view.session.arrangement == "heatmap"
    assert (view.heatmap.plot.visible, view.figure.plot.visible) == (True, False)
    assert view.heatmap.rows.data["name"] == [name for name, _ in files]
    assert view.heatmap.plot.yaxis[0].axis_label == "Temperature [K]"
    assert view.drawn().curves[0].background is None, "not fitted where it is not drawn"
    assert view.to_picture("png").startswith(b"\x89PNG")
    view.session.arrangement = "overlay"
    assert (view.heatmap.plot.visible, view.figure.plot.visible) == (False, True)


def test_the_zoomed_range_stays_after_a_step_and_at_other_stages() -> None:
    view = screen(*scans(1, wavelength="1.54184 Å"))
    shown = view.figure.plot.x_range
    shown.update(start=25, end=35)
    view.session.param.update(stage="step", shown_step=0)
    assert (shown.start, shown.end) == (25, 35)
    view.session.stage = "gridded"
    assert (shown.start, shown.end, shown.reset_start) == (25, 35, 5)
    view.session.axis = "d"
    assert (shown.start, shown.end) == (shown.reset_start, shown.reset_end)


def test_newly_dropped_files_are_drawn_whatever_is_shown() -> None:
    view = screen(*scans(7))
    UploadStrip(view.session, view.store).take_files([("new.xy", scan_file())])
    assert "new.xy" in [curve.name for curve in view.drawn().curves]
    assert "new.xy" in view.legend.object


def test_the_offset_of_stacked_curves_follows_the_slider() -> None:
    view = screen(*scans(3))
    assert view.session.arrangement == "offset"
    assert view.offset.visible is True
    view.offset.value = 0.5
    assert min(view.figure.lines[0].data_source.data["y"]) == pytest.approx(1.0, abs=0.05)
    view.session.arrangement = "overlay"
    assert view.offset.visible is False


def test_a_figure_for_a_paper_shows_the_range_and_the_format_chosen() -> None:
    view = screen(*scans(2))
    form = view.figure_form
    view.figure.plot.x_range.update(start=25, end=35)
    assert form.settings().x_range == (25, 35)
    form.zoomed.value = False
    assert form.settings().x_range is None
    for kind, start in (("png", b"\x89PNG"), ("svg", b"<?xml"), ("pdf", b"%PDF")):
        form.kind.value = kind
        assert form.save.filename == f"patterns.{kind}"
        assert form.to_bytes().startswith(start)
    form.width.value = 8.5
    form.preview.param.trigger("clicks")
    assert "data:image/png;base64," in form.picture.object
    view.session.remove(view.session.files)
    assert form.to_bytes() == b""


def test_a_pattern_with_own_steps_is_drawn_with_them() -> None:
    view = screen(*scans(2))
    first, _ = view.session.files
    view.session.change([first], own_steps=tuple(set_value(view.session.steps, "zero_shift", shift=0.5)))
    one, other = view.drawn().curves
    assert one.two_theta[0] - other.two_theta[0] == pytest.approx(0.5)
    assert "own_steps = {" in view.python.text
