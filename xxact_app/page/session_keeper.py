"""Saves the session while the visitor works, and restores it in a reloaded page or on request in a new tab."""

from __future__ import annotations

import hashlib
import logging
import time
from collections.abc import Callable, Collection, Generator
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import panel as pn
import panel_material_ui as pmui

from xxact_app.page.connection import PageConnection
from xxact_app.page.saved_sessions import SavedSessions, SavedTab
from xxact_app.page.session_file import SavedSession, dropped_files, restore_session, session_to_content
from xxact_app.page.upload_progress import UploadProgress
from xxact_app.samples.store import Store
from xxact_app.session.session import Session
from xxact_app.ui.formatting import duration
from xxact_app.ui.safe_text import plain_markdown
from xxact_app.ui.theme import ALERT_STYLE
from xxact_core.errors import InputError

logger = logging.getLogger(__name__)

DELAY_MILLISECONDS = 500
"""Time after a change until the session is saved, with what has changed until then [ms]."""

_WRITER = ThreadPoolExecutor(max_workers=1, thread_name_prefix="saving")
"""Writes sessions one after another, so that no page waits for the disk; finishes when the server stops."""

_NOT_WATCHED = frozenset({"name", "dark", "editing", "dismissed"})
_ROW = ":host { flex-direction: row; flex-wrap: wrap; align-items: center; gap: 8px; }"
_LEAST_SHOWN = 60.0
"""Age below which a saved session is called `just now` [s]."""


