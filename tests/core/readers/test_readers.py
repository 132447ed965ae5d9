"""Files of diffractometers: right numbers, the stated wavelength, or a refusal by name."""

from __future__ import annotations

import csv
import importlib.util
import io
import stat
import sys
import tracemalloc
import zipfile
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from pattern_files import ANGLES, COUNTS, archive, brml, powder_cif, ras, rasx, refused, xrdml

from xxact_core.errors import PatternError
from xxact_core.readers import read as readers
from xxact_core.readers.archives import read_members
from xxact_core.readers.read import read_pattern

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


def assert_scan(data: bytes, *, wavelength: float | None, name: str = "scan") -> None:
    pattern = read_pattern(data, name=name)
    np.testing.assert_allclose(pattern.two_theta, ANGLES, atol=1e-6)
    np.testing.assert_array_equal(pattern.intensity, COUNTS)
    assert pattern.wavelength == pytest.approx(wavelength, abs=1e-6)


def test_xrdml_gives_the_mean_of_its_doublet_and_alpha_1_behind_germanium() -> None:
    mean = (2 * 1.540598 + 1.544426) / 3
    assert_scan(xrdml().encode(), wavelength=mean)
    germanium = '<monochromator id="1" name="Hybrid monochr. 2xGe(220) Cu asym."></monochromator>'
    graphite = '<monochromator id="1" name="Diffracted beam graphite"></monochromator>'
    assert_scan(xrdml(optics=germanium).encode(), wavelength=1.540598)
    assert_scan(xrdml(optics=graphite).encode(), wavelength=mean)
    assert_scan(xrdml(ratio=0).encode(), wavelength=1.540598)
    assert_scan(xrdml().encode("utf-16"), wavelength=mean)
    assert read_pattern(xrdml().encode(), wavelength=0.7093).wavelength == 0.7093


def test_ras_and_rasx_give_their_wavelength() -> None:
    mean = (2 * 1.540593 + 1.544414) / 3
    assert_scan(ras().encode(), wavelength=mean)
    assert_scan(ras(wave="Ka1").encode(), wavelength=1.540593)
    assert_scan(ras(axis="2\u03b8/\u03b8").encode("shift_jis"), wavelength=mean)
    assert_scan(archive(rasx()), wavelength=mean)


def test_ras_counts_are_multiplied_by_their_attenuation() -> None:
    text = ras().replace("10.1000 6.0000 1.0000", "10.1000 6.0000 2.5000")
    assert read_pattern(text.encode()).intensity[5] == 15


@pytest.mark.parametrize("axis", ["Omega", "Phi", "Chi", "Z"])
def test_scans_over_another_axis_are_refused(axis: str) -> None:
    refused(xrdml(axis=axis).encode(), "E_AXIS", f"runs over '{axis}'; expected 2θ")
    refused(ras(axis=axis).encode(), "E_AXIS", f"runs over '{axis}'; expected 2θ")


def test_powder_cif_prefers_corrected_angles_and_measured_counts() -> None:
    assert_scan(powder_cif().encode(), wavelength=1.5405)
    rows = "\n".join(f"{angle + 1:.2f} 3 {angle:.2f} {count} 9" for angle, count in zip(ANGLES, COUNTS, strict=True))
    columns = (
        "_pd_meas_2theta_scan\n_pd_calc_intensity_total\n_pd_proc_2theta_corrected\n_pd_proc_intensity_total\n"
        "_pd_proc_ls_weight"
    )
    text = f"data_a\n_cell_length_a 4.1\ndata_b\n_diffrn_radiation_type 'Cu K\\a'\nloop_\n{columns}\n{rows}\n"
    assert_scan(text.encode(), wavelength=1.54184)


