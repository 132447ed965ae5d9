from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from xxact_app.plots.patterns import (
    MOST_POINTS,
    Curve,
    distinct_styles,
    draw_patterns,
    draw_probabilities,
    pattern_figure,
    probability_figure,
    recolour,
    thin,
    to_scale,
)

X = np.linspace(5, 90, 200)


def curve(name: str, height: float = 50.0, **more: np.ndarray) -> Curve:
    return Curve(name, "#0072B2", X, X, 1 / X, height * np.exp(-((X - 40) ** 2)), **more)


def drawn(curves: list[Curve], **changes: object) -> object:
    target = pattern_figure()
    options = {
        "scale": "linear",
        "offset": 0.0,
        "x_label": "2θ [°]",
        "unit": "counts",
        "window_edges": None,
        "keep_range": False,
    }
    draw_patterns(target, curves, **{**options, **changes})
    return target


def test_one_pattern_keeps_its_counts_and_several_share_a_scale() -> None:
    alone = drawn([curve("a", 5000)])
    assert max(alone.lines[0].data_source.data["y"]) == pytest.approx(5000, rel=0.1)
    both = drawn([curve("a", 5000), curve("b", 5)])
    assert [max(line.data_source.data["y"]) for line in both.lines] == pytest.approx([100, 100])
    assert max(both.lines[0].data_source.data["intensity"]) > 1000


def test_curves_are_sent_in_single_precision_where_it_holds_them() -> None:
    columns = drawn([curve("a", 5e3)]).lines[0].data_source.data
    assert {name: values.dtype for name, values in columns.items()} == dict.fromkeys(columns, np.float32)
    np.testing.assert_allclose(columns["two_theta"], X, atol=1e-5)
    huge = drawn([curve("a", 1e300)]).lines[0].data_source.data
    assert max(huge["intensity"]) == pytest.approx(1e300, rel=0.1)


def test_unchanged_columns_are_not_sent_again() -> None:
    target = drawn([curve("a")])
    before = dict(target.lines[0].data_source.data)
    draw_patterns(
        target, [curve("a", 90)], scale="linear", offset=0.0, x_label="", unit="", window_edges=None, keep_range=False
    )
    after = target.lines[0].data_source.data
    assert [name for name in before if after[name] is not before[name]] == ["y", "intensity"]


def test_stacked_patterns_stand_on_one_another() -> None:
    target = drawn([curve("a"), curve("b"), curve("c")], offset=1.0)
    lows = {line.name: min(line.data_source.data["y"]) for line in target.lines}
    assert lows == pytest.approx({"a": 0, "b": 1, "c": 2}, abs=1e-6)
    assert target.plot.y_range.end > 3


def test_lines_are_reused_and_hidden_when_fewer_are_drawn() -> None:
    target = pattern_figure()
    options = {"scale": "linear", "offset": 0.0, "x_label": "", "unit": "", "window_edges": None, "keep_range": False}
    draw_patterns(target, [curve("a"), curve("b")], **options)
    first = target.lines[0]
    draw_patterns(target, [curve("b")], **options)
    assert target.lines[0] is first
    assert [line.visible for line in target.lines] == [True, False]
    assert target.hover.renderers == [first]
    draw_patterns(target, [], **options)
    assert not any(line.visible for line in target.lines)


def test_stacked_curves_keep_their_colours_in_another_theme() -> None:
    curves = [curve("lowest"), replace(curve("highest"), calculated=X)]
    target = drawn(curves, offset=1.0)
    recolour(
        target, [replace(one, colour=colour) for one, colour in zip(curves, ("red", "blue"), strict=True)], offset=True
    )
    assert [line.glyph.line_color for line in target.lines] == ["blue", "red"]
    assert target.calculated[0].glyph.line_color == "blue"
    assert list(target.calculated) == [0], "only where something is calculated"


