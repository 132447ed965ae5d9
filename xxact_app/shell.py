"""Arranges the screens on one page; what fails on the way is shown instead of a page that waits for ever."""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING

import panel as pn
import panel_material_ui as pmui

from xxact_app.theme import HEADER_COLOUR, MATERIAL_THEME, PAGE_CSS, grid_css

if TYPE_CHECKING:
    from collections.abc import Callable

    from xxact_app.session import Session
    from xxact_app.store import Store
    from xxact_app.views.embedding import EmbeddingView
    from xxact_app.views.prediction import PredictionView
    from xxact_app.views.reconstruction import ReconstructionView
    from xxact_app.views.training import TrainingView

logger = logging.getLogger(__name__)

TITLE = "XxaCT"
_NAME = {"color": "white", "fontSize": "1.5rem", "fontWeight": 700, "margin": 0}
_STRIP = grid_css(
    "minmax(0, 1fr) auto", ("drop examples", "problems problems"),
    narrow=("drop", "examples", "problems"),
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
    from xxact_app.embedding_store import EmbeddingStore
    from xxact_app.inputs import Inputs
    from xxact_app.reconstruction_store import ReconstructionStore
    from xxact_app.samples import warm_up_reading
    from xxact_app.session import Session
    from xxact_app.store import Store, warm_up
    from xxact_app.views.embedding import EmbeddingView
    from xxact_app.views.pattern import PatternView
    from xxact_app.views.prediction import PredictionView
    from xxact_app.views.reconstruction import ReconstructionView

    warm_up_reading()
    session = Session()
    store = Store(session)
    pn.config.exception_handler = lambda error: _report(store, error)
    inputs, patterns = Inputs(session, store), PatternView(session, store)
    prediction = PredictionView(session, store, in_front=False)
    reconstruction = ReconstructionView(session, store, ReconstructionStore(session, store), in_front=False)
    embedding = EmbeddingView(session, EmbeddingStore(session, store), in_front=False)
    strip = pn.Column(
        inputs.drop, inputs.examples, inputs.problems, stylesheets=[_STRIP], sizing_mode="stretch_width", margin=0
    )
    later = pn.Column(sizing_mode="stretch_width", margin=0)
    screens = pmui.Tabs(
        ("Patterns", patterns.panel),
        ("Reconstruction", reconstruction.panel),
        ("Prediction", prediction.panel),
        ("Training", later),
        ("Embeddings", embedding.panel),
        sizing_mode="stretch_width",
        margin=0,
    )
    _fill_when_seen(screens, later, lambda: _training(session))
    screens.param.watch(
        lambda event: _show_screen(event.new, {1: reconstruction, 2: prediction, 4: embedding}), "active"
    )
    page = pmui.Page(
        meta_title=TITLE,
        template=_TEMPLATE,
        header=[
            pmui.Typography(TITLE, variant="h1", sx=_NAME, margin=0, width=96),
            pmui.Typography("What is this powder?", variant="body1", sx={"color": "white"}, margin=(6, 0, 0, 0)),
        ],
        main=[pn.Column(strip, screens, sizing_mode="stretch_width", margin=0)],
        theme_config=MATERIAL_THEME,
        raw_css=[PAGE_CSS],
        sx={"& .header": {"backgroundColor": HEADER_COLOUR, "color": "white", "backgroundImage": "none"}},
    )
    page.param.watch(lambda event: session.param.update(dark=event.new), "dark_theme")
    session.dark = page.dark_theme
    if not pn.state.headers:
        warm_up()  # `--warm` builds the app once before anybody visits it: no visitor waits for the model
    else:
        threading.Thread(target=warm_up, daemon=True).start()
    return page


def _training(session: Session) -> TrainingView:
    from xxact_app.training_store import TrainingStore
    from xxact_app.views.training import TrainingView
    from xxact_app.workspace import open_workspace

    return TrainingView(session, TrainingStore(session, open_workspace()))


def _fill_when_seen(screens: pmui.Tabs, place: pn.Column, make: Callable[[], TrainingView]) -> None:
    """Build a screen when its tab is opened first, so that the page is there sooner; it follows while it is seen."""
    from xxact_app.escaping import plain_markdown, safe_message
    from xxact_core.errors import InputError

    made: list[TrainingView] = []

    def follow(_event: object) -> None:
        visible = screens[screens.active] is place
        if visible and not made:
            try:
                made.append(make())
            except InputError as error:
                place.objects = [pmui.Alert(object=plain_markdown(safe_message(error)), severity="error", margin=16)]
                return
            place.objects = [made[0].panel]
        for view in made:
            view.show(visible=visible)

    screens.param.watch(follow, "active")


def _show_screen(number: int, views: dict[int, ReconstructionView | PredictionView | EmbeddingView]) -> None:
    """Tell the screens that are long to draw whether somebody looks at them."""
    for place, view in views.items():
        view.come_to_front(in_front=place == number)


def _report(store: Store, error: Exception) -> None:
    logger.error("an action of the user failed", exc_info=error)
    store.add_problem("That did not work because of a fault in the app; the server's log says more.")


def _sorry(error: Exception) -> pmui.Page:
    text = "The app cannot start. The installation may be incomplete: run `make env` again. The server's log says more."
    kind = f"Kind of fault: {type(error).__name__}."
    return pmui.Page(title=TITLE, main=[pmui.Alert(object=f"{text}\n\n{kind}", severity="error", margin=16)])
