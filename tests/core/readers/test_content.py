"""Zip archives and sizes: refused before they do harm."""

from __future__ import annotations

import contextlib
import io
import stat
import time
import tracemalloc
import zipfile
from pathlib import Path

import numpy as np
import pytest
from pattern_files import archive, ras, rasx, refused

from xxact_core.errors import PatternError
from xxact_core.readers import content
from xxact_core.readers.content import read_members
from xxact_core.readers.read import read_pattern


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


def test_archive_whose_member_has_another_size_than_declared_is_refused() -> None:
    honest = archive({"a.txt": b"0123456789" * 10})
    directory = honest.rindex(b"PK\x01\x02")
    lying = bytearray(honest)
    lying[directory + 24 : directory + 28] = (150).to_bytes(4, "little")  # too little for the check of the ratio
    refused(bytes(lying), "E_BOMB", "unpacks to another size than declared")


def test_encrypted_archives_are_refused_by_name() -> None:
    encrypted = bytearray(archive({"a.txt": b"0123456789"}))
    for signature, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        encrypted[encrypted.index(signature) + offset] |= 1
    refused(bytes(encrypted), "E_BOMB", "is encrypted")


def test_archives_of_many_small_members_are_refused_for_their_total() -> None:
    noise = np.random.default_rng(0).bytes(9_000)
    several = {f"{index}.xml": noise * 200 for index in range(75)}  # each below the size that is checked alone
    with pytest.raises(PatternError, match="unpacks to more than 128 MB"):
        read_members(archive(several), name="scan")


def test_an_archive_of_something_else_is_refused() -> None:
    refused(archive({"xl/workbook.xml": b"<a/>"}), "E_FORMAT", "an Excel workbook")


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
    monkeypatch.setattr(content, "MAX_BYTES", 100)
    refused(ras().encode(), "E_TOO_LARGE", "expected at most")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"###CBF: VERSION 1.5\n" + b"10 5\n" * 50, "detector image"),
        (b"{\nHeaderID = EH:000001 ;\n" + b"10 5\n" * 50, "detector image"),
        (b"\x93NUMPY\x01\0" + b"10 5\n" * 50, "NumPy array"),
        (b"CDF\x01" + b"10 5\n" * 50, "netCDF-3"),
        (("\t".join(str(n % 7) for n in range(40)) + "\n").encode() * 40, "a map or an image"),
        (("\t".join(str(n % 7) for n in range(500)) + "\n").encode() * 40, "like an image or a map"),
    ],
)
def test_images_and_tables_of_others_are_refused_by_name(content: bytes, words: str) -> None:
    refused(content, "E_TOO_LARGE" if "like" in words else "E_FORMAT", words)


_BAIT = {
    "newlines": b"\n",
    "blanks": b" ",
    "digits": b"1",
    "digits a line": b"1\n",
    "numbers": b"1;2\n",
    "commas": b",\n",
    "comments": b"#\n",
    "quotes": b'"1",',
    "blocks": b"data_a\n",
    "texts": b"data_a\n;a\n",
    "scans": b"#S 1 a\n",
    "records": b"##TITLE=a\n",
    "banks": b"BANK 1 2 3 CONST 1 1 0 0 FXY\n",
    "starts": b"*START=1\n",
    "rigaku": b"*RAS_INT_START\n",
    "statements": b"# wavelength energy sample 1\n",
    "drives": b"_DRIVE=1\n",
    "xml": b"<scan ",
    "titles": b"2theta (rad)\n",
}


@pytest.mark.parametrize("bait", _BAIT)
@pytest.mark.parametrize("end", [b"", b"10 5\n11 6\n12 7\n" * 20, b"x"])
def test_no_text_takes_quadratic_time(bait: str, end: bytes) -> None:
    piece = _BAIT[bait]
    front = b"<xrdMeasurements>" if bait == "xml" else b""
    data = front + piece * (1_000_000 // len(piece)) + end
    before = time.process_time()
    with contextlib.suppress(PatternError):
        read_pattern(data, name="bait")
    assert time.process_time() - before < 10  # 0.1 to 1.5 s where nothing else runs; quadratic ones take minutes
