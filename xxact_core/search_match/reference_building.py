"""Sources of structures → reference table: symmetry, duplicates merged, names, flags, strongest reflections."""

from __future__ import annotations

import csv
import os
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from xxact_core.compositions.composition import Composition
from xxact_core.compositions.formula import reduced_formula
from xxact_core.errors import DatasetError, StructureError, shorten
from xxact_core.search_match.database import TWO_THETA_RANGE
from xxact_core.search_match.mineral_names import formulas_of_names, mineral_name, names_of_phase
from xxact_core.search_match.published_formulas import composition_of_mineral, parse_published, published_composition
from xxact_core.search_match.reference_files import (
    DATASET_MANIFEST,
    Phase,
    is_reference_table,
    read_reference_table,
    write_reference_table,
)
from xxact_core.search_match.reference_table import ReferenceTable, sticks_to_strongest, unit_to_sticks
from xxact_core.structures.asymmetric_units import OCCUPANCY_STEP, AsymmetricUnit, units_to_columns
from xxact_core.structures.compact_tables import EXPERIMENTAL, HYDROGEN_MISSING, KNOWN
from xxact_core.structures.labels import Labels
from xxact_core.structures.source_files import file_kind, file_stem
from xxact_core.structures.sources import list_blocks, read_block
from xxact_core.structures.standardising import structure_to_unit
from xxact_core.structures.structure import Structure

COMPUTED_SCALE = 0.989
"""Measured over calculated cell length. Source: PBE cells, docs/results/search_match.md."""

SAME_COMPUTED = 0.015
"""Relative difference of lengths, and of angles in rad, up to which calculated cells are one phase. Ours: relaxations
of one material differ by that much."""

SAME_MEASURED = 0.02
"""The same for two measured cells, which differ by temperature and pressure. Ours."""

MEASURED_AND_COMPUTED = 0.03
"""The same for a measured cell and a calculated one times `COMPUTED_SCALE`. Ours."""

ALIKE = 0.002
"""The same for measured cells that count as equal when the usual one is chosen. Ours: more than two careful
measurements at room temperature differ."""

COLUMNS_OF_PHASES = (
    "experimental",
    "known",
    "in_icsd_guess",
    "public_id",
    "name",
    "mineral",
    "formula_as_published",
    "year",
    "journal",
    "energy_above_hull",
)
"""Columns of a table that describe its phases, where it has them."""

_BLOCK_ROWS = 2000
_NO_NAME = frozenset({"", "<missing>", "unknown"})
_FULL = round(1 / OCCUPANCY_STEP)
_WIDTH = 7
"""Digits of an id that is a bare number, behind the name of its source."""


@dataclass(frozen=True, eq=False)
class Source:
    """A file or folder of structures."""

    path: Path
    """The file or folder."""
    experimental: bool = False
    """Whether its cells were measured."""


@dataclass(eq=False)
class Entry:
    """A structure of a source on its way into the table."""

    id: str
    """Its id."""
    formula: str
    """Reduced formula of the structure."""
    unit: AsymmetricUnit
    """Its asymmetric unit."""
    source: int
    """Number of its source."""
    experimental: bool
    """Whether its cell was measured."""
    known: bool
    """Whether it was found in experiments."""
    public_id: str | None
    """Id by which it is shown; None where its id means nothing to people."""
    name: str | None
    """Name that the source states."""
    published: str | None
    """Formula that the source states, as text."""
    energy_above_hull: float
    """Energy above the hull [eV/atom] that the source states, else NaN."""
    study: object
    """What entries of one publication share; its first entry is the one at room temperature and pressure, usually."""
    others: list[str] = field(default_factory=list)
    """Ids of entries that were merged into it by their ids."""
    composition: Composition | None = None
    """Composition as published, where the structure does not show it."""
    hydrogen_missing: bool = False
    """Whether the structure lacks hydrogen that the published formula states."""
    cell: np.ndarray = field(default_factory=lambda: np.zeros(6))
    """Conventional cell."""
    space_group: int = 0
    """Number."""


