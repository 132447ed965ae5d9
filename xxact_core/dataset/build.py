"""Structures → data set: shards made in parallel, resumable, with every refused structure and its reason kept."""

from __future__ import annotations

import csv
import hashlib
import json
import multiprocessing
import os
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from importlib.metadata import version
from itertools import islice
from pathlib import Path

from tqdm import tqdm

from xxact_core.dataset.splits import formula_to_split
from xxact_core.dataset.store import (
    MANIFEST,
    SCHEMA,
    Material,
    file_digest,
    read_manifest,
    write_json,
    write_shard,
)
from xxact_core.errors import DatasetError, StructureError
from xxact_core.patterns.conversions import CU_K_ALPHA
from xxact_core.quantities import CRYSTAL_SYSTEMS
from xxact_core.simulation.diffraction import arrays_to_sticks
from xxact_core.simulation.structures import Structure, read_cif, read_table, table_rows
from xxact_core.simulation.symmetry import SYMPREC, find_symmetry

ERRORS = "errors.csv"


@dataclass(frozen=True)
class BuildPlan:
    """What a data set is made from and how; part of its digest, so that a rerun goes on only with the same plan."""

    source: str
    shard_rows: int = 4096
    seed: int = 0
    wavelength: float = CU_K_ALPHA
    two_theta_range: tuple[float, float] = (5.0, 90.0)
    symprec: float = SYMPREC
    limit: int | None = None


def build_dataset(
    plan: BuildPlan, folder: Path, *, workers: int | None = None, progress: bool = True
) -> dict[str, int]:
    """Make a data set from a parquet table or a folder of CIF files; finished shards are kept on a rerun.

    Returns:
        Counts: `materials` written and `errors` listed in errors.csv; together the structures of the source.

    Raises:
        DatasetError: the source does not exist, holds nothing, or the folder holds a data set of another plan.
    """
    rows = _source_rows(plan)
    folder.mkdir(parents=True, exist_ok=True)
    _check_same_plan(plan, folder)
    if (folder / MANIFEST).is_file():
        manifest = read_manifest(folder)
        if all(_is_whole(folder, shard) for shard in manifest["shards"]):
            return {"materials": manifest["materials"], "errors": manifest["errors"]}
    starts = range(0, rows, plan.shard_rows)
    done = [shard for start in starts if (shard := _finished(folder, start)) is not None]
    kept = {shard["start"] for shard in done}
    todo = [start for start in starts if start not in kept]
    bar = tqdm(
        total=rows, initial=sum(s["materials"] + s["errors"] for s in done), unit="structure", disable=not progress
    )
    context = multiprocessing.get_context("spawn")
    with (
        bar,
        ProcessPoolExecutor(
            max_workers=workers or os.cpu_count(), mp_context=context, initializer=_quiet_spglib
        ) as pool,
    ):
        futures = [pool.submit(build_shard, plan, folder, start) for start in todo]
        for future in as_completed(futures):
            shard = future.result()
            done.append(shard)
            bar.update(shard["materials"] + shard["errors"])
    return _finish(plan, folder, sorted(done, key=lambda shard: shard["start"]), rows)


def _quiet_spglib() -> None:
    """Keep spglib's own messages off the terminal: what it cannot do comes back as an error with the id."""
    os.environ["SPGLIB_WARNING"] = "OFF"


def build_shard(plan: BuildPlan, folder: Path, start: int) -> dict:
    """Make the shard that begins at a row of the source; its side file names its digest and its errors."""
    materials: list[Material] = []
    errors: list[tuple[str, str]] = []
    for item in _structures(plan, start):
        if isinstance(item, Structure):
            try:
                materials.append(structure_to_material(item, plan))
            except StructureError as error:
                errors.append((item.id, str(error)))
        else:
            errors.append(item)
    name = f"shard-{start:09d}.h5"
    attributes = {
        "wavelength": plan.wavelength,
        "wavelength_units": "angstrom",
        "source": Path(plan.source).name,
        "symprec": plan.symprec,
        "split_seed": plan.seed,
        "spglib": version("spglib"),
        "xxact": version("xxact"),
    }
    digest = write_shard(folder / name, materials, attributes) if materials else ""
    shard = {"file": name, "start": start, "materials": len(materials), "errors": len(errors), "sha256": digest}
    write_json(folder / f"shard-{start:09d}.json", {**shard, "error_rows": errors})
    return shard


