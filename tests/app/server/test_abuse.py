from __future__ import annotations

import json
import shutil
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

import pytest
from looking_fixtures import embedded_of, workspace_with, write_run_file

from xxact_app.jobs.records import Job, read_job
from xxact_app.jobs.registry import Jobs
from xxact_app.library.materials import find_dataset, list_materials
from xxact_app.library.models import find_model, list_models
from xxact_app.library.structure_uploads import keep_structures
from xxact_app.library.workspace import WorkspaceError
from xxact_app.samples.sample import read_sample
from xxact_core.dataset.store import read_manifest
from xxact_core.errors import InputError, PatternError


# ----------------------------------------------------------------------------------------- links out of the workspace
def test_models_and_data_sets_behind_links_are_not_read(
    tmp_path: Path, small_dataset: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace = workspace_with(tmp_path / "work", runs={"one": ["targets"], "two": ["targets"]}, dataset=small_dataset)
    write_run_file(workspace, "one", embedded_of(7), name="own.h5")
    monkeypatch.setenv("XXACT_WORKSPACE", str(workspace.root))
    assert [model.key for model in list_models(workspace) if model.key.startswith("run")] == ["run one", "run two"]

    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    moved = shutil.move(workspace.runs / "two" / "model", elsewhere / "model")
    (workspace.runs / "two" / "model").symlink_to(moved)
    shard = next((workspace.datasets / "small").glob("*.h5"))
    shutil.move(shard, elsewhere / shard.name)
    shard.symlink_to(elsewhere / shard.name)
    (workspace.runs / "one" / "link.h5").symlink_to(workspace.runs / "one" / "own.h5")

    models = [model for model in list_models(workspace) if model.key.startswith("run")]
    assert [model.key for model in models] == ["run one"]
    with pytest.raises(WorkspaceError, match="no run 'two'"):
        find_model("run two")
    assert [choice.key for choice in list_materials(workspace, models[0]) if choice.key] == ["file own.h5"]
    assert find_dataset(workspace, read_manifest(workspace.datasets / "small")["digest"]) is None


# --------------------------------------------------------------------------------------------- pickles of other makes
@pytest.mark.parametrize("name", ["model.pt", "weights.ckpt", "scan.xy", "scan.raw", "data.h5", "x.cif", "set.npy"])
def test_a_pickle_under_any_name_is_refused_and_does_not_run(name: str, tmp_path: Path) -> None:
    marker = tmp_path / "ran"
    payload = f"cposix\nsystem\n(S'touch {marker}'\ntR.".encode()
    workspace = workspace_with(tmp_path / "work", runs={})
    with pytest.raises(PatternError, match=name):
        read_sample(name, payload, number=0, taken=())
    if not name.endswith(".cif"):  # a CIF is kept as it is, and parsed when a dataset is built of it
        with pytest.raises(InputError):
            keep_structures([(name, payload)], workspace)
        assert list(workspace.uploads.iterdir()) == []
    assert not marker.exists()


# -------------------------------------------------------------------------------------- two servers on one workspace
SERVER = """
import sys, time
from pathlib import Path
from xxact_app.jobs.records import JobError
from xxact_app.jobs.registry import Jobs

folder, number = Path(sys.argv[1]), sys.argv[2]
jobs = Jobs(folder)
(folder.parent / f"ready-{number}").touch()
while not (folder.parent / "go").exists():
    time.sleep(0.001)
for key in sys.argv[3:]:
    try:
        jobs.remove(key)
    except JobError as error:
        print("told", key, error)
    else:
        print("won", key)
"""


def ended_job(folder: Path, key: str) -> None:
    job = Job(key, "train", key, ("train",), str(folder.parent / "runs" / key), 1.0, state="failed")
    (folder / key).mkdir(parents=True)
    (folder / key / "job.json").write_text(json.dumps(asdict(job)))
    (folder.parent / "runs" / key).mkdir(parents=True)


def test_of_two_servers_that_delete_the_same_jobs_each_job_is_deleted_by_one(tmp_path: Path) -> None:
    folder = tmp_path / "jobs"
    keys = [f"job-{number}" for number in range(20)]
    for key in keys:
        ended_job(folder, key)
    servers = [
        subprocess.Popen(
            [sys.executable, "-c", SERVER, str(folder), str(number), *keys], stdout=subprocess.PIPE, text=True
        )
        for number in range(2)
    ]
    while not all((tmp_path / f"ready-{number}").exists() for number in range(2)):
        assert all(server.poll() is None for server in servers)
    (tmp_path / "go").touch()
    told = [line for server in servers for line in server.communicate(timeout=120)[0].splitlines()]
    assert all(server.returncode == 0 for server in servers)
    assert sorted(line.split()[1] for line in told if line.startswith("won")) == sorted(keys)
    assert len(told) == 2 * len(keys)
    assert all("no longer exists" in line or "another process" in line for line in told if line.startswith("told"))
    assert list((tmp_path / "runs").iterdir()) == []
    assert Jobs(folder).list() == []


def test_a_server_that_is_killed_while_it_holds_a_lock_leaves_it_to_the_next(tmp_path: Path) -> None:
    folder = tmp_path / "jobs"
    ended_job(folder, "mine")
    code = "import sys, time; from pathlib import Path; from xxact_app.jobs.registry import Jobs\n"
    code += "with Jobs(Path(sys.argv[1]))._locked('mine'): print('held', flush=True); time.sleep(600)"
    with subprocess.Popen([sys.executable, "-c", code, str(folder)], stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        holder.kill()
    assert read_job(folder / "mine" / "job.json") is not None
    Jobs(folder).remove("mine")
    assert Jobs(folder).list() == []
