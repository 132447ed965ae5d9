"""Prototypes with other elements, brought to their equilibrium volume by a teacher: a small Alexandria of our own.

Every batch is appended to a journal beside the table, so that an interrupted run continues where it ended.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from itertools import chain, compress, islice
from pathlib import Path

import numpy as np

from xxact_core.compositions.element_table import ATOMIC_NUMBERS, SYMBOLS
from xxact_core.dataset.building.element_references import to_formation_energy
from xxact_core.dataset.building.energy_table import EnergyTable
from xxact_core.dataset.building.equilibrium_volume import find_equilibrium
from xxact_core.dataset.building.journal import append_to_journal, read_journal
from xxact_core.dataset.building.prototype_selection import (
    MOST_ATOMS,
    Candidate,
    Prototypes,
    read_prototypes,
    sample_candidates,
)
from xxact_core.dataset.building.teacher import Teacher
from xxact_core.dataset.store import write_csv, write_json
from xxact_core.errors import DatasetError
from xxact_core.quantities import FORMATION_ENERGY
from xxact_core.shipped import REFERENCE_TABLE, shipped_path
from xxact_core.structures.prototype_tables import (
    PREFIX,
    PrototypeRow,
    reference_digest,
    substitute_elements,
    write_prototype_table,
)
from xxact_core.structures.structure import Structure, cell_to_matrix

SETTINGS, JOURNAL, ERRORS = ".settings.json", ".journal.csv", ".errors.csv"
"""Endings of the files beside a table: settings, results as they are computed, and candidates that were left out."""

JOURNAL_COLUMNS = ("formula", "prototype", "elements", "scale", "energy_per_atom", "reason")
"""Reduced formula, row of the prototype in the reference table, symbols of the elements on its kinds of sites, factor
on the lengths of its cell, total energy per atom [eV] or why there is none."""

MOST_ABOVE_BEST = 1.0
"""Energy [eV/atom] above the lowest of the same formula, up to which a structure is kept. Ours."""

FEWEST_LEFT = 2
"""Structures of a formula that are left, below which the formula is left out. Ours: its polymorphs are the purpose."""

LEAST_CONTACT = 0.6
"""Smallest distance of two atoms over the sum of their radii, or `LEAST_OF_PROTOTYPE` of the prototype's own. Ours."""

LEAST_OF_PROTOTYPE = 0.8

OVERLAP = "atoms overlap"

TOGETHER = 64
"""Structures scanned together, 128 evaluations at first. Ours."""


@dataclass(frozen=True)
class PrototypeSettings:
    """What determines a prototype table; a run is continued with the same settings, but for their number."""

    structures: int
    """Candidates: prototypes with the elements of a formula. Some are left out, so that the table has fewer rows."""
    teacher: str
    """Name of the teacher."""
    reference: str
    """SHA-256 of the reference table."""
    seed: int = 0
    """Seed of the draw."""
    split_seed: int = 0
    """Seed of the split, as in `xxact build --seed`."""


def build_prototype_table(
    out: Path,
    teacher: Teacher,
    energies: EnergyTable,
    *,
    structures: int,
    seed: int = 0,
    most_atoms: int = MOST_ATOMS,
    reference: Path | None = None,
    progress: Callable[[int], None] = lambda _done: None,
) -> dict[str, int]:
    """Draw candidates, bring them to their equilibrium volume, and write those that are sound as a prototype table.

    An interrupted run continues where it ended, and a longer run begins with a shorter one. Candidates that are left
    out are listed with the reason.

    Args:
        out: table to write; `SETTINGS`, `JOURNAL` and `ERRORS` are written beside it.
        teacher: the teacher.
        energies: table with the reference energies of the elements for this teacher, and the seed of the split.
        structures: number of candidates.
        seed: of the draw.
        most_atoms: of a prototype, in its primitive cell.
        reference: the reference table; by default the shipped one, without which the table cannot be read.
        progress: called with the number of candidates done.

    Returns:
        Counts: `candidates`, `structures` and `formulas` in the table, and `errors`.

    Raises:
        DatasetError: the energies are those of another teacher, or the files beside `out` are those of a run with other
            settings.
    """
    if energies.teacher != teacher.name:
        msg = f"the reference energies are those of {energies.teacher}, not of {teacher.name}; compute them with "
        msg += "`xxact dataset label`"
        raise DatasetError(msg, code="E_DATASET")
    settings = PrototypeSettings(
        structures=structures,
        teacher=teacher.name,
        reference=reference_digest(reference),
        seed=seed,
        split_seed=energies.split_seed,
    )
    _keep_settings(out.with_name(out.name + SETTINGS), {**asdict(settings), "most_atoms": most_atoms})
    prototypes = read_prototypes(reference or shipped_path(REFERENCE_TABLE), most_atoms=most_atoms)
    journal = out.with_name(out.name + JOURNAL)
    label_candidates(prototypes, draw_candidates(prototypes, settings), teacher, journal, progress=progress)
    return write_sound_structures(out, settings, energies)