def structure_to_material(structure: Structure, plan: BuildPlan) -> Material:
    """Sticks, symmetry, composition and split of one structure.

    Raises:
        StructureError: the structure cannot be used, with its reason.
    """
    sticks = arrays_to_sticks(
        cell=structure.cell,
        atomic_numbers=structure.atomic_numbers,
        frac_coords=structure.frac_coords,
        occupancies=structure.occupancies,
        wavelength=plan.wavelength,
        two_theta_range=plan.two_theta_range,
    )
    symmetry = find_symmetry(structure, symprec=plan.symprec)
    composition = structure.composition
    formula = structure.reduced_formula
    return Material(
        id=structure.id,
        formula=formula,
        two_theta=sticks.two_theta,
        intensity=sticks.intensity,
        atomic_numbers=composition.atomic_numbers,
        fractions=composition.fractions,
        targets={
            **structure.targets,
            "crystal_system": CRYSTAL_SYSTEMS.index(symmetry.crystal_system),
            "space_group": symmetry.space_group - 1,
        },
        energy_is_exact=structure.energy_is_exact,
        split=formula_to_split(formula, seed=plan.seed),
    )


def _source_rows(plan: BuildPlan) -> int:
    source = Path(plan.source)
    if source.is_dir():
        rows = len(_cif_files(source))
        if not rows:
            msg = f"the folder {source} holds no .cif file"
            raise DatasetError(msg, code="E_DATASET")
    elif source.suffix == ".parquet" and source.is_file():
        rows = table_rows(source)
    else:
        msg = f"{source} is neither a .parquet table nor a folder of .cif files"
        raise DatasetError(msg, code="E_DATASET")
    return rows if plan.limit is None else min(rows, plan.limit)


def _cif_files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.suffix.lower() == ".cif" and path.is_file())


def _structures(plan: BuildPlan, start: int) -> Iterator[Structure | tuple[str, str]]:
    stop = min(start + plan.shard_rows, _source_rows(plan))
    source = Path(plan.source)
    if source.is_dir():
        for path in islice(_cif_files(source), start, stop):
            try:
                yield read_cif(path)
            except StructureError as error:
                yield path.stem, str(error)
    else:
        yield from read_table(source, start=start, stop=stop)


def _check_same_plan(plan: BuildPlan, folder: Path) -> None:
    path = folder / "plan.json"
    described = json.loads(json.dumps(asdict(plan)))
    if path.is_file():
        before = json.loads(path.read_text(encoding="utf-8"))
        changed = [name for name in described if name != "source" and before.get(name) != described[name]]
        if Path(before.get("source", "")).name != Path(plan.source).name:  # the folder it lies in may be another
            changed.append("source")
        if changed:
            msg = f"{folder} holds a data set of another plan; it differs in {changed}: choose another folder"
            raise DatasetError(msg, code="E_DATASET")
    else:
        write_json(path, described)


def _finished(folder: Path, start: int) -> dict | None:
    """The side file of a shard that is whole; None where it has to be made (again)."""
    path = folder / f"shard-{start:09d}.json"
    try:
        shard = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, json.JSONDecodeError):
        return None
    return shard if _is_whole(folder, shard) else None


def _is_whole(folder: Path, shard: dict) -> bool:
    path = folder / shard["file"]
    return not shard["materials"] or (path.is_file() and file_digest(path) == shard["sha256"])


def _finish(plan: BuildPlan, folder: Path, shards: list[dict], rows: int) -> dict[str, int]:
    error_rows: list[tuple[str, str]] = []
    for shard in shards:
        side = json.loads((folder / f"shard-{shard['start']:09d}.json").read_text(encoding="utf-8"))
        error_rows += [tuple(row) for row in side["error_rows"]]
    with (folder / ERRORS).open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([("id", "reason"), *error_rows])
    materials = sum(shard["materials"] for shard in shards)
    if materials + len(error_rows) != rows:
        msg = f"{rows} structures went in, but {materials} materials and {len(error_rows)} errors came out"
        raise DatasetError(msg, code="E_DATASET")
    if not materials:
        msg = f"none of the {rows} structures of {plan.source} could be used; see {folder / ERRORS}"
        raise DatasetError(msg, code="E_DATASET")
    digest = hashlib.sha256("".join(shard["sha256"] for shard in shards).encode()).hexdigest()
    listed = [{name: shard[name] for name in ("file", "start", "materials", "errors", "sha256")} for shard in shards]
    manifest = {
        "schema": SCHEMA,
        "digest": digest,
        "materials": materials,
        "errors": len(error_rows),
        "plan": asdict(plan),
        "shards": [shard for shard in listed if shard["materials"]],
    }
    write_json(folder / MANIFEST, manifest)
    return {"materials": materials, "errors": len(error_rows)}
