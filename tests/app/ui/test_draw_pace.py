from __future__ import annotations

import pytest
from bokeh.document import Document
from panel.io.state import set_curdoc

from xxact_app.ui.draw_pace import LEAST_SECONDS, LOST_SECONDS, DrawPace


@pytest.fixture
def clock() -> list[float]:
    return [100.0]


def test_an_update_waits_until_the_browser_has_drawn_the_one_before(clock: list[float]) -> None:
    pace = DrawPace(clock=lambda: clock[0])
    with set_curdoc(Document()):
        assert pace.ready
        pace.sent()
        clock[0] += LEAST_SECONDS
        assert not pace.ready
        pace._handle_msg({"drawn": 1})
        assert pace.ready
        pace.sent()
        pace._handle_msg({"drawn": 2})
        assert not pace.ready  # too soon after the last
        clock[0] += LEAST_SECONDS
        assert pace.ready


def test_a_browser_that_says_nothing_is_not_waited_for_forever(clock: list[float]) -> None:
    pace = DrawPace(clock=lambda: clock[0])
    with set_curdoc(Document()):
        pace.sent()
        for message in ({"drawn": 7}, {"drawn": "1"}, {"drawn": True}, {}):
            pace._handle_msg(message)
        clock[0] += LEAST_SECONDS
        assert not pace.ready
        clock[0] += LOST_SECONDS
        assert pace.ready


def test_without_a_page_nothing_waits(clock: list[float]) -> None:
    pace = DrawPace(clock=lambda: clock[0])
    pace.sent()
    assert pace.ready


def test_what_can_wait_is_called_once_when_the_page_is_drawn(clock: list[float]) -> None:
    pace, called = DrawPace(clock=lambda: clock[0]), []
    page = Document()
    with set_curdoc(page):
        pace.when_drawn(lambda: called.append("first"))
        pace.when_drawn(lambda: called.append("second"))
        pace._handle_msg({"drawn": 1})
        assert called == ["first"]
        for callback in page.session_callbacks:
            callback.callback()  # the browser said nothing for a long time
    assert called == ["first", "second"]


def test_without_a_page_it_is_called_at_once(clock: list[float]) -> None:
    called = []
    DrawPace(clock=lambda: clock[0]).when_drawn(lambda: called.append(1))
    assert called == [1]
