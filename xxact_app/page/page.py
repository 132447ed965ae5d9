"""Arranges the screens on one page; what fails on the way is shown instead of a page that waits for ever."""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING

import panel as pn
import panel_material_ui as pmui
from panel.util import edit_readonly

from xxact_app.ui.theme import HEADER_COLOUR, MATERIAL_THEME, NARROW, PAGE_CSS, grid_css

if TYPE_CHECKING:
    from collections.abc import Callable

    from xxact_app.page.keyboard import PageKeys
    from xxact_app.samples.store import Store
    from xxact_app.screens.embeddings.store import EmbeddingStore
    from xxact_app.session.session import Session

logger = logging.getLogger(__name__)

TITLE = "XxaCT"
_NAME = {"color": "white", "fontSize": "1.5rem", "fontWeight": 700, "margin": 0}
_SLOGAN = {"color": "white", f"@media (max-width: {NARROW}px)": {"display": "none"}}
_STRIP = grid_css(
    "minmax(0, 1fr) auto", ("drop examples", "told told"),
    narrow=("drop", "examples", "told"),
    gap="10px 16px", padding="12px 16px 0",
)  # fmt: skip


_TEMPLATE = """{% extends "base.html" %}
{% block inner_head %}
    <meta http-equiv="Content-Security-Policy" content="script-src-attr 'none'">
{{ super() }}{% endblock %}"""
"""The page of the library, but without event handlers in attributes: a second wall against text that is markup."""


def serve() -> None:
    """Serve the app to the present visitor."""
    pn.extension("tabulator", notifications=False)
    try:
        page = build()
    except Exception as error:
        logger.exception("the app could not start")
        page = _sorry(error)
    page.servable(title=TITLE)


def build() -> pmui.Page:
    """The whole app for one visitor."""
    # Imported here, so that a broken installation is told on the page too.
    from xxact_app.library.workspace import open_workspace
    from xxact_app.page.header import Tools
    from xxact_app.page.keyboard import PageKeys
    from xxact_app.page.shortcuts import Reach
    from xxact_app.page.tabs import Screens
    from xxact_app.page.upload_strip import Inputs
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
        session, later=_after_this, keep=store.keep_read,
        size=lambda keys: sum(len(store.read[key].content) for key in keys),
    )  # fmt: skip
    keys = PageKeys(reach=Reach(session, history))
    inputs = Inputs(session, store)
    told = pn.Column(
        inputs.reading.panel, inputs.problems, sizing_mode="stretch_width", margin=0, css_classes=["area-told"]
    )
    strip = pn.Column(inputs.drop, inputs.examples, told, stylesheets=[_STRIP], sizing_mode="stretch_width", margin=0)
    screens = Screens(
        session,
        {
            "patterns": lambda: PatternsScreen(session, store),
            "reconstruction": lambda: ReconstructionScreen(session, store, reconstructions, in_front=False),
            "prediction": lambda: PredictionScreen(session, store, in_front=False),
            "training": lambda: TrainingScreen(session, TrainingStore(session, open_workspace())),
            "embeddings": lambda: EmbeddingsScreen(session, embeddings, in_front=False),
        },
    )
    page = pmui.Page(
        meta_title=TITLE,
        template=_TEMPLATE,
        header=[
            keys,
            pmui.Typography(TITLE, variant="h1", sx=_NAME, margin=0, width=96),
            pmui.Typography("What is this powder?", variant="body1", sx=_SLOGAN, margin=(6, 0, 0, 0)),
            Tools(session, store, history, keys).panel,
        ],
        main=[pn.Column(strip, screens.panel, sizing_mode="stretch_width", margin=0)],
        theme_config=MATERIAL_THEME,
        raw_css=[PAGE_CSS],
        sx={"& .header": {"backgroundColor": HEADER_COLOUR, "color": "white", "backgroundImage": "none"}},
    )
    with edit_readonly(page):
        page.busy = False  # no longer that of the whole server: every page would be told what any visitor does
    page.param.watch(lambda event: session.param.update(dark=event.new), "dark_theme")
    session.dark = page.dark_theme
    _keep_address(session, keys)
    if not pn.state.headers:
        warm_up()  # `--warm` builds the app once before anybody visits it: no visitor waits for the model
    else:
        threading.Thread(target=warm_up, daemon=True).start()
    return page


def _after_this(call: Callable[[], None]) -> None:
    """Call a function once what the visitor did now is over."""
    if pn.state.curdoc is None:
        call()
    else:
        pn.state.curdoc.add_next_tick_callback(call)


def _take_address(session: Session, store: Store, embeddings: EmbeddingStore) -> None:
    """Take what the address says of the view."""
    from xxact_app.library.workspace import open_workspace, own_folders
    from xxact_app.session.url_state import query_to_session
    from xxact_core.errors import InputError
    from xxact_core.quantities import TARGETS

    def models() -> list[str]:
        return [model.key for model in embeddings.models()]

    offered = {
        "model": lambda: [folder.name for folder in own_folders(open_workspace().runs)],
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


def _keep_address(session: Session, keys: PageKeys) -> None:
    """Keep the address up to date, so that the page, loaded again or sent to somebody, shows the same view."""
    from xxact_app.session.url_state import IN_ADDRESS, session_to_query

    def tell(*_events: object) -> None:
        keys.query = session_to_query(session)

    session.param.watch(tell, list(IN_ADDRESS))
    tell()


def _report(store: Store, error: Exception) -> None:
    logger.error("an action of the user failed", exc_info=error)
    store.add_problem("That did not work because of a fault in the app; the server's log says more.")


def _sorry(error: Exception) -> pmui.Page:
    text = "The app cannot start. The installation may be incomplete: run `make env` again. The server's log says more."
    kind = f"Kind of fault: {type(error).__name__}."
    return pmui.Page(title=TITLE, main=[pmui.Alert(object=f"{text}\n\n{kind}", severity="error", margin=16)])
