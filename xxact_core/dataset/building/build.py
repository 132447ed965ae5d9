"""Structures → data set: shards made in parallel, resumable, with every refused structure and its reason kept."""

from __future__ import annotations

import csv
import hashlib
import json
import os
import shutil
import warnings
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from pathlib import Path
from typing import Any

from tqdm import tqdm

from xxact_core.dataset.building.duplicates import DUPLICATES, find_duplicates
from xxact_core.dataset.building.plan import BuildPlan, keep_plan
from xxact_core.dataset.building.shard import TIMEOUT, ShardTask, shard_name
from xxact_core.dataset.building.workers import check_scheduler, make_shard, open_workers
from xxact_core.dataset.store import MANIFEST, SCHEMA, file_digest, fsync_folder, read_manifest, write_json
from xxact_core.errors import DatasetError
from xxact_core.structures.sources import Block, count_items, list_blocks

ERRORS = "errors.csv"

COUNTS = ("materials", "errors", "duplicates")

BYTES_PER_MATERIAL = 2000
"""What a material takes on disk, generously, to warn of a disk that is too small."""


def build_dataset(
    plan: BuildPlan,
    folder: Path,
    *,
    workers: int | None = None,
    scheduler: str | None = None,
    timeout: float = TIMEOUT,
    progress: bool = True,
) -> dict[str, int]:
    """Make a data set from structures; finished shards are kept on a rerun, and the result does not depend on it.

    Args:
        plan: what to make and how.
        folder: of the data set.
        workers: processes on this machine; one a core where not given.
        scheduler: address of a Dask scheduler whose workers do the work instead; they must see the same files.
        timeout: for one structure [s].
        progress: show a bar with the time left.

    Returns:
        Counts: `materials` written, `errors` listed in errors.csv (together the structures of the source), and
        `duplicates` listed in duplicates.csv (all but the first of materials that are alike).

    Raises:
        DatasetError: the source does not exist or holds nothing, the folder holds a data set of another plan, or a
            shard cannot be written; what is finished stays, and the same call goes on from there.
    """
    labels = plan.parsed_labels  # one that cannot be understood is told before anything else
    if scheduler is not None:
        check_scheduler(scheduler)
    source = Path(plan.source).resolve()
    if folder.resolve().is_relative_to(source):
        msg = f"the data set {folder} would lie in its own source {plan.source}: choose a folder outside"
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
        open_workers(workers=workers or os.cpu_count() or 1, scheduler=scheduler) as crew,
    ):
        running: set[Future[dict[str, Any]]] = set()
        for block in blocks:
            if (shard := finished_shard(folder, block)) is not None:
                shards[block.start] = shard
                bar.update(block.rows)
                if progress:
                    bar.initial += block.rows  # what was there already says nothing of the time left
                continue
            while len(running) >= crew.count() + 1:  # one in waiting, so that a stream is read no further than needed
                running = _collect(running, shards, bar)
            task = ShardTask(plan, str(folder.resolve()), block, timeout=timeout)
            running.add(crew.executor.submit(make_shard, task.to_json()))
        while running:
            running = _collect(running, shards, bar)
    return _finish(plan, folder, [shards[start] for start in sorted(shards)])


def _collect(
    running: set[Future[dict[str, Any]]], shards: dict[int, dict[str, Any]], bar: tqdm
) -> set[Future[dict[str, Any]]]:
    """Wait for a shard, note it down, and return what is still running; the first failure stops what has not begun."""
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
    """What the side file says of the shard of this block; None where it has to be made (again)."""
    try:
        shard = json.loads((folder / f"{shard_name(block.start)}.json").read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return None
    return shard if shard["rows"] == block.rows and _is_whole(folder, shard) else None


def _is_whole(folder: Path, shard: dict[str, Any]) -> bool:
    path = folder / shard["file"]
    return not shard["materials"] or (path.is_file() and file_digest(path) == shard["sha256"])


def _finish(plan: BuildPlan, folder: Path, shards: list[dict[str, Any]]) -> dict[str, int]:
    """Write the error table, the table of duplicates and, last, the manifest that makes the folder a data set."""
    rows = sum(shard["rows"] for shard in shards)
    materials = sum(shard["materials"] for shard in shards)
    errors = list(_error_rows(folder, shards))
    write_csv(folder / ERRORS, ("id", "reason"), errors)
    if materials + len(errors) != rows:
        msg = f"{rows} structures went in, but {materials} materials and {len(errors)} errors came out"
        raise DatasetError(msg, code="E_DATASET")
    if not materials:
        msg = f"none of the {rows} structures of {plan.source} could be used; see {folder / ERRORS}"
        raise DatasetError(msg, code="E_DATASET")
    filled = [shard for shard in shards if shard["materials"]]
    for leftover in folder.glob("shard-*.part"):
        leftover.unlink(missing_ok=True)
    return write_manifest(folder, plan.described(), filled, errors=len(errors))


def write_manifest(folder: Path, plan: dict[str, Any], shards: list[dict[str, Any]], *, errors: int) -> dict[str, int]:
    """Name the shards with their digests; with this file the folder becomes a data set. Returns its counts."""
    duplicates = find_duplicates(folder, shards)
    write_csv(folder / DUPLICATES, ("id", "alike"), duplicates)
    digest = hashlib.sha256("".join(shard["sha256"] for shard in shards).encode()).hexdigest()
    left_out = {"error_rows", "rows"}
    manifest = {
        "schema": SCHEMA,
        "digest": digest,
        "materials": sum(shard["materials"] for shard in shards),
        "errors": errors,
        "duplicates": len(duplicates),
        "plan": plan,
        "shards": [{name: value for name, value in shard.items() if name not in left_out} for shard in shards],
    }
    write_json(folder / MANIFEST, manifest)
    return {name: manifest[name] for name in COUNTS}


def _error_rows(folder: Path, shards: list[dict[str, Any]]) -> Iterator[tuple[str, str]]:
    for shard in shards:
        if shard["errors"]:
            side = json.loads((folder / f"{shard_name(shard['start'])}.json").read_text(encoding="utf-8"))
            yield from side["error_rows"]


def write_csv(path: Path, header: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> None:
    """A table that is either the old or the new one, never half of one."""
    part = path.with_name(path.name + ".part")
    with part.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([header, *rows])
        file.flush()
        os.fsync(file.fileno())
    part.replace(path)
    fsync_folder(path.parent)


def _warn_of_small_disk(folder: Path, total: int | None) -> None:
    free = shutil.disk_usage(folder).free
    if total is not None and free < total * BYTES_PER_MATERIAL:
        needed, there = total * BYTES_PER_MATERIAL / 1e9, free / 1e9
        warnings.warn(f"the data set may need {needed:.1f} GB and the disk has {there:.1f} GB left", stacklevel=3)
