from __future__ import annotations

import json
from pathlib import Path

import pytest

from xxact_app.plots.patterns import distinct_styles
from xxact_app.screens.training.figures import Line, curve_figure, draw_curves
from xxact_app.screens.training.run_curves import MOST_POINTS, RunCurves
from xxact_core.training.journal import Journal


def step(number: int, *, loss: float = 1.0) -> dict[str, object]:
    return {
        "step": number, "loss": loss, "losses": {"band_gap": loss / 2}, "learning_rate": 1e-3,
        "gradient_norm": 1.0, "samples_per_second": 100.0, "seconds_left": 60.0,
    }  # fmt: skip


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    journal = Journal(tmp_path / "journal.jsonl")
    journal.write("started", step=0, steps=100, materials=50)
    return journal


def test_a_run_is_followed_as_it_grows_line_by_line(journal: Journal) -> None:
    curves = RunCurves(journal.path.parent)
    curves.read()
    assert (curves.step, curves.steps, curves.rate) == (0, 100, None)
    journal.write("step", **step(1, loss=2.0))
    with journal.path.open("a") as file:
        file.write('{"event": "step", "step": 2, "lo')
    curves.read()
    count = curves.count
    assert curves.latest("loss") == 2.0
    assert curves.latest("loss of band_gap") == 1.0
    assert curves.seconds_left == 60
    curves.read()
    assert curves.count == count
    with journal.path.open("a") as file:
        file.write(json.dumps({"event": "step", **step(2)}).removeprefix('{"event": "step", "step": 2, "lo') + "\n")
    journal.write("validation", step=2, metrics={"band_gap_mae": 0.5})
    curves.read()
    assert curves.count > count
    assert curves.curve("loss") == ([1, 2], [2.0, 1.0])
    assert curves.latest("band_gap_mae") == 0.5


def test_steps_that_a_resumed_run_makes_again_are_not_drawn_twice(journal: Journal) -> None:
    for number in range(1, 6):
        journal.write("step", **step(number))
    curves = RunCurves(journal.path.parent)
    curves.read()
    journal.truncate_after(3)
    journal.write("resumed", step=3)
    journal.write("step", **step(4, loss=7.0))
    curves.read()
    assert curves.curve("loss")[0] == [1, 2, 3, 4]
    assert curves.latest("loss") == 7.0
    assert curves.step == 4


def test_long_curves_are_thinned_to_their_means(journal: Journal) -> None:
    with journal.path.open("a") as file:
        for number in range(4 * MOST_POINTS):
            file.write(json.dumps({"event": "step", **step(number, loss=number % 4)}) + "\n")
    curves = RunCurves(journal.path.parent)
    curves.read()
    steps, values = curves.curve("loss")
    assert len(steps) == MOST_POINTS
    assert set(values) == {1.5}


def test_what_is_no_journal_breaks_nothing(tmp_path: Path) -> None:
    curves = RunCurves(tmp_path)
    curves.read()
    (tmp_path / "journal.jsonl").write_text("[]\nnull\n{}\n{broken\n" + json.dumps({"event": "step"}) + "\n")
    (tmp_path / "status.json").write_text("[1]")
    curves.read()
    assert (curves.step, curves.values, curves.state) == (0, {}, "")


def test_silence_is_measured_by_a_clock_that_nobody_sets(journal: Journal, monkeypatch: pytest.MonkeyPatch) -> None:
    curves = RunCurves(journal.path.parent)
    curves.read()
    monkeypatch.setattr("time.time", lambda: 0.0)
    assert 0 <= curves.quiet_seconds < 60


def test_many_terms_of_a_loss_are_named_in_a_legend_and_look_different() -> None:
    target = curve_figure("Loss", height=280)
    styles = distinct_styles(range(12), colours=8)
    lines = [Line(f"term {number}", f"#00000{colour}", [1, 2], [1.0, 0.5], dash) for number, (colour, dash) in
             enumerate(styles)]  # fmt: skip
    draw_curves(target, lines, steps=2)
    assert target.legend.visible
    assert target.plot.height > 280
    assert len({(line.glyph.line_color, tuple(line.glyph.line_dash)) for line in target.lines}) == 12
    draw_curves(target, lines[:1], steps=2)
    assert (target.legend.visible, target.plot.height) == (False, 280)
