"""Block of structures → shard, in this process or in its own (`python -m xxact_core.dataset.building.shard`)."""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from xxact_core.compositions.element_table import ATOMIC_MASSES, AVOGADRO
from xxact_core.compositions.formula import reduced_formula
from xxact_core.dataset.building.energy_table import read_energy_table
from xxact_core.dataset.building.plan import BuildPlan
from xxact_core.dataset.splits import formula_to_split
from xxact_core.dataset.store import Material, count_entries, write_json, write_shard
from xxact_core.errors import InputError, StructureError
from xxact_core.quantities import CRYSTAL_SYSTEMS, LATTICE
from xxact_core.sandbox.framing import limit_memory
from xxact_core.simulation.diffraction import arrays_to_sticks
from xxact_core.simulation.lattice import cell_volume
from xxact_core.simulation.symmetry import find_symmetry
from xxact_core.structures.labels import Labels
from xxact_core.structures.sources import Block, read_block
from xxact_core.structures.structure import Structure

TIMEOUT = 60.0
"""Time limit per structure [s]."""


MAX_MEMORY = 6 * 2**30
"""Address space of the process [bytes], including its libraries; a structure that takes more becomes an error row."""


CELL_DECIMALS = 10
"""Decimals of stored cells [Å, deg]. Without rounding, the digest of a dataset depends on the CPU, whose vector
instructions decide the last bit of an arc cosine."""


@dataclass(frozen=True)
class ShardTask:
    """A shard to build, as plain values, which can be sent to another process or machine as JSON."""

    plan: BuildPlan
    """Settings of the dataset."""
    folder: str
    """Folder of the dataset."""
    block: Block
    """Structures of the shard."""
    timeout: float = TIMEOUT
    """Time limit per structure [s]."""
    skipped: Mapping[int, str] = field(default_factory=dict)
    """Items of the block to skip, with the reason."""

    def to_json(self) -> str:
        """The task as one line of text."""
        return json.dumps(
            {
                "plan": self.plan.to_json(),
                "folder": self.folder,
                "block": self.block.to_json(),
                "timeout": self.timeout,
                "skipped": {str(item): reason for item, reason in self.skipped.items()},
            }
        )

    @classmethod
    def from_json(cls, text: str) -> ShardTask:
        """The task that `to_json` wrote."""
        values = json.loads(text)
        return cls(
            plan=BuildPlan.from_json(values["plan"]),
            folder=values["folder"],
            block=Block.from_json(values["block"]),
            timeout=values["timeout"],
            skipped={int(item): reason for item, reason in values["skipped"].items()},
        )


def shard_name(start: int) -> str:
    """Name of the shard whose first item has this number in the source, without its suffix."""
    return f"shard-{start:09d}"


def build_shard(task: ShardTask, *, tell: Callable[[int], None] = lambda _: None) -> dict[str, Any]:
    """Build one shard and write a JSON file beside it with its digest, counts and errors, which is returned.

    `tell` is called with the number of each item before it is processed.

    Raises:
        OSError: the shard cannot be written, for instance because the disk is full; nothing of it is left.
    """
    plan, block, folder = task.plan, task.block, Path(task.folder)
    label = (lambda one: one) if plan.energies is None else read_energy_table(Path(plan.energies)).label
    materials: list[Material] = []
    errors: list[tuple[str, str]] = []
    notes: list[tuple[str, str]] = []
    for number, (name, read) in enumerate(_items(block, plan)):
        tell(number)
        if number in task.skipped:
            errors.append((name, task.skipped[number]))
            continue
        try:
            with time_limit(task.timeout):
                item = read()
                if isinstance(item, Structure):
                    item = label(item)
                    materials.append(structure_to_material(item, plan))
                    notes += [(item.id, note) for note in item.notes]
                else:
                    errors.append(item)
        except StructureError as error:
            errors.append((name, str(error)))
    tell(block.rows)
    shard = {"start": block.start, "rows": block.rows, "errors": len(errors), **_write(task, materials)}
    write_json(folder / f"{shard_name(block.start)}.json", {**shard, "error_rows": errors, "note_rows": notes})
    return shard


