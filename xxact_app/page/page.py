"""The page with its screens; errors at start-up are shown on the page."""

from __future__ import annotations

import logging
import threading
import weakref
from functools import cache
from typing import TYPE_CHECKING

import panel as pn
import panel_material_ui as pmui
import param
from panel.util import edit_readonly

from xxact_app.ui.safe_text import safe_message, safe_text
from xxact_app.ui.theme import HEADER_COLOUR, MATERIAL_THEME, NARROW, PAGE_CSS, figure_theme, grid_css
from xxact_core.errors import InputError, InstallationError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from xxact_app.page.keyboard import PageKeyboard
    from xxact_app.samples.store import Store
    from xxact_app.screens.embeddings.store import EmbeddingStore
    from xxact_app.session.session import Session

logger = logging.getLogger(__name__)

TITLE = "XxaCT"
_NAME = {"color": "white", "fontSize": "1.5rem", "fontWeight": 700, "margin": 0}
_SLOGAN = {"color": "white", f"@media (max-width: {NARROW}px)": {"display": "none"}}
_STRIP = grid_css(
    "minmax(0, 1fr) auto", ("drop examples", "messages messages"),
    narrow=("drop", "examples", "messages"),
    gap="10px 16px", padding="8px 16px 0",
)  # fmt: skip


_LEFT_MILLISECONDS = 10_000
"""Time after which the session of a page that was closed is dropped [ms]."""

_TEMPLATE = """{% extends "base.html" %}
{% block inner_head %}
    <meta http-equiv="Content-Security-Policy" content="script-src-attr 'none'">
{{ super() }}{% endblock %}"""
"""The page template of Panel with a policy against event handlers in attributes, in case markup is not escaped."""


def serve() -> None:
    """Serve the app to the current visitor."""
    pn.extension("tabulator", notifications=False)
    try:
        page = build()
    except Exception as error:
        logger.exception("the app could not start")
        page = _error_page(error)
    page.servable(title=TITLE)


def _invisible_parts() -> list[pn.custom.JSComponent]:
    """Parts that change how the browser lays out the page and draws tables."""
    from xxact_app.page.layout_pace import LayoutPace
    from xxact_app.page.table_editing import TableEditing

    return [LayoutPace(), TableEditing()]