class SessionKeeper:
    """Keeps one session on disk; `connection` is part of the header, `panel` offers a session or confirms one.

    Args:
        session: saved whenever it changes.
        store: holds the files.
        progress: shows the restoring of files.
        folder: of the saved sessions of all visitors; None where the workspace cannot be written.
        user: name of the visitor, empty where nobody logs in.
        address: names of the settings in the page address, which a restored session leaves as they are.
        later: calls a function after a time [ms]; at once where there is no page.
        soon: calls a function in the page, from any thread.
        when_drawn: calls a function once the browser has drawn the page.
        writer: where sessions are written and read.
    """

    def __init__(
        self,
        session: Session,
        store: Store,
        progress: UploadProgress,
        *,
        folder: Path | None,
        user: str = "",
        address: Collection[str] = (),
        later: Callable[[Callable[[], None], int], object] = lambda call, _milliseconds: call(),
        soon: Callable[[Callable[[], None]], object] = lambda call: call(),
        when_drawn: Callable[[Callable[[], None]], object] = lambda call: call(),
        writer: Executor = _WRITER,
    ) -> None:
        self.session, self.store, self.progress = session, store, progress
        self._folder, self._user, self._later, self._soon, self._writer = folder, user, later, soon, writer
        self._address = {name: getattr(session, name) for name in address}
        self._saves: SavedSessions | None = None
        self._tab = ""
        self._offered: SavedTab | None = None
        self._waiting = self._writing = self._restoring = self._changed = False
        self._start = session.to_dict()
        self._last: dict[str, Any] | None = None
        self._digests: dict[str, str] = {}
        self._error = ""
        self.connection = PageConnection(
            on_hello=lambda key, tab, again: when_drawn(partial(self.meet, key, tab, again))
        )
        self.text = pmui.Alert(
            object="", severity="info", variant="outlined", margin=0, sx=ALERT_STYLE, styles={"flex": "1 1 180px"}
        )
        self.go_on = _button("Continue where you were", self._continue, variant="contained")
        self.afresh = _button("Start afresh", self._start_afresh, variant="outlined")
        self.close = _button("Dismiss", self._hide, variant="text")
        self.panel = pn.Column(
            self.text, self.go_on, self.afresh, self.close, stylesheets=[_ROW], sizing_mode="stretch_width",
            margin=(0, 0, 6, 0), visible=False,
        )  # fmt: skip
        session.param.watch(self._notice, [name for name in session.param if name not in _NOT_WATCHED])
        store.param.watch(self._notice, "samples")
        progress.panel.param.watch(self._update_risk, "visible")

    # ------------------------------------------------------------------------------------------------------ restoring
    def meet(self, key: str, tab: str, again: bool) -> None:  # noqa: FBT001 - the values of a message
        """Take the random key of the browser and the id of its tab; restore the session where the tab had one."""
        if self._saves is not None or self._folder is None:
            return
        try:
            self._saves, self._tab = SavedSessions(self._folder, key=key, user=self._user), tab
            if again:
                self._load(tab)
            else:
                self._offer()
        except InputError as error:
            self._saves = None
            logger.warning("a session cannot be saved: %s", error)
            return
        self._notice()

    def _offer(self) -> None:
        assert self._saves is not None
        offered = [saved for saved in self._saves.tabs() if saved.files and saved.offered and saved.tab != self._tab]
        if offered:
            self._offered = offered[0]
            age = time.time() - offered[0].when
            when = "just now" if age < _LEAST_SHOWN else f"{duration(age)} ago"
            self._show(f"You worked on {_files(offered[0].files)} here {when}.", ask=True)

    def _continue(self, _event: object = None) -> None:
        self._address = {}
        if self._offered is not None:
            self._load(self._offered.tab)
            self._hide()

    def _start_afresh(self, _event: object = None) -> None:
        """Decline the offered session, or empty the restored one."""
        assert self._saves is not None
        if self._offered is not None:
            self._saves.decline(self._offered.tab)
        else:
            with pn.io.hold():
                fresh = Session()
                names = [name for name in fresh.param if name not in _NOT_WATCHED and name != "screen"]
                values = {name: getattr(fresh, name) for name in names}
                self.session.param.update(**{"samples": values.pop("samples"), **values})
        self._hide()

    def _load(self, tab: str) -> None:
        """Read a saved session in the background, then restore it."""
        assert self._saves is not None
        self._restoring = True
        reading = self._writer.submit(self._saves.load, tab)
        reading.add_done_callback(lambda future: self._soon(partial(self._restore, future)))

    def _restore(self, read: Future[tuple[SavedSession, int] | None]) -> None:
        try:
            found = read.result()
        except InputError as error:
            self.store.add_problem(str(error))
            found = None
        except Exception:
            logger.exception("a saved session cannot be read")
            found = None
        if found is None:
            self._restoring = False
            self._notice()
            return
        saved, damaged = found
        if damaged:
            self.store.add_problem(f"{_files(damaged)} of the saved session cannot be read: drop them again")
        self.progress.begin(self._steps(saved), total=max(1, len(saved.files)), what="Restoring")

    def _steps(self, saved: SavedSession) -> Generator[int, None, None]:
        try:
            yield from restore_session(saved, self.session, self.store, name="the saved session")
            self.session.param.update(**self._address)
            if saved.files:
                self._offered = None
                self._show(f"Your session with {_files(len(saved.files))} was restored.", ask=False)
        finally:
            self._restoring = False
            self._notice()

    # --------------------------------------------------------------------------------------------------------- saving
    def _notice(self, *_events: object) -> None:
        """Save soon, once for all changes until then."""
        self._changed = True
        if not self._waiting and self._saves is not None:
            self._waiting = True
            self._later(self._save, DELAY_MILLISECONDS)

    def _save(self) -> None:
        self._waiting = False
        if self._saves is None or self._restoring or self._writing or not self._changed:
            return
        self._changed = False
        files = dropped_files(self.store)
        content = session_to_content(self.session, [(file.key, file) for file in files])
        if content == self._last or (self._last is None and not files and self.session.to_dict() == self._start):
            return
        self._last, self._writing = content, True
        held = {file.key: file.content for file in files}
        writing = self._writer.submit(self._write, self._saves, content, held)
        writing.add_done_callback(lambda future: self._soon(partial(self._wrote, future)))

    def _write(self, saves: SavedSessions, content: dict[str, Any], held: dict[str, bytes]) -> None:
        """Save a session; in the thread that writes."""
        for key in held.keys() - self._digests.keys():
            self._digests[key] = hashlib.sha256(held[key]).hexdigest()
        listed = [{**file, "member": self._digests[file["member"]]} for file in content["files"]]
        saves.save(self._tab, {**content, "files": listed}, {self._digests[key]: one for key, one in held.items()})

    def _wrote(self, future: Future[None]) -> None:
        self._writing = False
        try:
            future.result()
        except InputError as error:
            self._failed(str(error))
        except Exception:
            logger.exception("a session cannot be saved")
            self._failed("an error in the app; see the server log")
        else:
            self._error = ""
            self.connection.saved = time.time()
        self._update_risk()
        if self._changed:
            self._notice()

    def _failed(self, reason: str) -> None:
        self._last = None
        if not self._error:
            self.store.add_problem(f"This session is not saved: {reason}. Download it with “Save session”.")
        self._error = reason

    def _update_risk(self, *_events: object) -> None:
        reading = self.progress.panel.visible and not self._restoring
        self.connection.at_risk = "files are being read" if reading else self._error

    # ---------------------------------------------------------------------------------------------------------- shown
    def _show(self, text: str, *, ask: bool) -> None:
        with pn.io.hold():
            self.text.object = plain_markdown(text)
            self.go_on.visible, self.close.visible, self.panel.visible = ask, not ask, True

    def _hide(self, _event: object = None) -> None:
        self.panel.visible = False


def _files(count: int) -> str:
    return "one file" if count == 1 else f"{count} files"


def _button(label: str, action: Callable[[object], None], *, variant: str) -> pmui.Button:
    return pmui.Button(label=label, variant=variant, size="small", margin=0, on_click=action)
