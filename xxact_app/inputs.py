"""How files come in: dropped anywhere, chosen, or the examples; and the list of what could not be read."""

from __future__ import annotations

import panel as pn
import panel_material_ui as pmui
import param

from xxact_app.escaping import plain_markdown
from xxact_app.file_drop import FileDrop
from xxact_app.session import Session
from xxact_app.session_file import file_to_saved, is_session_file, restore_session
from xxact_app.store import InputError, Store
from xxact_app.theme import ALERT_STYLE


class Inputs:
    """The strip above every screen: drop zone, examples, and the problems, each of which can be put away."""

    def __init__(self, session: Session, store: Store) -> None:
        self.session, self.store = session, store
        self.drop = FileDrop(
            on_files=self.take_files, on_refusal=store.add_problem, sizing_mode="stretch_width", margin=0,
            css_classes=["area-drop"],
        )  # fmt: skip
        self.examples = pmui.Button(
            label="Load example data", icon="science", variant="outlined", margin=0, height=56,
            css_classes=["area-examples"], on_click=self.take_examples,
        )  # fmt: skip
        self.problems = pn.Column(sizing_mode="stretch_width", margin=0, css_classes=["area-problems"], visible=False)
        store.param.watch(self._show_problems, "problems")
        self._show_problems()

    def take_files(self, files: list[tuple[str, bytes]]) -> None:
        """Restore a saved session; read the other files and take up those that could be read."""
        patterns = []
        with pn.io.hold():
            for name, content in files:
                if is_session_file(name, content):
                    self._restore(name, content)
                else:
                    patterns.append((name, content))
            self.session.add(self.store.read_files(patterns))

    def _restore(self, name: str, content: bytes) -> None:
        try:
            restore_session(file_to_saved(content, name=name), self.session, self.store, name=name)
        except InputError as error:
            self.store.add_problem(str(error))

    def take_examples(self, _event: object = None) -> None:
        """Read the examples and take them up with what is known of them."""
        with pn.io.hold():
            keys, formulas, wavelengths = self.store.read_examples()
            self.session.add(keys, formulas=formulas, wavelengths=wavelengths)
            self.session.chosen = self.store.first_predictable(keys) or self.session.chosen

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
