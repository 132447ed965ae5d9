from __future__ import annotations

from concurrent.futures import Executor, Future
from pathlib import Path

import pytest
from app_fixtures import loaded, scan_file

from xxact_app.page.saved_sessions import SavedSessions
from xxact_app.page.session_keeper import SessionKeeper
from xxact_app.page.upload_progress import UploadProgress
from xxact_app.samples.store import Store
from xxact_app.session.session import Session

KEY, TAB, OTHER_TAB = "c" * 64, "1" * 32, "2" * 32


class AtOnce(Executor):
    """Does everything in this thread."""

    def submit(self, call, /, *arguments, **named):  # noqa: ANN001, ANN002, ANN003, ANN201 - as of Executor
        done = Future()
        try:
            done.set_result(call(*arguments, **named))
        except Exception as error:  # noqa: BLE001 - belongs to who asks for the result
            done.set_exception(error)
        return done


def kept(folder: Path | None, session: Session, store: Store) -> SessionKeeper:
    progress = UploadProgress(on_error=lambda error: store.add_problem(str(error)))
    return SessionKeeper(session, store, progress, folder=folder, writer=AtOnce())


def opened(folder: Path, tab: str = TAB, *, again: bool, user: str = "") -> tuple[Session, Store, SessionKeeper]:
    session, store = loaded()
    keeper = kept(folder, session, store)
    keeper._user = user
    keeper.meet(KEY, tab, again)
    return session, store, keeper


def worked(folder: Path) -> Session:
    """A tab in which two files were dropped, a formula typed and the axis changed."""
    session, store, _ = opened(folder, again=False)
    session.add(store.read_files([("a.xy", scan_file(peak=20)), ("b.xy", scan_file(peak=40))]))
    session.set_formula("ZnO")
    session.axis = "q"
    return session


def test_a_reloaded_page_has_all_that_the_page_had(tmp_path: Path) -> None:
    before = worked(tmp_path)
    session, store, keeper = opened(tmp_path, again=True)
    assert [sample.file for sample in store.samples.values()] == ["a.xy", "b.xy"]
    assert (session.formula, session.axis, len(session.files)) == ("ZnO", "q", 2)
    assert session.sample(session.chosen) == before.sample(before.chosen)
    assert keeper.panel.visible
    assert "was restored" in keeper.text.object


def test_a_new_tab_asks_and_keeps_its_own_session(tmp_path: Path) -> None:
    worked(tmp_path)
    session, _, keeper = opened(tmp_path, OTHER_TAB, again=False)
    assert keeper.panel.visible
    assert "2 files" in keeper.text.object
    assert session.files == []
    keeper.go_on.clicks += 1
    assert len(session.files) == 2
    session.remove(session.files[:1])
    saves = SavedSessions(tmp_path, key=KEY)
    assert {tab.tab: tab.files for tab in saves.tabs()} == {TAB: 2, OTHER_TAB: 1}


def test_who_starts_afresh_is_not_asked_again(tmp_path: Path) -> None:
    worked(tmp_path)
    session, _, keeper = opened(tmp_path, OTHER_TAB, again=False)
    keeper.afresh.clicks += 1
    assert session.files == []
    assert not keeper.panel.visible
    assert not opened(tmp_path, "3" * 32, again=False)[2].panel.visible


def test_a_restored_session_can_be_emptied(tmp_path: Path) -> None:
    worked(tmp_path)
    session, _, keeper = opened(tmp_path, again=True)
    keeper.afresh.clicks += 1
    assert (session.files, session.axis) == ([], "two_theta")
    assert opened(tmp_path, again=True)[0].files == []


def test_another_user_of_the_same_browser_finds_nothing(tmp_path: Path) -> None:
    worked(tmp_path)
    session, _, keeper = opened(tmp_path, again=True, user="eve")
    assert session.files == []
    assert not keeper.panel.visible


def test_a_visit_without_changes_leaves_nothing_on_the_disk(tmp_path: Path) -> None:
    opened(tmp_path, again=False)
    assert list(tmp_path.iterdir()) == []


def test_a_key_of_another_form_is_not_used(tmp_path: Path) -> None:
    session, store = loaded("a.xy")
    keeper = kept(tmp_path, session, store)
    keeper.meet("../../etc", TAB, False)
    session.axis = "q"
    assert list(tmp_path.iterdir()) == []


def test_what_cannot_be_saved_is_told_once_and_asked_before_leaving(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_arguments: object) -> None:
        raise OSError(28, "No space left on device")

    session, store, keeper = opened(tmp_path, again=False)
    monkeypatch.setattr("xxact_app.page.saved_sessions.write_json", full)
    session.add(store.read_files([("a.xy", scan_file())]))
    session.axis = "q"
    assert [problem.text.startswith("This session is not saved: ") for problem in store.problems] == [True]
    assert keeper.connection.at_risk
    monkeypatch.undo()
    session.axis = "d"
    assert keeper.connection.at_risk == ""
    assert keeper.connection.saved > 0


def test_a_workspace_that_cannot_be_written_only_means_that_nothing_is_saved() -> None:
    session, store = loaded("a.xy")
    keeper = kept(None, session, store)
    keeper.meet(KEY, TAB, True)
    session.axis = "q"
    assert keeper.connection.saved == 0


def test_settings_in_the_address_win_over_saved_ones(tmp_path: Path) -> None:
    worked(tmp_path)
    session, store = loaded()
    session.axis = "d"
    progress = UploadProgress(on_error=lambda error: store.add_problem(str(error)))
    keeper = SessionKeeper(session, store, progress, folder=tmp_path, address=["axis"], writer=AtOnce())
    keeper.meet(KEY, TAB, True)
    assert (session.axis, len(session.files)) == ("d", 2)