def structure_to_material(structure: Structure, plan: BuildPlan) -> Material:
    """Sticks, symmetry, composition, targets and split of one structure.

    Raises:
        StructureError: the structure cannot be used, with its reason.
    """
    sticks = arrays_to_sticks(
        cell=structure.cell,
        atomic_numbers=structure.atomic_numbers,
        frac_coords=structure.frac_coords,
        occupancies=None if (structure.occupancies == 1).all() else structure.occupancies,
        wavelength=plan.wavelength,
        two_theta_range=plan.two_theta_range,
    )
    assert sticks.hkl is not None
    composition = structure.stated_composition
    formula = reduced_formula(composition)
    volume, atoms = float(cell_volume(structure.cell)), float(structure.occupancies.sum())
    mass = float(np.array(ATOMIC_MASSES)[structure.atomic_numbers - 1] @ structure.occupancies)
    targets = {
        **structure.targets,
        "density": mass / volume / AVOGADRO,
        "volume_per_atom": volume / atoms,
    }
    rotations = np.eye(3, dtype=np.int8)[None]
    if plan.symmetry:
        symmetry = find_symmetry(structure, symprec=plan.symprec)
        rotations = symmetry.rotations
        targets["crystal_system"] = CRYSTAL_SYSTEMS.index(symmetry.crystal_system)
        targets["space_group"] = symmetry.space_group - 1
        targets |= {
            quantity.name: float(value) for quantity, value in zip(LATTICE, symmetry.conventional_cell, strict=True)
        }
    return Material(
        id=structure.id,
        formula=formula,
        cell=structure.cell.round(CELL_DECIMALS),
        hkl=sticks.hkl,
        intensity=sticks.intensity,
        rotations=rotations,
        atomic_numbers=composition.atomic_numbers,
        fractions=composition.fractions,
        targets=targets,
        energy_kind=structure.energy_kind,
        split=formula_to_split(formula, seed=plan.seed),
    )


def _items(block: Block, plan: BuildPlan) -> Iterator[tuple[str, Callable[[], Structure | tuple[str, str]]]]:
    """Name of each item, and a function that reads it; rows of a table are read together."""
    labels = plan.parsed_labels
    if block.kind == "table":
        for item in read_block(block, labels=labels):
            yield item.id if isinstance(item, Structure) else item[0], partial(next, iter([item]))
        return
    for number, content in enumerate(block.content):
        single = replace(block, start=block.start + number, rows=1, content=(content,))
        yield str(content[1]), partial(_first_of, single, labels)


def _first_of(block: Block, labels: Labels) -> Structure | tuple[str, str]:
    return next(read_block(block, labels=labels))


def _write(task: ShardTask, materials: list[Material]) -> dict[str, Any]:
    """Write the materials; returns the entries of the manifest."""
    plan = task.plan
    attributes = {
        "wavelength": plan.wavelength,
        "wavelength_units": "angstrom",
        "two_theta_range": np.array(plan.two_theta_range),
        "source": Path(plan.source).name,
        "symprec": plan.symprec if plan.symmetry else np.nan,
        "split_seed": plan.seed,
        "measured_cells": int(plan.measured_cells),
        "spglib": version("spglib") if plan.symmetry else "",
        "xxact": version("xxact"),
    }
    path = Path(task.folder) / f"{shard_name(task.block.start)}.h5"
    digest = write_shard(path, materials, attributes) if materials else ""
    return {"file": path.name, "sha256": digest, **count_entries(materials)}


@contextmanager
def time_limit(seconds: float) -> Iterator[None]:
    """Interrupt the block after some seconds, by a signal; without effect outside the main thread.

    Raises:
        StructureError: the time limit was exceeded.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(*_: object) -> None:
        msg = f"took longer than {seconds:g} s"
        raise StructureError(msg, code="E_TIMEOUT")

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def main() -> None:
    """Build the shard whose task is the first line of standard input; exit when standard input is closed.

    Each line of standard output is JSON: `{"item": 17}` before each item, then `{"shard": ...}` or `{"failed": ...}`.
    """
    limit_memory(MAX_MEMORY)
    os.environ["SPGLIB_WARNING"] = "OFF"  # what spglib cannot do comes back as an error with the id
    task = ShardTask.from_json(sys.stdin.readline())
    threading.Thread(target=_end_with_parent, daemon=True).start()

    def tell(number: int) -> None:
        sys.stdout.write(f'{{"item": {number}}}\n')
        sys.stdout.flush()

    try:
        answer: dict[str, Any] = {"shard": build_shard(task, tell=tell)}
    except (InputError, OSError) as error:
        answer = {"failed": str(error)}
    sys.stdout.write(json.dumps(answer) + "\n")
    sys.stdout.flush()
    os._exit(0)  # HDF5 crashes at a regular exit after a full disk, though nothing is left to do


def _end_with_parent() -> None:
    """End the process once standard input is closed: its parent no longer waits for the shard."""
    sys.stdin.read()
    os._exit(1)


if __name__ == "__main__":
    main()
