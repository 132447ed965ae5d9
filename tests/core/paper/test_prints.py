"""Figures for print are vectors with their fonts, and pages show what a mark is."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from xxact_core.errors import InputError
from xxact_core.paper import prints
from xxact_core.paper.drawings import write_page
from xxact_core.paper.experiments import EMBEDDINGS, STRATEGIES
from xxact_core.paper.figures import MODELS, SHOWN_SPLITS, FigureData
from xxact_core.paper.layouts import ACCURACY, MAE
from xxact_core.paper.pages import write_figure
from xxact_core.paper.prints import write_print
from xxact_core.quantities import CRYSTAL_SYSTEMS

POINTS = [
    {"panel": panel, "id": f"m{number}", "crystal_system": system, "component_1": float(number), "component_2": 1.0}
    for panel in EMBEDDINGS
    for number, system in enumerate(CRYSTAL_SYSTEMS)
]
ABOUT = {"variance": {panel: [0.5, 0.2] for panel in EMBEDDINGS}, "silhouette": dict.fromkeys(EMBEDDINGS, 0.3)}
FIGURES = {
    2: FigureData(2, "Embeddings", POINTS, ABOUT),
    3: FigureData(3, "Scaling", [
        {"model": label, "materials": size, "seed": 0, "mae": 100 * (size / 1000) ** -0.3 + number}
        for label in MODELS.values() for number, size in enumerate((1000, 2000, 4000, 8000))
    ]),
    4: FigureData(4, "Systems", [
        {"split": split, "crystal_system": system, "materials": 10, "share": 100 / 7}
        for split in SHOWN_SPLITS for system in CRYSTAL_SYSTEMS
    ]),
    5: FigureData(5, "Elements", [
        {"split": split, "element": symbol, "materials": many}
        for split in SHOWN_SPLITS for symbol, many in (("H", 0), ("O", 90_000), ("Ce", 12), ("U", 3))
    ]),
    6: FigureData(6, "Convergence", [
        {"strategy": strategy, "seed": seed, "metric": metric, "share": float(step), "value": 101.0 - step}
        for strategy in STRATEGIES for seed in range(2) for metric in (MAE, ACCURACY) for step in (10, 50, 100)
    ]),
}  # fmt: skip


@pytest.mark.parametrize("number", FIGURES)
def test_pdf_has_its_fonts_and_no_pixels(number: int, tmp_path: Path) -> None:
    path = tmp_path / "figure.pdf"
    write_print(FIGURES[number], path)
    content = path.read_bytes()
    assert content.startswith(b"%PDF")
    assert content.count(b"/FontFile2") >= 1, "TrueType fonts are embedded"
    assert content.count(b"/Type3") == 0
    if number != 5:  # its colour bar is a gradient
        assert b"/Subtype /Image" not in content


@pytest.mark.parametrize("number", [3, 6])
def test_svg_needs_no_font_and_is_the_same_every_time(number: int, tmp_path: Path) -> None:
    for name in ("one.svg", "two.svg"):
        write_print(FIGURES[number], tmp_path / name)
    text = (tmp_path / "one.svg").read_text()
    assert text == (tmp_path / "two.svg").read_text()
    assert "<text" not in text, "letters are outlines"
    assert not re.search(r"(href|src)=\"http", text)


@pytest.mark.parametrize(("number", "shown"), [(2, "material"), (3, "seed"), (4, "materials"), (5, "element")])
def test_page_shows_what_a_mark_is(number: int, shown: str, tmp_path: Path) -> None:
    write_page(FIGURES[number], tmp_path / "figure.html")
    page = (tmp_path / "figure.html").read_text()
    content = page[page.rindex("<script") :]
    tooltips = re.findall(r'"tooltips":\[\[(.*?)\]\]', content)
    assert any(shown in tooltip for tooltip in tooltips)
    assert not re.search(r"<(script|link)[^>]+(src|href)=", page), "the page loads something"


def test_ending_of_the_name_is_the_kind_of_file(tmp_path: Path) -> None:
    begins = {".html": b"<!DOCTYPE html>", ".pdf": b"%PDF", ".svg": b"<?xml", ".png": b"\x89PNG"}
    for suffix, begin in begins.items():
        write_figure(FIGURES[4], tmp_path / f"figure{suffix}")
        assert (tmp_path / f"figure{suffix}").read_bytes().startswith(begin)
    assert (tmp_path / "figure.csv").read_text().startswith("# figure: 4")
    with pytest.raises(InputError, match="html"):
        write_figure(FIGURES[4], tmp_path / "figure.tiff")


@pytest.mark.parametrize("number", [3, 5, 6])
def test_logarithmic_axes_have_plain_numbers(number: int) -> None:
    """TeX is not parsed in these figures, so that labels of powers of ten would show it."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure
    from matplotlib.text import Text

    with rc_context(prints._STYLE):
        drawing = Figure(layout="constrained")
        prints._PRINTS[number](FIGURES[number], drawing)
        drawing.draw_without_rendering()
    labels = [text.get_text() for text in drawing.findobj(Text)]
    assert any(labels)
    assert not [label for label in labels if "$" in label]
