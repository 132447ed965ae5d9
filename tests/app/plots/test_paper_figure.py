from __future__ import annotations

import io
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from xxact_app.plots.heatmap import HeatMapRows
from xxact_app.plots.paper_figure import (
    FigureContent,
    FigureSettings,
    PeakLabels,
    draw_paper_figure,
    paper_figure,
)
from xxact_app.plots.patterns import Curve
from xxact_app.plots.reflections import ReflectionRow
from xxact_app.ui.theme import DARK, LIGHT

X = np.linspace(10, 80, 2000)
ANGLES = np.array([20.0, 20.1, 40.0, 60.0])
ROW = ReflectionRow(
    "NaCl", DARK.series[1], ANGLES, ANGLES, 1 / ANGLES, np.array([100.0, 90.0, 50.0, 1.0]),
    ["1 1 1", "2 0 0", "2 2 0", "3 1 1"],
)  # fmt: skip


def curve(name: str, **more: np.ndarray) -> Curve:
    return Curve(name, DARK.series[0], X, X, 1 / X, 10 + 1000 * np.exp(-((X - 40) ** 2)), **more)


def content(*curves: Curve, **more: object) -> FigureContent:
    return FigureContent(curves, [ROW], "2θ [°]", **more)


def test_a_figure_has_the_size_and_the_resolution_asked_for() -> None:
    settings = FigureSettings(width=8.5, height=6.0, dpi=300)
    picture = Image.open(io.BytesIO(paper_figure(FigureContent([curve("a")], [], "q"), settings, kind="png")))
    assert picture.size == pytest.approx((8.5 / 2.54 * 300, 6.0 / 2.54 * 300), abs=2)


def test_vector_figures_need_no_font_of_the_reader() -> None:
    pdf = paper_figure(content(curve("a")), FigureSettings(), kind="pdf")
    assert pdf.startswith(b"%PDF")
    assert b"/FontFile2" in pdf
    svg = paper_figure(content(curve("a<b>$x$")), FigureSettings(), kind="svg").decode()
    assert "<svg" in svg
    assert "<text" not in svg
    assert "<b>" not in svg


def test_a_stacked_figure_says_so_and_an_overlay_has_per_cent() -> None:
    two = (curve("a"), curve("b"))
    assert draw_paper_figure(content(*two), FigureSettings()).axes[0].get_ylabel() == "Intensity (% of each maximum)"
    stacked = draw_paper_figure(content(*two, offset=1.0, scale="root"), FigureSettings()).axes[0]
    assert stacked.get_ylabel().startswith("Intensity (each scaled to its maximum, offset 100")
    assert stacked.get_ylabel().endswith("√ scale)")
    assert list(stacked.get_yticks()) == []
    assert draw_paper_figure(content(two[0]), FigureSettings()).axes[0].get_ylabel() == "Intensity (counts)"


def test_names_stand_in_a_legend_or_on_the_curves_or_nowhere() -> None:
    two = content(curve("first"), curve("second"), offset=1.0)
    legend = draw_paper_figure(two, FigureSettings()).axes[0].get_legend()
    assert [text.get_text() for text in legend.get_texts()] == ["second", "first"], "as the curves stand"
    named = draw_paper_figure(two, FigureSettings(names="curves")).axes[0]
    assert named.get_legend() is None
    assert {text.get_text(): text.get_position()[1] for text in named.texts} == {"first": 0.0, "second": 1.0}
    bare = draw_paper_figure(two, FigureSettings(names="none")).axes[0]
    assert (bare.get_legend(), list(bare.texts)) == (None, [])


def test_indices_do_not_overlap_and_weak_ones_are_left_out() -> None:
    ticks = draw_paper_figure(content(curve("a")), FigureSettings(width=17)).axes[1]
    assert [text.get_text() for text in ticks.texts if text.get_gid() != "row"] == ["1 1 1", "2 2 0"]
    zoomed = draw_paper_figure(content(curve("a")), FigureSettings(x_range=(19.5, 20.5))).axes[1]
    assert [text.get_text() for text in zoomed.texts if text.get_gid() != "row"] == ["1 1 1", "2 0 0"]
    assert zoomed.get_xlim() == (19.5, 20.5)
    plain = draw_paper_figure(content(curve("a")), FigureSettings(hkl=False)).axes[1]
    assert [text.get_text() for text in plain.texts] == ["NaCl"]


