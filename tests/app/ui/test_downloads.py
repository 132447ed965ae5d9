"""Download buttons."""

from __future__ import annotations

import base64

import pytest

from xxact_app.ui.downloads import download_button
from xxact_core.errors import InputError


def test_content_that_has_not_changed_is_sent_at_every_click() -> None:
    button = download_button("CSV", "table.csv", lambda: b"a,b\n")
    sent = []
    button.param.watch(lambda event: sent.append(event.new), "data")
    for _ in range(2):
        button._handle_click()
    contents = [base64.b64decode(one.split(",")[1]) for one in sent if one is not None]
    assert contents == [b"a,b\n"] * 2
    assert button.data is None


def test_nothing_is_no_file_and_says_so() -> None:
    button = download_button("CSV", "table.csv", lambda: b"")
    with pytest.raises(InputError, match=r"table\.csv was not written: there is nothing to write yet"):
        button._handle_click()
    assert button.data is None
