"""Pattern and elements, ids or CIF files → the phases to refine, and the instant answer beside which they are shown."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from xxact_core.errors import DatasetError, PatternError, shorten
from xxact_core.patterns.pattern import Pattern
from xxact_core.refinement.phases import StartingPhase, read_phase, structure_to_phase
from xxact_core.search_match.database import ReferenceDatabase
from xxact_core.search_match.identify import Identifier


@dataclass(frozen=True, eq=False)
class NamedPhases:
    """Phases to refine."""

    phases: tuple[StartingPhase, ...]
    """In the order in which they were given or found."""
    instant: tuple[dict[str, Any], ...] = ()
    """The same phases as `xxact identify` finds them, as in its JSON."""


def identify_phases(
    pattern: Pattern,
    references: ReferenceDatabase,
    *,
    elements: Iterable[str] | None,
    wavelength: str | float | None = None,
    progress: Callable[[int, int], None] = lambda _done, _total: None,
) -> NamedPhases:
    """The phases that `xxact identify` finds.

    Raises:
        FormulaError: an element is unknown.
        PatternError: the pattern cannot be used, or no reference phase matches it (E_NO_MATCH).
        StructureError: the database holds no atoms of a phase.
        WavelengthError: neither the file nor the call states the wavelength.
    """
    found = Identifier(references).identify(pattern, elements=elements, wavelength=wavelength, progress=progress)
    if not found.matches:
        msg = f"{pattern.name}: no reference phase matches; give the phases, or index the pattern"
        raise PatternError(msg, code="E_NO_MATCH")
    best = found.matches[0]
    row = int(np.flatnonzero(references.id == best.source_id)[0])
    phase = structure_to_phase(
        references.structure(row), name=best.name or best.formula, identity=best.id, scale=best.scale
    )
    return NamedPhases((phase,))


def named_phases(names: Sequence[str], references: Callable[[], ReferenceDatabase]) -> NamedPhases:
    """The phases of CIF files and of ids in a reference database.

    Args:
        names: paths of CIF files, or ids such as `mp-2133`.
        references: opens the database, which takes a moment and is needed for ids only.

    Raises:
        DatasetError: there is no phase of an id, and no file of that name (E_PHASE).
        StructureError: a phase cannot be used.
    """
    opened: ReferenceDatabase | None = None
    phases = []
    for name in names:
        path = Path(name)
        if path.is_file():
            phases.append(read_phase(path))
            continue
        opened = references() if opened is None else opened
        row = find_row(opened, name)
        shown = opened.name(row) or opened.formula(row)
        phases.append(structure_to_phase(opened.structure(row), name=shown, identity=opened.public_id(row)))
    return NamedPhases(tuple(phases))


def find_row(references: ReferenceDatabase, identity: str) -> int:
    """Row of the phase that has an id, its own or another one.

    Raises:
        DatasetError: there is none (E_PHASE).
    """
    own = np.flatnonzero(references.id == identity)
    row = int(own[0]) if own.size else None
    if row is None:
        row = next((row for row in range(len(references)) if identity in references.ids(row)), None)
    if row is None:
        msg = f"{shorten(identity)!r} is neither a CIF file nor the id of a reference phase, such as mp-2133"
        raise DatasetError(msg, code="E_PHASE")
    return row
