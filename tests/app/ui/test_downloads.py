"""Download buttons."""

from __future__ import annotations

import base64

from xxact_app.ui.downloads import download_button


def test_content_that_has_not_changed_is_sent_at_every_click() -> None:
    button = download_button("CSV", "table.csv", lambda: b"a,b\n")
    sent = []
    button.param.watch(lambda event: sent.append(event.new), "data")
    for _ in range(2):
        button._handle_click()
    contents = [base64.b64decode(one.split(",")[1]) for one in sent if one is not None]
    assert contents == [b"a,b\n"] * 2
    assert button.data is None
