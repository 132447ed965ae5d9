"""NeXus and other HDF5."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from pattern_files import ANGLES, COUNTS, assert_scan, nexus, refused

from xxact_core.errors import PatternError
from xxact_core.readers.read import read_pattern, read_scans


def test_nexus_gives_its_default_curve_and_what_it_says() -> None:
    pattern = read_pattern(nexus(curves=2))
    assert_scan(pattern, wavelength=(2 * 1.540598 + 1.544426) / 3)
    assert {"anode": "Cu", "kalpha2": "ratio 0.5", "step_seconds": "39.27", "sample": "corundum"}.items() <= dict(
        pattern.metadata
    ).items()
    assert any("2 scans; the first" in note for note in pattern.warnings)
    assert_scan(read_pattern(nexus(curves=2), scan=1), counts=COUNTS + 1, wavelength=pattern.wavelength)


def test_nexus_axes_in_radians_are_turned_and_in_q_become_angles() -> None:
    assert_scan(read_pattern(nexus(unit="rad", factor=np.pi / 180)), wavelength=1.541874)
    pattern = read_pattern(nexus(axis="q", unit="1/nm"), wavelength=1.54)
    np.testing.assert_allclose(4 * np.pi / 1.54 * np.sin(np.radians(pattern.two_theta / 2)), ANGLES / 10)


def test_nexus_of_neutrons_other_axes_and_maps_is_refused_by_name() -> None:
    refused(nexus(probe="neutron"), "E_RADIATION", "neutrons")
    refused(nexus(axis="time_of_flight", unit="us"), "E_AXIS", "time_of_flight")
    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file:
        data = file.create_group("entry")
        data.attrs.update({"signal": "map", "axes": ["x", "two_theta"]})
        data["map"], data["two_theta"] = np.ones((5, 200)), ANGLES
    refused(buffer.getvalue(), "E_FORMAT", "2 dimensions.*maps and images are not read")


def test_nexus_follows_no_link_out_of_the_file(tmp_path: object) -> None:
    outside = f"{tmp_path}/outside.h5"
    with h5py.File(outside, "w") as file:
        file["counts"], file["two_theta"] = COUNTS, ANGLES
    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file:
        data = file.create_group("entry")
        data.attrs.update({"signal": "counts", "axes": ["two_theta"]})
        data["counts"] = h5py.ExternalLink(outside, "/counts")
        data["two_theta"] = ANGLES
        data["loop"] = h5py.SoftLink("/entry/loop")
    refused(buffer.getvalue(), "E_FORMAT", "links to other files not followed")
    layout = h5py.VirtualLayout(shape=(200,), dtype="i8")
    layout[:] = h5py.VirtualSource(outside, "counts", shape=(200,))
    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file:
        data = file.create_group("entry")
        data.attrs.update({"signal": "counts", "axes": ["two_theta"]})
        data.create_virtual_dataset("counts", layout)
        data["two_theta"] = ANGLES
    refused(buffer.getvalue(), "E_FORMAT", "links to other files not followed")


@pytest.mark.parametrize("default", ["/entry", "/", ".", "none", "/entry/curve0"])
def test_nexus_defaults_that_lead_in_a_ring_or_nowhere_come_to_an_end(default: str) -> None:
    buffer = io.BytesIO(nexus())
    with h5py.File(buffer, "r+") as file:
        file.attrs["default"] = file["entry"].attrs["default"] = default
    assert_scan(read_pattern(buffer.getvalue()), wavelength=1.541874)


@pytest.mark.parametrize(
    ("storage", "told"),
    [
        ({"chunks": (50,), "compression": "gzip", "shuffle": True, "fletcher32": True}, ""),
        ({"chunks": (50,), "compression": "lzf"}, ""),
        ({"chunks": (50,), "scaleoffset": 2}, "unknown filters"),
        ({"shape": (400_000,), "dtype": "f8", "chunks": (1000,)}, "declares 400000 values, but 0 bytes are stored"),
    ],
)
def test_nexus_data_that_cannot_be_what_they_say_are_refused(storage: dict[str, Any], told: str) -> None:
    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file:
        for name, values in (("two_theta", ANGLES), ("counts", COUNTS)):
            given = storage if "shape" in storage else {"data": values.astype("f8"), **storage}
            file.create_dataset(f"scan/{name}", **given)
    if told:
        refused(buffer.getvalue(), "E_FORMAT", told)
    else:
        assert_scan(read_pattern(buffer.getvalue()))


def test_nexus_soft_links_within_the_file_are_followed() -> None:
    buffer = io.BytesIO(nexus())
    with h5py.File(buffer, "r+") as file:
        file.move("/entry/curve0/intensity", "/entry/instrument/counts")
        file["/entry/curve0/intensity"] = h5py.SoftLink("../instrument/counts")
    assert_scan(read_pattern(buffer.getvalue()), wavelength=1.541874)


def test_hdf5_without_classes_is_read_by_the_names_of_its_data() -> None:
    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file:
        file["scan/TwoTheta"], file["scan/Intensity"] = ANGLES, COUNTS
    assert_scan(read_pattern(buffer.getvalue()))


def test_nexus_of_huge_dimensions_is_refused_unread() -> None:
    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file:
        data = file.create_group("entry")
        data.attrs.update({"signal": "counts", "axes": ["two_theta"]})
        data.create_dataset("counts", shape=(10**12,), dtype="f8", chunks=(1000,))
        data.create_dataset("two_theta", shape=(10**12,), dtype="f8", chunks=(1000,))
    refused(buffer.getvalue(), "E_TOO_LARGE", "1000000000000 points")


def written(build: Callable[[h5py.File], None]) -> bytes:
    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file:
        build(file)
    return buffer.getvalue()


def test_edges_of_bins_become_their_centres() -> None:
    def build(file: h5py.File) -> None:
        data = file.create_group("entry/data")
        data.attrs.update({"NX_class": "NXdata", "signal": "intensity", "axes": ["two_theta"]})
        data["intensity"] = COUNTS
        data["two_theta"] = np.append(ANGLES - 0.01, ANGLES[-1] + 0.01)

    pattern = read_pattern(written(build))
    np.testing.assert_allclose(pattern.two_theta, ANGLES)
    assert any("edges of bins" in note for note in pattern.warnings)


def test_points_that_are_no_numbers_are_refused_without_a_warning_of_numpy(
    capfd: pytest.CaptureFixture[str],
) -> None:
    signalling_nan = np.array([0x7FF0000000000001], np.uint64).view(np.float64)

    def build(file: h5py.File) -> None:
        data = file.create_group("entry/data")
        data.attrs.update({"NX_class": "NXdata", "signal": "intensity", "axes": ["two_theta"]})
        data["intensity"], data["two_theta"] = COUNTS, np.concatenate([signalling_nan, ANGLES[1:]])
        data["two_theta"].attrs["units"] = "rad"

    with pytest.raises(PatternError, match="point 1: the angle is nan"):
        read_pattern(written(build))
    assert "RuntimeWarning" not in capfd.readouterr().err


@pytest.mark.parametrize(
    ("unit", "factor"),
    [("1/nanometer", 10), ("nm^-1", 10), ("1/nm", 10), ("nanometre-1", 10), ("1/angstrom", 1), ("Å^-1", 1), ("A-1", 1)],
)
def test_units_of_q_are_read_in_every_spelling(unit: str, factor: float) -> None:
    q = 4 * np.pi * np.sin(np.deg2rad(ANGLES) / 2) / 1.541874

    def build(file: h5py.File) -> None:
        data = file.create_group("entry/data")
        data.attrs.update({"NX_class": "NXdata", "signal": "intensity", "axes": ["q"]})
        data["intensity"], data["q"] = COUNTS, q * factor
        data["q"].attrs["units"] = unit
        file["entry/wavelength"] = 0.1541874
        file["entry/wavelength"].attrs["units"] = "nanometer"

    np.testing.assert_allclose(read_pattern(written(build)).two_theta, ANGLES, atol=1e-4)


def test_variables_of_xarray_are_patterns(tmp_path: Path) -> None:
    import xarray as xr

    coords = {"two_theta": ANGLES, "run": [300, 400]}
    rows = xr.DataArray(np.stack([COUNTS, 2 * COUNTS]), dims=("run", "two_theta"), coords=coords, name="heating")
    one = xr.DataArray(COUNTS, dims="two_theta", coords={"two_theta": ANGLES}, attrs={"wavelength": "0.15406 nm"})
    both = xr.Dataset({"a": one, "b": 2 * one})
    for value, count in ((rows, 2), (one, 1), (both, 2)):
        value.to_netcdf(tmp_path / "made.nc", engine="h5netcdf")
        scans = read_scans((tmp_path / "made.nc").read_bytes())
        assert len(scans) == count
        for factor, scan in enumerate(scans, 1):
            np.testing.assert_allclose(scan.two_theta, ANGLES)
            np.testing.assert_array_equal(scan.intensity, factor * COUNTS)
    packing = {"dtype": "int16", "scale_factor": 0.02, "add_offset": 10.0, "_FillValue": -1}
    gaps = one.where(one != 7).rename("a").to_dataset()
    gaps.to_netcdf(
        tmp_path / "packed.nc",
        engine="h5netcdf",
        encoding={"a": {"dtype": "int16", "_FillValue": -1}, "two_theta": packing},
    )
    packed = read_pattern((tmp_path / "packed.nc").read_bytes())
    np.testing.assert_allclose(packed.two_theta, np.delete(ANGLES, 6))
    np.testing.assert_array_equal(packed.intensity, np.delete(COUNTS, 6))
    image = xr.DataArray(np.zeros((50, 60)), dims=("y", "x"), coords={"x": np.arange(60.0)})
    image.to_netcdf(tmp_path / "image.nc", engine="h5netcdf")
    refused((tmp_path / "image.nc").read_bytes(), "E_FORMAT", "maps and images are not read")
