from __future__ import annotations

from pathlib import Path

from locations import REPOSITORY

from xxact_app.jobs.tasks import Making, Step

PATIENCE = 240


def step(*arguments: str, done: bool = False) -> Step:
    return Step("Looking", lambda: arguments, is_done=lambda: done)


def test_the_last_json_that_a_command_prints_is_the_result(tmp_path: Path, small_dataset: Path) -> None:
    making = Making([step("dataset", "info", str(small_dataset), "--json")], lock=tmp_path / "lock")
    making.join(seconds=PATIENCE)
    assert (making.finished, making.error, making.share) == (True, "", 1.0)
    assert making.result["materials"] == 400


def test_a_failure_is_told_in_the_words_of_the_command_and_ends_the_rest(tmp_path: Path, small_dataset: Path) -> None:
    steps = [step("dataset", "info", str(tmp_path)), step("dataset", "info", str(small_dataset), "--json")]
    making = Making(steps, lock=tmp_path / "lock")
    making.join(seconds=PATIENCE)
    assert making.error.startswith("Looking failed: ")
    assert "holds no manifest.json" in making.error
    assert making.result == {}


def test_what_is_there_already_is_not_made_again(tmp_path: Path) -> None:
    making = Making([step("dataset", "info", str(tmp_path), done=True)], lock=tmp_path / "lock")
    making.join(seconds=PATIENCE)
    assert (making.finished, making.error) == (True, "")


def test_it_can_be_stopped(tmp_path: Path, small_dataset: Path) -> None:
    file = tmp_path / "map.h5"
    model = REPOSITORY / "xxact_core" / "weights" / "compact"
    making = Making([step("embed", str(model), str(small_dataset), str(file))], lock=tmp_path / "lock")
    making.cancel()
    making.join(seconds=PATIENCE)
    assert making.error.startswith("Stopped.")
    assert not file.exists()
