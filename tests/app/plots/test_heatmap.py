from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from bokeh.models import Range1d

from xxact_app.plots.heatmap import COLUMNS, HeatMapRows, curves_to_image, draw_heatmap, heatmap_figure
from xxact_app.plots.patterns import Curve

X = np.linspace(10, 80, 20_000)


def peak(centre: float, *, height: float = 100.0, x: np.ndarray = X, width: float = 0.002) -> Curve:
    return Curve("a", "#0072B2", x, x, 1 / x, height * np.exp(-(((x - centre) / width) ** 2)))


def test_each_row_is_scaled_to_its_maximum_and_keeps_the_narrowest_peak() -> None:
    image, low, high = curves_to_image([peak(30.0), peak(60.0, height=5)], scale="linear")
    assert (low, high) == (10, 80)
    assert image.max(axis=1) == pytest.approx([1, 1])
    centres = low + (np.argmax(image, axis=1) + 0.5) * (high - low) / COLUMNS
    assert centres == pytest.approx([30, 60], abs=0.05)


def test_what_was_not_measured_is_unknown_and_not_zero() -> None:
    short = np.linspace(20, 40, 1000)
    image, _, _ = curves_to_image([peak(30.0), peak(30.0, x=short, width=1)], scale="root")
    assert np.isfinite(image[0]).all()
    assert np.isnan(image[1, 0])
    assert np.isnan(image[1, -1])
    assert np.isfinite(image[1, COLUMNS // 4])


def test_a_falling_axis_and_a_logarithmic_scale_give_the_same_place() -> None:
    curve = peak(30.0, width=1)
    falling = replace(curve, x=curve.x[::-1], intensity=curve.intensity[::-1])
    rising, _, _ = curves_to_image([curve], scale="log")
    turned, _, _ = curves_to_image([falling], scale="log")
    np.testing.assert_allclose(rising, turned)
    assert rising.min() == pytest.approx(0)


def test_rows_have_the_order_and_the_labels_of_the_series() -> None:
    target = heatmap_figure(Range1d(0, 1), left_border=84)
    curves = [replace(peak(30.0), name=f"{number}") for number in range(40)]
    rows = HeatMapRows(list(range(39, -1, -1)), [f"{number} K" for number in range(40)], "Temperature [K]")
    draw_heatmap(target, curves, rows, scale="linear", x_label="2θ [°]", keep_range=False)
    assert target.rows.data["name"][0] == "39"
    assert (target.plot.y_range.start, target.plot.y_range.end) == (-0.5, 39.5)
    assert (target.plot.x_range.start, target.plot.x_range.end) == (10, 80)
    assert len(target.plot.yaxis[0].ticker.ticks) <= 14
    assert target.plot.yaxis[0].major_label_overrides[0] == "0 K"
    draw_heatmap(target, [], HeatMapRows([], [], ""), scale="linear", x_label="", keep_range=False)
    assert target.rows.data["name"] == []
