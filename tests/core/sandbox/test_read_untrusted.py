"""Files of others are read in a process that is stopped where it takes too much, and give the same patterns."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from pattern_files import COUNTS, archive, brml, nexus, ras, raw_1
from typer.testing import CliRunner

from xxact_app.widgets.coerce_patterns import inputs_to_patterns
from xxact_core.commands import main as cli
from xxact_core.errors import PatternError, WavelengthError
from xxact_core.processes import end_child
from xxact_core.readers.read import read_pattern, read_scans
from xxact_core.readers.read_untrusted import PROCESSES, prepare_reading, read_untrusted_pattern


@pytest.fixture(autouse=True)
def _no_process_left() -> Iterator[None]:
    end_idle()
    yield
    end_idle()


def end_idle() -> None:
    while PROCESSES.idle:
        end_child(PROCESSES.idle.pop())


def replace_reader(monkeypatch: pytest.MonkeyPatch, body: str) -> None:
    """Let the process run `body` where it would read a file called `bad`."""
    code = (
        "from xxact_core.readers import worker\n"
        "read = worker.parse_scans\n"
        f"def bad():\n    {body}\n"
        "worker.parse_scans = lambda data, **more: bad() if more['name'] == 'bad' else read(data, **more)\n"
        "worker.main()"
    )
    monkeypatch.setattr(PROCESSES, "command", (sys.executable, "-P", "-c", code))


def test_patterns_and_errors_are_those_of_reading_here(tmp_path: Path) -> None:
    path = tmp_path / "näme.ras"
    path.write_bytes(ras().encode())
    assert read_untrusted_pattern(path) == read_pattern(path)
    for data in (archive(brml()), nexus(curves=2), raw_1()):
        assert read_untrusted_pattern(data, name="scan") == read_pattern(data, name="scan")
    assert read_untrusted_pattern(raw_1(scans=2), scan="sum", wavelength="MoKa") == read_pattern(
        raw_1(scans=2), scan="sum", wavelength="MoKa"
    )
    for data in (b"", b"\x89PNG", raw_1()[:200], b"10.0 5\n" * 50):
        with pytest.raises(PatternError) as here:
            read_pattern(data, name="scan")
        with pytest.raises(PatternError) as there:
            read_untrusted_pattern(data, name="scan")
        assert (str(there.value), there.value.code) == (str(here.value), here.value.code)
    with pytest.raises(WavelengthError):
        read_untrusted_pattern(path, wavelength=100)
    with pytest.raises(FileNotFoundError):
        read_untrusted_pattern(tmp_path / "missing.xy")


def test_one_process_reads_one_file_after_another() -> None:
    prepare_reading()
    (process,) = PROCESSES.idle
    for _ in range(3):
        read_untrusted_pattern(raw_1())
        with pytest.raises(PatternError):
            read_untrusted_pattern(b"no pattern")
    assert list(PROCESSES.idle) == [process]


def test_threads_read_at_the_same_time() -> None:
    with ThreadPoolExecutor(3) as pool:
        patterns = list(pool.map(read_untrusted_pattern, [raw_1()] * 6))
    assert all((pattern.intensity == COUNTS).all() for pattern in patterns)
    assert len(PROCESSES.idle) <= 2


@pytest.mark.parametrize("body", ["while True: pass", "import threading; threading.Event().wait()"])
def test_an_endless_parser_is_stopped_and_the_next_file_read(body: str, monkeypatch: pytest.MonkeyPatch) -> None:
    replace_reader(monkeypatch, body)
    read_untrusted_pattern(raw_1())
    with pytest.raises(PatternError, match=r"bad: reading it was stopped, it took more than 0\.3 s") as refusal:
        read_untrusted_pattern(raw_1(), name="bad", seconds=0.3)
    assert refusal.value.code == "E_LIMIT"
    assert not PROCESSES.idle
    assert read_untrusted_pattern(raw_1()).two_theta.size == 200


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux keeps a process to its address space")
@pytest.mark.parametrize("gigabytes", [1, 80])
def test_a_parser_that_takes_gigabytes_is_refused_them(gigabytes: int, monkeypatch: pytest.MonkeyPatch) -> None:
    replace_reader(monkeypatch, f"bytearray({gigabytes} * 2**30)")
    with pytest.raises(PatternError, match="bad: takes more than 1024 MB of memory to read") as refusal:
        read_untrusted_pattern(raw_1(), name="bad")
    assert refusal.value.code == "E_LIMIT"
    assert read_untrusted_pattern(raw_1()).two_theta.size == 200


def test_a_parser_that_breaks_its_process_breaks_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    replace_reader(monkeypatch, "import os; os.abort()")
    with pytest.raises(PatternError, match="bad: reading it was stopped, it crashed the process") as refusal:
        read_untrusted_pattern(raw_1(), name="bad")
    assert refusal.value.code == "E_LIMIT"
    assert read_untrusted_pattern(raw_1()).two_theta.size == 200


def identify(path: Path) -> None:
    CliRunner().invoke(cli.app, ["identify", str(path), "--elements", "Al,O"], catch_exceptions=False)


def give_to_widgets(path: Path) -> None:
    inputs_to_patterns([path])


@pytest.mark.parametrize("read", [read_pattern, read_scans, identify, give_to_widgets], ids=lambda read: read.__name__)
def test_hdf5_that_breaks_its_library_breaks_no_way_of_reading(
    read: Callable[[Path], object], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "bad").write_bytes(nexus())
    replace_reader(monkeypatch, "import os; os.abort()")
    with pytest.raises(PatternError, match="bad: reading it was stopped, it crashed the process") as refusal:
        read(tmp_path / "bad")
    assert refusal.value.code == "E_LIMIT"


def test_all_scans_of_hdf5_are_those_of_one_after_another() -> None:
    first, second = read_scans(nexus(curves=2), name="scan")
    assert (first.name, second.name) == ("scan, scan 0", "scan, scan 1")
    assert (first.intensity == COUNTS).all()
    assert (second.intensity == COUNTS + 1).all()
    assert first.warnings == second.warnings == ()
    assert (read_pattern(nexus(curves=2), scan="sum").intensity == 2 * COUNTS + 1).all()


def test_what_a_library_prints_does_not_mix_with_the_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    replace_reader(monkeypatch, "print('noise', flush=True); return read(b'', name='bad', wavelength=None, scan=0)")
    with pytest.raises(PatternError, match="the file is empty"):
        read_untrusted_pattern(raw_1(), name="bad")


def test_the_command_line_reads_the_scan_that_is_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "two.raw"
    path.write_bytes(raw_1(scans=2))
    command = ["predict", str(path), "--formula", "Al2O3", "--override-coverage", "--json", "--scan"]
    answers = {}
    for scan in ("0", "1", "sum", "2"):
        result = CliRunner().invoke(cli.app, [*command, scan])
        assert result.exit_code == (2 if scan == "2" else 0)
        (answers[scan],) = json.loads(result.stdout)
    assert any("holds 2 scans; the first was read" in note for note in answers["0"]["warnings"])
    assert not any("scans" in note for note in answers["1"]["warnings"])
    assert any("the sum of 2 scans" in note for note in answers["sum"]["warnings"])
    assert answers["2"]["error"] == "two.raw: there is no scan 2; the file holds 2, counted from 0"
    with pytest.raises(PatternError, match="neither a number"):
        CliRunner().invoke(cli.app, [*command, "all"], catch_exceptions=False)
