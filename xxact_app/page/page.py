"""The page with its screens; errors at start-up are shown on the page."""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING

import panel as pn
import panel_material_ui as pmui
from panel.util import edit_readonly

from xxact_app.ui.safe_text import safe_text
from xxact_app.ui.theme import HEADER_COLOUR, MATERIAL_THEME, NARROW, PAGE_CSS, grid_css
from xxact_core.errors import InstallationError

if TYPE_CHECKING:
    from collections.abc import Callable

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
    gap="10px 16px", padding="12px 16px 0",
)  # fmt: skip


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


def build() -> pmui.Page:
    """The whole app for one visitor."""
    # Imported here, so that the page also shows the errors of a broken installation.
    from xxact_app.library.workspace import open_workspace
    from xxact_app.page.header import HeaderButtons
    from xxact_app.page.keyboard import PageKeyboard
    from xxact_app.page.shortcuts import ShortcutContext
    from xxact_app.page.tabs import ScreenTabs
    from xxact_app.page.upload_strip import UploadStrip
    from xxact_app.samples.sample import warm_up_reading
    from xxact_app.samples.store import Store, warm_up
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

    warm_up_reading()
    session = Session()
    store = Store(session)
    pn.config.exception_handler = lambda error: _report(store, error)
    reconstructions, embeddings = ReconstructionStore(session, store), EmbeddingStore(session, store)
    _take_address(session, store, embeddings)
    history = History(
        session, later=_after_event, keep=store.keep_read,
        size=lambda keys: sum(len(store.read[key].content) for key in keys),
    )  # fmt: skip
    keys = PageKeyboard(context=ShortcutContext(session, history))
    inputs = UploadStrip(session, store)
    messages = pn.Column(
        inputs.progress.panel, inputs.problems, sizing_mode="stretch_width", margin=0, css_classes=["area-messages"]
    )
    strip = pn.Column(
        inputs.drop, inputs.examples, messages, stylesheets=[_STRIP], sizing_mode="stretch_width", margin=0
    )
    screens = ScreenTabs(
        session,
        {
            PatternsScreen: lambda: PatternsScreen(session, store),
            ReconstructionScreen: lambda: ReconstructionScreen(session, store, reconstructions, in_front=False),
            PredictionScreen: lambda: PredictionScreen(session, store, in_front=False),
            TrainingScreen: lambda: TrainingScreen(session, TrainingStore(session, open_workspace())),
            EmbeddingsScreen: lambda: EmbeddingsScreen(session, embeddings, in_front=False),
        },
    )
    page = pmui.Page(
        meta_title=TITLE,
        template=_TEMPLATE,
        header=[
            keys,
            pmui.Typography(TITLE, variant="h1", sx=_NAME, margin=0, width=96),
            pmui.Typography("Identify powders by X-ray diffraction", variant="body1", sx=_SLOGAN, margin=(6, 0, 0, 0)),
            HeaderButtons(session, store, history, keys).panel,
        ],
        main=[pn.Column(strip, screens.panel, sizing_mode="stretch_width", margin=0)],
        theme_config=MATERIAL_THEME,
        raw_css=[PAGE_CSS],
        sx={"& .header": {"backgroundColor": HEADER_COLOUR, "color": "white", "backgroundImage": "none"}},
    )
    with edit_readonly(page):
        page.busy = False  # by default that of the whole server: activity of one visitor would show on every page
    page.param.watch(lambda event: session.param.update(dark=event.new), "dark_theme")
    session.dark = page.dark_theme
    _keep_address(session, keys)
    if not pn.state.headers:
        warm_up()  # `--warm` builds the app before the first visit, so that no visitor waits for the model
    else:
        threading.Thread(target=warm_up, daemon=True).start()
    return page


def _after_event(call: Callable[[], None]) -> None:
    """Call a function after the current event."""
    if pn.state.curdoc is None:
        call()
    else:
        pn.state.curdoc.add_next_tick_callback(call)


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
        "reconstruction_model": models,
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


def _report(store: Store, error: Exception) -> None:
    logger.error("an action of the user failed", exc_info=error)
    store.add_problem("The action failed because of an error in the app; see the server log.")


def _error_page(error: Exception) -> pmui.Page:
    if isinstance(error, InstallationError):  # its message names the missing file
        text = f"The app cannot start: {safe_text(str(error))}."
    else:
        text = (
            "The app cannot start. The installation may be incomplete: reinstall XxaCT. See the server log for details."
        )
        text += f"\n\nError: {type(error).__name__}."
    return pmui.Page(title=TITLE, main=[pmui.Alert(object=text, severity="error", margin=16)])
