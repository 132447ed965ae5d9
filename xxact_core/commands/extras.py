"""Libraries that are not always installed: those of the extras of the package."""

from __future__ import annotations

LIBRARIES: dict[str, tuple[str, ...]] = {
    "train": ("ase", "dask", "distributed", "fsspec", "h5netcdf", "numba", "sklearn", "xarray"),
    "app": (
        "bokeh",
        "filelock",
        "holoviews",
        "matplotlib",
        "pandas",
        "panel",
        "panel_material_ui",
        "param",
        "tornado",
    ),
    "refine": ("gemmi", "rietx"),
    "teacher": ("chgnet",),
    "mcp": ("anyio", "filelock", "mcp", "mcp_types"),
}
"""Extra → the modules that are imported only where it is installed."""


def missing_extra(error: ModuleNotFoundError) -> str | None:
    """What to install where a library of an extra is missing; None where another module is."""
    module = (error.name or "").partition(".")[0]
    for extra, libraries in LIBRARIES.items():
        if module in libraries:
            return f'this command needs {module}, which is not installed: pip install "xxact[{extra}]"'
    return None