def test_powder_cif_with_a_range_in_place_of_angles() -> None:
    counts = "\n".join(map(str, COUNTS))
    head = "data_a\n_pd_meas_2theta_range_min 10.0\n_pd_meas_2theta_range_max 13.98\n_pd_meas_2theta_range_inc 0.02\n"
    doublet = "loop_\n_diffrn_radiation_wavelength\n_diffrn_radiation_wavelength_wt\n1.540598 1.0\n1.544426 0.5\n"
    assert_scan(
        f"{head}{doublet}loop_\n_pd_meas_counts_total\n{counts}\n".encode(), wavelength=(2 * 1.540598 + 1.544426) / 3
    )
    short = "\n".join(map(str, COUNTS[:150]))
    refused(f"{head}loop_\n_pd_meas_counts_total\n{short}\n".encode(), "E_TRUNCATED", "150 points do not fit the range")


def test_powder_cif_refusals_name_what_is_there() -> None:
    refused(powder_cif(extra="_diffrn_radiation_probe neutron").encode(), "E_RADIATION", "neutrons")
    columns = "_pd_meas_time_of_flight _pd_meas_counts_total"
    refused(powder_cif(columns=columns).encode(), "E_AXIS", "time of flight")
    refused(
        b"data_x\n_cell_length_a 4.1\nloop_\n_atom_site_label\nLa1\n", "E_FORMAT", "without a measured powder pattern"
    )
    refused(powder_cif().replace("25(7)", "1e999").encode(), "E_VALUES", "row 25")
    refused(powder_cif().rsplit(" ", 1)[0].encode(), "E_TRUNCATED", "cut off")


def test_powder_cif_points_without_a_value_are_left_out_with_a_note() -> None:
    pattern = read_pattern(powder_cif().replace(" 25(7)", " ?").encode())
    assert pattern.two_theta.size == ANGLES.size - 1
    assert any("1 points without a value" in note for note in pattern.warnings)


def test_gsas_hundredths_of_a_degree_are_degrees_and_flight_banks_are_refused() -> None:
    rows = "".join(f"{100 * angle:.1f} {count}.0 1.0\n" for angle, count in zip(ANGLES, COUNTS, strict=True))
    assert_scan(
        f"title\nBANK 1 {ANGLES.size} {ANGLES.size} CONST 1000.0 2.0 0 0 FXYE\n{rows}".encode(), wavelength=None
    )
    refused(f"title\nBANK 1 200 20 SLOG 1000.0 9000.0 0.001 0 FXYE\n{rows}".encode(), "E_AXIS", "time-of-flight")


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
    assert_scan(rows.encode(), wavelength=None, name=f"scan.{suffix}")


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


def test_deep_and_foreign_xml_is_refused() -> None:
    deep = b"<xrdMeasurements>" + b"<a>" * 2_000_000 + b"</a>" * 2_000_000 + b"</xrdMeasurements>"
    refused(deep, "E_FORMAT", "nesting")
    refused(b"<html><body>10 5</body></html>", "E_FORMAT", "no XRDML")


def test_archives_that_unpack_to_too_much_are_refused_before_they_do() -> None:
    refused(archive({"Experiment0/RawData0.xml": b"0" * 30_000_000}), "E_BOMB", "more than 200 times")
    inner = archive({"a.txt": b"1"})
    refused(archive({"Data0/Profile0.txt": inner}), "E_BOMB", "archive within an archive")
    refused(archive({f"member{index}": b"" for index in range(10_001)}), "E_BOMB", "10001 members")
    several = {f"{index}.xml": np.random.default_rng(index).bytes(300_000) * 100 for index in range(5)}
    with pytest.raises(PatternError, match=r"128 MB|200 times") as refusal:
        read_members(archive(several, compression=zipfile.ZIP_STORED), name="scan")
    assert refusal.value.code == "E_BOMB"


@pytest.mark.parametrize("name", ["../x.xml", "/etc/x.xml", "C:\\x.xml", "a/../../x.xml", "..\\x.xml"])
def test_archives_with_paths_that_leave_them_are_refused(name: str, tmp_path: Path) -> None:
    refused(archive(rasx(**{name: b"1"})), "E_BOMB", "leaves the archive")
    assert not list(tmp_path.iterdir())


def test_archives_with_names_that_hide_their_end_are_refused() -> None:
    hidden = archive(rasx(**{"a.xml_.txt": b"1"})).replace(b"a.xml_.txt", b"a.xml\0.txt")
    refused(hidden, "E_BOMB", "leaves the archive")


