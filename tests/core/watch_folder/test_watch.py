"""A watched folder: every file is answered once, whatever happens to files, folders and processes."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from xxact_core.commands.watch import _to_line
from xxact_core.errors import InputError
from xxact_core.reports.analysed_pattern import AnalysisSettings, PatternAnalyser
from xxact_core.watch_folder import watch
from xxact_core.watch_folder.alerts import AlertSettings
from xxact_core.watch_folder.ledger import LEDGER, STATE, AnsweredFile, Ledger
from xxact_core.watch_folder.watch import FolderWatch, WatchSettings
from xxact_core.watch_folder.worker import answer_file

Folders = tuple[Path, Path]
Measured = Callable[..., str]


class AtOnce:
    """Answers in this process, in place of `AnsweringProcesses`; counts how often it is asked for each file."""

    analyser: PatternAnalyser

    def __init__(self, _settings: AnalysisSettings, formats: tuple[str, ...], *, count: int) -> None:
        self.formats, self.count = formats, count
        self.started: list[Future[None]] = []

    def submit(self, request: dict[str, Any]) -> Future[dict[str, Any]]:
        result: Future[dict[str, Any]] = Future()
        try:
            result.set_result(answer_file(self.analyser, self.formats, request))
        except OSError as error:
            result.set_result({"state": "unwritten", "error": str(error)})
        return result

    def close(self) -> None:
        pass


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    """A folder to watch, and one for the answers."""
    (tmp_path / "measured").mkdir()
    return tmp_path / "measured", tmp_path / "answers"


@pytest.fixture(scope="module")
def analyser(analysis: AnalysisSettings) -> PatternAnalyser:
    return PatternAnalyser(analysis)


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch, analyser: PatternAnalyser) -> None:
    monkeypatch.setattr(AtOnce, "analyser", analyser, raising=False)
    monkeypatch.setattr(watch, "AnsweringProcesses", AtOnce)


def settings(folders: Folders, **changes: object) -> WatchSettings:
    values: dict[str, Any] = {"settle": 0.1, "poll": 0.05, "formats": ("json",), "once": True}
    values |= changes
    return WatchSettings(folder=folders[0], output=folders[1], **values)


def answer_all(folders: Folders, *, alerts: AlertSettings | None = None, **changes: object) -> list[AnsweredFile]:
    """Answers what is in the folder; the answers in their order."""
    answers: list[AnsweredFile] = []
    watching = FolderWatch(
        settings(folders, **changes),
        AnalysisSettings(),
        alerts,
        answered=lambda answer, _seconds: answers.append(answer),
    )
    watching.run()
    return answers


def written(folders: Folders) -> dict[str, dict[str, Any]]:
    """The JSON in the output folder, by name."""
    found = [path for path in folders[1].rglob("*.json") if STATE not in path.parts]
    return {path.relative_to(folders[1]).as_posix(): json.loads(path.read_text(encoding="utf-8")) for path in found}


@contextmanager
def watching(folders: Folders, notes: list[str] | None = None, **changes: object) -> Iterator[FolderWatch]:
    """A folder that is watched in a thread."""
    tell = (lambda _note: None) if notes is None else notes.append
    watched = FolderWatch(settings(folders, once=False, **changes), AnalysisSettings(), tell=tell)
    thread = threading.Thread(target=watched.run)
    thread.start()
    try:
        yield watched
    finally:
        watched.stop()
        thread.join()


def wait_for(condition: Callable[[], bool], *, seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)


def test_each_file_gets_json_report_and_plot(folders: Folders, measured: Measured) -> None:
    (folders[0] / "salt.xy").write_text(measured("NaCl"), encoding="utf-8")
    (answer,) = answer_all(folders, formats=("json", "html", "png", "nxs", "eln", "csv"))
    assert (answer.status, answer.verdict, answer.phases) == ("ok", "single", (("NaCl", 225),))
    found = written(folders)["salt.xy.json"]
    assert found["verdict"] == "single"
    assert found["phases"][0]["formula"] == "NaCl"
    assert found["watched"]["sha256"] == found["source"]["sha256"]
    assert (folders[1] / "salt.xy.png").read_bytes().startswith(b"\x89PNG")
    assert "data:image/png;base64," in (folders[1] / "salt.xy.html").read_text(encoding="utf-8")
    assert {"salt.xy.nxs", "salt.xy.eln", "salt.xy.csv"} <= {path.name for path in folders[1].iterdir()}
    assert "salt.xy,1,ok,single,NaCl" in (folders[1] / "answers.csv").read_text(encoding="utf-8")


def test_a_flood_is_answered_once_also_by_later_starts(folders: Folders, measured: Measured) -> None:
    for number in range(12):
        (folders[0] / f"{number}.xy").write_text(measured("NaCl", seed=number), encoding="utf-8")
    assert sorted(one.file for one in answer_all(folders)) == sorted(f"{number}.xy" for number in range(12))
    assert len(written(folders)) == 12
    assert answer_all(folders) == []
    (folders[0] / "new.xy").write_text(measured("KCl"), encoding="utf-8")
    assert [one.file for one in answer_all(folders)] == ["new.xy"]


def test_a_change_is_a_new_version_and_a_touch_is_none(folders: Folders, measured: Measured) -> None:
    path = folders[0] / "salt.xy"
    path.write_text(measured("NaCl"), encoding="utf-8")
    answer_all(folders)
    os.utime(path, ns=(1, 1))
    assert answer_all(folders) == []
    path.write_text(measured("KCl"), encoding="utf-8")
    (answer,) = answer_all(folders)
    assert (answer.version, answer.base) == (2, "salt.xy.v2")
    assert {name: one["phases"][0]["formula"] for name, one in written(folders).items()} == {
        "salt.xy.json": "NaCl",
        "salt.xy.v2.json": "KCl",
    }
    (folders[0] / "salt.xy.v2").write_text(measured("KCl", seed=2), encoding="utf-8")
    (other,) = answer_all(folders)
    assert other.base == "salt.xy.v2-1", "no answer is overwritten"
    shutil.copyfile(folders[1] / "salt.xy.json", folders[1] / "copy.json")
    assert answer_all(folders) == []
    rows = (folders[1] / "answers.csv").read_text(encoding="utf-8").splitlines()
    assert [row.split(",")[1:3] for row in rows[1:]] == [["salt.xy", "1"], ["salt.xy", "2"], ["salt.xy.v2", "1"]]


def test_files_that_cannot_be_read_have_an_answer_too(folders: Folders) -> None:
    (folders[0] / "empty.xy").write_bytes(b"")
    (folders[0] / "picture.xy").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(200))
    (folders[0] / "cut.xrdml").write_text("<?xml version='1.0'?><xrdMeasurements><xrdMeasurement>", encoding="utf-8")
    (folders[0] / "no text.xy").write_text("a\nb\n", encoding="utf-8")
    answers = {one.file: one for one in answer_all(folders, formats=("json", "html"))}
    assert {one.status for one in answers.values()} == {"error"}
    assert answers["empty.xy"].code == "E_EMPTY"
    assert len(answers) == 4
    assert "picture.xy" in written(folders)["picture.xy.json"]["error"]
    assert "No result" in (folders[1] / "cut.xrdml.html").read_text(encoding="utf-8")


def test_a_file_that_cannot_be_opened_is_answered_and_tried_again_once_it_can(
    folders: Folders, measured: Measured, monkeypatch: pytest.MonkeyPatch
) -> None:
    from xxact_core.watch_folder import worker

    def closed(path: Path, _state: object) -> tuple[bytes, str]:
        raise PermissionError(13, "Permission denied", str(path))

    (folders[0] / "salt.xy").write_text(measured("NaCl"), encoding="utf-8")
    with monkeypatch.context() as patch:
        patch.setattr(worker, "_read_whole", closed)
        (answer,) = answer_all(folders)
        assert (answer.status, answer.code) == ("error", "E_OPEN")
        with watching(folders):
            time.sleep(0.5)
        assert len(written(folders)) == 1, "it is not answered again and again"
    with watching(folders):
        wait_for(lambda: len(written(folders)) == 2)
    assert written(folders)["salt.xy.v2.json"]["status"] == "ok"


def test_messages_are_sent_for_news_and_once(folders: Folders, measured: Measured, tmp_path: Path) -> None:
    heard = tmp_path / "heard.jsonl"
    script = tmp_path / "hear.py"
    script.write_text("import sys; print(sys.stdin.read(), file=open(sys.argv[1], 'a'))", encoding="utf-8")
    alerts = AlertSettings(
        command=f'"{sys.executable}" "{script}" "{heard}"', events=("new phase", "error", "no match")
    )
    (folders[0] / "one.xy").write_text(measured("NaCl"), encoding="utf-8")
    answer_all(folders, alerts=alerts)
    (folders[0] / "two.xy").write_text(measured("NaCl", seed=1), encoding="utf-8")
    (folders[0] / "three.xy").write_text("nothing\n", encoding="utf-8")
    answer_all(folders, alerts=alerts)
    answer_all(folders, alerts=alerts)
    messages = [json.loads(line) for line in heard.read_text(encoding="utf-8").splitlines()]
    assert [(one["event"], one["file"], one["new_phases"]) for one in messages] == [
        ("new phase", "one.xy", ["NaCl"]),
        ("error", "three.xy", []),
    ]
    assert Path(messages[0]["answer"]).is_file()
    assert Ledger.open(folders[1]).pending == {}


def test_an_error_that_no_message_foresees_is_an_answer(
    folders: Folders, measured: Measured, monkeypatch: pytest.MonkeyPatch, analyser: PatternAnalyser
) -> None:
    def fail(*_arguments: object, **_more: object) -> None:
        msg = "unforeseen"
        raise RuntimeError(msg)

    (folders[0] / "salt.xy").write_text(measured("NaCl"), encoding="utf-8")
    monkeypatch.setattr(analyser, "analyse", fail)
    (answer,) = answer_all(folders)
    assert answer.code == "E_ANALYSIS"
    assert "unforeseen" in answer.sentence


def test_a_file_that_is_still_written_is_waited_for(folders: Folders, measured: Measured) -> None:
    text = measured("NaCl")
    with watching(folders, settle=0.4):
        path = folders[0] / "slow.xy"
        with path.open("w", encoding="utf-8") as file:
            for start in range(0, len(text), len(text) // 6):
                file.write(text[start : start + len(text) // 6])
                file.flush()
                time.sleep(0.15)
                assert written(folders) == {}
        wait_for(lambda: bool(written(folders)))
    (found,) = written(folders).values()
    assert found["points"] == text.count("\n")
    assert found["watched"]["version"] == 1


def test_names_of_unfinished_files_links_and_the_output_folder_are_left_alone(
    folders: Folders, measured: Measured, tmp_path: Path
) -> None:
    for name in (".hidden.xy", "salt.xy.part", "salt.xy~", "other.dat"):
        (folders[0] / name).write_text(measured("NaCl"), encoding="utf-8")
    (tmp_path / "secret.xy").write_text(measured("NaCl"), encoding="utf-8")
    (folders[0] / "link.xy").symlink_to(tmp_path / "secret.xy")
    (folders[0] / "day" / "run").mkdir(parents=True)
    (folders[0] / "day" / "run" / "salt.xy").write_text(measured("NaCl"), encoding="utf-8")
    inside = (folders[0], folders[0] / "answers")
    assert answer_all(inside, files="*.xy*") == []
    assert [one.base for one in answer_all(inside, files="*.xy*", recursive=True)] == ["day/run/salt.xy"]
    assert answer_all(inside, files="*", recursive=True)[0].file == "other.dat"
    assert (inside[1] / "day" / "run" / "salt.xy.json").is_file()


def test_a_folder_that_vanishes_is_waited_for(folders: Folders, measured: Measured) -> None:
    notes: list[str] = []
    (folders[0] / "first.xy").write_text(measured("NaCl"), encoding="utf-8")
    with watching(folders, notes):
        wait_for(lambda: len(written(folders)) == 1)
        away = folders[0].with_name("away")
        folders[0].rename(away)
        wait_for(lambda: any("measured" in note and "waiting" in note for note in notes))
        (away / "second.xy").write_text(measured("KCl"), encoding="utf-8")
        away.rename(folders[0])
        wait_for(lambda: len(written(folders)) == 2)
    assert "the watched folder is back" in notes
    assert sum("waiting" in note for note in notes) == 1, "it is said once"


def test_an_output_folder_that_vanishes_is_waited_for(folders: Folders, measured: Measured) -> None:
    notes: list[str] = []
    (folders[0] / "first.xy").write_text(measured("NaCl"), encoding="utf-8")
    with watching(folders, notes):
        wait_for(lambda: len(written(folders)) == 1)
        away = folders[1].with_name("away")
        folders[1].rename(away)
        (folders[0] / "second.xy").write_text(measured("KCl"), encoding="utf-8")
        wait_for(lambda: any("waiting" in note for note in notes))
        assert not folders[1].exists(), "it may be on a drive that will come back"
        away.rename(folders[1])
        wait_for(lambda: len(written(folders)) == 2)
    assert "answers can be written again" in notes
    assert answer_all(folders) == []


def test_a_crash_between_answer_and_ledger_leaves_no_duplicate_and_no_loss(
    folders: Folders, measured: Measured, monkeypatch: pytest.MonkeyPatch
) -> None:
    def crash(*_arguments: object, **_more: object) -> None:
        msg = "power failure"
        raise KeyboardInterrupt(msg)

    for name in ("one.xy", "two.xy"):
        (folders[0] / name).write_text(measured("NaCl"), encoding="utf-8")
    with monkeypatch.context() as patch:
        patch.setattr(Ledger, "add", crash)
        with pytest.raises(KeyboardInterrupt):
            answer_all(folders)
    (first,) = written(folders)
    stamp = (folders[1] / first).stat().st_mtime_ns
    assert [f"{one.file}.json" for one in answer_all(folders)] == sorted({"one.xy.json", "two.xy.json"} - {first})
    assert (folders[1] / first).stat().st_mtime_ns == stamp
    assert len(written(folders)) == 2
    assert len(Ledger.open(folders[1]).answered) == 2


def test_a_ledger_that_was_deleted_is_made_anew_and_nothing_is_answered_or_sent_twice(
    folders: Folders, measured: Measured, tmp_path: Path
) -> None:
    sent = tmp_path / "sent"
    code = f"import json, sys; open({str(sent)!r}, 'a').write(json.load(sys.stdin)['file'] + ' ')"
    (tmp_path / "note.py").write_text(code, encoding="utf-8")
    alerts = AlertSettings(command=f'"{sys.executable}" "{tmp_path / "note.py"}"', events=("new phase", "answer"))
    for name in ("one.xy", "two.xy"):
        (folders[0] / name).write_text(measured("NaCl"), encoding="utf-8")
    assert len(answer_all(folders, alerts=alerts)) == 2
    before = sent.read_text(encoding="utf-8")
    assert (len(before.split()), set(before.split())) == (3, {"one.xy", "two.xy"}), "one of them had a new phase"
    stamps = {path: path.stat().st_mtime_ns for path in folders[1].glob("*.json")}
    shutil.rmtree(folders[1] / STATE)
    (folders[0] / "three.xy").write_text(measured("NaCl", seed=3), encoding="utf-8")
    notes: list[str] = []
    watching = FolderWatch(settings(folders), AnalysisSettings(), alerts, tell=notes.append)
    watching.run()
    assert {path: path.stat().st_mtime_ns for path in stamps} == stamps
    assert sent.read_text(encoding="utf-8").removeprefix(before).split() == ["three.xy"], "and NaCl is no news"
    assert len(notes) == 1
    assert "made anew from the 2 answers" in notes[0]
    assert len(Ledger.open(folders[1]).answered) == 3
    assert not Ledger.open(folders[1]).lost


def test_a_ledger_that_is_deleted_while_it_is_used_is_written_again(
    folders: Folders, measured: Measured, tmp_path: Path
) -> None:
    notes: list[str] = []
    (folders[0] / "first.xy").write_text(measured("NaCl"), encoding="utf-8")
    with watching(folders, notes):
        wait_for(lambda: len(written(folders)) == 1)
        (folders[1] / STATE).rename(tmp_path / "deleted")
        (folders[0] / "second.xy").write_text(measured("KCl"), encoding="utf-8")
        wait_for(lambda: "answers can be written again" in notes)
        wait_for(lambda: len(written(folders)) == 2)
        with pytest.raises(InputError, match="another `xxact watch`"):
            answer_all(folders)
    assert answer_all(folders) == []
    assert len(Ledger.open(folders[1]).answered) == 2


def test_a_process_that_cannot_be_started_for_a_while_is_waited_for(
    folders: Folders, measured: Measured, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer, failures = AtOnce.submit, iter([True, True, False])

    def submit(self: AtOnce, request: dict[str, Any]) -> Future[dict[str, Any]]:
        if not next(failures, False):
            return answer(self, request)
        failed: Future[dict[str, Any]] = Future()
        failed.set_exception(InputError("the process that answers files could not be started", code="E_WATCH"))
        return failed

    monkeypatch.setattr(AtOnce, "submit", submit)
    (folders[0] / "salt.xy").write_text(measured("NaCl"), encoding="utf-8")
    notes: list[str] = []
    with watching(folders, notes):
        wait_for(lambda: bool(written(folders)))
    assert notes == ["the process that answers files could not be started; waiting"]


def test_a_second_watcher_is_refused(folders: Folders) -> None:
    with watching(folders):
        wait_for((folders[1] / STATE / LEDGER).is_file)  # written once the folder is locked
        with pytest.raises(InputError, match="another `xxact watch`"):
            answer_all(folders)
    assert answer_all(folders) == []


def test_wrong_settings_are_refused(folders: Folders) -> None:
    with pytest.raises(InputError, match="no such folder to watch"):
        answer_all((folders[0] / "missing", folders[1]))
    with pytest.raises(InputError, match="would be watched"):
        answer_all((folders[0], folders[0]))
    with pytest.raises(InputError, match="would be watched"):
        answer_all((folders[0], folders[0].parent), recursive=True)
    with pytest.raises(InputError, match="expected one of json"):
        settings(folders, formats=("docx",))
    with pytest.raises(InputError, match=r"0\.05 to 3600"):
        settings(folders, settle=0.0)


def test_a_folder_inside_that_is_closed_is_named(
    folders: Folders, measured: Measured, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folders[0] / "private").mkdir()
    (folders[0] / "private" / "salt.xy").write_text(measured("NaCl"), encoding="utf-8")
    notes: list[str] = []
    scandir, closed = os.scandir, [True]

    def closing(path: Path) -> object:
        if closed[0] and Path(path).name == "private":
            raise PermissionError(13, "Permission denied", os.fspath(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", closing)
    with watching(folders, notes, recursive=True):
        wait_for(lambda: any("private: cannot be read" in note for note in notes))
        closed[0] = False
        wait_for(lambda: len(written(folders)) == 1)
    assert len(notes) == 2


def test_answers_have_names_that_every_drive_takes_and_spare_the_table(folders: Folders, measured: Measured) -> None:
    for name in ("answers", 'a<b>:"c|d?*.xy', "trailing. "):
        (folders[0] / name).write_text(measured("NaCl"), encoding="utf-8")
    bases = {one.file: one.base for one in answer_all(folders, formats=("json", "csv"))}
    assert bases == {"answers": "answers-1", 'a<b>:"c|d?*.xy': "a_b___c_d__.xy", "trailing. ": "trailing"}
    assert len((folders[1] / "answers.csv").read_text(encoding="utf-8").splitlines()) == 4


def test_a_line_for_a_terminal_has_no_characters_that_it_cannot_show() -> None:
    answer = AnsweredFile(
        file="latin\udce9.xy", size=1, mtime_ns=2, sha256="", version=1, base="latin_.xy", status="error",
        sentence="latin\ufffd.xy: holds no points",
    )  # fmt: skip
    assert _to_line(answer, 1.0, as_json=False).encode().endswith(b": holds no points  [1.0 s]")
    assert json.loads(_to_line(answer, 1.0, as_json=True))["answer"] == "latin_.xy.json"


def test_long_and_strange_names(folders: Folders, measured: Measured) -> None:
    names = ["x" * 240 + ".xy", "=cmd|' .xy", "ß 日本.xy", os.fsdecode(b"latin\xe9.xy")]
    for name in names:
        (folders[0] / name).write_text(measured("NaCl"), encoding="utf-8")
    answers = answer_all(folders, formats=("json", "html", "csv", "eln", "nxs"))
    assert {one.file for one in answers} == set(names)
    assert {one.status for one in answers} == {"ok"}
    assert answer_all(folders) == []
    assert "'=cmd" in (folders[1] / "answers.csv").read_text(encoding="utf-8")


@pytest.mark.slow
def test_killed_in_the_middle_and_started_again(
    folders: Folders, measured: Measured, analysis: AnalysisSettings
) -> None:
    for number in range(7):
        (folders[0] / f"{number}.xy").write_text(measured("NaCl", seed=number), encoding="utf-8")
    line = [
        *(sys.executable, "-m", "xxact_core.commands.main", "watch", str(folders[0]), "--output", str(folders[1])),
        *("--wavelength", "CuKa", "--no-predict", "--settle", "0.2", "--poll", "0.1", "--format", "json"),
        *(part for path in analysis.reference for part in ("--reference", path)),
    ]
    with subprocess.Popen([*line], stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL) as process:
        wait_for(lambda: len(written_names(folders)) >= 2, seconds=300)
        process.send_signal(signal.SIGKILL)
    before = {name: (folders[1] / name).stat().st_mtime_ns for name in written_names(folders)}
    assert 2 <= len(before) < 7
    done = subprocess.run([*line, "--once", "--json"], capture_output=True, text=True, check=True, timeout=600)
    after = {name: (folders[1] / name).stat().st_mtime_ns for name in written_names(folders)}
    assert set(after) == {f"{number}.xy.json" for number in range(7)}
    assert {name: after[name] for name in before} == before, "no file is answered twice"
    answered = [json.loads(text)["file"] for text in done.stdout.splitlines()]
    assert sorted(f"{name}.json" for name in answered) == sorted(set(after) - set(before))
    assert list((folders[1] / STATE).glob("parts-*")) == []


def written_names(folders: Folders) -> list[str]:
    return [path.name for path in folders[1].glob("*.json")]


def test_the_processes_answer_and_survive_a_crash(
    folders: Folders, measured: Measured, analysis: AnalysisSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    from xxact_core.watch_folder import workers

    monkeypatch.setattr(workers, "COMMAND", ("/nowhere/python",))
    processes = workers.AnsweringProcesses(analysis, ("json",), count=1)
    with pytest.raises(InputError, match="could not be started: No such file"):
        processes.started[0].result()
    processes.close()
    monkeypatch.setattr(workers, "COMMAND", (sys.executable, "-c", "raise SystemExit"))
    processes = workers.AnsweringProcesses(analysis, ("json",), count=1)
    with pytest.raises(InputError, match="could not be started"):
        processes.started[0].result()
    processes.close()
    monkeypatch.undo()
    processes = workers.AnsweringProcesses(analysis, ("json",), count=1)
    processes.started[0].result()
    path, parts = folders[0] / "salt.xy", folders[1]
    parts.mkdir()
    path.write_text(measured("NaCl"), encoding="utf-8")
    status = path.stat()
    request = {
        "file": "salt.xy", "path": str(path), "size": status.st_size, "mtime_ns": status.st_mtime_ns, "version": 1,
        "known_sha256": "", "parts": str(parts), "number": 1,
    }  # fmt: skip
    processes._idle[0].kill()
    assert processes.submit(request).result()["facts"]["status"] == "ok", "another process takes over"
    assert json.loads((parts / "1.json").read_text(encoding="utf-8"))["verdict"] == "single"
    assert processes.submit({**request, "size": 1}).result() == {"state": "changed"}
    assert processes.submit({**request, "path": str(path) + "x"}).result() == {"state": "gone"}
    shutil.rmtree(parts)
    assert processes.submit(request).result()["state"] == "unwritten"
    monkeypatch.setattr(workers, "MOST_CRASHES", 0)
    assert processes.submit(request).result()["state"] == "unwritten", "also the answer that it crashed"
    processes.close()
