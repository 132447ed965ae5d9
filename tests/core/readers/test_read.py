"""Right numbers, the stated wavelength, or a refusal by name, whatever a file is called."""

from __future__ import annotations

import csv
import importlib.util
import io
import re
import struct
import sys
from pathlib import Path
from types import ModuleType

import h5py
import numpy as np
import pytest
from pattern_files import (
    ANGLES,
    COUNTS,
    archive,
    assert_scan,
    brml,
    lines,
    nexus,
    philips_rd,
    philips_udf,
    powder_cif,
    ras,
    rasx,
    raw_1,
    raw_2,
    raw_3,
    refused,
    stoe_raw,
    two_scans,
    xrdml,
)

from xxact_core.errors import PatternError
from xxact_core.patterns.pattern import Pattern
from xxact_core.readers.read import parse_scan, read_pattern, read_scans, sum_scans

SUFFIXES = [
    "xy",
    "xye",
    "csv",
    "txt",
    "dat",
    "prn",
    "asc",
    "chi",
    "xrdml",
    "ras",
    "rasx",
    "raw",
    "brml",
    "uxd",
    "gsas",
    "fxye",
    "cif",
    "unknown",
]
BINARY = {
    "raw_1": raw_1(),
    "raw_2": raw_2(),
    "raw_3": raw_3(),
    "stoe": stoe_raw(),
    "rd": philips_rd(),
    "sd": philips_rd(version=b"V5"),
    "brml": archive(brml()),
    "rasx": archive(rasx()),
    "nxs": nexus(),
}
TEXT = {"udf": philips_udf(), "ras": ras(), "xrdml": xrdml(), "cif": powder_cif()}


@pytest.mark.parametrize("axis", ["Omega", "Phi", "Chi", "Z"])
def test_scans_over_another_axis_are_refused(axis: str) -> None:
    refused(xrdml(axis=axis).encode(), "E_AXIS", f"runs over '{axis}'; expected 2θ")
    refused(ras(axis=axis).encode(), "E_AXIS", f"runs over '{axis}'; expected 2θ")


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (b"\x89PNG\r\n\x1a\n" + b"10.0 5\n" * 50, "PNG"),
        (b"%PDF-1.7\n" + b"10.0 5\n" * 50, "PDF"),
        (b"\x7fELF\x02\x01" + b"10.0 5\n" * 50, "program"),
        (b"\x1f\x8b\x08\0" + bytes(range(256)), "gzip"),
        (b"\x80\x04\x95" + b"cos\nsystem\n", "pickle"),
        (b"10.0 5\n" * 50 + b"\0\x01\x02", "binary"),
    ],
)
@pytest.mark.parametrize("suffix", ["xy", "raw", "xrdml"])
def test_foreign_content_is_refused_whatever_it_is_called(content: bytes, kind: str, suffix: str) -> None:
    refused(content, "E_FORMAT", f"is .*{kind}.*; expected one of", name=f"scan.{suffix}")


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_random_bytes_are_refused_under_every_suffix(suffix: str) -> None:
    generator = np.random.default_rng(len(suffix))
    starts = (
        b"",
        b"RAW ",
        b"RAW2",
        b"RAW1.01\0",
        b"RAW4.00\0",
        b"RAW_1.06",
        b"V3RD",
        b"V5RD",
        b".RAW\r",
        b"SampleIdent,a,/\n",
    )
    starts += (b"\x89HDF\r\n\x1a\n", b"PK\x03\x04", b"<?xml version='1.0'?>", b"*RAS_DATA_START\n")
    for start in starts:
        with pytest.raises(PatternError) as refusal:
            read_pattern(start + generator.bytes(3000), name=f"scan.{suffix}")
        assert refusal.value.code in {"E_FORMAT", "E_TRUNCATED", "E_VALUES", "E_TOO_LARGE"}


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_readable_text_is_read_under_every_suffix(suffix: str) -> None:
    rows = "".join(f"{angle:.2f} {count}\n" for angle, count in zip(ANGLES, COUNTS, strict=True))
    assert_scan(read_pattern(rows.encode(), name=f"scan.{suffix}"), wavelength=None)


