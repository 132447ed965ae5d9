"""CIF text → structures, each held against what the file states of it."""

from __future__ import annotations

import re
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import numpy as np

from xxact_core.compositions.element_table import ATOMIC_NUMBERS
from xxact_core.errors import StructureError, shorten
from xxact_core.quantities import space_group_to_crystal_system
from xxact_core.structures.cif_contents import (
    LARGEST_MOVE,
    Contents,
    StatedContents,
    contents_to_number,
    find_contradictions,
    note_differences,
    read_stated_contents,
    shortest_distance,
    sites_to_contents,
)
from xxact_core.structures.cif_sites import COORDINATES, Sites, cif_number, read_sites
from xxact_core.structures.cif_symmetry import (
    MAGNETIC_OPERATIONS,
    OPERATIONS,
    Operations,
    cell_to_vectors,
    fitting_settings,
    operations_to_number,
    stated_numbers,
    stated_symmetry,
)
from xxact_core.structures.cif_text import CifBlock, cif_to_blocks
from xxact_core.structures.source_files import file_stem, read_unpacked
from xxact_core.structures.structure import Structure

MOST_CIF_BYTES = 64 * 2**20
"""Largest size of a CIF file, decompressed. Ours: a structure of `MOST_ATOMS` atoms takes about 1 MB."""

_CELL = (*(f"_cell_length_{axis}" for axis in "abc"), *(f"_cell_angle_{angle}" for angle in ("alpha", "beta", "gamma")))
_DATA = re.compile(r"^[ \t]*data_", re.MULTILINE | re.IGNORECASE)
_MODULATED = ("_cell_modulation_dimension", "_space_group_ssg_name", "_space_group_symop_ssg_operation_algebraic")

_MAGNETIC = (
    "_space_group_magn_name_bns",
    "_space_group_magn_number_bns",
    "_space_group_magn_name_og",
    "_space_group_magn_number_og",
)

VOLUME_TOLERANCE = 0.01
"""Relative deviation of the stated cell volume from that of the cell. Ours."""


def read_cif(path: Path, *, name: str | None = None, index: int | None = None) -> Structure:
    """Read the structure of a CIF file, named `name` or by the file name.

    Args:
        path: of the file, which may be compressed.
        name: id of the structure.
        index: which of several structures, from 0; by default the file must contain one.

    Raises:
        StructureError: the file contains no readable structure, several without `index`, or contradicts itself.
    """
    text = read_unpacked(path, most=MOST_CIF_BYTES).decode("utf-8", errors="replace")
    return cif_to_structure(text, name=name or file_stem(path.name), file=path.name, index=index)


def cif_to_structure(text: str, *, name: str, file: str, index: int | None = None) -> Structure:
    """The structure in the text of a CIF; `file` is its name in messages.

    Args:
        text: of the CIF.
        name: id of the structure.
        file: name of the file.
        index: which of several structures, from 0; by default the text must contain one.

    Raises:
        StructureError: the text contains no readable structure, several without `index`, or contradicts itself.
    """
    try:
        return block_to_structure(_select_block(structure_blocks(text), index), name=name)
    except StructureError as error:
        msg = f"{shorten(file)}: not a readable CIF structure ({error})"
        raise StructureError(msg, code=error.code) from error


def _select_block(blocks: list[CifBlock], index: int | None) -> CifBlock:
    if index is None and len(blocks) > 1:
        listed = shorten(", ".join(block.name for block in blocks), limit=60)
        msg = f"{len(blocks)} structures ({listed}); expected one"
        raise StructureError(msg, code="E_STRUCTURE")
    if (index or 0) >= len(blocks):
        msg = f"{len(blocks)} structures; there is no number {index}"
        raise StructureError(msg, code="E_STRUCTURE")
    return blocks[index or 0]


def structure_blocks(text: str) -> list[CifBlock]:
    """Data blocks with atom sites; a cell or a symmetry that only another block states is taken over if it is alone.

    Raises:
        StructureError: the text is no CIF, or no block has atom sites.
    """
    blocks = cif_to_blocks(text)
    found = [block for block in blocks if _has_sites(block)]
    if not found:
        cells = any(block.value(_CELL[0]) for block in blocks)
        what = "a cell, but no atom sites" if cells else "no structures"
        raise StructureError(what, code="E_STRUCTURE")
    others = [block for block in blocks if not _has_sites(block)]
    if len(found) == 1:
        for other in others:
            for tag, value in other.items.items():
                if tag.startswith(("_cell_", "_symmetry_", "_space_group_")):
                    found[0].items.setdefault(tag, value)
            found[0].loops += [
                loop for loop in other.loops if any("symop" in tag or "equiv_pos" in tag for tag in loop)
            ]
    return found


