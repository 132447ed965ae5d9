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
from xxact_app.session.sample_choices import SampleChoices
from xxact_app.session.session import Session

SECOND = SampleChoices(wavelength=1.5, formula="ZnO", masked=(2, 3), phase="mp-2133")


def saved_session() -> tuple[Session, Store, bytes]:
    """A session with two patterns, of which the second is chosen, has a formula, a wavelength and masked windows."""
    session, store = loaded("a.xy", "b.xy")
    first, second = session.files
    session.param.update(
        samples={first: SampleChoices(visible=False), second: SECOND}, chosen=second, draft_formula="CuO",
        axis="d", mask_ratio=0.5, screen="answer", dark=True,
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
    assert session.samples == {session.files[0]: SampleChoices(visible=False), session.files[1]: SECOND}
    assert session.draft_formula == "CuO"
    assert (session.axis, session.mask_ratio, session.screen) == ("d", 0.5, "answer")
    assert not session.dark
    for key, again in zip(old.files, session.files, strict=True):
        assert (old_store.samples[key].pattern.intensity == store.samples[again].pattern.intensity).all()


def test_a_screen_by_its_former_name_opens() -> None:
    _, _, file = saved_session()
    session, _ = restored(changed(file, choices={"screen": "prediction"}))
    assert session.screen == "answer"


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
    assert list(session.samples.values()) == [SampleChoices(visible=False)]


def test_choices_of_version_1_become_records() -> None:
    file = as_version_1(saved_session()[2])
    session, store = restored(file)
    first = SampleChoices(visible=False, masked=())  # in version 1 no window was masked as an example
    assert session.samples == {session.files[0]: first, session.files[1]: SECOND}
    assert [store.samples[key].name for key in session.files] == ["a.xy", "b.xy"]
    assert (session.draft_formula, session.axis) == ("CuO", "d")
    assert (session.model, session.reconstruction_model) == ("run mine", "")
    assert store.problems == []
    session, _ = restored(changed(file, choices={"model": ""}))
    assert session.model == "shipped"


def as_version_1(file: bytes) -> bytes:
    """The same session as XxaCT 0.1.0 wrote it."""
    members = members_of(file)
    told = json.loads(members["session.json"])
    records = told["choices"].pop("samples")

    def by_key(field: str) -> dict[str, object]:
        return {key: record[field] for key, record in records.items() if field in record}

    former = {
        "files": list(records), "hidden": [key for key, record in records.items() if record.get("visible") is False],
        "formulas": {"": told["choices"].pop("draft_formula"), **by_key("formula")},
        "wavelengths": by_key("wavelength"), "scans": by_key("scan"), "masked": by_key("masked"),
        "neighbours": by_key("phase"),
        "model": "mine", "reconstruction_model": "",
    }  # fmt: skip
    members["session.json"] = json.dumps({**told, "version": 1, "choices": {**told["choices"], **former}}).encode()
    return packed(members)


DAMAGED_VERSION_1 = {
    "files in words": {"files": "a"},
    "files that are numbers": {"files": [[1]]},
    "hidden files that are a number": {"hidden": 3},
    "a wavelength of a mile": {"wavelengths": {"KEY": 1e13}},
    "formulas in a list": {"formulas": ["ZnO"]},
    "a window that there is not": {"masked": {"KEY": [99]}},
    "a scan before the first": {"scans": {"KEY": -1}},
}


@pytest.mark.parametrize("kind", DAMAGED_VERSION_1)
def test_damaged_choices_of_version_1_are_refused(kind: str) -> None:
    old, _, file = saved_session()
    text = json.dumps(DAMAGED_VERSION_1[kind]).replace("KEY", old.files[0])
    with pytest.raises(SessionFileError, match="Nothing was changed"):
        file_to_saved(changed(as_version_1(file), choices=json.loads(text)), name="mine.xxact")


DAMAGED = {
    "cut off": lambda file: file[:-40],
    "no zip archive": lambda _file: b"PK\x03\x04 and nothing",
    "without choices": lambda _file: packed({"session.json": b"{}"}),
    "choices that are no JSON": lambda _file: packed({"session.json": b"{" * 100}),
    "deeply nested": lambda _file: packed({"session.json": b"[" * 100_000}),
    "of a newer version": lambda file: changed(file, version=3),
    "a version that is no number": lambda file: changed(file, version="1"),
    "files that are not there": lambda file: changed(
        file, files=[{"key": "0" * 16 + "-1", "name": "a", "member": "b"}]
    ),
    "keys that are no keys": lambda file: changed(file, files=[{"key": "q", "name": "a", "member": "files/0000"}]),
    "an axis that there is not": lambda file: changed(file, choices={"axis": "energy"}),
    "a share out of bounds": lambda file: changed(file, choices={"mask_ratio": 100}),
    "a share that is no number": lambda file: changed(file, choices={"mask_ratio": float("nan")}),
    "a wavelength of a mile": lambda file: changed(file, choices={"samples": {"a": {"wavelength": 1e13}}}),
    "a wavelength in words": lambda file: changed(file, choices={"samples": {"a": {"wavelength": "CuKa"}}}),
    "a formula of a megabyte": lambda file: changed(file, choices={"samples": {"a": {"formula": "O" * 10**6}}}),
    "a window that there is not": lambda file: changed(file, choices={"samples": {"a": {"masked": [99]}}}),
    "a climbing path": lambda file: packed({"session.json": b"{}", "../../evil": file}),
    "a bomb": lambda _file: packed({"session.json": b" " * 2**20}, kind=zipfile.ZIP_DEFLATED),
}


@pytest.mark.parametrize("kind", DAMAGED)
def test_a_damaged_session_is_refused_in_words_and_nothing_is_lost(kind: str) -> None:
    _, _, file = saved_session()
    session, store = loaded("here.xy")
    before = session.to_dict()
    UploadStrip(session, store).take_files([("<b>mine.xxact", DAMAGED[kind](file))])
    assert len(store.problems) == 1
    assert store.problems[0].text.startswith("‹b›mine.xxact: ")
    assert store.problems[0].text.endswith("Nothing was changed.")
    assert session.to_dict() == before
    assert [sample.name for sample in store.samples.values()] == ["here.xy"]


def test_choices_that_the_screens_cannot_show_are_taken_back() -> None:
    _, _, file = saved_session()
    session, store = loaded("here.xy")
    before = session.to_dict()

    def draw(event: object) -> None:
        assert event.new != "d"

    session.param.watch(draw, "axis")
    with pytest.raises(SessionFileError, match="settings are inconsistent"):
        list(restore_session(file_to_saved(file, name="mine.xxact"), session, store, name="mine.xxact"))
    assert session.to_dict() == before
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
