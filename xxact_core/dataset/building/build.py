"""Structures → dataset: shards built in parallel, resumable, with a list of refused structures and reasons."""

from __future__ import annotations

import json
import os
import shutil
import warnings
from concurrent.futures import FIRST_COMPLETED, Future, wait
from pathlib import Path
from typing import Any

from tqdm import tqdm

from xxact_core.dataset.building.duplicates import DUPLICATES, find_duplicates
from xxact_core.dataset.building.energy_table import read_energy_table
from xxact_core.dataset.building.plan import BuildPlan, keep_plan
from xxact_core.dataset.building.shard import TIMEOUT, ShardTask, shard_name
from xxact_core.dataset.building.workers import build_in_process, check_scheduler, open_workers
from xxact_core.dataset.store import (
    MANIFEST,
    SCHEMA,
    file_digest,
    read_manifest,
    shards_to_digest,
    write_csv,
    write_json,
)
from xxact_core.errors import DatasetError
from xxact_core.json_digest import with_digest
from xxact_core.structures.sources import Block, count_items, list_blocks

ERRORS, NOTES = "errors.csv", "notes.csv"

COUNTS = ("materials", "errors", "duplicates")

BYTES_PER_MATERIAL = 2000
"""Upper estimate of the size of a material on disk [bytes]."""


def build_dataset(
    plan: BuildPlan,
    folder: Path,
    *,
    workers: int | None = None,
    scheduler: str | None = None,
    timeout: float = TIMEOUT,
    progress: bool = True,
) -> dict[str, int]:
    """Build a dataset from structures; an interrupted build is resumed with the same result.

    Args:
        plan: settings of the build.
        folder: of the dataset.
        workers: number of processes on this machine; by default one per core.
        scheduler: address of a Dask scheduler to use instead; its workers must see the same files.
        timeout: per structure [s].
        progress: show a progress bar.

    Returns:
        Counts: `materials` written, `errors` listed in errors.csv (together the structures of the source), and
        `duplicates` listed in duplicates.csv (all but the first of each group). What was assumed, left out or moved
        when a structure was read is listed in notes.csv.

    Raises:
        DatasetError: the source does not exist or is empty, the folder contains a dataset of another plan, or a
            shard cannot be written; finished shards are kept, and the same call resumes the build.
    """
    labels = plan.parsed_labels  # invalid labels are reported first
    _check_energies(plan)
    if scheduler is not None:
        check_scheduler(scheduler)
    source = Path(plan.source).resolve()
    if folder.resolve().is_relative_to(source):
        msg = f"the dataset {folder} would be inside its own source {plan.source}: choose a folder outside"
        raise DatasetError(msg, code="E_DATASET")
    known = count_items(source)
    total = known if known is None or plan.limit is None else min(known, plan.limit)
    folder.mkdir(parents=True, exist_ok=True)
    keep_plan(plan, folder)
    if (folder / MANIFEST).is_file():
        manifest = read_manifest(folder)
        if all(_is_whole(folder, shard) for shard in manifest["shards"]):
            return {name: manifest[name] for name in COUNTS}
    _warn_of_small_disk(folder, total)
    blocks = list_blocks(source, rows=plan.shard_rows, limit=plan.limit, labels=labels)
    shards: dict[int, dict[str, Any]] = {}
    with (
        tqdm(total=total, unit="structure", disable=not progress, smoothing=0.05) as bar,
        open_workers(workers=workers or os.cpu_count() or 1, scheduler=scheduler) as pool,
    ):
        running: set[Future[dict[str, Any]]] = set()
        for block in blocks:
            if (shard := finished_shard(folder, block)) is not None:
                shards[block.start] = shard
                bar.update(block.rows)
                if progress:
                    bar.initial += block.rows  # not counted in the speed
                continue
            while len(running) >= pool.count() + 1:  # one in reserve; streams are read no further than needed
                running = _collect(running, shards, bar)
            task = ShardTask(plan, str(folder.resolve()), block, timeout=timeout)
            running.add(pool.executor.submit(build_in_process, task.to_json()))
        while running:
            running = _collect(running, shards, bar)
    return _finish(plan, folder, [shards[start] for start in sorted(shards)])


