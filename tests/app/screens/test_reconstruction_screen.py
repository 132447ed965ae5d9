from __future__ import annotations

import csv
import io
import re
import runpy
from pathlib import Path

import numpy as np
import pytest
from app_fixtures import scan_file
from bokeh.events import Tap
from looking_fixtures import workspace_with

from xxact_app.library import materials as materials_store
from xxact_app.library.models import run_key
from xxact_app.samples.store import Store
from xxact_app.screens.reconstruction import text as words
from xxact_app.screens.reconstruction.store import MaskedPattern, ReconstructionStore, SplitErrors, highest_windows
from xxact_app.screens.reconstruction.view import ReconstructionScreen
from xxact_app.session.sample_choices import SampleChoices
from xxact_app.session.session import Session

pytestmark = pytest.mark.usefixtures("tables")


def screen(
    folder: Path, *, runs: dict[str, list[str]], dataset: Path | None = None, last: float = 80.0
) -> ReconstructionScreen:
    """The screen with a scan of LaB6 from 10° on."""
    workspace = workspace_with(folder, runs=runs, dataset=dataset)
    session = Session()
    store = Store(session)
    view = ReconstructionScreen(session, store, ReconstructionStore(session, store, workspace=lambda: workspace))
    session.add(store.read_files([("scan<b>.xy", scan_file(last=last, wavelength="1.54184 Å"))]))
    session.change(session.files, wavelength=1.54184)
    session.set_formula("LaB6")
    return view


def without_tags(markup: str) -> str:
    return re.sub("<[^>]+>", "", markup)


def test_a_model_that_never_saw_masks_says_so_and_what_can_be_done(tmp_path: Path) -> None:
    view = screen(tmp_path, runs={"plain": ["targets"]})
    view.session.reconstruction_model = run_key("plain")
    view.session.change([view.session.chosen], masked=(3,))
    assert "was trained without masked windows" in view.summary.object
    assert "--recipe pretrain-mxm" in view.help.object
    assert view.help.visible
    assert not view.task.panel.visible
    assert view.figure.masked.data["left"].tolist() == [20]
    assert np.isnan(view.figure.expected.data["y"]).all()
    assert "Run plain (plain), not trained for reconstruction" in view.model.options


def test_a_click_masks_a_window_and_another_shows_it_again(tmp_path: Path) -> None:
    view = screen(tmp_path, runs={"mxm": ["mxm"]})
    view.clear.param.trigger("clicks")
    assert "No window is masked" in view.summary.object
    view._tapped(Tap(view.figure.plot, x=27.0, y=5.0))
    assert view.session.sample(view.session.chosen).masked == (4,)
    assert view.ticks.value == [4]
    assert "1 of 17 windows masked: 25–30°" in without_tags(view.summary.object)
    assert "Error in the masked windows" in view.summary.object
    expected = np.isfinite(view.figure.expected.data["y"])
    hidden = view.figure.expected.data["x"][expected]
    assert ((hidden >= 25) & (hidden < 30)).sum() == 250
    view._tapped(Tap(view.figure.plot, x=29.9, y=5.0))
    assert view.session.sample(view.session.chosen).masked == ()
    view._tapped(Tap(view.figure.plot, x=95.0, y=5.0))
    assert view.session.sample(view.session.chosen).masked == ()


def test_a_window_with_a_peak_is_masked_to_begin_with_until_windows_are_chosen(tmp_path: Path) -> None:
    view = screen(tmp_path, runs={"mxm": ["mxm"]})
    (window,) = view.ticks.value
    shown = view.reconstructions.masked_pattern()
    offered = highest_windows(shown.pattern)
    assert window in offered
    ratios = []
    for other in offered:
        view.ticks.value = [other]
        found = view.reconstructions.masked_pattern().reconstruction
        ratios.append(found.error[other] / found.empty[other])
    assert min(ratios) == ratios[offered.index(window)]
    assert "An example" not in view.summary.object
    view.session.change([view.session.chosen], masked=None)
    assert "An example" in view.summary.object
    assert "1 of 17 windows masked" in without_tags(view.summary.object)
    assert view.session.sample(view.session.chosen).masked is None  # nothing that could be undone
    view.clear.param.trigger("clicks")
    assert view.ticks.value == []
    assert SampleChoices.from_dict(view.session.sample(view.session.chosen).to_dict()).masked == ()


