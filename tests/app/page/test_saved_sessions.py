from __future__ import annotations

import hashlib
import json
import os
import stat
import time
from pathlib import Path

import pytest

from xxact_app.page import saved_sessions
from xxact_app.page.saved_sessions import SavedSessions, SavingError, remove_old
from xxact_app.page.session_file import FORMAT, VERSION, SessionFileError

KEY, OTHER_KEY = "a" * 64, "b" * 64
FIRST, SECOND = "1" * 32, "2" * 32


def digest_of(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def content_of(*files: bytes, **choices: object) -> tuple[dict[str, object], dict[str, bytes]]:
    held = {digest_of(file): file for file in files}
    listed = [{"key": f"{name[:16]}-1", "name": f"{name[:4]}.xy", "member": name} for name in held]
    return {"format": FORMAT, "version": VERSION, "choices": choices, "files": listed}, held


def test_a_session_is_read_back_with_its_files_and_choices(tmp_path: Path) -> None:
    saves = SavedSessions(tmp_path, key=KEY)
    saves.save(FIRST, *content_of(b"one", b"two", axis="q"))
    saved, damaged = SavedSessions(tmp_path, key=KEY).load(FIRST)
    assert [file.content for file in saved.files] == [b"one", b"two"]
    assert (saved.choices, damaged) == ({"axis": "q"}, 0)
    assert saves.load(SECOND) is None


def test_a_session_belongs_to_one_browser_and_one_user(tmp_path: Path) -> None:
    SavedSessions(tmp_path, key=KEY, user="ada").save(FIRST, *content_of(b"one"))
    assert SavedSessions(tmp_path, key=KEY, user="ada").load(FIRST) is not None
    for other in (SavedSessions(tmp_path, key=KEY), SavedSessions(tmp_path, key=OTHER_KEY, user="ada")):
        assert other.load(FIRST) is None
        assert other.tabs() == []
    assert KEY not in "".join(str(path) for path in tmp_path.rglob("*"))


@pytest.mark.parametrize("key", ["", "a" * 31, "../" + "a" * 40, "A" * 64, "a" * 65])
def test_a_key_that_could_be_guessed_or_leave_the_folder_is_refused(key: str, tmp_path: Path) -> None:
    with pytest.raises(SavingError, match="hexadecimal"):
        SavedSessions(tmp_path, key=key)
    with pytest.raises(SavingError, match="hexadecimal"):
        SavedSessions(tmp_path, key=KEY).save(key, *content_of(b"one"))


def test_a_file_that_no_session_has_any_more_is_deleted(tmp_path: Path) -> None:
    saves = SavedSessions(tmp_path, key=KEY)
    saves.save(FIRST, *content_of(b"one", b"two"))
    saves.save(SECOND, *content_of(b"two"))
    saves.save(FIRST, *content_of(b"three"))
    names = {path.name for path in (saves.folder / "files").iterdir()}
    assert names == {digest_of(b"two"), digest_of(b"three")}


def test_only_the_user_of_the_server_can_open_the_sessions(tmp_path: Path) -> None:
    saves = SavedSessions(tmp_path / "sessions", key=KEY)
    saves.save(FIRST, *content_of(b"one"))
    assert stat.S_IMODE(saves.folder.stat().st_mode) & 0o077 == 0


def test_a_damaged_copy_is_left_out_and_counted(tmp_path: Path) -> None:
    saves = SavedSessions(tmp_path, key=KEY)
    saves.save(FIRST, *content_of(b"one", b"two", b"three"))
    (saves.folder / "files" / digest_of(b"two")).write_bytes(b"tw0")
    (saves.folder / "files" / digest_of(b"three")).unlink()
    saved, damaged = saves.load(FIRST)
    assert ([file.content for file in saved.files], damaged) == ([b"one"], 2)


@pytest.mark.parametrize("text", ["", "[]", "{", '{"files": 3}', '{"format": "other", "files": []}'])
def test_a_damaged_record_is_an_error_and_is_not_offered(text: str, tmp_path: Path) -> None:
    saves = SavedSessions(tmp_path, key=KEY)
    saves.save(FIRST, *content_of(b"one"))
    (saves.folder / f"{FIRST}.json").write_text(text)
    with pytest.raises(SessionFileError):
        saves.load(FIRST)
    assert saves.tabs() == []


def test_a_declined_session_is_not_offered_until_it_changes(tmp_path: Path) -> None:
    saves = SavedSessions(tmp_path, key=KEY)
    saves.save(FIRST, *content_of(b"one"))
    saves.decline(FIRST)
    assert [tab.offered for tab in saves.tabs()] == [False]
    saves.save(FIRST, *content_of(b"one", axis="q"))
    assert [tab.offered for tab in saves.tabs()] == [True]


def test_the_oldest_tabs_make_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(saved_sessions, "LARGEST_VISITOR", 250)
    saves = SavedSessions(tmp_path, key=KEY)
    for number in range(4):
        saves.save(f"{number}" * 32, *content_of(bytes([number]) * 100))
        time.sleep(0.01)
    assert [tab.tab[0] for tab in saves.tabs()] == ["3", "2"]
    with pytest.raises(SavingError, match="at most"):
        saves.save(FIRST, *content_of(b"x" * 251))


def test_old_visitors_are_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    old, large, new = (SavedSessions(tmp_path, key=digit * 64) for digit in "abc")
    for saves in (old, large, new):
        saves.save(FIRST, *content_of(b"x" * 1000))
    for saves, days in ((old, 31), (large, 2)):
        for path in (saves.folder / f"{FIRST}.json", saves.folder):
            os.utime(path, (time.time() - 86400 * days,) * 2)
    remove_old(tmp_path)
    assert [saves.folder.is_dir() for saves in (old, large, new)] == [False, True, True]
    monkeypatch.setattr(saved_sessions, "LARGEST_TOTAL", 2500)
    remove_old(tmp_path, keep=new.folder)
    assert [saves.folder.is_dir() for saves in (large, new)] == [False, True]


def test_a_full_disk_leaves_the_previous_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    saves = SavedSessions(tmp_path, key=KEY)
    saves.save(FIRST, *content_of(b"one"))
    monkeypatch.setattr(saved_sessions, "LEAST_FREE", 2**62)
    with pytest.raises(SavingError, match="full"):
        saves.save(FIRST, *content_of(b"two"))
    saved, _ = saves.load(FIRST)
    assert [file.content for file in saved.files] == [b"one"]
    assert json.loads((saves.folder / f"{FIRST}.json").read_text())["version"] == VERSION
