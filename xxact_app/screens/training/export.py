"""The curves of runs as files, and the Python code that reads them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from xxact_app.plots.export import columns_to_csv, figure_to_bytes, new_figure
from xxact_app.screens.screen import PictureKind
from xxact_app.screens.training.figures import Line
from xxact_app.screens.training.run_curves import RunCurves
from xxact_app.ui.safe_text import spreadsheet_text


def to_csv(runs: Mapping[str, RunCurves]) -> bytes:
    """All curves as CSV: a line for each run, quantity and step."""
    points = [
        (spreadsheet_text(name), quantity, step, value)
        for name, run in runs.items()
        for quantity, curve in {**run.values, **run.metrics}.items()
        for step, value in curve
    ]
    names, quantities, steps, values = zip(*points, strict=True) if points else ((), (), (), ())
    columns = {
        "run": np.array(names, dtype=str), "quantity": np.array(quantities, dtype=str),
        "step": np.array(steps, dtype=int), "value": np.array(values, dtype=np.float64),
    }  # fmt: skip
    return columns_to_csv(columns)


def to_picture(panels: Mapping[str, Sequence[Line]], *, kind: PictureKind) -> bytes:
    """Curves side by side, by the label of their vertical axis."""
    drawing, axes = new_figure(panels=len(panels))
    for axis, (label, lines) in zip(axes, panels.items(), strict=True):
        for line in lines:
            axis.plot(line.steps, line.values, color=line.colour, lw=1.1, label=line.name)
        axis.set(xlabel="Step", ylabel=label)
        if lines:
            for text in axis.legend(fontsize=8, frameon=False).get_texts():
                text.set_parse_math(False)
    return figure_to_bytes(drawing, kind)


def python_code(folders: Mapping[str, Path]) -> str:
    """A program that reads the journals of the runs and prints their losses; empty without runs."""
    if not folders:
        return ""
    listed = "".join(f"    {name!r}: Path({str(folder)!r}),\n" for name, folder in folders.items())
    return f"""from pathlib import Path

from xxact_core.training.journal import read_journal

runs = {{
{listed}}}
for name, folder in runs.items():
    for event in read_journal(folder / "journal.jsonl"):
        if event["event"] == "step":
            print(name, event["step"], event["loss"])
"""