def test_archives_with_links_repeats_and_lies_are_refused() -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as written:
        link = zipfile.ZipInfo("Data0/Profile0.txt")
        link.external_attr = (stat.S_IFLNK | 0o777) << 16
        written.writestr(link, "/etc/passwd")
    refused(buffer.getvalue(), "E_BOMB", "is a link")
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as written:
        written.writestr("a.xml", "1")
        with pytest.warns(UserWarning, match="Duplicate"):
            written.writestr("a.xml", "2")
    refused(buffer.getvalue(), "E_BOMB", "occurs twice")
    overlapping = bytearray(archive({"a.txt": b"0123456789", "b.txt": b"0123456789"}, compression=zipfile.ZIP_STORED))
    directory = overlapping.rindex(b"PK\x01\x02")
    overlapping[directory + 42 : directory + 46] = (5).to_bytes(4, "little")
    refused(bytes(overlapping), "E_BOMB", "overlaps another member")
    honest = archive({"a.txt": b"0123456789" * 10})
    directory = honest.rindex(b"PK\x01\x02")
    for lie in (5, 90_000):
        lying = bytearray(honest)
        lying[directory + 24 : directory + 28] = lie.to_bytes(4, "little")
        with pytest.raises(PatternError) as refusal:
            read_pattern(bytes(lying))
        assert refusal.value.code in {"E_BOMB", "E_TRUNCATED"}


def test_an_archive_of_something_else_is_refused() -> None:
    refused(archive({"xl/workbook.xml": b"<a/>"}), "E_FORMAT", "neither BRML nor RASX")


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


def test_an_xrdml_without_its_end_is_cut_off() -> None:
    refused(xrdml().rpartition("</")[0].encode(), "E_TRUNCATED", "cut off; expected </xrdMeasurements>")


def test_a_powder_cif_with_fewer_points_than_it_says_is_refused() -> None:
    assert_scan(powder_cif(extra="_pd_meas_number_of_points 200").encode(), wavelength=1.5405)
    refused(powder_cif(extra="_pd_meas_number_of_points 201").encode(), "E_TRUNCATED", "200 points, the file says 201")


def test_a_path_is_read_and_its_name_kept(tmp_path: Path) -> None:
    path = tmp_path / "näme with blanks.ras"
    path.write_bytes(ras().encode())
    assert read_pattern(path).name == path.name
    assert read_pattern(str(path), name="mine").name == "mine"
    with pytest.raises(FileNotFoundError):
        read_pattern(tmp_path / "missing.xy")
    with pytest.raises(PatternError, match="is a folder; expected the files in it"):
        read_pattern(tmp_path)


def test_a_file_over_the_limit_is_refused_unread(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "large.xy"
    with path.open("wb") as stream:
        stream.truncate(10**9)
    tracemalloc.start()
    with pytest.raises(PatternError, match="954 MB; expected at most 64 MB") as refusal:
        read_pattern(path)
    assert tracemalloc.get_traced_memory()[1] < 2**20
    tracemalloc.stop()
    assert refusal.value.code == "E_TOO_LARGE"
    monkeypatch.setattr(readers, "MOST_BYTES", 100)
    refused(ras().encode(), "E_TOO_LARGE", "expected at most")


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


# ---------------------------------------------------------------------------------------- the larger collection
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


def test_the_certified_lanthanum_hexaboride_is_read_in_its_regions(shared_data: Path) -> None:
    pattern = read_pattern(shared_data / "formats" / "cif" / "rietx__nist_srm660c_100a.cif")
    assert pattern.two_theta.size == 5332
    assert (pattern.two_theta[0], pattern.two_theta[-1]) == (20.3, 150.908)
    assert (pattern.two_theta[pattern.intensity.argmax()], pattern.intensity.max()) == (30.41, 4319)
    assert (np.diff(pattern.two_theta) > 1).sum() == 23
    assert pattern.wavelength == 1.54184


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
