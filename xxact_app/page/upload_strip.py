"""The strip for uploads: drop zone, example data, and the list of problems."""

from __future__ import annotations

from collections.abc import Callable, Generator

import panel as pn
import panel_material_ui as pmui
import param

from xxact_app.page.session_file import file_to_saved, is_session_file, restore_session
from xxact_app.page.upload_progress import UploadProgress
from xxact_app.samples.store import Store
from xxact_app.session.session import Session
from xxact_app.ui.file_drop import MOST_FILES, FileDrop
from xxact_app.ui.safe_text import plain_markdown
from xxact_app.ui.theme import ALERT_STYLE
from xxact_core.errors import InputError


class UploadStrip:
    """The strip above the screens: drop zone, example data, and problems, which can be dismissed."""

    def __init__(self, session: Session, store: Store) -> None:
        self.session, self.store = session, store
        self.offer: Callable[[list[tuple[str, bytes]]], list[tuple[str, bytes]]] = lambda files: files
        """Offers files to the open screen; returns those that it has no use for."""
        self.most_files: Callable[[], int] = lambda: MOST_FILES
        """Number of files that may be dropped at a time."""
        self.drop = FileDrop(
            on_files=self.take_files, on_refusal=store.add_problem, most_files=self._limit,
            sizing_mode="stretch_width", margin=0,
            css_classes=["area-drop"],
        )  # fmt: skip
        self.examples = pmui.Button(
            label="Load example data", icon="science", variant="outlined", margin=0, height=40,
            css_classes=["area-examples"], on_click=self.take_examples,
        )  # fmt: skip
        self.progress = UploadProgress(on_error=lambda error: store.add_problem(str(error)))
        self.problems = pn.Column(sizing_mode="stretch_width", margin=0, visible=False)
        store.param.watch(self._show_problems, "problems")
        self._show_problems()

    def take_files(self, files: list[tuple[str, bytes]]) -> None:
        """Restore a saved session, offer files to the open screen, or read patterns and structures."""
        sessions = [file for file in files if is_session_file(*file)]
        patterns = self.offer([file for file in files if not is_session_file(*file)])
        for name, content in sessions:
            self._restore(name, content)
        if patterns:
            self.progress.begin(self._read(patterns), total=len(patterns), what="Reading")

    def _limit(self) -> int:
        return self.most_files()

    def _read(self, files: list[tuple[str, bytes]]) -> Generator[int, None, None]:
        keys: list[str] = []
        try:
            for number, file in enumerate(files, start=1):
                keys += self.store.read_files([file])
                yield number
        finally:  # files read before a stop are kept
            self.session.add(keys)

    def _restore(self, name: str, content: bytes) -> None:
        try:
            saved = file_to_saved(content, name=name)
        except InputError as error:
            self.store.add_problem(str(error))
        else:
            steps = restore_session(saved, self.session, self.store, name=name)
            self.progress.begin(steps, total=len(saved.files), what="Restoring")

    def take_examples(self, _event: object = None) -> None:
        """Load the example data with their formulas and wavelengths."""
        with pn.io.hold():
            examples = self.store.read_examples()
            self.session.add(list(examples), known=examples)
            self.session.chosen = self.store.first_predictable(examples) or self.session.chosen

    def _show_problems(self, _event: object = None) -> None:
        shown = {alert.name: alert for alert in self.problems}
        alerts = []
        for problem in self.store.problems:
            alert = shown.get(problem.key)
            if alert is None:
                alert = pmui.Alert(
                    name=problem.key, object=plain_markdown(problem.text), severity="error", closeable=True,
                    variant="outlined", sizing_mode="stretch_width", margin=(0, 0, 6, 0),
                    sx=ALERT_STYLE,
                )  # fmt: skip
                alert.param.watch(self._dismiss, "closed")
            alerts.append(alert)
        self.problems.objects = alerts
        self.problems.visible = bool(alerts)

    def _dismiss(self, event: param.parameterized.Event) -> None:
        if event.new:
            self.session.dismissed = [*self.session.dismissed, event.obj.name]
