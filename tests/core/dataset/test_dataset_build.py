"""Structures → dataset, whatever happens on the way: kills, hangs, full disks, broken files, lost workers."""

from __future__ import annotations

import bz2
import csv
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from xxact_core.dataset.building import shard as shard_module
from xxact_core.dataset.building import workers
from xxact_core.dataset.building.build import BuildPlan, build_dataset
from xxact_core.dataset.building.shard import ShardTask, build_shard, structure_to_material, time_limit
from xxact_core.dataset.building.workers import build_in_process, check_scheduler
from xxact_core.dataset.inspection import verify_dataset
from xxact_core.dataset.store import Material, write_shard
from xxact_core.dataset.table import read_dataset
from xxact_core.errors import DatasetError, StructureError
from xxact_core.structures.sources import list_blocks
from xxact_core.structures.structure import Structure

CELL = {"a": 5.64, "b": 5.64, "c": 5.64, "alpha": 90.0, "beta": 90.0, "gamma": 90.0}
ROCK_SALT = {**CELL, "species": ["Na", "Cl"], "frac_coords": [0, 0, 0, 0.5, 0.5, 0.5]}


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def errors_of(folder: Path) -> dict[str, str]:
    with (folder / "errors.csv").open() as file:
        return {row["id"]: row["reason"] for row in csv.DictReader(file)}


def write_rows(path: Path, rows: list[dict]) -> Path:
    pd.DataFrame(rows).to_parquet(path)
    return path


def wait_until(happened: Callable[[], bool], what: str, seconds: float = 120) -> None:
    end = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < end, f"{what} did not happen within {seconds} s"
        time.sleep(0.02)


def shards_in(folder: Path) -> int:
    return len(list(folder.glob("shard-*.json")))


def test_last_bit_of_a_cell_does_not_change_a_dataset(tmp_path: Path) -> None:
    cell = np.array([5.1, 5.2, 5.3, 83.2, 95.1, 101.7])
    one = Structure("one", cell, np.array([11, 17]), np.array([[0.0, 0, 0], [0.5, 0.5, 0.5]]), np.ones(2))
    other = replace(one, cell=np.nextafter(cell, 180))
    assert not (one.cell == other.cell).any()
    plan = BuildPlan(source="table.parquet")
    digests = [
        write_shard(tmp_path / f"{number}.h5", [structure_to_material(structure, plan)], {})
        for number, structure in enumerate((one, other))
    ]
    assert digests[0] == digests[1]
    assert structure_to_material(one, plan).cell == pytest.approx(cell, abs=1e-10)