@dataclass(frozen=True, eq=False)
class BuiltTable:
    """Counts of a finished build."""

    structures: int
    """Structures read."""
    phases: int
    """Phases written."""
    errors: tuple[tuple[str, str, str], ...]
    """Source, id and reason of each structure that could not be used."""
    renamed: tuple[str, ...] = ()
    """Ids with the name of their source in front, because an earlier source has the same id."""
    notes: tuple[tuple[str, str], ...] = ()
    """Id of a structure and what was assumed or left out when it was read."""


def build_reference_table(
    path: Path,
    sources: Sequence[Source],
    *,
    credit: Sequence[str] = (),
    energies: Mapping[str, float] | None = None,
    to_unit: Callable[[Structure], AsymmetricUnit] | None = None,
    progress: Callable[[str, int], None] = lambda _stage, _done: None,
) -> BuiltTable:
    """Build a reference table from structures; those that cannot be read are listed, and the rest is used.

    Args:
        path: of the table.
        sources: files and folders, the ones whose ids are preferred first.
        credit: origins and licences of the sources, which the table states.
        energies: energies above the hull [eV/atom] by id, for those that a source does not state.
        to_unit: asymmetric unit of a structure, by default `structure_to_unit`.
        progress: called with the stage and the number of structures done.

    Raises:
        DatasetError: a source is missing or contains no structure, none can be used, or an id occurs twice in a source.
    """
    os.environ.setdefault("SPGLIB_WARNING", "OFF")  # what spglib cannot do is told with the id
    to_unit = to_unit or (lambda structure: structure_to_unit(structure, keep=False))
    entries: list[Entry] = []
    errors: list[tuple[str, str, str]] = []
    by_id: dict[str, Entry] = {}
    renamed: list[str] = []
    notes: list[tuple[str, str]] = []
    read = 0
    for number, source in enumerate(sources):
        for item, stated in _read_source(source):
            read += 1
            if read % 100 == 0:
                progress("symmetry", read)
            if not isinstance(item, Structure):
                errors.append((str(source.path), *item))
                continue
            identity = _source_id(item.id, source)
            same = by_id.get(str(stated.get("public_id")))
            if same is not None and same.source != number and same.formula == item.reduced_formula:
                _merge_id(same, identity, stated)
                continue
            if identity in by_id:
                identity = _another_id(identity, by_id, number, source)
                renamed.append(identity)
            try:
                _check_elements(item.composition, stated.get("formula_as_published"))
                entry = _to_entry(identity, item.reduced_formula, to_unit(item), stated, number, source)
            except StructureError as error:
                errors.append((str(source.path), identity, str(error)))
                continue
            if item.unlocated_hydrogen:
                entry.composition, entry.hydrogen_missing = _with_hydrogen(item), True
            by_id[identity] = entry
            entries.append(entry)
            notes += [(identity, note) for note in item.notes]
    if not entries:
        msg = f"none of the {read} structures of {', '.join(str(source.path) for source in sources)} could be used"
        raise DatasetError(f"{msg}; the first problem: {errors[0][2]}" if errors else msg, code="E_DATASET")
    for entry in entries:
        if np.isnan(entry.energy_above_hull) and energies:
            known = [energies[name] for name in (entry.id, entry.public_id) if name is not None and name in energies]
            entry.energy_above_hull = min(known, default=np.nan)
    _complete(entries)
    incomplete = find_incomplete(entries)
    errors += [(str(sources[entry.source].path), entry.id, reason) for entry, reason in incomplete]
    left_out = {id(entry) for entry, _ in incomplete}
    entries = [entry for entry in entries if id(entry) not in left_out]
    written, left_over = _write(path, merge(entries), sources, credit, progress)
    errors += [(str(sources[entry.source].path), entry.id, _NO_REFLECTION) for entry in left_over]
    return BuiltTable(read, written, tuple(errors), tuple(renamed), tuple(notes))


