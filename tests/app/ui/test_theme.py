"""The looks of figures on the server, which are those that the page gives them."""

from __future__ import annotations

import re
from importlib.resources import files

import pytest
from bokeh.document import Document
from bokeh.plotting import figure

from xxact_app.ui.theme import figure_theme


@pytest.mark.parametrize("kind", ["Axis", "ColorBar", "Grid", "Legend", "Title"])
def test_nothing_that_the_page_sets_is_missing(kind: str) -> None:
    source = (files("panel_material_ui") / "utils.js").read_text(encoding="utf-8")
    source = source.partition("function apply_bokeh_theme")[2]
    branch = re.split(r"\} else if \(", source.partition(f'endsWith("{kind}")')[2])[0]
    assigned = set(re.findall(r"model_props\.(\w+) =", branch))
    assert assigned
    for dark in (False, True):
        assert assigned <= set(figure_theme(dark=dark)._json["attrs"][kind]) | {"border_line_color"}


def test_a_figure_takes_the_looks_and_keeps_what_was_chosen() -> None:
    plot = figure()
    plot.ygrid.grid_line_color = None
    document = Document()
    document.theme = figure_theme(dark=True)
    document.add_root(plot)
    assert plot.background_fill_color == "#171D25"
    assert plot.xaxis[0].axis_label_text_color == "#fff"
    assert plot.xgrid[0].grid_line_color == "rgba(255, 255, 255, 0.12)"
    assert plot.ygrid[0].grid_line_color is None
    document.theme = figure_theme(dark=False)
    assert plot.background_fill_color == "#FFFFFF"