def test_a_share_of_the_windows_is_drawn_anew_at_each_press(tmp_path: Path) -> None:
    view = screen(tmp_path, runs={"mxm": ["mxm"]})
    view.ratio.value = 0.5
    drawn = []
    for _ in range(3):
        view.mask_random.param.trigger("clicks")
        drawn.append(list(view.session.sample(view.session.chosen).masked))
    assert len({tuple(numbers) for numbers in drawn}) > 1
    assert all({0, 15, 16}.isdisjoint(numbers) for numbers in drawn)
    view.ticks.value = [5, 6]
    assert view.session.sample(view.session.chosen).masked == (5, 6)
    view.clear.param.trigger("clicks")
    assert view.session.sample(view.session.chosen).masked == ()


def test_a_partial_scan_says_what_was_not_measured_and_what_is_expected_there(tmp_path: Path) -> None:
    view = screen(tmp_path, runs={"mxm": ["mxm"]}, last=60.0)
    view.clear.param.trigger("clicks")
    assert "Not measured and therefore masked: 5–10°, 60–65°" in without_tags(view.summary.object)
    expected = view.figure.expected.data
    beyond = expected["x"] >= 60
    assert np.isfinite(expected["y"][beyond]).all()
    assert "not measured" in view.table.object
    assert np.isnan(view.errors.bars.data["error"]).all()


def test_the_files_hold_what_is_drawn(tmp_path: Path) -> None:
    view = screen(tmp_path, runs={"mxm": ["mxm"]})
    view.session.change([view.session.chosen], masked=(4, 7))
    shown = view.reconstructions.masked_pattern()
    assert isinstance(shown, MaskedPattern)
    rows = list(csv.DictReader(io.StringIO(words.to_csv(shown).decode())))
    assert len(rows) == 4250
    assert {row["window"] for row in rows if row["masked"] == "1"} == {"5", "8"}
    assert all((row["expected"] != "") == ("1" in {row["masked"], row["not_measured"]}) for row in rows)
    import xarray as xr

    (tmp_path / "made.nc").write_bytes(words.to_netcdf(shown))
    with xr.open_dataset(tmp_path / "made.nc", engine="h5netcdf") as made:
        assert made.sizes == {"point": 4250}
        assert made["two_theta"].attrs["units"] == "degree"
    assert words.to_picture(shown, kind="png").startswith(b"\x89PNG")
    svg = words.to_picture(shown, kind="svg").decode()
    assert "<svg" in svg
    assert "<b>" not in svg


def test_the_program_makes_the_errors_that_are_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    view = screen(tmp_path, runs={"mxm": ["mxm"]})
    view.session.change([view.session.chosen], masked=(4, 7))
    shown = view.reconstructions.masked_pattern()
    assert isinstance(shown, MaskedPattern)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "scan<b>.xy").write_bytes(scan_file(wavelength="1.54184 Å"))
    (tmp_path / "made.py").write_text(view.python.text)
    names = runpy.run_path(str(tmp_path / "made.py"))
    np.testing.assert_allclose(names["reconstruction"].error, shown.reconstruction.error, rtol=1e-4)
    assert "scan&lt;b&gt;.xy" in view.python.panel.object


def test_the_error_over_a_set_is_taken_beside_the_screen(
    tmp_path: Path, small_dataset: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(materials_store, "SAMPLE", "small")
    view = screen(tmp_path, runs={"mxm": ["mxm"]}, dataset=small_dataset)
    view.task.button.param.trigger("clicks")
    task = view.reconstructions.task()
    task.join(seconds=240)
    view.task.look()
    assert (task.state, task.reason) == ("finished", "")
    over = view.reconstructions.test_errors()
    assert isinstance(over, SplitErrors)
    assert "masked windows: error" in view.test_errors.object
    np.testing.assert_array_equal(view.errors.bars.data["set_error"], over.error)
    assert f"{over.error[8]:.2f}" in view.table.object