def _keep_settings(path: Path, settings: dict[str, object]) -> None:
    """Write the settings beside the table, or compare them with those that are there.

    Raises:
        DatasetError: they differ in more than the number of structures.
    """
    if path.is_file():
        try:
            before = dict(json.loads(path.read_text(encoding="utf-8")))
        except (ValueError, TypeError) as error:
            msg = f"{path} is not readable ({error}); choose another name for the table"
            raise DatasetError(msg, code="E_DATASET") from error
        changed = [name for name, value in settings.items() if name != "structures" and before.get(name) != value]
        if changed:
            msg = f"{path} is of a run with other settings ({', '.join(changed)}); choose another name for the table"
            raise DatasetError(msg, code="E_DATASET")
    path.parent.mkdir(parents=True, exist_ok=True)
    write_json(path, settings)


def write_sound_structures(out: Path, settings: PrototypeSettings, energies: EnergyTable) -> dict[str, int]:
    """Write the structures of the journal that have a plausible energy as a prototype table, and list the others.

    Left out are those more than `MOST_ABOVE_BEST` above the best structure of their formula, and formulas of which
    fewer than `FEWEST_LEFT` structures are left.

    Returns:
        Counts: `candidates`, `structures` and `formulas` in the table, and `errors`.
    """
    lines = read_journal(out.with_name(out.name + JOURNAL), JOURNAL_COLUMNS)[: settings.structures]
    reasons = [line[5] for line in lines]
    found = np.full(len(lines), np.nan)
    for number, (formula, _, _, _, total, reason) in enumerate(lines):
        if not reason:
            found[number] = to_formation_energy(formula, float(total), energies.references)
            low, high = FORMATION_ENERGY.plausible
            if not low <= found[number] <= high:
                reasons[number] = f"formation energy of {found[number]:.2f} eV/atom"
    _, formula_of = np.unique([line[0] for line in lines], return_inverse=True)
    best = np.full(formula_of.max(initial=-1) + 1, np.inf)
    sound = np.array([not reason for reason in reasons], dtype=bool)
    np.minimum.at(best, formula_of[sound], found[sound])
    for number in np.flatnonzero(sound & (found - best[formula_of] > MOST_ABOVE_BEST)).tolist():
        reasons[number] = f"{found[number] - best[formula_of[number]]:.2f} eV/atom above another of the formula"
    sound = np.array([not reason for reason in reasons], dtype=bool)
    alone = np.bincount(formula_of[sound], minlength=len(best)) < FEWEST_LEFT
    for number in np.flatnonzero(sound & alone[formula_of]).tolist():
        reasons[number] = "no other structure of the formula is left"
    rows = [
        PrototypeRow(
            number=number,
            prototype=int(line[1]),
            elements=tuple(ATOMIC_NUMBERS[symbol] for symbol in line[2].split()),
            scale=float(line[3]),
            formation_energy=float(found[number]),
        )
        for number, line in enumerate(lines)
        if not reasons[number]
    ]
    left_out = [(f"{PREFIX}{number}", lines[number][0], reason) for number, reason in enumerate(reasons) if reason]
    write_csv(out.with_name(out.name + ERRORS), ("id", "formula", "reason"), left_out)
    if not rows:
        msg = f"none of the {len(lines)} candidates could be used; see {out.with_name(out.name + ERRORS)}"
        raise DatasetError(msg, code="E_DATASET")
    write_prototype_table(out, rows, {**asdict(settings), "references": dict(energies.references)})
    formulas = len({lines[row.number][0] for row in rows})
    return {"candidates": len(lines), "structures": len(rows), "formulas": formulas, "errors": len(left_out)}


