from __future__ import annotations

import numpy as np
import pytest
from bokeh.models import CrosshairTool, Range1d
from bokeh.plotting import figure

from xxact_app.plots.crosshair import HINT, add_crosshair, set_crosshair
from xxact_app.plots.difference import difference_figure, draw_difference
from xxact_app.plots.reflections import ReflectionRow, draw_reflections, reflection_figure, strongest_lines
from xxact_core.patterns.conversions import CU_K_ALPHA, d_to_two_theta


def row(d: list[float], intensity: list[float], hkl: list[str], *, name: str = "a") -> ReflectionRow:
    angles = d_to_two_theta(np.array(d), wavelength=CU_K_ALPHA)
    return ReflectionRow(name, "#0072B2", angles, angles, np.array(d), np.array(intensity), hkl)


def test_overlapping_reflections_are_one_line_with_all_indices_and_the_sum_of_intensities() -> None:
    diamond = row([2.06, 1.07534, 1.07534, 1.26], [100, 10, 30, 25], ["1 1 1", "5 1 1", "3 3 3", "2 2 0"])
    lines = strongest_lines(diamond, count=3)
    assert [line.hkl for line in lines] == ["1 1 1", "2 2 0", "3 3 3, 5 1 1"]
    assert [line.intensity for line in lines] == pytest.approx([100, 25, 40])
    assert [line.d for line in lines] == pytest.approx([2.06, 1.26, 1.07534])
    assert lines[0].two_theta == pytest.approx(diamond.two_theta[0])
    assert [line.hkl for line in strongest_lines(diamond, count=2)] == ["1 1 1", "3 3 3, 5 1 1"]
    assert strongest_lines(row([], [], []), count=5) == []


def test_close_reflections_that_can_be_told_apart_stay_two_lines() -> None:
    pair = row([2.0, 1.995], [100, 50], ["1 1 0", "1 0 1"])
    assert len(strongest_lines(pair, count=9)) == 2


def test_each_phase_has_a_row_of_ticks_without_the_weakest() -> None:
    target = reflection_figure(Range1d(10, 80), left_border=84)
    assert target.plot.visible is False
    draw_reflections(target, [row([2.0, 1.5], [100, 0.1], ["1", "2"]), row([2.1], [100], ["3"], name="b")])
    assert target.lines.data["hkl"] == ["1", "3"]
    assert target.lines.data["low"] == [1.0, 0.0]
    assert target.names.data["text"] == ["a", "b"]
    single = target.plot.height
    draw_reflections(target, [row([2.0], [100], ["1"], name=str(number)) for number in range(6)])
    assert target.plot.height > 2 * single
    draw_reflections(target, [])
    assert target.plot.visible is False


def test_the_axis_of_a_difference_is_symmetric_and_one_bad_peak_does_not_flatten_the_rest() -> None:
    target = difference_figure(Range1d(10, 80), left_border=84)
    x, rng = np.linspace(10, 80, 5000), np.random.default_rng(0)
    difference = rng.normal(size=x.size)
    difference[2500] = 1e4
    draw_difference(target, x=x, difference=difference, colour="#123456")
    assert target.plot.visible is True
    assert 2 < target.plot.y_range.end < 10
    assert target.plot.y_range.start == -target.plot.y_range.end
    draw_difference(target, x=np.zeros(0), difference=np.zeros(0), colour="#123456")
    assert target.plot.visible is False


def test_a_crosshair_reads_out_above_the_plot_and_knows_axis_and_wavelength() -> None:
    plot = figure()
    lines = reflection_figure(plot.x_range, left_border=84).lines
    target = add_crosshair(plot, lines)
    assert plot.title.text == HINT
    assert any(isinstance(tool, CrosshairTool) for tool in plot.tools)
    assert {"mousemove", "mouseleave"} <= set(plot.js_event_callbacks)
    set_crosshair(target, axis="q", wavelength=None)
    assert target.settings.data["axis"] == ["q"]
    assert np.isnan(target.settings.data["wavelength"][0])
