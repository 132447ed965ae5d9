"""Pattern and elements, ids or CIF files → the phases to refine, and the instant answer beside which they are shown."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from xxact_core.errors import DatasetError, PatternError, shorten
from xxact_core.patterns.pattern import Pattern
from xxact_core.refinement.phases import StartingPhase, analysis_to_phases, read_phase, structure_to_phase
from xxact_core.search_match.database import ReferenceDatabase
from xxact_core.search_match.identify import Identifier
from xxact_core.search_match.instrument import InstrumentProfile
from xxact_core.search_match.phases import find_phases
from xxact_core.search_match.reference_files import structures_to_table
from xxact_core.structures.conventional_cell import conventional_to_structure
from xxact_core.structures.structure import Structure

_LISTED = 5
"""Number of ids listed where several phases have a name."""


@dataclass(frozen=True, eq=False)
class NamedPhases:
    """Phases to refine."""

    phases: tuple[StartingPhase, ...]
    """In the order in which they were given, or largest weight fraction first."""
    instant: tuple[dict[str, Any], ...] = ()
    """The same phases as `xxact identify` finds them, as in its JSON."""
    warnings: tuple[str, ...] = ()
    """What the search says about them."""


def identify_phases(
    pattern: Pattern,
    identifier: Identifier,
    *,
    elements: Iterable[str] | None,
    maybe: Iterable[str] | None = None,
    wavelength: str | float | None = None,
    instrument: InstrumentProfile | None = None,
) -> NamedPhases:
    """The phases that `xxact identify` finds.

    Raises:
        FormulaError: an element is unknown.
        PatternError: the pattern cannot be used, or no reference phase matches it (E_NO_MATCH).
        StructureError: the database holds no atoms of a phase.
        WavelengthError: neither the file nor the call states the wavelength.
    """
    found = identifier.identify(
        pattern, elements=elements, maybe=maybe, wavelength=wavelength, instrument=instrument
    ).analysis
    if found is None or not found.phases:
        msg = f"{pattern.name}: no reference phase matches; give the phases, or index the pattern (`xxact index`)"
        raise PatternError(msg, code="E_NO_MATCH")
    notes = (found.sentence,) if found.verdict == "no match" else ()
    phases = analysis_to_phases(found, identifier.references)
    return NamedPhases(phases, tuple(phase.to_dict() for phase in found.phases), notes)


def named_phases(
    names: Sequence[str],
    references: Callable[[], ReferenceDatabase],
    *,
    pattern: Pattern,
    wavelength: str | float | None = None,
    instrument: InstrumentProfile | None = None,
) -> NamedPhases:
    """The phases of CIF files and of ids in a reference database, with the cells that the instant analysis fits.

    Args:
        names: paths of CIF files, or ids or names of reference phases, such as `mp-2133` and `corundum`.
        references: opens the database, which takes a moment and is needed for ids only.
        pattern: in which the phases are.
        wavelength: of the measurement, in Å or by name; overrides that of the file.
        instrument: width of the instrument, for sizes.

    Raises:
        DatasetError: there is no phase of an id, and no file of that name (E_PHASE).
        PatternError: the pattern cannot be used.
        StructureError: a phase cannot be used.
        WavelengthError: neither the file nor the call states the wavelength.
    """
    opened: ReferenceDatabase | None = None
    structures: list[Structure] = []
    phases: list[StartingPhase] = []
    for name in names:
        path = Path(name)
        if path.is_file():
            phases.append(read_phase(path))
            structures.append(conventional_to_structure(phases[-1].structure))
            continue
        opened = references() if opened is None else opened
        row = find_row(opened, name)
        structures.append(opened.structure(row))
        formula = opened.formula(row)
        phases.append(
            structure_to_phase(
                structures[-1], name=opened.name(row) or formula, formula=formula, identity=opened.public_id(row)
            )
        )
    given = structures_to_table(structures)
    analysis = find_phases(
        pattern, given, rows=np.arange(len(given)), wavelength=wavelength, instrument=instrument, most_phases=len(given)
    )
    instant: list[dict[str, Any]] = []
    for found in analysis.phases:
        start = phases[found.row]
        phases[found.row] = replace(start, cell=start.nearest_cell(found.cell))
        instant.append({**found.to_dict(), "id": start.id, "name": start.name})
    missing = [phase.name for row, phase in enumerate(phases) if row not in {one.row for one in analysis.phases}]
    notes = [f"the instant analysis does not find {name}" for name in missing]
    return NamedPhases(tuple(phases), tuple(instant), tuple(notes))


def find_row(references: ReferenceDatabase, identity: str) -> int:
    """Row of the phase that has an id, its own or another one, or the name of a single phase, such as corundum.

    Raises:
        DatasetError: there is none, or several have the name (E_PHASE).
    """
    own = np.flatnonzero(references.id == identity)
    if own.size:
        return int(own[0])
    name, named = identity.casefold(), []
    for row in range(len(references)):
        if identity in references.ids(row):
            return row
        if (references.name(row) or "").casefold() == name:
            named.append(row)
    if len(named) == 1:
        return named[0]
    if named:
        ids = ", ".join(f"{references.public_id(row)} ({references.formula(row)})" for row in named[:_LISTED])
        msg = f"{len(named)} reference phases are called {shorten(identity)}: give the id of one, such as {ids}"
        raise DatasetError(msg, code="E_PHASE")
    msg = f"{shorten(identity)!r} is neither a CIF file nor the id or name of a reference phase, such as mp-2133"
    raise DatasetError(msg, code="E_PHASE")
