from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path
from threading import Event

import pytest
from filelock import FileLock
from locations import REPOSITORY

from xxact_app.jobs import progress, tasks
from xxact_app.jobs.tasks import BackgroundTask, Step, call_step, command_step, find_task, submit

PATIENCE = 240


def until(condition: Callable[[], object]) -> None:
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.02)


def step(*arguments: str, done: bool = False) -> Step:
    return command_step("Looking", lambda: arguments, is_done=lambda: done)


def test_the_last_json_that_a_command_prints_is_the_result(tmp_path: Path, small_dataset: Path) -> None:
    task = BackgroundTask([step("dataset", "info", str(small_dataset), "--json")], lock=tmp_path / "lock")
    task.join(seconds=PATIENCE)
    assert (task.state, task.reason, task.progress.share) == ("finished", "", 1.0)
    assert task.result["materials"] == 400


def test_a_failure_is_told_in_the_words_of_the_command_and_ends_the_rest(tmp_path: Path, small_dataset: Path) -> None:
    steps = [step("dataset", "info", str(tmp_path)), step("dataset", "info", str(small_dataset), "--json")]
    task = BackgroundTask(steps, lock=tmp_path / "lock")
    task.join(seconds=PATIENCE)
    assert task.reason.startswith("Looking failed: ")
    assert "contains no manifest.json" in task.reason
    assert task.result == {}


def test_what_is_there_already_is_not_made_again(tmp_path: Path) -> None:
    task = BackgroundTask([step("dataset", "info", str(tmp_path), done=True)], lock=tmp_path / "lock")
    task.join(seconds=PATIENCE)
    assert (task.state, task.reason) == ("finished", "")


def test_its_end_is_told_once_also_after_it() -> None:
    go_on, ended = Event(), []
    task = BackgroundTask([Step("Waiting", lambda _task: bool(go_on.wait(PATIENCE)))])
    task.call_at_end(lambda: ended.append(task.state))
    assert ended == []
    go_on.set()
    task.join(seconds=PATIENCE)
    assert ended == ["finished"]
    task.call_at_end(lambda: ended.append("later"))
    assert ended == ["finished", "later"]


def test_it_can_be_stopped(tmp_path: Path, small_dataset: Path) -> None:
    file = tmp_path / "map.h5"
    model = REPOSITORY / "xxact_core" / "weights" / "compact"
    task = BackgroundTask([step("embed", str(model), str(small_dataset), str(file))], lock=tmp_path / "lock")
    task.cancel()
    task.join(seconds=PATIENCE)
    assert task.reason.startswith("Stopped.")
    assert not file.exists()


def test_calls_are_counted_in_their_unit_and_stop_between_two() -> None:
    asked: list[str] = []
    entered, go_on = Event(), Event()

    def ask(key: str) -> None:
        asked.append(key)
        entered.set()
        assert go_on.wait(PATIENCE)

    task = BackgroundTask([call_step("Predicting", ask, ["a", "b", "c"], unit="patterns")])
    assert entered.wait(PATIENCE)
    assert (task.state, str(task.progress)) == ("running", "Predicting: 0 of 3 patterns")
    task.cancel()
    assert task.state == "stopping"
    go_on.set()
    task.join(seconds=PATIENCE)
    assert (task.state, task.reason, asked) == ("cancelled", "Stopped after 1 of 3 patterns.", ["a"])
    task.cancel()
    assert task.state == "cancelled"


def test_an_error_of_the_app_is_logged_and_not_shown(caplog: pytest.LogCaptureFixture) -> None:
    def fail(_key: str) -> None:
        msg = "a secret path"
        raise RuntimeError(msg)

    task = BackgroundTask([call_step("Predicting", fail, ["a"], unit="patterns")])
    task.join(seconds=PATIENCE)
    assert (task.state, "secret" in task.reason, "secret" in caplog.text) == ("failed", False, True)


def test_a_command_that_ignores_its_end_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    code = """
        import signal, time
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        print('{"ready": true}', flush=True)
        time.sleep(600)
    """
    command = (sys.executable, "-c", "\n".join(line.strip() for line in code.splitlines()))
    monkeypatch.setattr(tasks, "module_command", lambda *_: command)
    monkeypatch.setattr(tasks, "GRACE", 0.2)
    task = BackgroundTask([step()], lock=tmp_path / "lock")
    until(lambda: task.result)
    task.cancel()
    task.join(seconds=PATIENCE)
    assert task.state == "cancelled"


def test_a_task_waits_for_another_server_and_can_be_stopped_meanwhile(tmp_path: Path) -> None:
    with FileLock(tmp_path / "lock"):
        task = BackgroundTask([step("dataset", "info")], lock=tmp_path / "lock")
        assert task.state == "starting"
        task.cancel()
        task.join(seconds=PATIENCE)
    assert task.state == "cancelled"


def test_two_who_submit_the_same_share_one_task_and_old_results_are_forgotten(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tasks, "_tasks", {})
    monkeypatch.setattr(tasks, "_MAX_KEPT", 3)
    with FileLock(tmp_path / "lock"):
        first = submit(("same",), [step(done=True)], lock=tmp_path / "lock")
        assert submit(("same",), [step(done=True)], lock=tmp_path / "lock") is first is find_task("same")
    first.join(seconds=PATIENCE)
    for number in range(6):
        submit((str(number),), [step(done=True)], lock=tmp_path / "lock").join(seconds=PATIENCE)
    assert find_task("same") is None
    assert find_task("5").state == "finished"


def test_a_command_that_needs_too_much_memory_ends_with_the_limit(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, small_dataset: Path
) -> None:
    monkeypatch.setenv(progress.MEMORY_VARIABLE, "0.001")
    task = BackgroundTask([step("dataset", "info", str(small_dataset), "--json")], lock=tmp_path / "lock")
    task.join(seconds=PATIENCE)
    assert task.state == "failed"
    monkeypatch.setenv(progress.MEMORY_VARIABLE, "2.5")
    assert progress.memory_limit() == 2_500_000_000
    for wrong in ("", "much", "-1", "inf", "nan"):
        monkeypatch.setenv(progress.MEMORY_VARIABLE, wrong)
        assert progress.memory_limit() > 1e9
