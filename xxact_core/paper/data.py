"""The paper's setting from datasets at hand: several polymorphs of each formula, and two label sets for them.

XxaCT-NN is trained on Alexandria, where a formula occurs in many structure types and all energies come from one method.
Here, the energies of one teacher are the labels of all materials, and DFT labels of those that have one are a second
dataset, with the same ids and the same split.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from xxact_core.dataset.building.energy_table import EnergyTable
from xxact_core.dataset.building.merge_split import SAME, DatasetWriter, read_materials
from xxact_core.dataset.splits import formula_to_split
from xxact_core.dataset.store import MANIFEST, Material, read_manifest
from xxact_core.dataset.table import check_shard, read_dataset, shard_paths
from xxact_core.errors import DatasetError
from xxact_core.quantities import BAND_GAP, EXACT_ENERGY_KINDS, FORMATION_ENERGY

TEACHER_SET, DFT_SET = "teacher", "dft"
"""Folders of the two label sets."""

FEWEST_POLYMORPHS = 2
"""Structures of a formula, with which composition alone does not determine the energy."""

SEED = 1
"""Seed of the split. The shipped prototype structures are all of formulas that seed 0 puts into training."""


def write_paper_data(
    folders: Sequence[Path], into: Path, energies: EnergyTable, *, materials: int | None = None, seed: int = SEED
) -> dict[str, int]:
    """Write two datasets into a folder: `TEACHER_SET` and `DFT_SET`.

    Materials are those with an energy of the teacher, of formulas with at least `FEWEST_POLYMORPHS` of them; of a
    material that several datasets have under one id, the first. In the first dataset the teacher's formation energies
    are the labels by which a model is judged (kind `stated`); the second has the materials with a DFT label or a band
    gap, and DFT formation energies where they are of the structure itself.

    Args:
        folders: datasets of the same settings, whose splits do not matter.
        into: folder of the two; neither may exist.
        energies: total energies of the teacher, for materials whose label is not its already.
        materials: number of materials that is not exceeded; whole formulas are drawn by the seed. None for all.
        seed: of the split by formula.

    Returns:
        Numbers of materials in each dataset, and of formulas.

    Raises:
        DatasetError: a dataset is damaged, they differ in their settings, no formula has several materials with an
            energy, or a folder to be written is not empty.
    """
    for name in (TEACHER_SET, DFT_SET):
        if (into / name / MANIFEST).exists() or ((into / name).is_dir() and any((into / name).iterdir())):
            msg = f"{into / name} is not empty: choose another folder"
            raise DatasetError(msg, code="E_DATASET")
    manifests = [read_manifest(folder) for folder in folders]
    common = [name for name in SAME if name != "seed"]
    for folder, manifest in zip(folders, manifests, strict=True):
        if changed := [name for name in common if manifest["plan"].get(name) != manifests[0]["plan"].get(name)]:
            msg = f"{folder} and {folders[0]} cannot be joined: they differ in {changed}"
            raise DatasetError(msg, code="E_DATASET")
    labels = _teacher_labels(folders, energies)
    kept = _draw_formulas(labels, materials=materials, seed=seed)
    if not kept:
        msg = f"no formula of {', '.join(map(str, folders))} has {FEWEST_POLYMORPHS} materials with an energy of "
        msg += f"{energies.teacher}"
        raise DatasetError(msg, code="E_DATASET")
    writers = {name: DatasetWriter(into / name) for name in (TEACHER_SET, DFT_SET)}
    written: set[str] = set()
    for material, attributes in _materials(folders, manifests):
        formula, energy = labels.get(material.id, ("", np.nan))
        if formula not in kept or material.id in written:
            continue
        written.add(material.id)
        split, attributes["split_seed"] = formula_to_split(formula, seed=seed), seed
        targets = {**material.targets, FORMATION_ENERGY.name: energy}
        writers[TEACHER_SET].add(replace(material, targets=targets, energy_kind="stated", split=split), attributes)
        if (calculated := _with_dft_labels(material)) is not None:
            writers[DFT_SET].add(replace(calculated, split=split), attributes)
    plan = {name: manifests[0]["plan"].get(name) for name in common} | {
        "source": "paper",
        "seed": seed,
        "materials": materials,
        "energies": energies.teacher,
        "made_of": [{"digest": one["digest"], "source": one["plan"]["source"]} for one in manifests],
    }
    counts = {name: writer.finish({**plan, "labels": name}) for name, writer in writers.items()}
    return {**counts, "formulas": len(kept)}


def _teacher_labels(folders: Sequence[Path], energies: EnergyTable) -> dict[str, tuple[str, float]]:
    """Formula and formation energy per atom [eV] by the teacher, by id of the material."""
    low, high = FORMATION_ENERGY.plausible
    labels: dict[str, tuple[str, float]] = {}
    for folder in folders:
        table = read_dataset(folder, resident=False)
        stated = table.targets[FORMATION_ENERGY.name]
        for identity, formula, own, by_teacher in zip(table.id, table.formula, stated, table.from_teacher, strict=True):
            energy = float(own) if by_teacher else energies.formation_energy(identity, formula)
            if low <= energy <= high:
                labels.setdefault(identity, (formula, energy))
    return labels


def _draw_formulas(labels: dict[str, tuple[str, float]], *, materials: int | None, seed: int) -> set[str]:
    """Formulas with several materials; as many as together have at most `materials`."""
    formulas, counts = np.unique(np.array([formula for formula, _ in labels.values()], dtype=str), return_counts=True)
    several = np.flatnonzero(counts >= FEWEST_POLYMORPHS)
    drawn = np.random.default_rng(seed).permutation(several)
    if materials is not None:
        drawn = drawn[np.cumsum(counts[drawn]) <= materials]
    return set(formulas[drawn].tolist())


def _materials(
    folders: Sequence[Path], manifests: Sequence[dict[str, Any]]
) -> Iterator[tuple[Material, dict[str, Any]]]:
    """The materials of all datasets with the attributes of their shards."""
    for folder, manifest in zip(folders, manifests, strict=True):
        for path, shard in zip(shard_paths(folder, manifest), manifest["shards"], strict=True):
            check_shard(path, shard["sha256"])
            found, attributes = read_materials(path)
            for material in found:
                yield material, attributes


def _with_dft_labels(material: Material) -> Material | None:
    """The material with its DFT labels alone; None where it has none."""
    targets = dict(material.targets)
    if material.energy_kind not in EXACT_ENERGY_KINDS:
        targets.pop(FORMATION_ENERGY.name, None)
    kind = material.energy_kind if FORMATION_ENERGY.name in targets else "none"
    labelled = FORMATION_ENERGY.name in targets or BAND_GAP.name in targets
    return replace(material, targets=targets, energy_kind=kind) if labelled else None