def test_a_figure_is_in_colours_for_print_with_calculated_curve_difference_and_peaks() -> None:
    measured = curve("a", calculated=X * 2, background=X)
    peaks = PeakLabels(0, np.array([40.0]), ["40.00"])
    shown = content(measured, difference=measured.intensity - X * 2, peaks=peaks)
    drawing = draw_paper_figure(shown, FigureSettings())
    main, _, difference = drawing.axes
    assert main.lines[0].get_color() == LIGHT.series[0]
    assert len(main.lines) == 3
    assert [text.get_text() for text in main.texts] == ["40.00"]
    np.testing.assert_allclose(difference.lines[1].get_ydata(), shown.difference)


def test_a_heat_map_has_the_rows_of_the_series() -> None:
    rows = HeatMapRows([1, 0], ["300", "400"], "Temperature [K]")
    shown = replace(content(curve("a"), curve("b")), heatmap=rows)
    main = draw_paper_figure(shown, FigureSettings()).axes[0]
    assert main.get_ylabel() == "Temperature [K]"
    assert [text.get_text() for text in main.get_yticklabels()] == ["300", "400"]
    assert paper_figure(shown, FigureSettings(), kind="png").startswith(b"\x89PNG")


def test_labels_of_peaks_do_not_overlap_and_leave_room_only_where_they_are() -> None:
    low, high = curve("low"), curve("high")
    near = PeakLabels(0, np.array([40.0, 40.1, 60.0]), ["40.00°", "40.10°", "60.00°"])
    drawing = draw_paper_figure(content(low, high, offset=1.0, peaks=near), FigureSettings(names="none"))
    axes = drawing.axes[0]
    assert [text.get_text() for text in axes.texts] == ["40.00°", "60.00°"]
    assert axes.get_ylim()[1] < 2.2, "the labels stand above the lower curve"
    only = draw_paper_figure(content(low, peaks=near), FigureSettings(names="none", x_range=(50, 70)))
    assert [text.get_text() for text in only.axes[0].texts] == ["60.00°"], "those outside the range take no room"


def test_a_label_stands_on_the_highest_point_of_its_peak() -> None:
    coarse = replace(curve("coarse"), x=np.arange(38.0, 42.5, 0.5), intensity=np.array([0, 0, 0, 2, 9, 3, 0, 0, 0.0]))
    drawing = draw_paper_figure(content(coarse, peaks=PeakLabels(0, np.array([40.2]), ["40.20°"])), FigureSettings())
    assert drawing.axes[0].texts[0].xy == pytest.approx((40.2, 9))


@pytest.mark.parametrize(("offset", "expected"), [(0.0, ["a", "b"]), (1.0, ["b", "a"])])
def test_the_legend_has_the_order_of_the_list_and_of_stacked_curves_from_the_top(
    offset: float, expected: list[str]
) -> None:
    drawing = draw_paper_figure(content(curve("a"), curve("b"), offset=offset), FigureSettings())
    legend = drawing.axes[0].get_legend()
    assert [text.get_text() for text in legend.get_texts()] == expected


def test_long_names_take_several_lines_beside_the_plot() -> None:
    name = "titania_zinc_oxide_mixture_of_2024.xrdml"
    row = replace(ROW, name=name)
    shown = FigureContent([curve(name)], [row], "2θ [°]")
    main, below = draw_paper_figure(shown, FigureSettings()).axes
    beside = main.get_legend().get_texts()[0].get_text()
    assert beside == "titania_zinc_oxide_\nmixture_of_2024.xrdml"
    (named,) = (text for text in below.texts if text.get_gid() == "row")
    assert (named.get_text(), named.get_ha()) == (beside, "left")
    assert main.get_position().width > 0.6, "names leave the plot its room"
    _, alone = draw_paper_figure(shown, FigureSettings(names="none")).axes
    assert [text.get_ha() for text in alone.texts if text.get_gid() == "row"] == ["right"]


@pytest.mark.parametrize("name", ["a", "x" * 50, "one two three four five six", "a-b.c_d" * 7])
def test_names_in_lines_lose_no_letter(name: str) -> None:
    drawing = draw_paper_figure(content(curve(name)), FigureSettings())
    lines = drawing.axes[0].get_legend().get_texts()[0].get_text().split("\n")
    assert "".join(lines) == name
    assert max(map(len, lines)) <= 24