def test_a_smaller_offset_moves_stacked_curves_together() -> None:
    target = drawn([curve("a"), curve("b"), curve("c")], offset=0.25)
    lows = {line.name: min(line.data_source.data["y"]) for line in target.lines}
    assert lows == pytest.approx({"a": 0, "b": 0.25, "c": 0.5}, abs=1e-6)
    assert target.plot.yaxis.axis_label == "Intensity (each scaled to its maximum, offset 25\N{NO-BREAK SPACE}%)"


def test_a_calculated_curve_has_the_scale_of_the_measured_one() -> None:
    measured = curve("a", 4000)
    target = drawn([replace(measured, calculated=measured.intensity / 2), curve("b")])
    assert max(target.calculated[0].data_source.data["y"]) == pytest.approx(50)
    higher = drawn([replace(measured, calculated=measured.intensity * 2)])
    assert higher.plot.y_range.end > 8000


def test_no_two_of_many_curves_look_alike() -> None:
    styles = distinct_styles([0, 8, 1, 3, *range(20, 40)], colours=8)
    assert len(set(styles)) == 24
    assert styles[0] == (0, "solid")
    assert styles[2] != styles[0]
    assert styles[3] == (3, "solid")
    alone = distinct_styles([11], colours=8)
    assert alone == [(3, "solid")], "the colour that the fourth has, too, where that is not drawn"


def test_the_range_stays_where_the_user_put_it_if_asked() -> None:
    target = drawn([curve("a")])
    target.plot.x_range.start = 30
    draw_patterns(
        target, [curve("a")], scale="log", offset=0.0, x_label="", unit="", window_edges=None, keep_range=True
    )
    assert target.plot.x_range.start == 30
    assert target.plot.y_range.start < np.log10(50) < target.plot.y_range.end


def test_hidden_windows_are_hatched_of_all_or_of_each() -> None:
    edges = np.arange(5, 95, 5.0)
    first, second = np.zeros(17, dtype=bool), np.zeros(17, dtype=bool)
    first[:3], second[:1] = True, True
    curves = [curve("a", hidden=first), curve("b", hidden=second)]
    overlaid = drawn(curves, window_edges=edges)
    assert len(overlaid.windows.data["left"]) == 17
    assert overlaid.gaps.data["left"] == [5.0]
    stacked = drawn(curves, window_edges=edges, offset=1.0)
    assert len(stacked.gaps.data["left"]) == 4
    assert set(stacked.gaps.data["bottom"]) == {0.0, 1.0}


def test_windows_on_a_falling_axis_still_have_left_before_right() -> None:
    edges = 1.54 / (2 * np.sin(np.deg2rad(np.arange(5, 95, 5.0) / 2)))
    target = drawn([curve("a", hidden=np.ones(17, dtype=bool))], window_edges=edges)
    assert all(left < right for left, right in zip(target.gaps.data["left"], target.gaps.data["right"], strict=True))


def test_thinning_keeps_every_peak() -> None:
    heights = np.zeros(300_000)
    peaks = np.arange(500, 300_000, 1000)
    heights[peaks] = 1
    kept = thin(heights)
    assert kept.size <= MOST_POINTS
    assert np.isin(peaks, kept).all()
    assert (np.diff(kept) > 0).all()


def test_scales_are_finite_and_keep_the_order() -> None:
    values = np.array([-5.0, 0.0, 0.5, 100.0])
    for scale in ("linear", "root", "log"):
        heights = to_scale(values, scale=scale)
        assert np.isfinite(heights).all()
        assert (np.diff(heights) >= 0).all()


def test_probabilities_are_ranked_from_the_top_with_their_text() -> None:
    plot, source = probability_figure(height=100)
    draw_probabilities(plot, source, ["cubic", "trigonal"], [0.996, 0.004], colour="#000000", text_colour="#111111")
    assert plot.y_range.factors == ["trigonal", "cubic"]
    assert [text.replace("\N{NO-BREAK SPACE}", " ") for text in source.data["text"]] == ["> 99 %", "< 1 %"]