@pytest.mark.parametrize(
    "head",
    [
        '<!DOCTYPE lolz [<!ENTITY lol "lol"><!ENTITY lol2 "&lol;&lol;&lol;">]>',
        '<!DOCTYPE x SYSTEM "file:///etc/passwd">',
        '<! DOCTYPE x [<!ENTITY e SYSTEM "http://localhost/pwn">]>',
    ],
)
def test_document_types_and_entities_are_refused_in_files_and_archives(head: str) -> None:
    for encoding in ("utf-8", "utf-16"):
        refused(xrdml(head=head).encode(encoding), "E_XML", "DOCTYPE|ENTITY")
        hostile = {"Data0/MesurementConditions0.xml": f"<?xml version='1.0'?>{head}<a/>".encode(encoding)}
        refused(archive(rasx(**hostile)), "E_XML", "DOCTYPE|ENTITY")


@pytest.mark.parametrize("kind", ["xrdml", "ras", "rasx", "brml", "cif"])
def test_vendor_files_cut_anywhere_are_refused_or_complete(kind: str) -> None:
    packed = {"rasx": archive(rasx()), "brml": archive(brml())}
    whole = {"xrdml": xrdml().encode(), "ras": ras().encode(), "cif": powder_cif().encode(), **packed}[kind]
    lengths = np.random.default_rng(0).integers(1, len(whole) - 30, 50)
    lengths = [length for length in lengths if whole[length - 1 : length] != b"\n"]
    read = []
    for length in lengths:
        try:
            read.append(read_pattern(whole[:length], name=f"scan.{kind}"))
        except PatternError:
            continue
    assert bool(read) == (kind == "cif")
    for pattern in read:
        assert any("truncated" in note for note in pattern.warnings)
        np.testing.assert_allclose(pattern.two_theta, ANGLES[: pattern.two_theta.size])


def test_a_path_is_read_and_its_name_kept(tmp_path: Path) -> None:
    path = tmp_path / "näme with blanks.ras"
    path.write_bytes(ras().encode())
    assert read_pattern(path).name == path.name
    assert read_pattern(str(path), name="mine").name == "mine"
    with pytest.raises(FileNotFoundError):
        read_pattern(tmp_path / "missing.xy")
    with pytest.raises(PatternError, match="is a folder; expected the files in it"):
        read_pattern(tmp_path)


def test_importing_the_readers_starts_no_heavy_library() -> None:
    import subprocess
    import sys

    code = "import sys, xxact_core.readers.read, xxact_core.processing.gridding; print(*sys.modules)"
    modules = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert "numpy" in modules
    assert not {"torch", "pybaselines", "geddes", "pymatgen"} & set(modules)


