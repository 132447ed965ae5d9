"""The batch script for Slurm, with its commands replaced; and which run folders a job may take over."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from xxact_core.checkpoint import describe_checkpoint
from xxact_core.errors import RecipeError
from xxact_core.training.run_folder import OWNER, Owner, owning, read_owner

SRUN = """#!/bin/bash
while [[ $1 == --* ]]; do shift; done
exec "$@"
"""
SCONTROL = """#!/bin/bash
if [[ $1 == show ]]; then printf 'node7\\nnode8\\n'; else echo "$@" >> "$RECORD/scontrol"; fi
"""
TORCHRUN = """#!/bin/bash
printf '%s\\n' "$@" > "$RECORD/torchrun"
echo "$OMP_NUM_THREADS" > "$RECORD/threads"
[[ -n ${SIGNAL:-} ]] && kill -s "$SIGNAL" "$(cut -d ' ' -f 4 "/proc/$PPID/stat")" && exit "${CODE:-0}"
for ((n = 0; n < 1200; n++)); do
    [[ -e $RUN/stop || -e $RECORD/end ]] && break
    sleep 0.05
done
exit "${CODE:-0}"
"""


@pytest.fixture
def commands(tmp_path: Path) -> Path:
    folder = tmp_path / "bin"
    (folder / "record").mkdir(parents=True)
    for name, content in (("srun", SRUN), ("scontrol", SCONTROL), ("torchrun", TORCHRUN)):
        (folder / name).write_text(content)
        (folder / name).chmod(0o755)
    return folder


def start(repository: Path, commands: Path, *arguments: str, **variables: str) -> subprocess.Popen[str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("SLURM")}
    environment |= {
        "PATH": f"{commands}{os.pathsep}{os.environ['PATH']}",
        "RECORD": str(commands / "record"),
        "RUN": str(commands.parent / "run"),
        "SLURM_JOB_ID": "7",
        **variables,
    }
    script = repository / "docs" / "how-to" / "train.sbatch"
    command = ["bash", str(script), *arguments]
    return subprocess.Popen(command, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)


def wait_for(path: Path) -> str:
    deadline = time.monotonic() + 60
    while not (path.is_file() and path.read_text()):
        assert time.monotonic() < deadline, path
        time.sleep(0.05)
    return path.read_text()


@pytest.mark.parametrize("sent", [signal.SIGUSR1, signal.SIGTERM])
def test_job_that_is_preempted_is_stopped_with_a_snapshot_and_queued_again(
    repository: Path, commands: Path, tmp_path: Path, sent: signal.Signals
) -> None:
    slurm = {"SLURM_GPUS_ON_NODE": "4", "SLURM_CPUS_PER_TASK": "18"}
    job = start(repository, commands, "s3://sets/all", str(tmp_path / "run"), "--recipe", "tiny", **slurm)
    options = wait_for(commands / "record" / "torchrun").split("\n")
    assert options[:3] == ["--standalone", "--nproc-per-node", "4"]
    expected = ["-m", "xxact_core.commands.main", "train", "s3://sets/all", str(tmp_path / "run")]
    assert options[3:-1] == [*expected, "--set", "threads=4", "--recipe", "tiny"]
    assert wait_for(commands / "record" / "threads") == "4\n"
    job.send_signal(sent)
    output, _ = job.communicate(timeout=60)
    assert job.returncode == 0, output
    assert (tmp_path / "run" / "stop").exists()
    assert (commands / "record" / "scontrol").read_text() == "requeue 7\n"


def test_job_that_ends_by_itself_is_not_queued_again(repository: Path, commands: Path, tmp_path: Path) -> None:
    (commands / "record" / "end").touch()
    for code in (0, 3):
        job = start(repository, commands, "set", str(tmp_path / "run"), CODE=str(code))
        job.communicate(timeout=60)
        assert job.returncode == code
    assert not (commands / "record" / "scontrol").exists()


def test_job_that_finishes_while_it_is_preempted_is_not_queued_again(
    repository: Path, commands: Path, tmp_path: Path
) -> None:
    job = start(repository, commands, "set", str(tmp_path / "run"))
    wait_for(commands / "record" / "threads")
    (tmp_path / "run" / "model").mkdir(parents=True)
    (tmp_path / "run" / "model" / "checkpoint.json").write_text("{}")
    job.send_signal(signal.SIGUSR1)
    job.communicate(timeout=60)
    assert job.returncode == 0
    assert not (commands / "record" / "scontrol").exists()


@pytest.mark.parametrize("code", [0, 5])
def test_status_of_a_training_that_ends_as_the_signal_arrives_is_its_own(
    repository: Path, commands: Path, tmp_path: Path, code: int
) -> None:
    (tmp_path / "run" / "model").mkdir(parents=True)
    (tmp_path / "run" / "model" / "checkpoint.json").write_text("{}")
    job = start(repository, commands, "set", str(tmp_path / "run"), SIGNAL="USR1", CODE=str(code))
    output, _ = job.communicate(timeout=60)
    assert job.returncode == code, output


def test_several_nodes_meet_at_the_first(repository: Path, commands: Path, tmp_path: Path) -> None:
    (commands / "record" / "end").touch()
    slurm = {"SLURM_NNODES": "2", "SLURM_JOB_NODELIST": "node[7-8]", "SLURM_GPUS_ON_NODE": "8"}
    start(repository, commands, "set", str(tmp_path / "run"), **slurm).communicate(timeout=60)
    options = (commands / "record" / "torchrun").read_text().split("\n")
    assert options[:8] == [
        *("--nnodes", "2", "--rdzv-id", "7", "--rdzv-backend", "c10d", "--rdzv-endpoint", "node7:29500"),
    ]


def test_script_without_arguments_tells_its_use(repository: Path, commands: Path) -> None:
    job = start(repository, commands, "set")
    output, _ = job.communicate(timeout=60)
    assert job.returncode == 2
    assert output.startswith("usage: sbatch train.sbatch DATASET RUN")


@pytest.mark.slow
def test_script_trains_with_two_processes(
    repository: Path, commands: Path, small_dataset: Path, tmp_path: Path
) -> None:
    (commands / "torchrun").unlink()
    commands.joinpath("torchrun").symlink_to(Path(sys.executable).with_name("torchrun"))
    run = tmp_path / "trained"
    options = ["--recipe", "tiny", "--set", "epochs=0.1", "--set", "batch_size=16"]
    path = os.pathsep.join([str(repository), os.environ.get("PYTHONPATH", "")])
    job = start(repository, commands, str(small_dataset), str(run), *options, PROCESSES="2", PYTHONPATH=path)
    output, _ = job.communicate(timeout=500)
    assert job.returncode == 0, output
    assert describe_checkpoint(run / "model")["about"]["recipe"]["batch_size"] == 16


def owner_elsewhere(folder: Path, *, job: str | None) -> None:
    folder.mkdir(exist_ok=True)
    content = {"host": "another-node", "pid": 1, "started": 1.0, "job": job}
    (folder / OWNER).write_text(json.dumps(content))


def test_job_that_slurm_queued_again_takes_its_run_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A node failed, so that the record of the process on it was left."""
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    monkeypatch.setenv("SLURM_RESTART_COUNT", "2")
    owner_elsewhere(tmp_path / "run", job="7.1")
    with owning(tmp_path / "run"):
        assert read_owner(tmp_path / "run") == Owner.this_process()
        assert Owner.this_process().job == "7.2"


@pytest.mark.parametrize("job", [None, "8.0", "7.2", "7.3", "7", "7.x"])
def test_other_jobs_keep_theirs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, job: str | None) -> None:
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    monkeypatch.setenv("SLURM_RESTART_COUNT", "2")
    owner_elsewhere(tmp_path / "run", job=job)
    with pytest.raises(RecipeError, match="on another-node trains in it"), owning(tmp_path / "run"):
        pass


def test_outside_of_slurm_no_job_is_queued_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)
    owner_elsewhere(tmp_path / "run", job=None)
    owner = read_owner(tmp_path / "run")
    assert owner is not None
    assert not owner.was_queued_again