@contextmanager
def started(command: list[str]) -> Iterator[subprocess.Popen]:
    """A process, stopped with all its children in the end."""
    process = subprocess.Popen(command, start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        yield process
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


@pytest.fixture(scope="module")
def plan(repository: Path) -> BuildPlan:
    return BuildPlan(
        source=str(repository / "xxact_core" / "data" / "materials_project.parquet"), limit=240, shard_rows=40
    )


@pytest.fixture(scope="module")
def whole(plan: BuildPlan, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("whole") / "dataset"
    build_dataset(plan, folder, workers=2, progress=False)
    return folder


def test_build_killed_and_run_again_gives_a_byte_equal_data_set(plan: BuildPlan, whole: Path, tmp_path: Path) -> None:
    folder = tmp_path / "dataset"
    command = [sys.executable, "-m", "xxact_core.commands.main", "build", plan.source, str(folder), "--workers", "2"]
    command += ["--limit", str(plan.limit), "--shard-rows", str(plan.shard_rows)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    wait_until(lambda: shards_in(folder) >= 2, "the second shard")
    process.kill()  # no chance to clean up; its children end by themselves
    process.wait()
    kept = {path.name: path.stat().st_mtime_ns for path in folder.glob("shard-*.h5")}
    assert not (folder / "manifest.json").exists()
    assert len(kept) < 6
    build_dataset(plan, folder, workers=2, progress=False)
    assert contents(folder) == contents(whole)
    still = {path.name: path.stat().st_mtime_ns for path in folder.glob("shard-*.h5")}
    assert sum(still[name] == written for name, written in kept.items()) >= 2


def test_finished_data_set_is_left_alone_and_a_lost_shard_is_made_again(
    plan: BuildPlan, whole: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "dataset"
    folder.mkdir()
    for name, content in contents(whole).items():
        (folder / name).write_bytes(content)
    (folder / "shard-000000040.h5").unlink()
    (folder / "shard-000000080.h5.123.part").write_bytes(b"half of a shard")
    build_dataset(plan, folder, workers=1, progress=False)
    assert contents(folder) == contents(whole)


def test_result_does_not_depend_on_how_the_build_was_cut(plan: BuildPlan, whole: Path, tmp_path: Path) -> None:
    folder = tmp_path / "dataset"
    build_dataset(replace(plan, shard_rows=100), folder, workers=2, progress=False)
    one, other = read_dataset(whole), read_dataset(folder)
    assert one.id.tolist() == other.id.tolist()
    assert (one.hkl == other.hkl).all()
    assert (one.intensity == other.intensity).all()


def test_damaged_shard_is_found_and_made_again(plan: BuildPlan, whole: Path, tmp_path: Path) -> None:
    folder = tmp_path / "dataset"
    folder.mkdir()
    for name, content in contents(whole).items():
        (folder / name).write_bytes(content)
    path = folder / "shard-000000120.h5"
    damaged = bytearray(path.read_bytes())
    damaged[len(damaged) // 2] ^= 1
    path.write_bytes(damaged)
    assert verify_dataset(whole) == []
    assert any(path.name in problem for problem in verify_dataset(folder))
    with pytest.raises(DatasetError, match=path.name):
        read_dataset(folder, resident=False).take_sticks([130])
    build_dataset(plan, folder, workers=1, progress=False)
    assert contents(folder) == contents(whole)


def test_bad_structures_become_error_rows_and_the_counts_add_up(tmp_path: Path) -> None:
    crowd = 5001
    rows = [
        {"id": "good", **ROCK_SALT},
        {"id": "flat", **ROCK_SALT, "c": 0.0},
        {"id": "unclosed", **ROCK_SALT, "alpha": 10.0, "beta": 10.0, "gamma": 160.0},
        {"id": "unknown", **ROCK_SALT, "species": ["Xx", "Cl"]},
        {"id": "short", **ROCK_SALT, "frac_coords": [0, 0, 0]},
        {"id": "overlap", **ROCK_SALT, "frac_coords": [0, 0, 0, 0, 0, 1e-9]},
        {"id": "crowd", **CELL, "species": ["Na"] * crowd, "frac_coords": [0.1] * (3 * crowd)},
        {"id": "gap", **ROCK_SALT, "band_gap": 1500.0},
        {"id": "unlabelled", **ROCK_SALT, "band_gap": None},
    ]
    folder = tmp_path / "dataset"
    source = write_rows(tmp_path / "table.parquet", rows)
    counts = build_dataset(BuildPlan(source=str(source), shard_rows=4), folder, workers=2, progress=False)
    errors = errors_of(folder)
    assert counts["materials"] + counts["errors"] == len(rows)
    assert set(errors) == {"flat", "unclosed", "unknown", "short", "overlap", "crowd", "gap"}
    assert all(errors.values())
    assert read_dataset(folder).id.tolist() == ["good", "unlabelled"]
    assert (folder / "duplicates.csv").read_text().splitlines() == ["id,alike", "unlabelled,good"]


def test_json_cut_off_in_the_middle_gives_what_stands_before_the_cut(tmp_path: Path) -> None:
    from pymatgen.core import Lattice, Structure

    salt = Structure.from_spacegroup(225, Lattice.cubic(5.64), ["Na", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]])
    entries = [
        {
            "structure": salt.as_dict(),
            "energy": -3.0,
            "data": {"mat_id": f"agm{n}", "e_form": -2.0, "band_gap_ind": 5.0},
        }
        for n in range(8)
    ]
    text = json.dumps({"entries": entries})
    path = tmp_path / "alexandria_000.json.bz2"
    path.write_bytes(bz2.compress(text[: len(text) // 2].encode()))
    counts = build_dataset(BuildPlan(source=str(path), shard_rows=2), tmp_path / "dataset", workers=1, progress=False)
    table = read_dataset(tmp_path / "dataset")
    assert counts == {"materials": len(table), "errors": 1, "duplicates": len(table) - 1}
    assert 2 <= len(table) < 8
    assert table.targets["formation_energy_per_atom"].tolist() == [-2.0] * len(table)
    assert "alexandria_000.json.bz2" in next(iter(errors_of(tmp_path / "dataset")))


def test_structure_that_takes_too_long_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    honest = shard_module.structure_to_material

    def patient(structure: Structure, plan: BuildPlan) -> Material:
        if structure.id == "slow":
            signal.pause()
        return honest(structure, plan)

    monkeypatch.setattr(shard_module, "structure_to_material", patient)
    source = write_rows(tmp_path / "table.parquet", [{"id": name, **ROCK_SALT} for name in ("one", "slow", "other")])
    block = next(list_blocks(source, rows=10))
    task = ShardTask(BuildPlan(source=str(source), symmetry=False), str(tmp_path), block, timeout=1.5)
    shard = build_shard(task)
    assert (shard["materials"], shard["errors"]) == (2, 1)
    [(name, reason)] = json.loads((tmp_path / "shard-000000000.json").read_text())["error_rows"]
    assert name == "slow"
    assert "1.5 s" in reason


def test_time_limit_ends_with_its_block() -> None:
    with time_limit(0.05):
        pass
    with pytest.raises(StructureError, match="longer than"), time_limit(0.05):
        signal.pause()
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)


WORKER = """
import os, signal, sys
from xxact_core.dataset.building import shard

honest = shard.structure_to_material

def wicked(structure, plan):
    if structure.id == "killer":
        os.kill(os.getpid(), signal.SIGKILL)
    if structure.id == "deaf":
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGALRM])
        signal.pause()
    if structure.id == "unlucky" and not os.path.exists(sys.argv[1]):
        open(sys.argv[1], "w").close()
        os.kill(os.getpid(), signal.SIGKILL)
    return honest(structure, plan)

shard.structure_to_material = wicked
shard.main()
"""


def test_structures_that_kill_or_block_their_process_become_error_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = ["first", "killer", "unlucky", "deaf", "last"]
    source = write_rows(tmp_path / "table.parquet", [{"id": name, **ROCK_SALT} for name in names])
    script = tmp_path / "worker.py"
    script.write_text(WORKER)
    monkeypatch.setattr(workers, "COMMAND", (sys.executable, str(script), str(tmp_path / "happened")))
    monkeypatch.setattr(workers, "GRACE", 3.0)
    plan = BuildPlan(source=str(source), symmetry=False)
    counts = build_dataset(plan, tmp_path / "dataset", workers=1, timeout=2.0, progress=False)
    errors = errors_of(tmp_path / "dataset")
    assert (counts["materials"], counts["errors"]) == (3, 2)
    assert "crashed 3 times" in errors["killer"]
    assert "2 s" in errors["deaf"]


def test_process_that_cannot_start_stops_the_build_with_its_last_words(
    plan: BuildPlan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workers, "COMMAND", (sys.executable, "-c", "raise SystemExit('no room at the inn')"))
    task = ShardTask(plan, str(tmp_path), next(list_blocks(Path(plan.source), rows=5)))
    with pytest.raises(DatasetError, match="no room at the inn"):
        build_in_process(task.to_json())


def test_full_disk_stops_clearly_leaves_nothing_half_written_and_the_build_goes_on_later(
    plan: BuildPlan, whole: Path, tmp_path: Path
) -> None:
    """A file system of 256 kB takes the first shards and no more."""
    folder = tmp_path / "dataset"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(folder)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("a small file system can be mounted by root only")
    try:
        with pytest.warns(UserWarning, match="GB left"), pytest.raises(DatasetError, match="No space left"):
            build_dataset(plan, folder, workers=1, progress=False)
        assert not (folder / "manifest.json").exists()
        assert not list(folder.glob("*.part"))
        for path in folder.glob("shard-*.h5"):
            assert path.read_bytes() == (whole / path.name).read_bytes()
        subprocess.run(["mount", "-o", "remount,size=16m", str(folder)], check=True)
        build_dataset(plan, folder, workers=1, progress=False)
        assert contents(folder) == contents(whole)
    finally:
        subprocess.run(["umount", str(folder)], check=True)


@pytest.mark.long
def test_dask_cluster_makes_the_same_data_set_though_it_loses_a_worker(
    plan: BuildPlan, whole: Path, tmp_path: Path
) -> None:
    folder, address_file = tmp_path / "dataset", tmp_path / "scheduler.json"
    local = ["--host", "127.0.0.1", "--no-dashboard"]
    scheduler = [sys.executable, "-m", "distributed.cli.dask_scheduler", "--port", "0", *local]
    worker = [sys.executable, "-m", "distributed.cli.dask_worker", "--scheduler-file", str(address_file), *local]
    worker += ["--nthreads", "1", "--no-nanny", "--local-directory", str(tmp_path)]
    with started([*scheduler, "--scheduler-file", str(address_file)]):
        wait_until(lambda: address_file.exists() and address_file.stat().st_size > 0, "the scheduler's start")
        address = json.loads(address_file.read_text())["address"]
        with started(worker), started(worker) as doomed:
            build = [
                sys.executable,
                "-m",
                "xxact_core.commands.main",
                "build",
                plan.source,
                str(folder),
                "--scheduler",
                address,
            ]
            build += ["--limit", str(plan.limit), "--shard-rows", str(plan.shard_rows)]
            from distributed import Client

            with Client(address, set_as_default=False) as client:
                client.wait_for_workers(2, timeout=60)
            with started(build) as building:
                wait_until(lambda: shards_in(folder) >= 1, "the first shard")
                os.killpg(doomed.pid, signal.SIGKILL)
                assert building.wait(timeout=300) == 0
    assert contents(folder) == contents(whole)


@pytest.mark.parametrize("address", ["tls://scheduler.local:8786", "tcp://127.0.0.1:8786", "tcp://localhost:1234"])
def test_safe_schedulers_are_taken(address: str) -> None:
    check_scheduler(address)


@pytest.mark.parametrize("address", ["tcp://10.0.0.5:8786", "tcp://127.0.0.1", "http://127.0.0.1:80", "nonsense", ""])
def test_open_schedulers_are_refused(address: str) -> None:
    with pytest.raises(DatasetError, match="tls://HOST:PORT"):
        check_scheduler(address)


def test_scheduler_that_is_not_there_is_told(plan: BuildPlan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers, "CONNECT_TIMEOUT", 1)
    with pytest.raises(DatasetError, match=r"tcp://127\.0\.0\.1:9"):
        build_dataset(plan, tmp_path / "dataset", scheduler="tcp://127.0.0.1:9", progress=False)


def test_scheduler_over_tls_needs_certificates(plan: BuildPlan, tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="ca-file"):
        build_dataset(plan, tmp_path / "dataset", scheduler="tls://127.0.0.1:9", progress=False)


def test_label_that_is_none_is_told_before_anything_is_made(plan: BuildPlan, tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="colour"):
        build_dataset(replace(plan, labels=("colour=red",)), tmp_path / "dataset", progress=False)
    assert not (tmp_path / "dataset").exists()


def test_another_plan_in_the_same_folder_is_refused(plan: BuildPlan, whole: Path) -> None:
    with pytest.raises(DatasetError, match="seed"):
        build_dataset(replace(plan, seed=99), whole, progress=False)


def test_data_set_within_its_own_source_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="own source"):
        build_dataset(BuildPlan(source=str(tmp_path)), tmp_path / "dataset", progress=False)


@pytest.mark.parametrize("source", ["nothing.parquet", "empty"])
def test_source_without_structures_is_refused(tmp_path: Path, source: str) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(DatasetError, match=source):
        build_dataset(BuildPlan(source=str(tmp_path / source)), tmp_path / "made" / "dataset", progress=False)


def test_process_of_a_shard_has_a_limit_of_memory() -> None:
    code = (
        "import resource\nfrom xxact_core.dataset.building import shard\n"
        "shard.ShardTask.from_json = staticmethod(lambda text: None)\n"
        "shard.build_shard = lambda task, tell: {'limit': resource.getrlimit(resource.RLIMIT_AS)[0]}\n"
        "shard.main()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as run:
        assert run.stdin is not None
        assert run.stdout is not None
        run.stdin.write("\n")  # and stays open: the process ends once it is closed
        run.stdin.flush()
        assert json.loads(run.stdout.readline())["shard"]["limit"] == shard_module.MAX_MEMORY
