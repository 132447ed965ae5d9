"""Dataset folder → lazy xarray `Dataset`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import h5py
import numpy as np

from xxact_core.dataset.shard_cache import local_folder
from xxact_core.dataset.store import CELL, INTENSITY_STEP, read_manifest, read_text
from xxact_core.dataset.table import shard_paths
from xxact_core.simulation.lattice import cell_to_reciprocal_metric, hkl_to_two_theta

if TYPE_CHECKING:
    import xarray as xr

SIZES = {"material": "materials", "peak": "peaks", "element": "elements", "rotation": "rotations"}
"""Dimension → name of its size in a manifest."""


def open_dataset(source: Path | str) -> xr.Dataset:
    """Open a dataset, in a folder or at a URL, as an xarray `Dataset` of dask arrays, one chunk per shard.

    Dimensions are `material`, `peak`, `element` and `rotation`; the entries of a material are contiguous, and
    `peak_count`, `element_count` and `rotation_count` give their numbers. Coordinates: `id`, `formula`, `split` of a
    material, and `two_theta` [deg] and the Miller indices `hkl` of a reflection. Intensities are 0-100.

    Raises:
        DatasetError: the folder is no finished dataset, or a shard is missing.
    """
    import xarray as xr  # noqa: PLC0415 - slow to import, and not needed for training

    folder = local_folder(source)
    manifest = read_manifest(folder)
    shards, paths = manifest["shards"], shard_paths(folder, manifest)
    variables: dict[str, Any] = {}
    with h5py.File(paths[0], "r") as file:
        attributes = {
            name: np.squeeze(value).tolist() for name, value in file.attrs.items() if not name.startswith("_")
        }
        names = [name for name in file if file[name].attrs.get("CLASS") != b"DIMENSION_SCALE"]
        for name in [*names, "two_theta"]:
            like = file[name] if name in file else file["intensity"]
            variables[name] = _join(name, like, paths, shards)
    for name in ("peak_count", "element_count", "rotation_count"):
        variables[name].attrs["sample_dimension"] = name.removesuffix("_count")
    return (
        xr.Dataset(variables, attrs={**attributes, "digest": manifest["digest"]})
        .set_coords(["id", "formula", "split", "two_theta", "hkl"])
        .assign_coords(index=["h", "k", "l"])
    )


def _join(name: str, like: h5py.Dataset, paths: list[Path], shards: list[dict[str, Any]]) -> xr.Variable:
    """One variable of all shards, one chunk per shard."""
    import dask.array as da  # noqa: PLC0415 - slow to import
    import xarray as xr  # noqa: PLC0415 - likewise
    from dask.delayed import delayed  # noqa: PLC0415 - likewise

    dimensions = _dimensions(name, like)
    sample = next(dimension for dimension in dimensions if dimension in SIZES)
    sizes = [tuple(shard[SIZES[sample]] if dimension == sample else 3 for dimension in dimensions) for shard in shards]
    dtype = _dtype(name, like, shards)
    pieces = [
        da.from_delayed(delayed(read_variable)(path, name, dtype), shape=size, dtype=dtype)
        for path, size in zip(paths, sizes, strict=True)
    ]
    hidden = {"scale_factor", "_Encoding", "DIMENSION_LIST", "_Netcdf4Dimid", "_Netcdf4Coordinates", "_FillValue"}
    attributes = {key: np.squeeze(value).tolist() for key, value in like.attrs.items() if key not in hidden}
    if name == "two_theta":
        attributes = {"units": "degree", "long_name": "2θ of the reflection"}
    return xr.Variable(dimensions, da.concatenate(pieces, axis=dimensions.index(sample)), attributes)


def _dimensions(name: str, like: h5py.Dataset) -> tuple[str, ...]:
    if name in {"id", "formula"}:
        return ("material",)
    return tuple(Path(scale[0].name).name for scale in like.dims)


def _dtype(name: str, like: h5py.Dataset, shards: list[dict[str, Any]]) -> np.dtype:
    if name in {"id", "formula"}:
        return np.dtype(object)
    if name == "hkl":
        return np.dtype(f"i{max(shard['hkl_bytes'] for shard in shards)}")
    return np.dtype({"two_theta": np.float64, "intensity": np.float32}.get(name) or like.dtype)


def read_variable(path: Path, name: str, dtype: np.dtype) -> np.ndarray:
    """A variable of one shard as numbers or text: intensities on their scale of 0-100, angles from cell and hkl."""
    with h5py.File(path, "r") as file:
        if name in {"id", "formula"}:
            return read_text(file, name)
        if name == "intensity":
            intensity: np.ndarray = (file[name][...] * INTENSITY_STEP).astype(dtype)
            return intensity
        if name == "two_theta":
            metric = cell_to_reciprocal_metric(np.stack([file[column][...] for column in CELL], axis=1))
            wavelength = float(np.squeeze(file.attrs["wavelength"]))
            each = np.repeat(metric, file["peak_count"][...], axis=0)
            return hkl_to_two_theta(file["hkl"][...].T, each, wavelength=wavelength)
        values: np.ndarray = file[name][...].astype(dtype)
    return values
