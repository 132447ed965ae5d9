from __future__ import annotations

from collections.abc import Generator, Iterator

import pytest
from app_fixtures import loaded, scan_file
from bokeh.document import Document
from panel.io.state import set_curdoc

from xxact_app.page import upload_progress as reading
from xxact_app.page.session_file import session_to_file
from xxact_app.page.upload_strip import UploadStrip
from xxact_core.errors import InputError


class Page:
    """A page whose waiting calls the test makes."""

    def __init__(self) -> None:
        self.document = Document()

    def waiting(self) -> int:
        return len(self.document.session_callbacks)

    def go_on(self) -> None:
        call = self.document.session_callbacks[0]
        self.document.remove_next_tick_callback(call)
        call.callback()

    def go_to_the_end(self) -> None:
        while self.waiting():
            self.go_on()


@pytest.fixture
def page(monkeypatch: pytest.MonkeyPatch) -> Iterator[Page]:
    """A page on which every slice ends after one step."""
    monkeypatch.setattr(reading, "SLICE", -1.0)
    page = Page()
    with set_curdoc(page.document):
        yield page


FILES = [(f"{name}.xy", scan_file()) for name in "abc"]


def test_files_are_read_a_few_at_a_time_and_shown_together(page: Page) -> None:
    session, store = loaded()
    inputs = UploadStrip(session, store)
    inputs.take_files(FILES)
    assert inputs.progress.panel.visible
    assert "Reading 1 of 3 files" in inputs.progress.status.object
    assert session.files == []
    page.go_to_the_end()
    assert [store.samples[key].name for key in session.files] == ["a.xy", "b.xy", "c.xy"]
    assert not inputs.progress.panel.visible


def test_what_was_read_before_a_stop_stays(page: Page) -> None:
    session, store = loaded()
    inputs = UploadStrip(session, store)
    inputs.take_files(FILES)
    page.go_on()
    inputs.progress._stop()
    assert len(session.files) == 2
    assert not inputs.progress.panel.visible
    page.go_on()
    assert len(session.files) == 2


@pytest.mark.usefixtures("page")
def test_a_stopped_restoring_changes_nothing() -> None:
    old = loaded("a.xy", "b.xy", "c.xy")
    session, store = loaded("here.xy")
    inputs = UploadStrip(session, store)
    inputs.take_files([("mine.xxact", session_to_file(*old))])
    assert "Restoring 1 of 3 files" in inputs.progress.status.object
    inputs.progress._stop()
    assert len(session.files) == 1
    session.axis = "q"
    assert [store.samples[key].name for key in session.files] == ["here.xy"]


def test_a_second_drop_waits_for_the_first(page: Page) -> None:
    session, store = loaded()
    inputs = UploadStrip(session, store)
    inputs.take_files(FILES[:2])
    inputs.take_files(FILES[2:])
    assert page.waiting() == 1
    page.go_to_the_end()
    assert [store.samples[key].name for key in session.files] == ["a.xy", "b.xy", "c.xy"]


def test_an_error_is_told_and_does_not_stop_what_comes_behind(page: Page) -> None:
    told: list[str] = []
    panel = reading.UploadProgress(on_error=lambda error: told.append(str(error)))
    done: list[int] = []

    def fail() -> Generator[int, None, None]:
        yield 1
        msg = "no"
        raise InputError(msg)

    def work() -> Generator[int, None, None]:
        yield 1
        done.append(1)

    panel.begin(fail(), total=2, what="Reading")
    panel.begin(work(), total=1, what="Reading")
    page.go_to_the_end()
    assert (told, done) == (["no"], [1])
