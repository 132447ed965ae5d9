"""The journal of a run, told in words and drawn as curves."""

from __future__ import annotations

import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from xxact_core.errors import InputError
from xxact_core.training import trees
from xxact_core.training.curves import describe_progress, journal_to_curves
from xxact_core.training.journal import read_journal
from xxact_core.training.recipes import recipe_by_name
from xxact_core.training.run import train


@pytest.fixture(scope="module")
def run(small_dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("curves") / "run"
    recipe = replace(recipe_by_name("tiny"), epochs=0.2, batch_size=16, validate_every=2, validation_rows=16)
    train(recipe, small_dataset, folder)
    return folder


def test_progress_is_told_in_words(run: Path) -> None:
    text = describe_progress(run)
    assert text.startswith("finished: step ")
    assert "learning rate" in text
    assert "crystal_system_accuracy" in text


def test_progress_is_told_of_a_run_that_is_only_opened(run: Path, tmp_path: Path) -> None:
    shutil.copy(run / "journal.jsonl", tmp_path)
    assert describe_progress(tmp_path).startswith("started, but without")


def test_progress_is_told_while_trees_grow(
    small_dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trees, "fit_forest", lambda *_, **__: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        train(recipe_by_name("extra-trees"), small_dataset, tmp_path)
    assert describe_progress(tmp_path) == "running: step 0 of 1"


def test_folder_without_a_journal_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="not a run folder"):
        describe_progress(tmp_path)


def test_missing_package_is_named(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(InputError, match=r"xxact\[tensorboard\]"):
        journal_to_curves(run, tmp_path)


READ_BACK = """
import sys
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

curves = EventAccumulator(sys.argv[1])
curves.Reload()
for name in ("loss", "learning_rate", "validation/crystal_system_accuracy"):
    print(name, *(f"{point.step}:{point.value:.6g}" for point in curves.Scalars(name)))
"""


def test_curves_hold_the_journals_numbers_and_a_second_export_replaces_the_first(run: Path, tmp_path: Path) -> None:
    """In processes of their own, for tensorboard's modules warn of what they are made of."""
    pytest.importorskip("tensorboard", reason="the optional package tensorboard is not installed")
    command = [sys.executable, "-m", "xxact_core.commands.main", "journal", str(run), "--tensorboard", str(tmp_path)]
    for _ in range(2):
        subprocess.run(command, check=True, capture_output=True, timeout=120)
    assert len(list(tmp_path.iterdir())) == 1
    done = subprocess.run(
        [sys.executable, "-c", READ_BACK, str(tmp_path)], check=True, capture_output=True, text=True, timeout=120
    )
    events = read_journal(run / "journal.jsonl")
    steps = [event for event in events if event["event"] == "step"]
    wanted = [
        " ".join([name, *(f"{event['step']}:{event[name]:.6g}" for event in steps)])
        for name in ("loss", "learning_rate")
    ]
    validated = [event for event in events if event["event"] == "validation"]
    name = "crystal_system_accuracy"
    points = (f"{event['step']}:{event['metrics'][name]:.6g}" for event in validated)
    wanted.append(" ".join([f"validation/{name}", *points]))
    assert done.stdout.splitlines() == wanted
