from __future__ import annotations

import io
import json
import zipfile

import pytest
from app_fixtures import loaded, scan_file

from xxact_app.page import session_file
from xxact_app.page.session_file import (
    SessionFileError,
    file_to_saved,
    is_session_file,
    restore_session,
    session_to_file,
)
from xxact_app.page.upload_strip import UploadStrip
from xxact_app.samples.store import Store
from xxact_app.session.history import History
from xxact_app.session.session import Session


def saved_session() -> tuple[Session, Store, bytes]:
    """A session with two patterns, of which the second is chosen, has a formula, a wavelength and masked windows."""
    session, store = loaded("a.xy", "b.xy")
    first, second = session.files
    session.param.update(
        chosen=second, hidden=[first], wavelengths={second: 1.5}, formulas={second: "ZnO"}, masked={second: [2, 3]},
        axis="d", mask_ratio=0.5, screen="prediction", dark=True,
    )  # fmt: skip
    return session, store, session_to_file(session, store)


def changed(file: bytes, **changes: object) -> bytes:
    """The session file with other values in its list of choices."""
    members = members_of(file)
    told = json.loads(members["session.json"])
    choices = {**told["choices"], **changes.pop("choices", {})}
    members["session.json"] = json.dumps({**told, "choices": choices, **changes}).encode()
    return packed(members)