def test_every_example_is_read_with_the_wavelength_that_its_table_says(examples: Path) -> None:
    with (examples / "examples.csv").open(encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    assert len(rows) > 10
    for row in rows:
        pattern = read_pattern(examples / row["file"])
        assert (pattern.wavelength is None) == bool(row["wavelength"]), row["file"]
        assert pattern.two_theta[-1] - pattern.two_theta[0] > 20


@pytest.fixture(scope="module")
def benchmark(repository: Path) -> ModuleType:
    script = repository / "benchmarks" / "quality" / "readers.py"
    specification = importlib.util.spec_from_file_location("readers_benchmark", script)
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    sys.modules["readers_benchmark"] = module
    specification.loader.exec_module(module)
    return module


def test_the_collection_of_formats_is_read_right_or_refused_by_name(benchmark: ModuleType, shared_data: Path) -> None:
    rows = benchmark.read_truth(shared_data / "formats")
    verdicts = [benchmark.judge_file(row, shared_data / "formats") for row in rows]
    assert len(verdicts) == 80
    assert [verdict for verdict in verdicts if not verdict.meant] == []
    assert sum(not verdict.right for verdict in verdicts) == len(benchmark.REASONS)


def test_the_comparison_finds_what_differs(benchmark: ModuleType) -> None:
    row = dict.fromkeys(("n_points", "start", "stop", "max_intensity", "max_at", "wavelength"), "") | {"file": "scan"}
    pattern = read_pattern(ras().encode())
    assert benchmark.differences([pattern], row) == []
    truth = {"n_points": "200", "start": "10", "stop": "13.98", "max_intensity": "200", "max_at": "13.98"}
    assert benchmark.differences([pattern], row | truth) == []
    for key, value in (("n_points", "201"), ("start", "10.02"), ("max_intensity", "201"), ("max_at", "13.9")):
        assert len(benchmark.differences([pattern], row | truth | {key: value})) == 1


def test_twins_of_one_scan_agree(shared_data: Path) -> None:
    formats = shared_data / "formats"
    first = read_pattern(formats / "ras" / "M-DaC_XRD__XRD_RIGAKU.ras")
    second = read_pattern(formats / "csv" / "M-DaC_XRD__XRD_RIGAKU.csv")
    np.testing.assert_allclose(first.two_theta, second.two_theta)
    np.testing.assert_allclose(first.intensity, second.intensity)


def test_every_measured_text_and_vendor_file_of_the_collection_is_read(shared_data: Path) -> None:
    suffixes = {".xy", ".xye", ".csv", ".prn", ".xrdml", ".cif"}
    paths = [path for path in (shared_data / "experimental").rglob("*") if path.suffix in suffixes]
    paths = [path for path in paths if path.name != "labels.csv"]
    assert len(paths) > 200
    for path in paths:
        pattern = read_pattern(path)
        assert pattern.two_theta[-1] - pattern.two_theta[0] > 0.5, path.name
        assert (pattern.wavelength is not None) == (path.suffix in {".xrdml", ".cif"}), path.name


@pytest.mark.parametrize(
    "kind", ["ras", "xrdml", "rasx", "brml", "cif", "uxd", "gsas", "raw_1", "raw_1_old", "raw_2", "stoe"]
)
def test_scans_are_chosen_listed_and_summed(kind: str) -> None:
    data = two_scans(kind)
    first = read_pattern(data, name="scan")
    assert first.metadata["scans"] == "2"
    assert any("holds 2 " in note for note in first.warnings)
    listed = read_scans(data, name="scan")
    assert [scan.name for scan in listed] == ["scan, scan 0", "scan, scan 1"]
    for pattern in (first, read_pattern(data, scan=1), *listed):
        assert_scan(pattern, wavelength=pattern.wavelength)
    total = read_pattern(data, name="scan", scan="sum")
    assert_scan(total, counts=2 * COUNTS, wavelength=first.wavelength)
    assert (total.name, total.warnings[-1]) == ("scan", "the sum of 2 scans")
    with pytest.raises(PatternError, match="no scan 2; the file holds 2") as refusal:
        read_pattern(data, scan=2)
    assert refusal.value.code == "E_SCAN"


def test_a_scan_of_zeros_gives_way_to_the_next_with_a_note() -> None:
    empty = re.sub(r" [0-9]+\([0-9]\)", " 0", powder_cif())
    data = (empty + powder_cif().replace("data_scan", "data_second")).encode()
    first = read_pattern(data)
    assert_scan(first, wavelength=1.5405)
    assert any("the first are zero throughout and scan 1 was read" in note for note in first.warnings)
    assert_scan(read_pattern(data, scan=1), wavelength=1.5405)
    zero, other = read_scans(data)
    assert (zero.intensity.max(), other.intensity.max()) == (0, 200)
    assert "no intensity is above 0" in zero.warnings
    refused((empty + empty.replace("data_scan", "data_second")).encode(), "E_VALUES", "no intensity is above 0")
    refused(empty.encode(), "E_VALUES", r"the largest is 0\)$")


def test_values_of_binary_files_that_are_not_finite_are_refused_with_their_point() -> None:
    for value, told in ((float("nan"), "nan"), (float("inf"), "inf")):
        data = bytearray(raw_1())
        struct.pack_into("<f", data, len(data) - 4, value)
        refused(bytes(data), "E_VALUES", f"point 200: the intensity is {told}")
        buffer = io.BytesIO(nexus())
        with h5py.File(buffer, "r+") as file:
            del file["entry/curve0/intensity"]
            file["entry/curve0/intensity"] = np.where(COUNTS == 200, value, COUNTS)
        if told == "nan":  # a gap of the detector
            pattern = read_pattern(buffer.getvalue())
            assert pattern.two_theta.size == 199
            assert any("1 points without an intensity" in note for note in pattern.warnings)
        else:
            refused(buffer.getvalue(), "E_VALUES", f"point 200: the intensity is {told}")


def test_a_file_of_one_scan_has_no_second() -> None:
    for data in (
        *BINARY.values(),
        *(text.encode() for text in TEXT.values()),
        b"10.0 5\n10.1 6\n" + lines(COUNTS + 20, width=2).encode(),
    ):
        with pytest.raises(PatternError) as refusal:
            read_pattern(data, scan=1)
        assert refusal.value.code == "E_SCAN"


def test_scans_over_other_ranges_are_not_summed() -> None:
    scans = [Pattern(two_theta=ANGLES + shift, intensity=COUNTS, name=f"at {shift}") for shift in (0, 0.001, 0.01)]
    assert_scan(sum_scans(scans[:2]), counts=2 * COUNTS)
    with pytest.raises(PatternError, match=r"at 0.01: has 200 points from 10.01.*expected the same angles"):
        sum_scans([scans[0], scans[2]])
    with pytest.raises(PatternError, match="no scans"):
        sum_scans([])


def test_scans_are_written_as_numbers_or_as_sum() -> None:
    assert (parse_scan("3"), parse_scan(" Sum "), parse_scan("join")) == (3, "sum", "join")
    for text in ("", "-1", "first", "1.5", "²", "١"):
        with pytest.raises(PatternError, match="neither a number"):
            parse_scan(text)


@pytest.mark.parametrize("kind", BINARY)
def test_binary_files_cut_anywhere_are_refused(kind: str) -> None:
    whole = BINARY[kind]
    for length in np.random.default_rng(1).integers(5, len(whole) - 1, 50):
        with pytest.raises(PatternError) as refusal:
            read_pattern(whole[:length], name=f"scan.{kind}")
        assert refusal.value.code in {"E_TRUNCATED", "E_FORMAT"}, (kind, length)


@pytest.mark.parametrize("kind", [*BINARY, *TEXT])
def test_damaged_bytes_are_a_pattern_or_a_named_error(kind: str) -> None:
    whole = BINARY[kind] if kind in BINARY else TEXT[kind].encode()
    generator = np.random.default_rng(2)
    for _ in range(40):
        damaged = bytearray(whole)
        for place in generator.integers(4, min(len(whole), 1500), 4):
            damaged[place] = generator.integers(256)
        try:
            pattern = read_pattern(bytes(damaged), name="scan")
        except PatternError:
            continue
        assert np.isfinite(pattern.intensity).all()


def test_headers_that_promise_too_much_are_refused() -> None:
    bomb = bytearray(raw_1())
    struct.pack_into("<I", bomb, 4, 2**32 - 1)
    refused(bytes(bomb), "E_TRUNCATED", "4294967295 points")
    wide = bytearray(philips_rd())
    struct.pack_into("<d", wide, 214, 1e-9)
    refused(bytes(wide), "E_TOO_LARGE", "more points than 500000")
    struct.pack_into("<d", wide, 214, 5e-324)
    refused(bytes(wide), "E_TOO_LARGE", "more points than 500000")
    struct.pack_into("<d", wide, 214, float("nan"))
    refused(bytes(wide), "E_FORMAT", "expected a range within 0-180")
