"""A folder or a file of several scans becomes frames in the order of their values; what is odd is noted."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from xxact_core.errors import InputError
from xxact_core.series.frames import read_frames

ANGLES = np.arange(20, 60, 0.05)


def write(folder: Path, name: str, *, angles: np.ndarray = ANGLES, peak: float = 40.0) -> None:
    counts = 10 + 1000 * np.exp(-0.5 * ((angles - peak) / 0.1) ** 2)
    np.savetxt(folder / name, np.column_stack([angles, counts]), fmt="%.4f")


def test_frames_are_in_the_order_of_the_values_in_the_names(tmp_path: Path) -> None:
    for temperature in (1000, 25, 300):
        write(tmp_path, f"CaCO3_{temperature}C.xy")
    frames = read_frames(tmp_path, by="temperature", wavelength="CuKa")
    assert [frame.value for frame in frames.frames] == [25, 300, 1000]
    assert (frames.by, frames.unit, frames.notes) == ("temperature", "°C", ())
    assert all(frame.pattern is not None and frame.pattern.wavelength for frame in frames.frames)


def test_the_quantity_that_changes_is_found_and_told(tmp_path: Path) -> None:
    for minutes in (5, 10):
        write(tmp_path, f"CaCO3_450C_{minutes}min.xy")
    frames = read_frames(tmp_path)
    assert (frames.by, frames.unit) == ("time", "min")
    assert frames.notes == ("the series runs over time, which the files state",)


def test_without_values_frames_are_numbered_and_missing_ones_are_told(tmp_path: Path) -> None:
    for number in (1, 2, 5, 10):
        write(tmp_path, f"scan_{number}.xy")
    frames = read_frames(tmp_path)
    assert [frame.value for frame in frames.frames] == [1, 2, 5, 10]
    assert frames.notes == ("frames are missing: 3-4, 6-9",)


def test_times_in_file_names_are_numbers_without_missing_ones(tmp_path: Path) -> None:
    for time in (20231105123000, 20231207123000, 20240105123000):
        write(tmp_path, f"scan_{time}.xy")
    frames = read_frames(tmp_path, by="frame", wavelength="CuKa")
    assert [frame.value for frame in frames.frames] == [20231105123000, 20231207123000, 20240105123000]
    assert frames.notes == ()


def test_a_file_that_cannot_be_read_is_a_frame_with_an_error(tmp_path: Path) -> None:
    for number in (1, 2, 3):
        write(tmp_path, f"scan_{number}.xy")
    (tmp_path / "scan_2.xy").write_text("20.0 abc\n")
    (tmp_path / "picture.png").write_bytes(b"\x89PNG")
    (tmp_path / ".hidden").write_text("")
    frames = read_frames(tmp_path)
    assert [frame.file for frame in frames.frames] == ["scan_1.xy", "scan_2.xy", "scan_3.xy"]
    assert [bool(frame.error) for frame in frames.frames] == [False, True, False]
    assert "scan_2.xy" in frames.frames[1].error
    assert frames.notes == ("1 file without a pattern left out (picture.png)",)


def test_unequal_ranges_and_wavelengths_are_noted(tmp_path: Path) -> None:
    write(tmp_path, "scan_1.xy")
    write(tmp_path, "scan_2.xy", angles=np.arange(20, 45, 0.05))
    (tmp_path / "scan_3.csv").write_text(
        "# wavelength = 0.7093 Å\n" + "\n".join(f"{angle:.2f},{10 + (k == 100) * 99}" for k, angle in enumerate(ANGLES))
    )
    notes = read_frames(tmp_path).notes
    assert any(note.startswith("the frames do not cover the same angles: 20-") for note in notes)
    assert any(note.startswith("the frames do not have the same wavelength: no wavelength") for note in notes)


def test_values_that_repeat_keep_the_order_of_the_names(tmp_path: Path) -> None:
    for number, temperature in enumerate((25, 300, 500, 300)):
        write(tmp_path, f"{number:03d}_{temperature}C.xy")
    frames = read_frames(tmp_path, by="temperature")
    assert [frame.value for frame in frames.frames] == [25, 300, 500, 300]
    assert frames.notes == (
        "values of temperature repeat: the frames are in the order of their names, not of the values",
    )


def test_a_table_gives_values_and_names_files_that_are_missing(tmp_path: Path) -> None:
    for name in ("b.xy", "a.xy", "c.xy"):
        write(tmp_path, name)
    (tmp_path / "values.csv").write_text("file,temperature [K]\nb.xy,300\na,400\nlost.xy,350\n")
    frames = read_frames(tmp_path, by="temperature", values=tmp_path / "values.csv")
    assert [(frame.file, frame.value) for frame in frames.frames] == [
        ("b.xy", 300), ("lost.xy", 350), ("a.xy", 400), ("c.xy", None),
    ]  # fmt: skip
    assert frames.frames[1].error == "the file is missing"
    assert "1 file of the table missing in the folder (lost.xy)" in frames.notes
    assert "1 frame without a temperature at the end (c.xy)" in frames.notes


def test_a_table_without_names_has_one_value_for_each_frame(tmp_path: Path) -> None:
    for name in ("a.xy", "b.xy"):
        write(tmp_path, name)
    table = tmp_path / "values.csv"
    table.write_text("T [K]\n400\n300\n")
    assert [frame.file for frame in read_frames(tmp_path, values=table).frames] == ["b.xy", "a.xy"]
    table.write_text("T [K]\n400\n300\n200\n")
    with pytest.raises(InputError, match="has 3 values for 2 frames"):
        read_frames(tmp_path, values=table)
    table.write_text("file,T\nother.xy,3\n")
    with pytest.raises(InputError, match=r"names none of the 2 files \(a.xy, b.xy\), but other.xy"):
        read_frames(tmp_path, values=table)


def test_all_scans_of_a_file_are_frames(shared_data: Path) -> None:
    frames = read_frames(shared_data / "formats" / "xrdml" / "xrdtools__test_area.xrdml")
    assert len(frames) == 76
    assert [frame.scan for frame in frames.frames] == list(range(76))
    assert [frame.value for frame in frames.frames] == list(range(76))


def test_exports_of_one_scan_in_several_formats_are_noted(tmp_path: Path) -> None:
    for name in ("scan_1.xy", "scan_1.dat", "scan_2.xy"):
        write(tmp_path, name)
    frames = read_frames(tmp_path)
    assert len(frames) == 3
    assert any("1 name with several endings (scan_1)" in note for note in frames.notes)
    assert len(read_frames(tmp_path, files="*.xy")) == 2


def test_a_folder_without_patterns_and_a_quantity_without_values_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="the folder has no pattern files"):
        read_frames(tmp_path)
    write(tmp_path, "scan_1.xy")
    with pytest.raises(InputError, match=r"no file states a temperature .* with a unit \(K, °C\)"):
        read_frames(tmp_path, by="temperature")
    with pytest.raises(InputError, match=r"the folder has no pattern files named \*.raw"):
        read_frames(tmp_path, files="*.raw")


@pytest.mark.parametrize(
    ("titles", "by", "expected", "values", "unit"),
    [
        ("25C,100C,200C", None, "temperature", [25, 100, 200], "°C"),
        ("25,100,200", "temperature", "temperature", [25, 100, 200], ""),
        ("25,100,200", None, "frame", [25, 100, 200], ""),
        ("0.5 GPa,2 GPa,1 GPa", "pressure", "pressure", [0.5, 1, 2], "GPa"),
        ("run a,run b,run c", None, "frame", [0, 1, 2], ""),
    ],
)
def test_columns_of_a_table_are_frames_whose_titles_state_the_values(
    tmp_path: Path, titles: str, by: str | None, expected: str, values: list[float], unit: str
) -> None:
    rows = [f"{angle:.2f},{10 + k % 5},{20 + k % 7},{30 + k % 3}" for k, angle in enumerate(ANGLES)]
    (tmp_path / "heating.csv").write_text("\n".join([f"2theta,{titles}", *rows]))
    frames = read_frames(tmp_path / "heating.csv", by=by, wavelength="CuKa")
    assert (frames.by, frames.unit) == (expected, unit)
    assert [frame.value for frame in frames.frames] == values