def build() -> pmui.Page:
    """The whole app for one visitor."""
    # Imported here, so that the page also shows the errors of a broken installation.
    from xxact_app.library.phase_search import PROCESS
    from xxact_app.library.workspace import open_workspace
    from xxact_app.page.header import HeaderButtons
    from xxact_app.page.keyboard import PageKeyboard
    from xxact_app.page.session_keeper import SessionKeeper
    from xxact_app.page.shortcuts import ShortcutContext
    from xxact_app.page.tabs import ScreenTabs
    from xxact_app.page.upload_strip import UploadStrip
    from xxact_app.samples.sample import warm_up_reading
    from xxact_app.samples.store import Store
    from xxact_app.screens.embeddings.store import EmbeddingStore
    from xxact_app.screens.embeddings.view import EmbeddingsScreen
    from xxact_app.screens.patterns.view import PatternsScreen
    from xxact_app.screens.prediction.view import PredictionScreen
    from xxact_app.screens.reconstruction.store import ReconstructionStore
    from xxact_app.screens.reconstruction.view import ReconstructionScreen
    from xxact_app.screens.training.store import TrainingStore
    from xxact_app.screens.training.view import TrainingScreen
    from xxact_app.session.history import History
    from xxact_app.session.session import Session
    from xxact_app.session.url_state import IN_ADDRESS

    warm_up_reading()
    PROCESS.prepare()
    session = Session()
    store = Store(session)
    reconstructions, embeddings = ReconstructionStore(session, store), EmbeddingStore(session, store)
    _take_address(session, store, embeddings)
    history = History(
        session, later=_after_event, keep=store.keep_read,
        size=lambda keys: sum(len(store.read[key].content) for key in keys),
    )  # fmt: skip
    keys = PageKeyboard(context=ShortcutContext(session, history))
    shown = weakref.ref(store), weakref.ref(keys)  # Panel keeps the handler of each document as long as the document
    pn.config.exception_handler = lambda error: _report(shown[0](), shown[1](), error)
    inputs = UploadStrip(session, store)
    keeper = SessionKeeper(
        session, store, inputs.progress, folder=_saved_sessions(), user=pn.state.user or "",
        address=[name for name in IN_ADDRESS if name in pn.state.session_args],
        later=_after_time, soon=_from_any_thread(), when_drawn=_when_drawn,
    )  # fmt: skip
    messages = pn.Column(
        keeper.panel,
        inputs.progress.panel,
        inputs.problems,
        sizing_mode="stretch_width",
        margin=0,
        css_classes=["area-messages"],
    )
    strip = pn.Column(
        inputs.drop, inputs.examples, messages, stylesheets=[_STRIP], sizing_mode="stretch_width", margin=0
    )
    _when_drawn(lambda: _theme_figures(dark=session.dark))  # before the first screen is built
    screens = ScreenTabs(
        session,
        {
            PredictionScreen: lambda: PredictionScreen(session, store, in_front=False),
            PatternsScreen: lambda: PatternsScreen(session, store),
            EmbeddingsScreen: lambda: EmbeddingsScreen(session, embeddings, in_front=False),
            ReconstructionScreen: lambda: ReconstructionScreen(session, store, reconstructions, in_front=False),
            TrainingScreen: lambda: TrainingScreen(session, TrainingStore(session, open_workspace())),
        },
        later=_after_time, when_drawn=_when_drawn,
    )  # fmt: skip
    inputs.offer, inputs.most_files = screens.take_files, screens.most_files
    page = _make_page(
        meta_title=TITLE,
        template=_TEMPLATE,
        header=[
            keys,
            *_invisible_parts(),
            keeper.connection,
            pmui.Typography(TITLE, variant="h1", sx=_NAME, margin=0, width=96),
            pmui.Typography("Identify powders by X-ray diffraction", variant="body1", sx=_SLOGAN, margin=(6, 0, 0, 0)),
            HeaderButtons(session, store, history, keys).panel,
        ],
        main=[pn.Column(strip, screens.panel, sizing_mode="stretch_width", margin=0)],
        busy_indicator=None,  # a bar that stands still, and looks like a progress that is complete
        theme_config=MATERIAL_THEME,
        raw_css=[PAGE_CSS],
        sx={"& .header": {"backgroundColor": HEADER_COLOUR, "color": "white", "backgroundImage": "none"}},
    )
    page.param.watch(lambda event: _after_event(lambda: _set_theme(session, dark=event.new)), "dark_theme")
    session.dark = page.dark_theme
    _keep_address(session, keys)
    _give_back_when_left()
    if not pn.state.headers:
        _warm_up()  # `--warm` builds the app before the first visit, so that no visitor waits for the model
    else:
        threading.Thread(target=_warm_up, daemon=True).start()
    return page


@cache
def _warm_up() -> None:
    """Prepare what the first answer and the first map need; once in a process."""
    from xxact_app.samples.store import warm_up
    from xxact_app.screens.embeddings.view import warm_up_map

    warm_up()
    warm_up_map()


def _make_page(**params: object) -> pmui.Page:
    """A page that does not follow whether the server is busy.

    By default the activity of one visitor would show on every page, and the state of the whole server would hold every
    page that was ever opened.
    """
    before = _followers_of_server()
    page = pmui.Page(**params)
    with edit_readonly(page):
        page.busy = False
    for watcher in _followers_of_server():
        if watcher not in before:
            pn.state.param.unwatch(watcher)
    return page


def _set_theme(session: Session, *, dark: bool) -> None:
    """Give the page the looks of a theme; in its own callback, since the page can report it without its lock."""
    session.dark = dark
    _theme_figures(dark=dark)


def _theme_figures(*, dark: bool) -> None:
    """Give the figures of the page the looks of its theme."""
    if pn.state.curdoc is not None:
        pn.state.curdoc.theme = figure_theme(dark=dark)


def _followers_of_server() -> list[param.parameterized.Watcher]:
    return list(pn.state.param.watchers.get("busy", {}).get("value", ()))


