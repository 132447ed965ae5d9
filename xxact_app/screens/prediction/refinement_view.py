"""The refinement of the phases found: the offer, its progress and its result."""

from __future__ import annotations

import panel as pn

from xxact_app.jobs.task_panel import TaskPanel
from xxact_app.jobs.tasks import BackgroundTask
from xxact_app.samples.store import Store
from xxact_app.screens.prediction.phases_store import PhasesStore, SearchResult
from xxact_app.screens.prediction.refinement_store import RefinedPhases, RefinementStore
from xxact_app.session.session import Session
from xxact_app.ui.theme import TEXT_CSS


class RefinementPanel:
    """Refines the phases of the selected pattern; `panel` holds the button and the result."""

    def __init__(
        self, session: Session, store: Store, search: PhasesStore, *, refinement: RefinementStore | None = None
    ) -> None:
        self.session = session
        self.refinement = RefinementStore(store, search) if refinement is None else refinement
        self._key = ""
        self._found: SearchResult | None = None
        self.refined = pn.pane.HTML("", stylesheets=[TEXT_CSS], sizing_mode="stretch_width", margin=0)
        self.task = TaskPanel(
            label="Refine these phases", start=self._refine, current=self._refining, when_done=self._show_result,
            variant="outlined",
        )  # fmt: skip
        self.panel = pn.Column(self.task.panel, self.refined, sizing_mode="stretch_width", margin=(4, 0, 8, 0))

    def show(self, key: str, found: SearchResult | None) -> None:
        """Show the refinement of the phases found, or the offer to start it."""
        self._key, self._found = key, found
        self._show_result()

    def _show_result(self) -> None:
        possible = self.refinement.can_refine(self._key, self._found)
        self.panel.visible = possible
        self.task.panel.visible = possible and self.refinement.installed
        result = self.refinement.refined(self._key, self._found) if possible else None
        if possible and not self.refinement.installed:
            text = 'To refine these phases, install the extra: <code>pip install "xxact[refine]"</code>'
            self.refined.object = f"<p class='muted'>{text}</p>"
        else:
            self.refined.object = "" if result is None else refined_table(result)
        self.task.look()

    def _refine(self) -> None:
        if self._found is not None:
            self.refinement.start(self._key, self._found)

    def _refining(self) -> BackgroundTask | None:
        return self.refinement.task(self._key, self._found)


def refined_table(result: RefinedPhases) -> str:
    """Refined weight fractions and cells as safe HTML."""
    head = "".join(f"<th scope='col'>{text}</th>" for text in ("Phase", "Name", "wt%", "Cell [Å, °]"))
    rows = ((one.formula, one.name, one.weight, one.cell) for one in result.rows)
    body = "".join(f"<tr>{''.join(f'<td>{text}</td>' for text in row)}</tr>" for row in rows)
    notes = "".join(f"<p class='muted'>{note}</p>" for note in result.notes)
    return (
        f"<table><caption>Rietveld refinement; {result.agreement}</caption><thead><tr>{head}</tr></thead>"
        f"<tbody>{body}</tbody></table>{notes}"
    )