def packed(members: dict[str, bytes], *, kind: int = zipfile.ZIP_STORED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", kind) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def restored(file: bytes) -> tuple[Session, Store]:
    session, store = loaded()
    for _ in restore_session(file_to_saved(file, name="mine.xxact"), session, store, name="mine.xxact"):
        assert session.files == []
    return session, store


def test_a_restored_session_is_the_saved_one() -> None:
    old, old_store, file = saved_session()
    session, store = restored(file)
    assert [sample.name for sample in store.samples.values()] == ["a.xy", "b.xy"]
    names = {key: sample.name for key, sample in store.samples.items()}
    assert names[session.chosen] == "b.xy"
    assert [names[key] for key in session.hidden] == ["a.xy"]
    assert (session.formula, session.wavelengths) == ("ZnO", {session.chosen: 1.5})
    assert session.masked == {session.chosen: [2, 3]}
    assert (session.axis, session.mask_ratio, session.screen) == ("d", 0.5, "prediction")
    assert not session.dark
    for key, again in zip(old.files, session.files, strict=True):
        assert (old_store.samples[key].pattern.intensity == store.samples[again].pattern.intensity).all()


def members_of(file: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(file)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def test_steps_under_the_names_of_version_0_1_0_are_restored() -> None:
    _, _, file = saved_session()
    former = [{"step": "to_copper"}, {"step": "keep_range", "start": 12.0, "stop": 80.0}, {"step": "put_on_grid"}]
    session, store = restored(changed(file, choices={"steps": former}))
    assert [step["step"] for step in session.steps] == ["convert_wavelength", "crop_range", "put_on_grid"]
    assert store.gridded(session.chosen).coverage.any()


def test_files_that_are_archives_themselves_come_back_as_they_were() -> None:
    scan = packed({"RawData0.xml": b"<a/>"})
    _, _, file = saved_session()
    saved = file_to_saved(packed({**members_of(file), "files/0000": scan}), name="mine.xxact")
    assert saved.files[0].content == scan


def test_a_session_dropped_on_a_page_replaces_what_is_there_in_one_step_that_can_be_undone() -> None:
    _, _, file = saved_session()
    session, store = loaded("a.xy", "other.xy")
    history = History(session, later=lambda _settle: None, keep=store.keep_read)
    UploadStrip(session, store).take_files([("mine.xxact", file)])
    assert [sample.name for sample in store.samples.values()] == ["a.xy", "b.xy"]
    assert store.problems == []
    history.undo()
    assert [sample.name for sample in store.samples.values()] == ["a.xy", "other.xy"]
    assert session.axis == "two_theta"
    assert not history.can_undo


def test_a_file_that_cannot_be_read_any_more_is_told_and_the_others_come() -> None:
    _, _, file = saved_session()
    session, store = restored(packed({**members_of(file), "files/0001": b"no numbers"}))
    assert [sample.name for sample in store.samples.values()] == ["a.xy"]
    assert [problem.text.split(":")[0] for problem in store.problems] == ["b.xy"]
    assert session.chosen == session.files[0]
    assert (session.formulas, session.masked, session.wavelengths) == ({}, {}, {})


DAMAGED = {
    "cut off": lambda file: file[:-40],
    "no zip archive": lambda _file: b"PK\x03\x04 and nothing",
    "without choices": lambda _file: packed({"session.json": b"{}"}),
    "choices that are no JSON": lambda _file: packed({"session.json": b"{" * 100}),
    "deeply nested": lambda _file: packed({"session.json": b"[" * 100_000}),
    "of a newer version": lambda file: changed(file, version=2),
    "a version that is no number": lambda file: changed(file, version="1"),
    "files that are not there": lambda file: changed(
        file, files=[{"key": "0" * 16 + "-1", "name": "a", "member": "b"}]
    ),
    "keys that are no keys": lambda file: changed(file, files=[{"key": "q", "name": "a", "member": "files/0000"}]),
    "an axis that there is not": lambda file: changed(file, choices={"axis": "energy"}),
    "a share out of bounds": lambda file: changed(file, choices={"mask_ratio": 100}),
    "a share that is no number": lambda file: changed(file, choices={"mask_ratio": float("nan")}),
    "a wavelength of a mile": lambda file: changed(file, choices={"wavelengths": {"a": 1e13}}),
    "a wavelength in words": lambda file: changed(file, choices={"wavelengths": {"a": "CuKa"}}),
    "a formula of a megabyte": lambda file: changed(file, choices={"formulas": {"a": "O" * 10**6}}),
    "a window that there is not": lambda file: changed(file, choices={"masked": {"a": [99]}}),
    "a climbing path": lambda file: packed({"session.json": b"{}", "../../evil": file}),
    "a bomb": lambda _file: packed({"session.json": b" " * 2**20}, kind=zipfile.ZIP_DEFLATED),
}


@pytest.mark.parametrize("kind", DAMAGED)
def test_a_damaged_session_is_refused_in_words_and_nothing_is_lost(kind: str) -> None:
    _, _, file = saved_session()
    session, store = loaded("here.xy")
    before = session.to_json()
    UploadStrip(session, store).take_files([("<b>mine.xxact", DAMAGED[kind](file))])
    assert len(store.problems) == 1
    assert store.problems[0].text.startswith("‹b›mine.xxact: ")
    assert store.problems[0].text.endswith("Nothing was changed.")
    assert session.to_json() == before
    assert [sample.name for sample in store.samples.values()] == ["here.xy"]


def test_choices_that_the_screens_cannot_show_are_taken_back() -> None:
    _, _, file = saved_session()
    session, store = loaded("here.xy")
    before = session.to_json()

    def draw(event: object) -> None:
        assert event.new != "d"

    session.param.watch(draw, "axis")
    with pytest.raises(SessionFileError, match="settings are inconsistent"):
        list(restore_session(file_to_saved(file, name="mine.xxact"), session, store, name="mine.xxact"))
    assert session.to_json() == before
    assert [sample.name for sample in store.samples.values()] == ["here.xy"]


def test_choices_that_are_unknown_are_left_out_and_told() -> None:
    _, _, file = saved_session()
    session, store = restored(changed(file, choices={"flavour": "sweet"}))
    assert session.axis == "d"
    assert [problem.text for problem in store.problems if "flavour" in problem.text]


def test_session_files_are_known_by_ending_or_content() -> None:
    _, _, file = saved_session()
    assert is_session_file("renamed.zip", file)
    assert is_session_file("damaged.XXACT", b"")
    assert not is_session_file("scan.brml", packed({"a.xml": b"<a/>"}))
    assert not is_session_file("scan.xy", scan_file())


def test_what_could_not_be_dropped_again_is_not_saved(monkeypatch: pytest.MonkeyPatch) -> None:
    session, store, _ = saved_session()
    monkeypatch.setattr(session_file, "LARGEST_CONTENT", 1000)
    with pytest.raises(SessionFileError, match="remove some patterns"):
        session_to_file(session, store)