_NO_REFLECTION = f"no reflection lies between {TWO_THETA_RANGE[0]:g}° and {TWO_THETA_RANGE[1]:g}° at Cu Kα"


def _read_source(source: Source) -> Iterator[tuple[Structure | tuple[str, str], Mapping[str, Any]]]:
    """Structures of a source, or id and reason, each with what its table states about it.

    Raises:
        DatasetError: the source is missing, contains no structures, or is a dataset.
    """
    if (source.path / DATASET_MANIFEST).is_file():
        msg = f"{source.path} is a dataset, which stores reflections and no structures; search it with --reference, "
        msg += "or build from the structures that it was made of"
        raise DatasetError(msg, code="E_DATASET")
    if source.path.is_file() and file_kind(source.path) == "table" and is_reference_table(source.path):
        yield from _phases_of_table(read_reference_table(source.path))
        return
    tables: dict[str, list[dict[str, Any]]] = {}
    for block in list_blocks(source.path, rows=_BLOCK_ROWS):
        # A phase of which somebody keeps a file is taken to exist; large tables hold many that were only calculated.
        stated: Sequence[Mapping[str, Any]] = [{"known": True}] * block.rows
        if block.kind == "table":
            if block.path not in tables:
                tables = {block.path: _stated_columns(Path(block.path))}
            first = int(block.content[0][1])
            stated = tables[block.path][first : first + block.rows] or [{}] * block.rows
        yield from zip(read_block(block, labels=Labels()), stated, strict=True)


def _stated_columns(path: Path) -> list[dict[str, Any]]:
    """What a table states about its rows; empty where it states nothing."""
    from pyarrow import parquet  # noqa: PLC0415 - only where a table is read

    with parquet.ParquetFile(path) as file:
        names = [name for name in COLUMNS_OF_PHASES if name in file.schema_arrow.names]
        rows: list[dict[str, Any]] = file.read(columns=names).to_pylist() if names else []
        return rows


def _phases_of_table(table: ReferenceTable) -> Iterator[tuple[Structure, Mapping[str, Any]]]:
    """Phases of a reference table, with what it states about them."""
    for row in range(len(table)):
        stated = table.stated.get(row)
        energy = float(table.energy_above_hull[row])
        yield (
            table.structure(row),
            {
                "public_id": table.public_id(row) or None,
                "experimental": bool(table.experimental[row]),
                "known": bool(table.known[row]),
                "name": table.name(row),
                "formula_as_published": stated,
                "energy_above_hull": None if np.isnan(energy) else energy,
            },
        )


def _source_id(identity: str, source: Source) -> str:
    """The id of a structure; a bare number gets the name of its source in front."""
    return f"{file_stem(source.path.name)}-{int(identity):0{_WIDTH}d}" if identity.isdecimal() else identity


def _another_id(identity: str, by_id: Mapping[str, Entry], number: int, source: Source) -> str:
    """The id with the name of its source in front, several times if need be, for one that an earlier source has.

    Raises:
        DatasetError: the earlier one is of the same source.
    """
    while identity in by_id:
        if by_id[identity].source == number:
            msg = f"{source.path} contains the id {shorten(identity)!r} twice; expected every id once"
            raise DatasetError(msg, code="E_DATASET")
        identity = f"{file_stem(source.path.name) or source.path.name}:{identity}"
    return identity


def _merge_id(earlier: Entry, identity: str, stated: Mapping[str, Any]) -> None:
    """Add a structure that states the id of an earlier one as its public id."""
    if identity not in {earlier.id, *earlier.others}:
        earlier.others.append(identity)
    earlier.known |= bool(stated.get("known") or stated.get("in_icsd_guess"))
    earlier.name = earlier.name or _usual_name(stated)


