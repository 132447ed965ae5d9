"""Phases of a series → files: a table, JSON, netCDF and a figure."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

from xxact_core.errors import InputError, shorten
from xxact_core.series.phase_series import PhaseSeries

TABLE, JSON, NETCDF, FIGURE, JOURNAL = "series.csv", "series.json", "series.nc", "series.png", "frames.jsonl"
"""Names of the files in an output folder."""


def series_to_csv(series: PhaseSeries) -> str:
    """The table of `PhaseSeries.to_rows` as CSV; unknown values are empty."""
    rows = series.to_rows()
    text = io.StringIO()
    writer = csv.DictWriter(text, fieldnames=list(rows[0]) if rows else [], lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def write_series(series: PhaseSeries, folder: Path) -> list[Path]:
    """Write a series to a folder as CSV, JSON, netCDF and PNG.

    Without the libraries for netCDF (`xarray`, `h5netcdf`) or figures (`matplotlib`), these files are left out.

    Returns:
        The files that were written.

    Raises:
        InputError: a file cannot be written (E_WRITE).
    """
    from xxact_core.series.figure import write_figure  # noqa: PLC0415 - only where a figure is written

    written = []
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in (
            (TABLE, series_to_csv(series)),
            (JSON, json.dumps(series.to_dict(), ensure_ascii=False, indent=1) + "\n"),
        ):
            (folder / name).write_text(text, encoding="utf-8")
            written.append(folder / name)
        for name, write in (
            (NETCDF, lambda path: series.to_xarray().to_netcdf(path, engine="h5netcdf")),
            (FIGURE, lambda path: write_figure(series, path)),
        ):
            try:
                write(folder / name)
            except ModuleNotFoundError:
                continue
            written.append(folder / name)
    except OSError as error:
        msg = f"{shorten(folder)}: the results cannot be written ({shorten(error)})"
        raise InputError(msg, code="E_WRITE") from error
    return written
