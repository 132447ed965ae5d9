"""Steps of one pattern or of all, background points, and the form whose selection survives every change."""

from __future__ import annotations

import numpy as np
import pytest
from app_fixtures import loaded

from xxact_app.samples.processing_steps import set_value, value_of
from xxact_app.screens.patterns.steps_form import StepsForm
from xxact_app.screens.patterns.view import PatternsScreen
from xxact_app.session.history import History

pytestmark = pytest.mark.usefixtures("tables")


def test_a_step_stays_selected_in_the_browser_after_every_change_of_its_label() -> None:
    session, _ = loaded("a.xy")
    form = StepsForm(session)
    model = form.steps.get_root()
    for name in ("zero_shift", "smooth", "crop_range"):
        form.add.value = name
        assert model.data.value in model.data.options, f"selected after adding {name}"
    form.zero_shift.value = 0.2
    assert model.data.value in model.data.options
    form.enabled.value = False
    assert model.data.value in model.data.options
    form.remove.param.trigger("clicks")
    assert model.data.value in model.data.options


def test_steps_of_the_selected_pattern_leave_the_others_alone() -> None:
    session, store = loaded("a.xy", "b.xy", wavelength="1.54184 Å")
    view, (first, second) = PatternsScreen(session, store), session.files
    session.chosen = first
    view.steps.scope.value = True
    view.steps.broadening.value = 0.2
    assert value_of(session.steps_of(first), "smooth", "sigma") == 0.2
    assert value_of(session.steps, "smooth", "sigma") is None
    assert store.gridded(first).intensity.tolist() != store.gridded(second).intensity.tolist()
    assert "own_steps.get(number, steps)" in view.python.text or session.stage == "measured"
    session.chosen = second
    assert view.steps.scope.value is False
    assert view.steps.broadening.value == 0
    session.chosen = first
    view.steps.scope.value = False
    assert session.sample(first).own_steps is None
    np.testing.assert_array_equal(store.gridded(first).intensity, store.gridded(second).intensity)


def test_background_points_begin_on_the_background_and_are_drawn_and_undone() -> None:
    session, store = loaded("a.xy", wavelength="1.54184 Å")
    view, history = PatternsScreen(session, store), History(session)
    view.steps.background.value = "points"
    history.settle()
    (key,) = session.files
    points = value_of(session.steps, "subtract_background", "points")
    assert len(points) >= 8
    assert all(height is None for _, height in points), "heights of each pattern, since they are for all"
    assert view.points.panel.visible is True
    assert view.points.marks.visible is True
    assert view.figure.plot.toolbar.active_multi is view.points.tool
    background = view.drawn().curves[0].background
    expected = 100 - view.drawn().curves[0].two_theta / 2
    assert np.abs(background - expected).max() < 3
    assert store.gridded(key).intensity[[0, -1]].max() < 1

    data = view.points.points.data
    view.points.points.data = {"x": [*data["x"], 50.0], "y": [*data["y"], 900.0]}
    history.settle()
    added = value_of(session.steps, "subtract_background", "points")
    assert len(added) == len(points) + 1
    assert [50.0, None] in [list(point) for point in added] or (50.0, None) in added
    history.undo()
    assert len(value_of(session.steps, "subtract_background", "points")) == len(points)
    assert len(view.points.points.data["x"]) == len(points)


def test_points_of_one_pattern_have_the_heights_where_they_were_clicked() -> None:
    session, store = loaded("a.xy", "b.xy", wavelength="0.71073 Å")
    view, (first, _) = PatternsScreen(session, store), session.files
    session.chosen = first
    view.steps.scope.value = True
    session.show_only([first])
    view.steps.background.value = "points"
    session.scale = "root"
    view.points.points.data = {"x": [12.0, 30.0], "y": [10.0, 20.0]}
    stored = value_of(session.steps_of(first), "subtract_background", "points")
    assert [height for _, height in stored] == [100.0, 400.0]
    assert stored[0][0] == pytest.approx(26.2, abs=0.1), "the angle of Cu Kα, which the step has"
    assert view.points.points.data["x"] == pytest.approx([12.0, 30.0], abs=0.01)
    assert view.points.points.data["y"] == pytest.approx([10.0, 20.0], rel=1e-3)
    drawn = view.drawn().curves[0]
    assert np.interp(12.0, drawn.two_theta, drawn.background) == pytest.approx(100, rel=1e-3)


def test_points_are_not_edited_where_their_heights_cannot_be_seen() -> None:
    session, store = loaded("a.xy", "b.xy", wavelength="1.54184 Å")
    view = PatternsScreen(session, store)
    view.steps.background.value = "points"
    assert view.points.marks.visible is False
    assert view.figure.plot.toolbar.active_multi is None
    view.points.alone.param.trigger("clicks")
    assert view.points.marks.visible is True
    session.stage = "gridded"
    assert view.points.marks.visible is False
    session.stage = "measured"
    session.steps = set_value(session.steps, "subtract_background", method="arpls")
    assert view.points.panel.visible is False