def _to_entry(
    identity: str, formula: str, unit: AsymmetricUnit, stated: Mapping[str, Any], number: int, source: Source
) -> Entry:
    public = stated.get("public_id") if "public_id" in stated else identity
    energy = stated.get("energy_above_hull")
    experimental = source.experimental or bool(stated.get("experimental"))
    return Entry(
        id=identity,
        formula=formula,
        unit=unit,
        source=number,
        experimental=experimental,
        known=experimental or bool(stated.get("known") or stated.get("in_icsd_guess")),
        public_id=public,
        name=_usual_name(stated),
        published=stated.get("formula_as_published"),
        energy_above_hull=np.nan if energy is None else float(energy),
        study=identity if stated.get("year") is None else (stated["year"], stated.get("journal")),
    )


def _check_elements(composition: Composition, published: str | None) -> None:
    """Refuse a structure without an element of its published formula, other than hydrogen.

    Raises:
        StructureError: it lacks one.
    """
    stated = None if published is None else parse_published(published)
    lacking = () if stated is None else sorted(set(stated.symbols) - set(composition.symbols) - {"H"})
    if lacking:
        msg = f"the structure lacks {', '.join(lacking)}, which its published formula {shorten(published)!r} states"
        raise StructureError(msg, code="E_STRUCTURE")


def _with_hydrogen(structure: Structure) -> Composition:
    """Composition with the hydrogen that the source states without coordinates."""
    amounts = dict(zip(structure.composition.symbols, structure.composition.amounts, strict=True))
    amounts["H"] = amounts.get("H", 0.0) + structure.unlocated_hydrogen
    return Composition(tuple(amounts), tuple(amounts.values()))


def _usual_name(stated: Mapping[str, Any]) -> str | None:
    """Name that a table states, with a small first letter, as minerals are written."""
    name = str(stated.get("name") or stated.get("mineral") or "").strip()
    return None if name.lower() in _NO_NAME else name[0].lower() + name[1:]


def _complete(entries: Sequence[Entry]) -> None:
    """Add cells, space groups and published compositions."""
    units = units_to_columns([entry.unit for entry in entries])
    for row, entry in enumerate(entries):
        entry.cell, entry.space_group = units.cell[row], int(units.space_group[row])
        if entry.composition is None and entry.published is not None:
            entry.composition, entry.hydrogen_missing = published_composition(entry.published, units.composition(row))
        if entry.composition is None and entry.name in formulas_of_names():
            entry.composition = composition_of_mineral(entry.name, units.composition(row))
            entry.hydrogen_missing = entry.composition is not None


def find_incomplete(entries: Sequence[Entry]) -> list[tuple[Entry, str]]:
    """Measured structures without the atoms of an element that others of the same mineral have, each with the reason.

    The other one has the same name, space group and cell, and the elements of the incomplete one in the same
    proportions: PbS with the cell of anglesite is PbSO4 without its oxygen.
    """
    named: dict[tuple[str, int], list[Entry]] = defaultdict(list)
    for entry in entries:
        if entry.experimental and entry.name is not None:
            named[entry.name, entry.space_group].append(entry)
    found = []
    for members in (members for members in named.values() if len(members) > 1):
        compositions = [one.composition or units_to_columns([one.unit]).composition(0) for one in members]
        for entry, composition in zip(members, compositions, strict=True):
            for other, whole in zip(members, compositions, strict=True):
                lacking = _lacking(composition, whole)
                if lacking and _same_cell(entry.cell, other.cell):
                    found.append(
                        (entry, f"the structure lacks {', '.join(lacking)}, which {other.id} of the same cell has")
                    )
                    break
    return found


def _lacking(part: Composition, whole: Composition) -> list[str]:
    """Elements of a composition that another lacks, if it has at least two of the others, in the same proportions."""
    here = dict(zip(part.symbols, part.amounts, strict=True))
    there = dict(zip(whole.symbols, whole.amounts, strict=True))
    lacking = sorted(set(there) - set(here) - {"H"})
    missing = sum(there[symbol] for symbol in lacking) / sum(there.values())
    if len(here) < 2 or not set(here) <= set(there) or missing < _LARGE_PART:  # noqa: PLR2004 - proportions need two
        return []
    ratios = [there[symbol] / here[symbol] for symbol in here]
    return lacking if max(ratios) <= (1 + _SAME_PROPORTIONS) * min(ratios) else []


