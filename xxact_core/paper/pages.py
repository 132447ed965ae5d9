"""Everything that a folder of runs shows so far, as files: claims, tables and figures, with an index."""

from __future__ import annotations

import json
from collections.abc import Iterator
from html import escape
from pathlib import Path

from xxact_core.errors import InputError
from xxact_core.paper.claims import claims_to_dict, claims_to_markdown, folder_to_claims
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

    Figures 4 and 5 need the dataset.
    """
    out, written = folder / PAGES, []
    claims = folder_to_claims(folder)
    write_text(out / "claims.md", claims_to_markdown(claims, folder))
    write_text(out / "claims.json", json.dumps(claims_to_dict(claims), ensure_ascii=False, indent=1) + "\n")
    for number in TABLES:
        table = folder_to_table(number, folder)
        if table.about["seeds"]:
            for suffix in (".md", ".csv", ".json"):
                write_text(out / f"table{number}{suffix}", table_to_text(table, suffix=suffix))
            written.append(f"table {number}")
    for data in _figures(folder, dataset, split):
        write_figure(data, out / f"figure{data.number}.html")
        for suffix in PRINTED:
            write_print(data, out / f"figure{data.number}{suffix}")
        written.append(f"figure {data.number}")
    write_text(out / "index.html", _index(written))
    return ["claims", *written]


def _figures(folder: Path, dataset: Path | None, split: str) -> Iterator[FigureData]:
    for number, runs in FIGURES.items():
        try:
            if runs or dataset is not None:
                yield figure_data(number, folder if runs or dataset is None else dataset, split=split)
        except InputError:  # none of its runs is finished
            continue


def write_figure(data: FigureData, path: Path) -> None:
    """Write a figure as `.html`, `.pdf` or `.svg`, and its data beside it as CSV and JSON.

    Raises:
        InputError: the name has another ending.
    """
    if path.suffix not in {".html", *PRINTED}:
        msg = f"{path} does not end in .html, .pdf or .svg"
        raise InputError(msg, code="E_PAPER")
    (write_page if path.suffix == ".html" else write_print)(data, path)
    about = {"figure": data.number, "title": data.title, **data.about}
    for suffix in (".csv", ".json"):
        write_text(path.with_suffix(suffix), rows_to_text(data.rows, about, suffix=suffix))


def _index(written: list[str]) -> str:
    """A page with links to all files."""
    lines = ['<p><a href="claims.md">Claims</a></p>']
    for name in written:
        stem = name.replace(" ", "")
        suffixes = ("md", "csv", "json") if name.startswith("table") else ("html", "pdf", "svg", "csv", "json")
        links = " ".join(f'<a href="{stem}.{suffix}">{suffix}</a>' for suffix in suffixes)
        lines.append(f"<p>{escape(name.capitalize())}: {links}</p>")
    body = "\n".join(lines)
    head = '<meta charset="utf-8"><title>The paper, from these runs</title>'
    return f'<!DOCTYPE html>\n<html lang="en"><head>{head}</head><body>\n{body}\n</body></html>\n'