def _has_sites(block: CifBlock) -> bool:
    return block.column(COORDINATES[0], "_atom_site_cartn_x") is not None


def structure_names(text: str) -> list[str]:
    """Names of the data blocks with atom sites, each once; one empty name where there are fewer than two blocks.

    Quick for a text with one data block, which is not parsed.
    """
    if len(_DATA.findall(text)) < 2:  # noqa: PLR2004 - several
        return [""]
    try:
        names = [block.name for block in structure_blocks(text)]
    except StructureError:
        return [""]
    if len(names) == 1:
        return [""]
    return [name if name and names.count(name) == 1 else f"{index}" for index, name in enumerate(names)]


def read_structure_names(path: Path) -> list[str]:
    """As `structure_names`, for a file; one empty name if it cannot be read."""
    try:
        content = read_unpacked(path, most=MOST_CIF_BYTES)
    except StructureError:
        return [""]
    return structure_names(content.decode("utf-8", errors="replace"))


def block_to_structure(block: CifBlock, *, name: str) -> Structure:
    """The structure of a data block, with notes on what was assumed or left out.

    Where a symbol leaves the origin, the axes or the setting open, the structure that agrees with the formula sum, Z,
    density and multiplicities of the file is taken.

    Raises:
        StructureError: a value is missing or cannot be read, or contradicts another one.
    """
    if any(block.column(tag) for tag in _MODULATED):
        msg = "a modulated structure; expected one that is periodic in three dimensions"
        raise StructureError(msg, code="E_STRUCTURE")
    _refuse_magnetic_symbol(block)
    stated = read_stated_contents(block)
    sites = read_sites(block, stated.amounts)
    cell, cell_notes = _read_cell(block)
    if not sites.ho_labels:
        contents, notes = _read_contents(sites, cell, stated, block)
    else:
        try:
            contents, notes = _read_contents(sites, cell, stated, block)
        except StructureError:
            beside_oxygen = True
        else:
            near = shortest_distance(contents, cell, threshold=_SHORTEST_PEROXIDE)
            beside_oxygen = near is not None and near[1:3] == ("O", "O")
        if beside_oxygen:
            sites = read_sites(block, stated.amounts, ho_is_hydrogen=True)
            contents, notes = _read_contents(sites, cell, stated, block)
    if block.column(*MAGNETIC_OPERATIONS, "_atom_site_moment_label"):
        notes = [*notes, "magnetic moments were left out"]
    return Structure(
        id=name,
        cell=cell,
        atomic_numbers=np.array([ATOMIC_NUMBERS[symbol] for symbol in contents.symbols], dtype=np.int64),
        frac_coords=contents.frac_coords,
        occupancies=contents.occupancies,
        unlocated_hydrogen=contents.unlocated_hydrogen,
        notes=tuple(dict.fromkeys([*cell_notes, *sites.notes, *notes])),
    )


_SHORTEST_PEROXIDE = 1.2
"""Distance [Å] below which two oxygen atoms cannot be present at once. Ours: that of O₂ is 1.21 Å."""


def _read_contents(
    sites: Sites, cell: np.ndarray, stated: StatedContents, block: CifBlock
) -> tuple[Contents, list[str]]:
    """Contents under the stated symmetry, or of a list of all atoms, and notes.

    Raises:
        StructureError: neither agrees with what is stated.
    """
    try:
        return _choose_contents(sites, stated_symmetry(block, cell), cell, stated, block)
    except StructureError:
        whole = _whole_cell(sites, cell, stated, block)
        if whole is None:
            raise
        return whole


