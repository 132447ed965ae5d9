"""Structures → energies of a teacher: resumable, in batches, with lists of failures and of contradicted labels."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

import numpy as np

from xxact_core.dataset.building.element_references import fit_element_references
from xxact_core.dataset.building.energy_table import MOST_DISAGREEMENT, EnergyTable, write_energy_table
from xxact_core.dataset.building.journal import append_to_journal, read_journal
from xxact_core.dataset.building.teacher import Teacher, plausible_energies
from xxact_core.dataset.splits import formula_to_split
from xxact_core.dataset.store import write_csv
from xxact_core.errors import DatasetError
from xxact_core.quantities import FORMATION_ENERGY
from xxact_core.structures.labels import Labels
from xxact_core.structures.source_files import file_kind
from xxact_core.structures.sources import list_blocks, read_block
from xxact_core.structures.structure import Structure

JOURNAL, ERRORS, CONTRADICTED = ".journal.csv", ".errors.csv", ".contradicted.csv"
"""Endings of the files beside the table: energies as they are computed, failures, and labels that are left out."""

TOGETHER = 64
"""Structures handed to the teacher together. Ours."""

MOST_ATOMS = 200
"""Atoms in a cell above which no energy is computed: time and memory grow with them. Ours."""

_BLOCK = 4096


@dataclass(frozen=True)
class LabelCounts:
    """Numbers of structures and labels of a source, by outcome."""

    energies: int
    """Structures with a total energy."""
    failed: int
    """Structures without one, listed with the reasons."""
    contradicted: int
    """Labels that the teacher contradicts, listed."""
    elements: int
    """Elements with a reference energy."""
    error: float
    """Median absolute difference between the teacher and the training labels [eV/atom]."""


@dataclass(frozen=True)
class _Found:
    """What is known of structures, by id."""

    formulas: dict[str, str] = field(default_factory=dict)
    """Reduced formulas."""
    labels: dict[str, float] = field(default_factory=dict)
    """Formation energies per atom [eV] that a source states."""
    exact: set[str] = field(default_factory=set)
    """Those by which a model is judged."""
    energies: dict[str, float] = field(default_factory=dict)
    """Total energies per atom [eV] of the teacher."""
    failures: dict[str, str] = field(default_factory=dict)
    """Why there is none."""
    aliases: dict[str, str] = field(default_factory=dict)
    """Ids of labelled structures with the ids of the same structures in the source."""


def label_structures(
    source: Path,
    out: Path,
    teacher: Teacher,
    *,
    labelled: Path | None = None,
    known: Mapping[str, float] | None = None,
    split_seed: int = 0,
    limit: int | None = None,
    progress: Callable[[int], None] = lambda _done: None,
) -> LabelCounts:
    """Compute the total energy of every structure of a source, and write them with reference energies of the elements.

    The references are fitted to exact labels of training formulas alone. An interrupted run continues where it ended;
    of structures with the same id the first one counts.

    Args:
        source: file or folder of structures.
        out: table to write; `JOURNAL`, `ERRORS` and `CONTRADICTED` are written beside it.
        teacher: the teacher.
        labelled: structures with labels, where the source has none; they are known by their `public_id`, if the table
            has such a column, else by their ids. Their own ids get the energies, too.
        known: total energies per atom [eV] that need not be computed, by id.
        split_seed: seed of the split, as in `xxact build --seed`.
        limit: use only the first structures of the source.
        progress: called with the number of structures done.

    Raises:
        DatasetError: no energy could be computed, no element gets a reference energy, or the journal is that of another
            teacher.
    """
    journal, columns = out.with_name(out.name + JOURNAL), ("id", f"{teacher.name} [eV/atom]", "reason")
    found = _Found(energies=dict(known or {}))
    for identity, energy, reason in read_journal(journal, columns):
        _keep(found, identity, float(energy), reason)
    items = _read(source, found, limit=limit)
    done = 0
    with append_to_journal(journal, columns) as append:
        while batch := list(islice(items, TOGETHER)):
            done += len(batch)
            new = {
                one.id: one for one in reversed(batch) if one.id not in found.energies and one.id not in found.failures
            }
            if new:
                energies, reasons = _compute(teacher, list(new.values()))
                rows = [(name, f"{one:.6f}", why) for name, one, why in zip(new, energies, reasons, strict=True)]
                append(rows)
                for identity, energy, reason in rows:
                    _keep(found, identity, float(energy), reason)
            progress(done)
    if labelled is not None:
        _take_labels(labelled, found)
    return _write(out, teacher.name, found, split_seed=split_seed)


def _keep(found: _Found, identity: str, energy: float, reason: str) -> None:
    if reason:
        found.failures[identity] = reason
    else:
        found.energies[identity] = energy


def _read(source: Path, found: _Found, *, limit: int | None) -> Iterator[Structure]:
    """Structures of a source, whose formulas, labels and faults are noted."""
    for block in list_blocks(source, rows=_BLOCK, limit=limit):
        for item in read_block(block, labels=Labels()):
            if not isinstance(item, Structure):
                found.failures.setdefault(*item)
                continue
            if item.id not in found.formulas:
                found.formulas[item.id] = item.reduced_formula
            if FORMATION_ENERGY.name in item.targets and item.id not in found.labels:
                found.labels[item.id] = item.targets[FORMATION_ENERGY.name]
                if item.energy_is_exact:
                    found.exact.add(item.id)
            yield item


def _take_labels(labelled: Path, found: _Found) -> None:
    """Note the labels of structures under the ids of the same structures in the source."""
    public = read_public_ids(labelled)
    own = _Found()
    for structure in _read(labelled, own, limit=None):
        identity = public.get(structure.id, structure.id)
        if found.formulas.get(identity) != own.formulas[structure.id]:
            continue
        if identity != structure.id:
            found.aliases[structure.id] = identity
        if structure.id in own.labels and (identity not in found.labels or structure.energy_is_exact):
            found.labels[identity] = own.labels[structure.id]
            if structure.energy_is_exact:
                found.exact.add(identity)


def read_public_ids(table: Path) -> dict[str, str]:
    """The column `public_id` of a table by its `id`; empty where it has none."""
    from pyarrow import parquet  # noqa: PLC0415 - only where a table is read

    if not table.is_file() or file_kind(table) != "table":
        return {}
    with parquet.ParquetFile(table) as file:
        if not {"id", "public_id"} <= set(file.schema_arrow.names):
            return {}
        columns = file.read(columns=["id", "public_id"]).to_pydict()
    pairs = zip(columns["id"], columns["public_id"], strict=True)
    return {str(identity): str(public) for identity, public in pairs if public}


def _compute(teacher: Teacher, structures: list[Structure]) -> tuple[np.ndarray, list[str]]:
    """Energies of a teacher, and reasons of failures; large cells and disordered structures have none."""
    energies, reasons = np.full(len(structures), np.nan), [_unsuitable(structure) for structure in structures]
    places = [place for place, reason in enumerate(reasons) if not reason]
    computed, failures = plausible_energies(teacher, [structures[place] for place in places])
    for place, energy, reason in zip(places, computed.tolist(), failures, strict=True):
        energies[place], reasons[place] = energy, reason
    return energies, reasons


def _unsuitable(structure: Structure) -> str:
    if len(structure.atomic_numbers) > MOST_ATOMS:
        return f"{len(structure.atomic_numbers)} atoms in the cell; at most {MOST_ATOMS} are evaluated"
    return "sites are mixed or partly occupied" if (structure.occupancies != 1).any() else ""


def _write(out: Path, teacher: str, found: _Found, *, split_seed: int) -> LabelCounts:
    """Fit the references, and write the table and its lists."""
    energies = {identity: energy for identity, energy in found.energies.items() if identity in found.formulas}
    trusted = {
        identity: found.labels[identity]
        for identity in found.exact
        if formula_to_split(found.formulas[identity], seed=split_seed) == "train"
    }
    references = fit_element_references(found.formulas, energies, trusted)
    if not references:
        msg = f"no reference energy of an element could be fitted: {len(energies)} structures have an energy, and "
        msg += f"{len(energies.keys() & trusted)} of them a label of a training formula; name a table with labels of "
        msg += "the same structures, or of more of them"
        raise DatasetError(msg, code="E_DATASET")
    also = {alias: energies[identity] for alias, identity in found.aliases.items() if identity in energies}
    table = EnergyTable(teacher=teacher, references=references, split_seed=split_seed, energies={**also, **energies})
    difference = {
        identity: table.formation_energy(identity, found.formulas[identity]) - label
        for identity, label in found.labels.items()
        if identity in energies
    }
    contradicted = {identity: gap for identity, gap in difference.items() if abs(gap) > MOST_DISAGREEMENT}
    failures = {identity: reason for identity, reason in found.failures.items() if identity not in energies}
    write_csv(out.with_name(out.name + ERRORS), ("id", "reason"), list(failures.items()))
    write_csv(
        out.with_name(out.name + CONTRADICTED),
        ("id", "formula", "label", "teacher"),
        [
            (name, found.formulas[name], f"{found.labels[name]:.4f}", f"{found.labels[name] + gap:.4f}")
            for name, gap in contradicted.items()
        ],
    )
    write_energy_table(out, table)
    misfit = [abs(difference[identity]) for identity in trusted if np.isfinite(difference.get(identity, np.nan))]
    return LabelCounts(
        energies=len(energies),
        failed=len(failures),
        contradicted=len(contradicted),
        elements=len(references),
        error=float(np.median(misfit)),
    )
