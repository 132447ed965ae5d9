"""The timer of a page."""

from __future__ import annotations

from types import SimpleNamespace

from bokeh.document import Document
from panel.io.state import set_curdoc

from xxact_app.ui.timer import Timer, from_any_thread


def test_a_timer_belongs_to_the_page_in_which_it_was_started() -> None:
    page, called = Document(), []
    timer = Timer(lambda: called.append(1), period=250)
    with set_curdoc(page):
        timer.start()
        timer.start()
    (callback,) = page.session_callbacks
    assert callback.period == 250
    callback.callback()
    assert called == [1]
    with set_curdoc(Document()):
        timer.stop()
    assert page.session_callbacks == []
    assert not timer.running


def test_nothing_is_called_without_a_page() -> None:
    timer = Timer(lambda: None, period=250)
    timer.start()
    assert timer.running
    timer.stop()
    timer.stop()
    assert not timer.running


def test_another_thread_asks_a_page_to_call() -> None:
    page, called = Document(), []
    with set_curdoc(page):
        ask = from_any_thread(lambda: called.append(1))
    ask()
    (callback,) = page.session_callbacks
    assert called == []
    callback.callback()
    assert called == [1]
    from_any_thread(lambda: called.append(2))()
    assert called == [1]


def test_a_page_that_was_closed_meanwhile_is_not_called() -> None:
    page, context = Document(), SimpleNamespace(destroyed=False)
    page._session_context = lambda: context
    with set_curdoc(page):
        ask = from_any_thread(lambda: None)
    ask()
    assert len(page.session_callbacks) == 1
    context.destroyed = True
    page.callbacks.destroy()
    ask()
    page._session_context = lambda: None
    ask()