def draw_candidates(prototypes: Prototypes, settings: PrototypeSettings) -> Iterator[Candidate]:
    """The first candidates of the settings; a longer sequence begins with a shorter one."""
    groups = sample_candidates(prototypes, seed=settings.seed, split_seed=settings.split_seed)
    return islice(chain.from_iterable(groups), settings.structures)


def candidate_structure(prototypes: Prototypes, candidate: Candidate) -> Structure:
    """The structure of a candidate at the first guess of its volume, in its primitive cell."""
    return substitute_elements(prototypes.units, candidate.row, candidate.elements, scale=candidate.scale)


def nearest_contact(structure: Structure, radii: np.ndarray) -> float:
    """Smallest distance between two atoms, images included, over the sum of their radii.

    Args:
        structure: with few atoms.
        radii: of the elements [Å], shape (118,).
    """
    matrix = cell_to_matrix(structure.cell)
    images = np.stack(np.meshgrid(*[np.arange(-1, 2)] * 3, indexing="ij"), axis=-1).reshape(-1, 3)
    step = structure.frac_coords[:, None] - structure.frac_coords[None]
    step = (step - np.rint(step))[None] + images[:, None, None]
    distance = np.sqrt(((step @ matrix) ** 2).sum(axis=-1))
    distance[(images == 0).all(axis=1)] += 1e3 * np.eye(len(structure.frac_coords))
    radius = radii[structure.atomic_numbers - 1]
    return float((distance.min(axis=0) / (radius[:, None] + radius[None])).min())


def label_candidates(
    prototypes: Prototypes,
    candidates: Iterator[Candidate],
    teacher: Teacher,
    journal: Path,
    *,
    progress: Callable[[int], None] = lambda _done: None,
) -> None:
    """Bring every candidate to its equilibrium volume; append scale, energy or the reason of failure to a journal."""
    done = len(read_journal(journal, JOURNAL_COLUMNS))
    radii = np.cbrt(3 * np.nan_to_num(prototypes.volumes, nan=10.0) / (4 * np.pi))
    remaining = islice(candidates, done, None)
    with append_to_journal(journal, JOURNAL_COLUMNS) as append:
        while batch := list(islice(remaining, TOGETHER)):
            structures = [candidate_structure(prototypes, candidate) for candidate in batch]
            apart = [
                _apart(prototypes, candidate, structure, radii)
                for candidate, structure in zip(batch, structures, strict=True)
            ]
            found = iter(find_equilibrium(list(compress(structures, apart)), teacher))
            rows = []
            for candidate, sound in zip(batch, apart, strict=True):
                scale, energy, reason = next(found) if sound else (np.nan, np.nan, OVERLAP)
                elements = " ".join(SYMBOLS[number - 1] for number in candidate.elements)
                scale *= candidate.scale
                rows.append((candidate.formula, candidate.row, elements, f"{scale:.6f}", f"{energy:.6f}", reason))
            append(rows)
            done += len(batch)
            progress(done)


def _apart(prototypes: Prototypes, candidate: Candidate, structure: Structure, radii: np.ndarray) -> bool:
    """Whether no atoms of a candidate are much nearer than those of its prototype."""
    contact = nearest_contact(structure, radii)
    if contact >= LEAST_CONTACT:
        return True
    prototype = prototypes.units.structure(candidate.row, primitive=True)
    return contact >= LEAST_OF_PROTOTYPE * nearest_contact(prototype, radii)