def _check_energies(plan: BuildPlan) -> None:
    """Refuse energies whose references were fitted to labels of another training split.

    Raises:
        DatasetError: the seeds differ, or the file is no table of energies.
    """
    if plan.energies is None:
        return
    seed = read_energy_table(Path(plan.energies)).split_seed
    if seed != plan.seed:
        msg = f"{Path(plan.energies).name}: its reference energies were fitted to labels of another split; "
        msg += f"build with --seed {seed}, or compute the energies again with --split-seed {plan.seed}"
        raise DatasetError(msg, code="E_DATASET")


def _collect(
    running: set[Future[dict[str, Any]]], shards: dict[int, dict[str, Any]], bar: tqdm
) -> set[Future[dict[str, Any]]]:
    """Wait for a shard, record it, and return the running ones; a failure cancels those that have not started."""
    done, running = wait(running, return_when=FIRST_COMPLETED)
    for future in done:
        try:
            shard = future.result()
        except DatasetError:
            for other in running:
                other.cancel()
            raise
        shards[shard["start"]] = shard
        bar.update(shard["rows"])
    return set(running)


def finished_shard(folder: Path, block: Block) -> dict[str, Any] | None:
    """Record of the finished shard of this block; None where it has to be built."""
    try:
        shard = json.loads((folder / f"{shard_name(block.start)}.json").read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return None
    return shard if shard["rows"] == block.rows and _is_whole(folder, shard) else None


def _is_whole(folder: Path, shard: dict[str, Any]) -> bool:
    path = folder / shard["file"]
    return not shard["materials"] or (path.is_file() and file_digest(path) == shard["sha256"])


def _finish(plan: BuildPlan, folder: Path, shards: list[dict[str, Any]]) -> dict[str, int]:
    """Write the tables of errors and duplicates and, last, the manifest, which makes the folder a dataset."""
    rows = sum(shard["rows"] for shard in shards)
    materials = sum(shard["materials"] for shard in shards)
    sides = [
        json.loads((folder / f"{shard_name(shard['start'])}.json").read_text(encoding="utf-8")) for shard in shards
    ]
    errors = [tuple(row) for side in sides for row in side["error_rows"]]
    notes = [tuple(row) for side in sides for row in side.get("note_rows", ())]
    write_csv(folder / ERRORS, ("id", "reason"), errors)
    write_csv(folder / NOTES, ("id", "note"), notes)
    if materials + len(errors) != rows:
        msg = f"{materials} materials and {len(errors)} errors do not add up to {rows} structures"
        raise DatasetError(msg, code="E_DATASET")
    if not materials:
        msg = f"none of the {rows} structures of {plan.source} could be used; see {folder / ERRORS}"
        raise DatasetError(msg, code="E_DATASET")
    filled = [shard for shard in shards if shard["materials"]]
    for leftover in folder.glob("shard-*.part"):
        leftover.unlink(missing_ok=True)
    return write_manifest(folder, plan.described(), filled, errors=len(errors))


def write_manifest(folder: Path, plan: dict[str, Any], shards: list[dict[str, Any]], *, errors: int) -> dict[str, int]:
    """Write the manifest with the digests of the shards; returns its counts."""
    duplicates = find_duplicates(folder, shards)
    write_csv(folder / DUPLICATES, ("id", "alike"), duplicates)
    left_out = {"error_rows", "note_rows", "rows"}
    manifest = {
        "schema": SCHEMA,
        "digest": shards_to_digest(shards),
        "materials": sum(shard["materials"] for shard in shards),
        "errors": errors,
        "duplicates": len(duplicates),
        "plan": plan,
        "shards": [{name: value for name, value in shard.items() if name not in left_out} for shard in shards],
    }
    write_json(folder / MANIFEST, with_digest(manifest))
    return {name: manifest[name] for name in COUNTS}


def _warn_of_small_disk(folder: Path, total: int | None) -> None:
    free = shutil.disk_usage(folder).free
    if total is not None and free < total * BYTES_PER_MATERIAL:
        needed, there = total * BYTES_PER_MATERIAL / 1e9, free / 1e9
        warnings.warn(f"the dataset may need {needed:.1f} GB and the disk has {there:.1f} GB left", stacklevel=3)
