"""Everything that a folder of runs shows so far, as files: claims, tables and figures, with an index."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from xxact_core.errors import InputError
from xxact_core.paper.claims import folder_to_claims
from xxact_core.paper.claims_text import claims_to_dict, claims_to_markdown
from xxact_core.paper.drawings import write_page
from xxact_core.paper.figures import FigureData, figure_data
from xxact_core.paper.layouts import FIGURES, TABLES
from xxact_core.paper.prints import PRINTED, write_print
from xxact_core.paper.tables import folder_to_table
from xxact_core.paper.texts import rows_to_text, table_to_text, write_text

PAGES = "pages"
"""Folder of the pages in a folder of runs."""


def write_pages(folder: Path, *, dataset: Path | None = None, split: str = "formula") -> list[str]:
    """Write the claims, and all tables and figures that have a finished run, into `PAGES`; returns their names.

    `index.html` shows all of them on one page. Figures 4 and 5 need the dataset.
    """
    out, written = folder / PAGES, []
    claims = folder_to_claims(folder)
    texts = [claims_to_markdown(claims, folder)]
    write_text(out / "claims.md", texts[0])
    write_text(out / "claims.json", json.dumps(claims_to_dict(claims), ensure_ascii=False, indent=1) + "\n")
    for number in TABLES:
        table = folder_to_table(number, folder)
        if table.about["seeds"]:
            for suffix in _TABLE_FILES:
                write_text(out / f"table{number}.{suffix}", table_to_text(table, suffix=f".{suffix}"))
            texts.append(table_to_text(table, suffix=".md") + f"\n{_links(f'table{number}', _TABLE_FILES)}\n")
            written.append(f"table {number}")
    for data in _figures(folder, dataset, split):
        write_figure(data, out / f"figure{data.number}.html")
        for suffix in PRINTED:
            write_print(data, out / f"figure{data.number}{suffix}")
        image = f"![Figure {data.number}: {data.title}](figure{data.number}.svg)"
        heading = f"# Figure {data.number}: {data.title}"
        texts.append(f"{heading}\n\n{image}\n\n{_links(f'figure{data.number}', _FIGURE_FILES)}\n")
        written.append(f"figure {data.number}")
    write_text(out / "index.html", _to_page(texts))
    return ["claims", *written]


def _figures(folder: Path, dataset: Path | None, split: str) -> Iterator[FigureData]:
    for number, runs in FIGURES.items():
        try:
            if runs or dataset is not None:
                yield figure_data(number, folder if runs or dataset is None else dataset, split=split)
        except InputError:  # none of its runs is finished
            continue


def write_figure(data: FigureData, path: Path) -> None:
    """Write a figure as `.html`, `.pdf`, `.svg` or `.png`, and its data beside it as CSV and JSON.

    Raises:
        InputError: the name has another ending.
    """
    if path.suffix not in {".html", *PRINTED}:
        msg = f"{path} does not end in .html, .pdf, .svg or .png"
        raise InputError(msg, code="E_PAPER")
    (write_page if path.suffix == ".html" else write_print)(data, path)
    about = {"figure": data.number, "title": data.title, **data.about}
    for suffix in (".csv", ".json"):
        write_text(path.with_suffix(suffix), rows_to_text(data.rows, about, suffix=suffix))


def _links(stem: str, suffixes: Sequence[str]) -> str:
    """Links to the files of a table or figure, in Markdown."""
    return " · ".join(f"[{_FILE_NAMES.get(suffix, suffix.upper())}]({stem}.{suffix})" for suffix in suffixes)


def _to_page(texts: Sequence[str]) -> str:
    """Claims, tables and figures in Markdown → one page; where a claim names a table or figure, a link leads to it."""
    from markdown_it import MarkdownIt  # noqa: PLC0415 - no other command needs it

    renderer = MarkdownIt("commonmark", {"html": False}).enable("table")
    claims, *others = (renderer.render(text) for text in texts)
    anchors, sections = {}, []
    for other in others:
        name = _NAME.search(other)
        assert name is not None, "the heading of each is that of a table or figure"
        anchors[name[0].lower()] = anchor = f"{name[1]}{name[2]}".lower()
        sections.append(other.replace("<h1>", f'<h2 id="{anchor}">').replace("</h1>", "</h2>"))
    linked = _NAME.sub(lambda name: _link_to(name[0], anchors.get(name[0].lower())), claims)
    body = "\n".join([linked, *sections])
    body = body.replace("<table>", '<div class="wide"><table>').replace("</table>", "</table></div>")
    return _PAGE.format(style=_STYLE, body=body)


def _link_to(name: str, anchor: str | None) -> str:
    return name if anchor is None else f'<a href="#{anchor}">{name}</a>'


_TABLE_FILES, _FIGURE_FILES = ("md", "csv", "json"), ("html", "pdf", "svg", "png", "csv", "json")
_FILE_NAMES = {"html": "with values under the pointer", "md": "Markdown"}
_NAME = re.compile(r"\b(table|figure) ([1-6])\b", re.IGNORECASE)
_PAGE = """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>The paper, from these runs</title><style>{style}</style></head><body>
{body}
</body></html>
"""
_STYLE = """
:root { color-scheme: light dark; }
body { font: 15px/1.5 system-ui, sans-serif; overflow-wrap: anywhere; }
body { max-width: 70rem; margin: 2rem auto; padding: 0 1rem; }
h1, h2 { line-height: 1.25; margin-top: 2.5rem; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-size: 0.9em; font-variant-numeric: tabular-nums; }
th, td { padding: 0.25rem 0.6rem; border-bottom: 1px solid #8886; vertical-align: top; overflow-wrap: normal; }
td:first-child { min-width: 13rem; }
img { max-width: 100%; background: white; }
"""
