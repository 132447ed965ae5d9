"""CIF of others → reference lines, parsed in a process of its own that is stopped where it takes too much."""

from __future__ import annotations

import numpy as np

from xxact_core.errors import StructureError, shorten
from xxact_core.sandbox.process import GuardedProcesses
from xxact_core.simulation.reference_lines import ReferenceLines

LONGEST = 30.0
"""Seconds of processor time that one CIF may take; the lines of a cell with a hundred atoms take a tenth of one."""

MOST_BYTES = 4 * 2**20
"""Of one CIF; a structure of 5000 atoms takes about one million."""

PROCESSES = GuardedProcesses("xxact_core.simulation.cif_worker")


def read_foreign_cif(content: bytes, *, name: str, seconds: float = LONGEST) -> ReferenceLines:
    """Powder lines of the first structure in a CIF; what comes back of the process is plain numbers and a formula.

    Raises:
        StructureError: there is no readable structure (E_STRUCTURE), it has no symmetry (E_SYMMETRY), or reading it
            took too much (E_LIMIT).
    """
    if len(content) > MOST_BYTES:
        msg = f"{shorten(name)}: has {len(content) / 2**20:.0f} MB; expected a CIF of at most {MOST_BYTES // 2**20} MB"
        raise StructureError(msg, code="E_TOO_LARGE")
    answer = PROCESSES.ask({"name": name}, content, seconds=seconds, most_bytes=64 * MOST_BYTES)
    if isinstance(answer, str):
        raise StructureError(answer, code="E_LIMIT")
    described, block = answer
    if "error" in described:
        raise StructureError(described["error"], code=described["code"])
    columns = np.frombuffer(block, dtype=np.float64).reshape(6, -1)
    return ReferenceLines(
        d=columns[0],
        strength=columns[1],
        multiplicity=columns[2].astype(np.int64),
        hkl=columns[3:].T.astype(np.int64),
        formula=described["formula"],
        space_group=described["space_group"],
    )
