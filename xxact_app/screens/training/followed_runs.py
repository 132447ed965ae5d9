"""Run folders that are followed while they grow: progress, curves and end of each training."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from xxact_app.screens.training.rows import RunRow, is_run, progress_of
from xxact_app.screens.training.run_curves import QUIET, RunCurves
from xxact_app.ui.safe_text import safe_text
from xxact_core.errors import RecipeError
from xxact_core.training.journal import STOP

ENDED = frozenset({"finished", "cancelled", "diverged", "failed", "interrupted"})
"""States of a run that has ended."""


class FollowedRuns:
    """Runs by folder name; the folders need not exist yet."""

    def __init__(self, folders: Sequence[Path]) -> None:
        self.folders = {folder.name: folder for folder in folders}
        if len(self.folders) != len(folders) or not folders:
            msg = f"expected one or more run folders with different names, not {[str(folder) for folder in folders]}"
            raise RecipeError(msg, code="E_RECIPE")
        self._curves = {name: RunCurves(folder) for name, folder in self.folders.items()}

    def curves(self, name: str) -> RunCurves:
        """The curves of a run, up to date."""
        self._curves[name].read()
        return self._curves[name]

    def rows(self) -> list[RunRow]:
        """The progress of each run."""
        return [self._row(name, folder) for name, folder in self.folders.items()]

    def stop(self, name: str) -> None:
        """Ask a run to end after its current step with a snapshot, from which the same command continues.

        Raises:
            RecipeError: it is not running.
        """
        state = self.curves(name).state
        if state != "running":
            msg = f"the run {name} cannot be stopped: it {f'is {state}' if state else 'has not started'}"
            raise RecipeError(msg, code="E_RECIPE")
        (self.folders[name] / STOP).touch()

    def _row(self, name: str, folder: Path) -> RunRow:
        curves = self.curves(name)
        progress, status = progress_of(curves)
        state = curves.state or "opened"
        if not is_run(folder):
            status = f"waiting for {safe_text(folder)}"
        elif state == "running" and curves.quiet_seconds > QUIET:
            status += f"; no progress for {curves.quiet_seconds / 60:.0f} minutes"
        stopping = state == "running" and (folder / STOP).exists()
        return RunRow(
            key=name, kind="train", name=safe_text(name), run=name, state="stopping" if stopping else state,
            progress=progress, status=status, reason="",
            seconds_left=curves.seconds_left if state == "running" else None,
            can_stop=state == "running" and not stopping, can_resume=False, can_use=False, can_remove=False,
        )  # fmt: skip
