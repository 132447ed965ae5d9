"""Damaged, killed, full and doubly used run folders: nothing is lost, and nothing starts again by itself."""

from __future__ import annotations

import errno
import json
import multiprocessing
import os
import shutil
import socket
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from xxact_core.checkpoint import DESCRIPTION, describe_checkpoint
from xxact_core.commands.main import main
from xxact_core.errors import CheckpointError, InputError, RecipeError
from xxact_core.processes import ProcessIdentity
from xxact_core.training import snapshots
from xxact_core.training.curves import describe_progress
from xxact_core.training.journal import Journal, event_to_line, line_to_event, read_journal
from xxact_core.training.recipes import recipe_by_name
from xxact_core.training.run import train
from xxact_core.training.run_folder import OWNER, owning, read_recipe, read_status, run_state
from xxact_core.training.snapshots import check_snapshot

RECIPE = replace(recipe_by_name("tiny"), epochs=0.2, batch_size=16, validate_every=9, save_every=2, validation_rows=8)


@pytest.fixture(scope="module")
def finished(small_dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("finished") / "run"
    train(RECIPE, small_dataset, folder)
    return folder


@pytest.fixture
def run(finished: Path, tmp_path: Path) -> Path:
    """A run whose process was killed after its last snapshot."""
    folder = tmp_path / "run"
    shutil.copytree(finished, folder)
    shutil.rmtree(folder / "model")
    return folder


def flip(path: Path, *, at: int = -1, bit: int = 0) -> None:
    content = bytearray(path.read_bytes())
    content[at] ^= 1 << bit
    path.write_bytes(content)


def flips(content: bytes, *, every: int = 1) -> Iterator[bytes]:
    for number in range(0, 8 * len(content), every):
        changed = bytearray(content)
        changed[number // 8] ^= 1 << number % 8
        yield bytes(changed)


def newest(run: Path) -> list[Path]:
    return sorted((run / "checkpoints").glob("step-*"), key=lambda path: path.name, reverse=True)


# --------------------------------------------------------------------------------------------------- damaged snapshots
def test_run_with_damaged_snapshots_alone_never_starts_again_by_itself(run: Path, small_dataset: Path) -> None:
    for path in newest(run):
        flip(path / "model.safetensors")
    before = read_journal(run / "journal.jsonl")
    for _ in range(3):
        with pytest.raises(CheckpointError, match=r"damaged.*--restart"):
            train(RECIPE, small_dataset, run)
    after = read_journal(run / "journal.jsonl")
    assert after[: len(before)] == before
    assert {event["event"] for event in after[len(before) :]} == {"damaged"}


def test_run_without_the_snapshots_that_it_saved_never_starts_again_by_itself(run: Path, small_dataset: Path) -> None:
    shutil.rmtree(run / "checkpoints")
    before = (run / "journal.jsonl").read_bytes()
    for _ in range(2):
        with pytest.raises(CheckpointError, match=r"missing.*--restart"):
            train(RECIPE, small_dataset, run)
    assert (run / "journal.jsonl").read_bytes() == before


def test_restart_begins_anew_and_keeps_what_was_there(run: Path, small_dataset: Path) -> None:
    shutil.rmtree(run / "checkpoints")
    before = (run / "journal.jsonl").read_bytes()
    train(RECIPE, small_dataset, run, restart=True)
    assert (run / "journal.jsonl.1").read_bytes() == before
    assert (run / "recipe.json.1").is_file()
    assert [event["event"] for event in read_journal(run / "journal.jsonl")][:3] == ["started", "precision", "step"]
    train(replace(RECIPE, seed=4), small_dataset, run, restart=True)
    assert (run / "model.2").is_dir()
    assert read_recipe(run)["seed"] == 4


def test_no_single_bit_flip_of_a_manifest_is_accepted(run: Path) -> None:
    snapshot = newest(run)[0]
    manifest = snapshot / "manifest.json"
    content = manifest.read_bytes()
    step = check_snapshot(snapshot)
    accepted = []
    for changed in flips(content):
        manifest.write_bytes(changed)
        try:
            read = check_snapshot(snapshot)
        except CheckpointError:
            continue
        accepted.append((read, json.loads(changed) == json.loads(content)))
    assert all(same and read == step for read, same in accepted)


def test_snapshot_with_a_damaged_manifest_gives_way_to_the_one_before(run: Path, small_dataset: Path) -> None:
    first, second = newest(run)[:2]
    manifest = first / "manifest.json"
    manifest.write_text(manifest.read_text().replace('"step": ', '"step": 1'))
    train(RECIPE, small_dataset, run)
    events = read_journal(run / "journal.jsonl")
    assert [event["step"] for event in events if event["event"] == "resumed"] == [int(second.name[5:])]
    losses = [event["step"] for event in events if event["event"] == "step"]
    assert losses == list(range(1, len(losses) + 1))


# ----------------------------------------------------------------------------------------------------------- JSON files
def test_no_single_bit_flip_of_a_checkpoint_description_is_accepted(finished: Path, tmp_path: Path) -> None:
    content = (finished / "model" / DESCRIPTION).read_bytes()
    original = describe_checkpoint(finished / "model")
    for changed in flips(content, every=max(1, 8 * len(content) // 400) | 1):
        (tmp_path / DESCRIPTION).write_bytes(changed)
        try:
            read = describe_checkpoint(tmp_path)
        except CheckpointError:
            continue
        assert read == original  # white space


def test_no_single_bit_flip_of_recipe_or_status_is_accepted(finished: Path, tmp_path: Path) -> None:
    recipe, status = read_recipe(finished), read_status(finished)
    for changed in flips((finished / "recipe.json").read_bytes(), every=61):
        (tmp_path / "recipe.json").write_bytes(changed)
        try:
            assert read_recipe(tmp_path) == recipe
        except RecipeError:
            continue
    for changed in flips((finished / "status.json").read_bytes(), every=3):
        (tmp_path / "status.json").write_bytes(changed)
        assert (read_status(tmp_path) or status) == status


def test_no_single_bit_flip_of_a_line_of_the_journal_is_accepted(finished: Path) -> None:
    line = (finished / "journal.jsonl").read_bytes().split(b"\n")[1]
    event = line_to_event(line)
    assert event is not None
    for changed in flips(line):
        read = line_to_event(changed)
        # Where the name of the checksum is hit, the line counts as one of version 0.1.0, whose other fields are whole.
        assert read is None or event.items() <= read.items()


def test_damaged_line_of_a_journal_costs_this_line_alone(run: Path, small_dataset: Path) -> None:
    path = run / "journal.jsonl"
    lines = path.read_bytes().split(b"\n")
    place = next(number for number, line in enumerate(lines) if b'"loss"' in line)
    lines[place] = lines[place].replace(b'"loss"', b'"lost"')
    path.write_bytes(b"\n".join(lines))
    damaged = path.read_bytes()
    whole = read_journal(path)
    assert len(whole) == len([line for line in lines if line]) - 1
    train(RECIPE, small_dataset, run)
    assert path.with_name("journal.jsonl.damaged").read_bytes() == damaged
    assert read_journal(path)[: len(whole) - 1] == whole[:-1]


@pytest.mark.parametrize("content", ["[]", "null", "{}", '{"event": 3}', "\ud800", '{"event": "step", "step": "x"}'])
def test_journal_with_something_else_in_a_line_is_read(tmp_path: Path, content: str) -> None:
    path = tmp_path / "journal.jsonl"
    path.write_bytes(content.encode(errors="surrogatepass") + b"\n" + event_to_line({"event": "grown"}).encode())
    assert read_journal(path) == [{"event": "grown"}]


def test_event_after_a_cut_line_is_not_lost(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal.jsonl")
    journal.write("started", step=0, steps=3)
    with journal.path.open("ab") as file:
        file.write(b'{"event": "st')
    journal.write("damaged", snapshot="step-2")
    assert [event["event"] for event in journal.read()] == ["started", "damaged"]


def test_damaged_recipe_of_a_run_is_named(run: Path, small_dataset: Path) -> None:
    flip(run / "recipe.json", at=60)
    with pytest.raises(RecipeError, match=r"recipe.json is damaged"):
        train(RECIPE, small_dataset, run)


# ----------------------------------------------------------------------------------------------------------- one owner
def owner(folder: Path, **values: object) -> None:
    identity = ProcessIdentity.of(os.getppid())
    record = {"host": socket.gethostname(), "pid": identity.pid, "started": identity.started, **values}
    folder.mkdir(exist_ok=True)
    (folder / OWNER).write_text(json.dumps(record))


def test_two_trainings_in_one_folder_the_second_is_refused(small_dataset: Path, tmp_path: Path) -> None:
    owner(tmp_path / "run")
    with pytest.raises(RecipeError, match=rf"process {os.getppid()} on {socket.gethostname()}"):
        train(RECIPE, small_dataset, tmp_path / "run")
    assert [path.name for path in (tmp_path / "run").iterdir()] == [OWNER]


def test_training_on_another_machine_keeps_its_folder(tmp_path: Path) -> None:
    owner(tmp_path / "run", host="elsewhere", pid=1)
    with pytest.raises(RecipeError, match=r"process 1 on elsewhere.*delete"), owning(tmp_path / "run"):
        pass


@pytest.mark.parametrize("change", [{"started": 1.0}, {"pid": 2**22 + 1}, {"pid": "?"}, {"pid": -1}])
def test_record_of_a_process_that_has_ended_is_replaced(tmp_path: Path, change: dict[str, object]) -> None:
    owner(tmp_path / "run", **change)
    with owning(tmp_path / "run"):
        assert json.loads((tmp_path / "run" / OWNER).read_text())["pid"] == os.getpid()
    assert list((tmp_path / "run").iterdir()) == []


def test_folder_that_nothing_was_written_into_is_removed(tmp_path: Path) -> None:
    with owning(tmp_path / "new" / "run"):
        pass
    assert not (tmp_path / "new" / "run").exists()


def _own_many_times(folder: Path, held: str) -> int:
    """How often a process got the folder; it fails where another one holds it at the same time."""
    times = 0
    for _ in range(25):
        try:
            with owning(folder):
                descriptor = os.open(held, os.O_CREAT | os.O_EXCL)
                os.close(descriptor)
                Path(held).unlink()
                times += 1
        except RecipeError:
            continue
    return times


def test_of_processes_at_the_same_time_one_owns_a_folder(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "something").touch()
    owner(tmp_path / "run", started=1.0)
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        times = pool.starmap(_own_many_times, [(tmp_path / "run", str(tmp_path / "held"))] * 2)
    assert sum(times) > 0
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["something"]


def test_state_of_a_killed_run_is_interrupted(run: Path) -> None:
    assert run_state(run, "running") == "running"  # version 0.1.0 left no record of its process
    owner(run, started=1.0)
    assert run_state(run, "running") == "interrupted"
    assert run_state(run, "finished") == "finished"


def test_progress_of_a_run_with_a_damaged_status_is_shown(run: Path) -> None:
    flip(run / "status.json", at=20)
    text = describe_progress(run)
    assert "status.json is damaged" in text
    assert "loss" in text


# ------------------------------------------------------------------------------------------------------- full disk
@pytest.mark.parametrize(("number", "words"), [(errno.ENOSPC, "disk is full"), (errno.EROFS, "disk is read-only")])
def test_disk_that_is_full_or_read_only_is_named_and_the_state_is_true(
    small_dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
    number: int, words: str,
) -> None:  # fmt: skip
    honest, saved = snapshots.torch.save, []

    def full(state: object, file: object) -> None:
        saved.append(1)
        if len(saved) == 2:
            raise OSError(number, os.strerror(number))
        honest(state, file)

    monkeypatch.setattr(snapshots.torch, "save", full)
    settings = ["epochs=0.2", "batch_size=16", "save_every=2", "validation_rows=8"]
    arguments = [part for setting in settings for part in ("--set", setting)]
    run = tmp_path / "run"
    monkeypatch.setattr(sys, "argv", ["xxact", "train", str(small_dataset), str(run), "--recipe", "tiny", *arguments])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    assert words in capsys.readouterr().err
    status = read_status(run)
    assert status is not None
    assert status["state"] == "failed"
    assert [path.name for path in (run / "checkpoints").iterdir()] == ["step-2"]
    assert check_snapshot(run / "checkpoints" / "step-2") == 2
    assert not (run / OWNER).exists()


def test_run_folder_that_cannot_be_made_is_named(small_dataset: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="cannot be a run folder"):
        train(RECIPE, small_dataset, tmp_path / "file" / "run")