def _same_cell(first: np.ndarray, second: np.ndarray) -> bool:
    lengths, angles = np.abs(np.log(first[:3] / second[:3])), np.abs(np.radians(first[3:] - second[3:]))
    return bool(max(lengths.max(), angles.max()) <= SAME_MEASURED)


_LARGE_PART, _SAME_PROPORTIONS = 0.2, 0.15
"""Fraction of the atoms that an incomplete structure lacks at least, and tolerance on proportions. Ours."""


def merge(entries: Sequence[Entry]) -> list[list[Entry]]:
    """Groups of entries that are one phase: formula, space group, kinds of sites and cell; the representative first.

    A measured cell represents a phase where there is one: of several, the one that most studies found. Calculated cells
    that lie further from it remain phases of their own, so a cell under pressure never stands for the phase alone.
    """
    groups: dict[tuple[object, ...], list[Entry]] = defaultdict(list)
    for entry in entries:
        groups[_key(entry)].append(entry)
    merged: list[list[Entry]] = []
    for members in groups.values():
        merged += [members] if len(members) == 1 else _split_by_cell(members)
    return merged


def _key(entry: Entry) -> tuple[object, ...]:
    """Formula, space group and sites: what entries of one phase share besides their cells."""
    unit = entry.unit
    units = units_to_columns([unit])
    formula = reduced_formula(entry.composition or units.composition(0))
    atoms = units.site_multiplicities
    sites = sorted(
        (unit.kinds[site.kind], int(count))
        for site, count in zip(unit.sites, atoms, strict=True)
        if unit.kinds[site.kind] != ((1, _FULL),)
    )
    return formula, unit.hall, tuple(sites)


def _split_by_cell(members: Sequence[Entry]) -> list[list[Entry]]:
    cells = np.array([entry.cell for entry in members])
    measured = np.array([entry.experimental for entry in members])
    points = np.concatenate([np.log(cells[:, :3]), np.radians(cells[:, 3:])], axis=1)
    points[~measured, :3] += np.log(COMPUTED_SCALE)
    distance = np.abs(points[:, None] - points[None]).max(axis=2)
    groups: list[list[int]] = []
    rest = np.flatnonzero(measured)
    while rest.size:
        first = _usual_cell(members, rest, points, distance)
        same = rest[distance[first, rest] <= SAME_MEASURED]
        groups.append([first, *(int(row) for row in same if row != first)])
        rest = np.setdiff1d(rest, same)
    heads = [group[0] for group in groups]
    computed = []
    for row in np.flatnonzero(~measured).tolist():
        near = [place for place, head in enumerate(heads) if distance[row, head] <= MEASURED_AND_COMPUTED]
        if near:
            groups[near[0]].append(row)  # the cell that most studies found
        else:
            computed.append(row)
    computed.sort(key=lambda row: (not members[row].known, np.nan_to_num(members[row].energy_above_hull, nan=1e3), row))
    left = np.array(computed, dtype=np.int64)
    while left.size:
        same = left[distance[left[0], left] <= SAME_COMPUTED]
        groups.append(same.tolist())
        left = left[~np.isin(left, same)]
    return [[members[row] for row in group] for group in groups]


def _usual_cell(members: Sequence[Entry], rows: np.ndarray, points: np.ndarray, distance: np.ndarray) -> int:
    """Of measured cells that at room temperature: the one that most studies found.

    Studies at several temperatures or pressures list the cell at room conditions first, so the first of each is
    compared. On ties, the one nearest to the median of these.
    """
    first_of: dict[object, int] = {}
    for row in rows.tolist():
        first_of.setdefault(members[row].study, row)
    firsts = np.array(list(first_of.values()))
    studies = [
        len({members[row].study for row in rows[distance[first, rows] <= ALIKE].tolist()}) for first in firsts.tolist()
    ]
    from_median = np.abs(points[firsts] - np.median(points[firsts], axis=0)).max(axis=1)
    lacking = [members[row].hydrogen_missing for row in firsts.tolist()]
    return int(firsts[np.lexsort((from_median, lacking, -np.array(studies)))[0]])


