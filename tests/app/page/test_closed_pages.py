"""A page that was closed leaves nothing in the memory of the server."""

from __future__ import annotations

import gc
import logging
import weakref
from pathlib import Path
from types import SimpleNamespace

import panel as pn
import pytest
from bokeh.document import Document
from panel.io.state import set_curdoc

from xxact_app.page import page as shell


def opened_and_closed() -> list[weakref.ref[object]]:
    """Weak references to the document and the page of a visit that is over."""
    document = Document()
    with set_curdoc(document):
        page = shell.build()
        page.server_doc(document)
    context = SimpleNamespace(id="one", _document=document)
    for callback in list(document.session_destroyed_callbacks):
        callback(context)
    document.clear()
    return [weakref.ref(document), weakref.ref(page)]


def test_a_closed_page_is_given_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("XXACT_WORKSPACE", str(tmp_path))
    caplog.set_level(logging.WARNING, logger="panel")  # records that pytest keeps would hold what they name
    pn.extension("tabulator", notifications=False)
    followers = len(pn.state.param.watchers.get("busy", {}).get("value", ()))
    left = opened_and_closed()
    gc.collect()
    assert [reference() for reference in left] == [None, None]
    assert len(pn.state.param.watchers.get("busy", {}).get("value", ())) == followers