def _choose_contents(
    sites: Sites, choices: list[Operations], cell: np.ndarray, stated: StatedContents, block: CifBlock
) -> tuple[Contents, list[str]]:
    """Contents under the operations that agree with all that is stated, and notes on the choice.

    Raises:
        StructureError: none agree, or several that give different structures.
    """
    if len(choices) == 1 and not choices[0].number:
        return _checked_contents(sites, choices[0], cell, stated, block)
    agreeing: list[tuple[Contents, list[str], Operations]] = []
    reasons: list[str] = []
    for operations in choices:
        try:
            contents, notes = _agreeing_contents(sites, operations, cell, stated)
        except StructureError as error:
            reasons.append(str(error))
        else:
            agreeing.append((contents, notes, operations))
    if not agreeing:
        msg = reasons[0] if len(choices) == 1 else f"{choices[0].open}: {reasons[0]}"
        raise StructureError(msg, code="E_SYMMETRY" if len(choices) > 1 else "E_CONTRADICTION")
    if len(agreeing) > 1:
        agreeing = _plausible(agreeing, cell) or agreeing
    if len(agreeing) > 1 and not _same_contents([contents for contents, *_ in agreeing]):
        listed = " or ".join(f"{operations.choice}: {_in_words(contents)}" for contents, _, operations in agreeing)
        msg = f"{choices[0].open} ({listed}); state the symmetry operations, or :1, :2, :H or :R behind the symbol"
        raise StructureError(msg, code="E_SYMMETRY")
    contents, notes, operations = agreeing[0]
    if len(choices) > 1:
        notes = [*notes, f"{choices[0].open}; {operations.choice} was taken, with {_in_words(contents)}"]
    elif operations.open and not operations.choice:
        notes = [*notes, operations.open]
    return contents, notes


def _whole_cell(
    sites: Sites, cell: np.ndarray, stated: StatedContents, block: CifBlock
) -> tuple[Contents, list[str]] | None:
    """Contents if all atoms of the cell are listed, without operations, and have the stated space group; else None.

    Atoms that a setting of the space group would multiply, and that agree with the file then, too, are not all.
    """
    numbers, described = stated_numbers(block)
    if block.column(*OPERATIONS, *MAGNETIC_OPERATIONS) or not numbers:
        return None
    identity = Operations(np.eye(3)[None], np.zeros((1, 3)), 1, "P 1")
    try:
        contents, notes = _agreeing_contents(sites, identity, cell, stated)
    except StructureError:
        return None
    if contents_to_number(contents, cell) not in numbers:
        return None
    for operations in fitting_settings(numbers, cell):  # the other axes of a rhombohedral cell, another origin
        with suppress(StructureError):
            other, _ = _agreeing_contents(sites, operations, cell, stated)
            if len(other.symbols) != len(contents.symbols):
                return None
    return contents, [*notes, f"all atoms are listed; they have the symmetry of {described}"]


def _checked_contents(
    sites: Sites, operations: Operations, cell: np.ndarray, stated: StatedContents, block: CifBlock
) -> tuple[Contents, list[str]]:
    """Contents under stated operations, or under none, if these agree with the stated space group."""
    numbers, described = stated_numbers(block)
    found = operations_to_number(operations, cell)
    if found is None:
        msg = f"{operations.source} are no group: one is missing or misprinted"
        raise StructureError(msg, code="E_SYMMETRY")
    if not numbers or found in numbers or block.column(*MAGNETIC_OPERATIONS):
        return _agreeing_contents(sites, operations, cell, stated)
    reason = f"{operations.source} are those of space group {found}, but {described} is stated"
    try:
        contents, notes = _agreeing_contents(sites, operations, cell, stated)
    except StructureError as error:
        msg = f"{reason}; {error}"
        raise StructureError(msg, code="E_CONTRADICTION") from error
    if contents_to_number(contents, cell) not in numbers:
        raise StructureError(reason, code="E_CONTRADICTION")
    return contents, [*notes, f"{reason}; the atoms have that symmetry"]


def _agreeing_contents(
    sites: Sites, operations: Operations, cell: np.ndarray, stated: StatedContents
) -> tuple[Contents, list[str]]:
    """Contents under operations, with wider tolerances on special positions where the file asks for them.

    Raises:
        StructureError: the contents contradict what is stated.
    """
    reason: str | None = None
    for tolerance in (0.0, 0.05, 0.15, LARGEST_MOVE):
        contents = sites_to_contents(sites, operations, cell, tolerance=tolerance)
        contradictions = find_contradictions(contents, sites, stated, cell)
        if not contradictions:
            missing, notes = note_differences(contents, sites, stated)
            return replace(contents, unlocated_hydrogen=missing), [*contents.notes, *notes]
        reason = reason or contradictions[0]
    raise StructureError(reason or "", code="E_CONTRADICTION")


def _plausible(
    agreeing: list[tuple[Contents, list[str], Operations]], cell: np.ndarray
) -> list[tuple[Contents, list[str], Operations]]:
    """Those without atoms that are nearer to each other than any bond of their elements."""
    return [
        choice
        for choice in agreeing
        if (found := shortest_distance(choice[0], cell, threshold=_SHORT_BOND)) is None
        or ({found[1], found[2]} <= _FIRST_PERIODS and found[0] > _SHORTEST_BOND)
    ]