def _write(
    path: Path,
    groups: Sequence[Sequence[Entry]],
    sources: Sequence[Source],
    credit: Sequence[str],
    progress: Callable[[str, int], None],
) -> tuple[int, list[Entry]]:
    """Write the phases in order of their elements and formulas, which compresses best.

    Returns:
        The number of phases, and the entries without a reflection, by which they could be found.

    Raises:
        DatasetError: no phase has a reflection.
    """
    order = sorted(
        groups,
        key=lambda group: (sorted({part for kind in group[0].unit.kinds for part, _ in kind}), group[0].unit.hall),
    )
    units = units_to_columns([group[0].unit for group in order])
    lines, phases, kept = [], [], []
    left_over: list[Entry] = []
    for row, group in enumerate(order):
        if row % 100 == 0:
            progress("reflections", row)
        try:
            lines.append(sticks_to_strongest(unit_to_sticks(units, row)))
        except StructureError:
            left_over += group
            continue
        kept.append(group[0].unit)
        phases.append(_to_phase(group, units.composition(row)))
    if not kept:
        msg = f"none of the {len(left_over)} structures can be found in a pattern: {_NO_REFLECTION}"
        raise DatasetError(msg, code="E_DATASET")
    write_reference_table(
        path,
        units_to_columns(kept),
        phases,
        lines,
        sources=[source.path.name for source in sources],
        credit=credit,
    )
    return len(phases), left_over


def _to_phase(group: Sequence[Entry], composition: Composition) -> Phase:
    first = group[0]
    public = [entry for entry in group if entry.public_id is not None]
    public.sort(key=lambda entry: (entry.source, not entry.known, len(str(entry.public_id)), str(entry.public_id)))
    ids = [first.id, *(name for entry in group for name in (entry.id, *entry.others, entry.public_id) if name)]
    unique = tuple(dict.fromkeys(ids))
    formula = reduced_formula(first.composition or composition)
    stated = [name for name, _ in Counter(entry.name for entry in group if entry.name).most_common()]
    energies = [entry.energy_above_hull for entry in group if not np.isnan(entry.energy_above_hull)]
    return Phase(
        ids=unique,
        shown=unique.index(str(public[0].public_id)) if public else -1,
        flags=EXPERIMENTAL * first.experimental
        | KNOWN * any(entry.known for entry in group)
        | HYDROGEN_MISSING * first.hydrogen_missing,
        names=_order_names(formula, first.space_group, stated),
        composition=first.composition,
        energy_above_hull=min(energies, default=np.nan),
    )


def _order_names(formula: str, space_group: int, stated: Sequence[str]) -> tuple[str, ...]:
    """Names without repetition: that of the mineral, those that the sources state, then others."""
    mineral = mineral_name(formula, space_group)
    first = () if mineral is None else (mineral,)
    return tuple(dict.fromkeys((*first, *stated, *names_of_phase(formula, space_group))))


def read_energies(path: Path) -> dict[str, float]:
    """Energies by id from a CSV table with the columns `id` and `energy_above_hull` [eV/atom].

    Raises:
        DatasetError: the table cannot be read, or a value is not a number.
    """
    try:
        with path.open(encoding="utf-8", newline="") as file:
            return {row["id"]: float(row["energy_above_hull"]) for row in csv.DictReader(file)}
    except (OSError, ValueError, KeyError, TypeError) as error:
        msg = f"{shorten(path.name)}: not a table with the columns id and energy_above_hull ({shorten(error)})"
        raise DatasetError(msg, code="E_DATASET") from error
