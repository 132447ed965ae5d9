"""Export of columns as CSV and netCDF, and of figures as PNG and SVG."""

from __future__ import annotations

import csv
import io
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_SIZE = (7.0, 4.2)
_RESOLUTION = 150


def columns_to_csv(columns: Mapping[str, np.ndarray]) -> bytes:
    """Columns of equal length as CSV with a header line; NaN becomes an empty cell."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(zip(*(_plain(values) for values in columns.values()), strict=True))
    return text.getvalue().encode()


def columns_to_netcdf(
    columns: Mapping[str, np.ndarray], *, dimension: str, units: Mapping[str, str], about: Mapping[str, Any]
) -> bytes:
    """Columns as netCDF-4 (HDF5); each further axis of a column gets its own dimension."""
    import xarray as xr  # noqa: PLC0415 - takes half a second, and most visitors export nothing

    variables = {}
    for name, values in columns.items():
        axes = (dimension, *(f"{name}_{number}" for number in range(1, values.ndim)))
        attributes = {"units": units[name]} if name in units else {}
        variables[name] = (axes, values.astype(object) if values.dtype.kind == "U" else values, attributes)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "export.nc"
        xr.Dataset(variables, attrs=dict(about)).to_netcdf(path, engine="h5netcdf")
        return path.read_bytes()


def new_figure(*, panels: int = 1) -> tuple[Figure, list[Any]]:
    """An empty Matplotlib figure with `panels` axes side by side."""
    from matplotlib.figure import Figure  # noqa: PLC0415 - slow to import

    drawing = Figure(figsize=(_SIZE[0] * (1.0 + 0.7 * (panels - 1)), _SIZE[1]), layout="constrained")
    return drawing, list(drawing.subplots(1, panels, squeeze=False)[0])


def figure_to_bytes(drawing: Figure, kind: Literal["png", "svg"]) -> bytes:
    """The figure as the content of a file."""
    file = io.BytesIO()
    drawing.savefig(file, format=kind, dpi=_RESOLUTION, metadata={"Date": None} if kind == "svg" else None)
    return file.getvalue()


def _plain(values: np.ndarray) -> list[object]:
    return ["" if isinstance(value, float) and np.isnan(value) else value for value in values.tolist()]
