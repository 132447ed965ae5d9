"""Display of widgets in notebooks, without network access."""

from __future__ import annotations

import base64
import gzip
import re
from functools import cache
from pathlib import Path
from typing import Any

import panel as pn
import panel_material_ui as pmui
import param
from bokeh.models import ImportedStyleSheet, InlineStyleSheet
from bokeh.models.ui import UIElement
from panel.io.notebook import replace_inline_css
from panel.models.esm import ReactComponent

from xxact_app.session.session import Session
from xxact_app.ui.theme import MATERIAL_THEME

NOT_LOADED = "Run this in a separate cell first: import panel as pn; pn.extension('tabulator', inline=True)"
"""Shown in place of a widget where the notebook has not loaded Panel, which a library cannot do for it."""

MimeBundle = tuple[dict[str, Any], dict[str, Any]]
"""Content by MIME type, and its metadata."""

_COMPONENTS = Path(pmui.__file__).parent / "dist"
_LONGEST_OWN = 100_000
"""Length above which the code of a component is the bundle of Material UI."""

_MODULE = (
    "while (!window.xxactMaterial) await new Promise((done) => setTimeout(done, 20));"
    "export default (await window.xxactMaterial).default"
)
_LOADER = "data:text/javascript;base64," + base64.b64encode(_MODULE.encode()).decode()
"""A module that exports the Material UI components loaded by the page."""

_SCRIPT = """<script>
window.xxactMaterial ??= (async () => {{
  const bytes = (text) => Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
  document.fonts.add(await new FontFace("Material Icons", bytes("{font}")).load());
  const unpacked = new Blob([bytes("{code}")]).stream().pipeThrough(new DecompressionStream("gzip"));
  const code = new Blob([await new Response(unpacked).text()], {{type: "text/javascript"}});
  return import(URL.createObjectURL(code));
}})();
</script>"""


class SessionSetting:
    """An attribute of a widget that reads and sets a setting of its session.

    name: name of the setting, where it differs from that of the attribute.
    """

    def __init__(self, name: str = "") -> None:
        self.name = name

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = self.name or name

    def __get__(self, widget: NotebookWidget | None, owner: type) -> Any:  # noqa: ANN401 - of the type of the setting
        return self if widget is None else getattr(widget.session, self.name)

    def __set__(self, widget: NotebookWidget, value: object) -> None:
        setattr(widget.session, self.name, value)


class NotebookWidget:
    """Base of all widgets: displayed at the end of a cell, and redrawn when Python changes a setting."""

    session: Session
    panel: pn.viewable.Viewable

    def show_panel(self, session: Session, panel: pn.viewable.Viewable) -> None:
        """Set the panel of a screen; called last, when it already follows the session."""
        self.session = session
        self.panel = _Frame(panel, sizing_mode="stretch_width", margin=0)
        # A figure changed by a cell is not sent to the page automatically.
        session.param.watch(self.push, [name for name in session.param if name != "name"])

    def push(self, *_events: param.parameterized.Event) -> None:
        """Send changes of the figures to every display of the widget."""
        pn.io.push_notebook(self.panel)

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> MimeBundle:
        if not pn.extension._loaded:  # noqa: SLF001 - as Panel itself does
            return {"text/plain": NOT_LOADED}, {}
        shown = self.panel._repr_mimebundle_(include, exclude)
        data, about = shown if isinstance(shown, tuple) else (shown, {})
        data = {**data, "text/plain": repr(self)}
        if "text/html" in data:
            data = {**data, "text/html": _material_script() + data["text/html"]}
        return data, about


class _Frame(pn.Column):
    """The panel of a widget with its resources inlined.

    Each Material UI component would add the whole library, 1.4 MB, to the notebook. The page loads it once, compressed,
    from `_material_script`, and the components import a module that waits for it. Style sheets are inlined.
    """

    def _render_model(self, *arguments: Any, **more: Any) -> Any:  # noqa: ANN401 - as Panel declares it
        parts = self.select()
        for part in parts:
            part._manual_params = type(part)._manual_params  # noqa: SLF001 - see below
        model = super()._render_model(*arguments, **more)
        for part in parts:
            # Panel would replace the inlined sheets by their addresses whenever a text changes.
            part._manual_params = [*type(part)._manual_params, "stylesheets"]  # noqa: SLF001 - there is no other way
        known: dict[str, InlineStyleSheet] = {}
        for part in model.references():
            if isinstance(part, UIElement):
                _inline_styles(part, known)
            if isinstance(part, ReactComponent) and len(part.esm or "") > _LONGEST_OWN:
                part.update(esm=_LOADER, bundle="url", css_bundle=_icon_style())
                part.data.theme_config = MATERIAL_THEME
        return model


def _inline_styles(part: UIElement, known: dict[str, InlineStyleSheet]) -> None:
    """Inline style sheets; equal ones share a model, which is sent once."""
    if not any(isinstance(sheet, ImportedStyleSheet) for sheet in part.stylesheets):
        return
    sheets = []
    for sheet in part.stylesheets:
        if isinstance(sheet, ImportedStyleSheet):
            if sheet.url not in known:
                found = replace_inline_css(sheet)
                known[sheet.url] = found if isinstance(found, InlineStyleSheet) else InlineStyleSheet(css="")
            sheets.append(known[sheet.url])
        else:
            sheets.append(sheet)
    part.stylesheets = sheets


@cache
def _icon_style() -> str:
    """The style sheet of the icon font as a data URL; the font itself is loaded by the page."""
    text = (_COMPONENTS / "panel-material-ui.bundle.css").read_text(encoding="utf-8")
    rules = "".join(re.findall(r"\.material-icons[^{}]*\{[^}]*\}", text))
    return "data:text/css;base64," + base64.b64encode(rules.encode()).decode()


@cache
def _material_script() -> str:
    """The script that loads the Material UI components and icons, as HTML."""
    code = (_COMPONENTS / "panel-material-ui.bundle.js").read_bytes()
    (font,) = _COMPONENTS.glob("material-icons-[A-Z]*.woff2")
    packed, letters = gzip.compress(code, mtime=0), font.read_bytes()
    return _SCRIPT.format(code=base64.b64encode(packed).decode(), font=base64.b64encode(letters).decode())