_FIRST_PERIODS = frozenset({"H", "B", "C", "N", "O", "F"})
_SHORT_BOND, _SHORTEST_BOND = 1.4, 0.7
"""Distances [Å] that only bonds among the lightest nonmetals fall below, and that none does."""


def _same_contents(contents: list[Contents]) -> bool:
    """Whether all are the same atoms at the same places."""
    keys = {
        tuple(
            sorted(
                (symbol, *(np.rint(place * 1000) % 1000).tolist(), round(occupancy, 3))
                for symbol, place, occupancy in zip(one.symbols, one.frac_coords, one.occupancies.tolist(), strict=True)
            )
        )
        for one in contents
    }
    return len(keys) == 1


def _in_words(contents: Contents) -> str:
    amounts = contents.amounts()
    return " ".join(f"{symbol}{amounts[symbol]:.4g}" for symbol in sorted(amounts))


def _read_cell(block: CifBlock) -> tuple[np.ndarray, list[str]]:
    """Cell a, b, c [Å], α, β, γ [deg]; missing values are those of the crystal system, missing angles else 90°.

    Raises:
        StructureError: a value is missing or no number, or the cell has no volume.
    """
    values: dict[str, float] = {}
    for tag in _CELL:
        text = block.value(tag)
        number = cif_number(text)
        if text is not None and number is None:
            msg = f"{tag} is {shorten(text, limit=40)!r}; expected a number"
            raise StructureError(msg, code="E_STRUCTURE")
        if number is not None:
            values[tag] = number
    missing = [tag for tag in _CELL if tag not in values]
    notes = []
    if missing:
        _fill_cell(values, block)
        absent = [tag for tag in _CELL if tag not in values]
        if absent:
            msg = f"{absent[0]} is missing"
            raise StructureError(msg, code="E_STRUCTURE")
        filled = ", ".join(f"{tag} = {values[tag]:g}" for tag in missing)
        notes.append(f"not stated and taken from the crystal system: {filled}")
    cell = np.array([values[tag] for tag in _CELL])
    volume = abs(float(np.linalg.det(cell_to_vectors(cell)))) if (cell > 0).all() and (cell[3:] < 180).all() else 0.0  # noqa: PLR2004 - degrees
    if not volume > _FLATTEST * cell[:3].prod():
        msg = f"the cell {', '.join(f'{value:g}' for value in cell)} has no volume"
        raise StructureError(msg, code="E_STRUCTURE")
    stated = cif_number(block.value("_cell_volume"))
    if stated and abs(stated - volume) > VOLUME_TOLERANCE * volume:
        msg = f"the cell has a volume of {volume:.2f} Å³; {stated:g} Å³ is stated"
        raise StructureError(msg, code="E_CONTRADICTION")
    return cell, notes


def _refuse_magnetic_symbol(block: CifBlock) -> None:
    """Refuse a magnetic space group without operations, where nothing else tells of the symmetry."""
    if block.value(*_MAGNETIC) and not block.column(*OPERATIONS, *MAGNETIC_OPERATIONS) and not stated_numbers(block)[0]:
        msg = "a magnetic space group without operations; expected operations, or the space group of the crystal"
        raise StructureError(msg, code="E_SYMMETRY")


_FLATTEST = 1e-4
"""Volume of a cell as a share of abc, below which its angles do not close."""


def _fill_cell(values: dict[str, float], block: CifBlock) -> None:
    """Lengths and angles that the crystal system fixes."""
    numbers, _ = stated_numbers(block)
    systems = {space_group_to_crystal_system(number) for number in numbers}
    setting = (block.value("_symmetry_cell_setting", "_space_group_crystal_system") or "").lower()
    system = next(iter(systems)) if len(systems) == 1 else setting
    a = values.get("_cell_length_a")
    if a is not None and system in {"cubic", "tetragonal", "hexagonal", "trigonal"}:
        values.setdefault("_cell_length_b", a)
        if system == "cubic":
            values.setdefault("_cell_length_c", a)
    hexagonal = system == "hexagonal" or (
        system == "trigonal" and all(values.get(f"_cell_angle_{angle}", 90.0) == 90.0 for angle in ("alpha", "beta"))  # noqa: PLR2004 - degrees
    )
    free = {"monoclinic": ("beta",), "triclinic": ("alpha", "beta", "gamma")}.get(system, ())
    for angle in ("alpha", "beta", "gamma"):
        if angle in free:
            continue  # refused, unless it is stated
        values.setdefault(f"_cell_angle_{angle}", 120.0 if hexagonal and angle == "gamma" else 90.0)