def _after_event(call: Callable[[], None]) -> None:
    """Call a function after the current event."""
    if pn.state.curdoc is None:
        call()
    else:
        pn.state.curdoc.add_next_tick_callback(call)


def _after_time(call: Callable[[], None], milliseconds: int) -> None:
    """Call a function after a time [ms]; at once where there is no page."""
    if pn.state.curdoc is None:
        call()
    else:
        pn.state.curdoc.add_timeout_callback(call, milliseconds)


def _when_drawn(call: Callable[[], None]) -> None:
    """Call a function once the browser has drawn the page; changes before that could be lost."""
    if pn.state.curdoc is None or not pn.state.headers:  # `--warm`: no browser
        call()
    else:
        pn.state.onload(lambda: _after_event(call))  # after Panel counts the page as loaded


def _from_any_thread() -> Callable[[Callable[[], None]], object]:
    """Calls functions in the present page, from any thread."""
    document = pn.state.curdoc
    return (lambda call: call()) if document is None else document.add_next_tick_callback


def _give_back_when_left() -> None:
    """Let the server drop the session soon after its page was closed.

    Sessions whose page is still loading are kept for much longer (`server.request_guard`): their pages would lose the
    styles of the library.
    """
    document = pn.state.curdoc
    if document is None or document.session_context is None:
        return
    context = weakref.ref(document.session_context)

    def drop() -> None:
        left = context()
        if left is not None and left.session is not None and left.session.connection_count == 0:
            left.session.request_expiration()

    document.on_event("connection_lost", lambda _event: document.add_timeout_callback(drop, _LEFT_MILLISECONDS))


def _saved_sessions() -> Path | None:
    """Folder of the saved sessions; None where the workspace cannot be written."""
    from xxact_app.library.workspace import open_workspace
    from xxact_core.errors import InputError

    try:
        return open_workspace().sessions
    except InputError as error:
        logger.warning("sessions are not saved: %s", error)
        return None


def _take_address(session: Session, store: Store, embeddings: EmbeddingStore) -> None:
    """Apply the settings in the page address."""
    from xxact_app.library.models import keys_by_text
    from xxact_app.session.url_state import query_to_session
    from xxact_core.errors import InputError
    from xxact_core.quantities import TARGETS

    def models() -> list[str]:
        return [model.key for model in embeddings.models()]

    offered = {
        "model": lambda: keys_by_text(embeddings.models()),
        "reconstruction_model": lambda: keys_by_text(embeddings.models()),
        "map_models": models,
        "map_materials": lambda: [choice.key for choice in embeddings.materials()],
        "map_colour": lambda: list(TARGETS),
    }
    try:
        refused = query_to_session(pn.state.session_args, session, offered=offered)
    except InputError as error:
        refused = str(error)
    if refused:
        store.add_problem(refused)


def _keep_address(session: Session, keys: PageKeyboard) -> None:
    """Keep the page address up to date, so that a reloaded or shared page shows the same view."""
    from xxact_app.session.url_state import IN_ADDRESS, session_to_query

    def update(*_events: object) -> None:
        keys.query = session_to_query(session)

    session.param.watch(update, list(IN_ADDRESS))
    update()


def _report(store: Store | None, keys: PageKeyboard | None, error: Exception) -> None:
    """Show why an action of the user failed, such as a download: above the screens, and briefly where the user is."""
    if isinstance(error, InputError):
        text = str(error)
    else:
        logger.error("an action of the user failed", exc_info=error)
        text = "The action failed because of an error in the app; see the server log."
    if store is not None and safe_message(text) not in {problem.text for problem in store.problems}:
        store.add_problem(text)
    if keys is not None:
        keys.notify(text)


def _error_page(error: Exception) -> pmui.Page:
    if isinstance(error, InstallationError):  # its message names the missing file
        text = f"The app cannot start: {safe_text(str(error))}."
    else:
        text = (
            "The app cannot start. The installation may be incomplete: reinstall XxaCT. See the server log for details."
        )
        text += f"\n\nError: {type(error).__name__}."
    return pmui.Page(title=TITLE, main=[pmui.Alert(object=text, severity="error", margin=16)])
