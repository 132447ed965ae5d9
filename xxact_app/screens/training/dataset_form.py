"""The dataset of a training: selected, or built from uploaded files, the shipped table or a folder on the server."""

from __future__ import annotations

import html
from collections.abc import Callable

import panel as pn
import panel_material_ui as pmui

from xxact_app.library.structure_uploads import Upload
from xxact_app.screens.training import text as words
from xxact_app.screens.training.store import TrainingStore
from xxact_app.session.session import Session
from xxact_app.ui.file_drop import FileDrop
from xxact_app.ui.safe_text import plain_markdown, safe_message, safe_text
from xxact_app.ui.theme import ALERT_STYLE, TEXT_CSS
from xxact_core.errors import InputError

MOST_DROPPED = 5000
_SOURCES = {"Upload": "dropped", "Materials Project": "shipped", "Server": "server"}
_QUICK = 5000
_FIELD = {"sizing_mode": "stretch_width", "size": "small", "margin": (8, 0)}


class DatasetForm:
    """Selects or builds the dataset; `panel` is the form. `built` is called after a build was started."""

    def __init__(self, session: Session, store: TrainingStore, *, built: Callable[[], None]) -> None:
        self.session, self.store, self._built = session, store, built
        self._upload: Upload | None = None
        self.dataset = pmui.Select(label="Dataset", options={}, **_FIELD)
        self.facts = pn.pane.HTML("", stylesheets=[TEXT_CSS, words.COUNTS_CSS], sizing_mode="stretch_width", margin=0)
        self.build_new = pmui.Checkbox(label="Build a new dataset", value=False, size="small", margin=0)
        self.source = pmui.RadioButtonGroup(
            label="Structures from", options=_SOURCES, value="dropped", size="small", margin=(8, 0),
        )  # fmt: skip
        drop = FileDrop(
            label="Drop CIF files here, or choose files", hint="also .zip, .parquet, .json, .xyz", anywhere=False,
            most_files=MOST_DROPPED, on_files=self._take, on_refusal=self._say, sizing_mode="stretch_width", margin=0,
        )  # fmt: skip
        self.drop = pn.Column(drop, sizing_mode="stretch_width", margin=0)
        self.path = pmui.TextInput(label="File or folder on the server", helper_text=self._readable(), **_FIELD)
        self.limit = pmui.IntInput(
            label="Maximum number of structures (0 = all)", value=0, start=0, step=1000,
            **{**_FIELD, "margin": (16, 0, 8, 0)},
        )  # fmt: skip
        self.name = pmui.TextInput(label="Name of the dataset", value="", **_FIELD)
        self.build = pmui.Button(
            label="Build dataset", icon="construction", variant="contained", size="small", margin=(8, 0),
            on_click=self._build,
        )  # fmt: skip
        self.message = pmui.Alert(
            severity="info", object="", visible=False, sizing_mode="stretch_width", sx=ALERT_STYLE, margin=(8, 0)
        )
        self.form = pn.Column(
            self.source, self.drop, self.path, self.limit, self.name, self.message, self.build,
            sizing_mode="stretch_width", margin=0, visible=False,
        )  # fmt: skip
        self.panel = pn.Column(
            pn.pane.HTML("<h2>Dataset</h2>", stylesheets=[TEXT_CSS], margin=(8, 0, 0, 0)),
            self.dataset, self.facts, self.build_new, self.form, sizing_mode="stretch_width", margin=0,
        )  # fmt: skip
        self.build_new.param.watch(lambda event: self.form.param.update(visible=event.new), "value")
        self.source.param.watch(self._choose_source, "value")
        self.dataset.param.watch(self._show_facts, "value")
        self._choose_source()
        self.refresh()
        self._show_facts()
        self.build_new.value = not self.dataset.options

    def refresh(self) -> None:
        """Update the list of datasets."""
        options = self.store.datasets()
        if options != self.dataset.options:
            newest = [path for path in options.values() if path not in self.dataset.options.values()]
            kept = self.dataset.value if self.dataset.value in options.values() else None
            value = kept or next(iter(newest), None)
            self.dataset.param.update(options=options, value=value, disabled=not options)
            if newest and self.message.severity == "success":
                self.message.visible = False  # the build that it announces has ended
            self._show_facts()

    def _readable(self) -> str:
        return "Allowed folders: " + ", ".join(safe_text(folder) for folder in self.store.workspace.readable)

    def _show_facts(self, _event: object = None) -> None:
        if not self.dataset.value:
            self.facts.object = "<p class='muted'>No dataset yet. Building one takes seconds to minutes.</p>"
            return
        try:
            self.facts.object = words.facts(self.store.facts(self.dataset.value))
        except InputError as error:
            self.facts.object = f"<p class='wrong'>{html.escape(safe_message(error))}</p>"

    def _choose_source(self, _event: object = None) -> None:
        source = self.source.value
        with pn.io.hold():
            self.drop.visible, self.path.visible = source == "dropped", source == "server"
            self.limit.value = _QUICK if source == "shipped" else 0
            start = {"dropped": "my-structures", "shipped": "materials-project", "server": "structures"}[source]
            self.name.value = self.store.free_name(start, kind="build")
            self.message.visible = False

    def _take(self, files: list[tuple[str, bytes]]) -> None:
        """Store uploaded structures in the workspace."""
        try:
            self._upload = self.store.keep_structures(files)
        except InputError as error:
            self._say(str(error))
            return
        self._say(f"Uploaded: {self._upload.words}. Press “Build dataset” to continue.", severity="info")

    def take_structures(self, files: list[tuple[str, bytes]]) -> None:
        """Open the form for structures that were dropped elsewhere on the screen."""
        self.build_new.value, self.source.value = True, "dropped"
        self._take(files)

    def _say(self, text: str, *, severity: str = "error") -> None:
        self.message.param.update(object=plain_markdown(safe_message(text)), severity=severity, visible=True)

    def _build(self, _event: object = None) -> None:
        source: str | Upload | None = {"dropped": self._upload, "server": self.path.value_input or self.path.value}.get(
            self.source.value, self.source.value
        )
        if not source:
            self._say("Upload files first." if self.source.value == "dropped" else "Enter a path first.")
            return
        try:
            job = self.store.start_build(
                source, name=self.name.value_input or self.name.value, limit=self.limit.value or None
            )
        except InputError as error:
            self._say(str(error))
            return
        self._upload = None
        self.name.value = self.store.free_name(job.name, kind="build")
        self._say(f"Build of {job.name} started. It continues when this page is closed.", severity="success")
        self._built()
