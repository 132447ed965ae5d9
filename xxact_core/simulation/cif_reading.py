"""Untrusted CIF → reference reflections, parsed in a separate process within limits on CPU time and memory."""

from __future__ import annotations

import numpy as np

from xxact_core.errors import StructureError, shorten
from xxact_core.sandbox.process import SandboxProcesses
from xxact_core.simulation.reference_reflections import ReferenceReflections

MAX_CPU_SECONDS = 30.0
"""CPU time that one CIF may take [s]; the reflections of a cell with a hundred atoms take a tenth of a second."""

MAX_BYTES = 4 * 2**20
"""Largest CIF [bytes]; a structure of 5000 atoms takes about one million."""

PROCESSES = SandboxProcesses("xxact_core.simulation.cif_worker")


def read_untrusted_cif(
    content: bytes, *, name: str, index: int = 0, seconds: float = MAX_CPU_SECONDS
) -> ReferenceReflections:
    """Powder reflections of a structure in a CIF; the process returns plain numbers and a formula.

    Args:
        content: of the CIF.
        name: of the file, in messages.
        index: which of several structures, from 0; `blocks` of the result names all.
        seconds: limit on CPU time [s].

    Raises:
        StructureError: there is no readable structure (E_STRUCTURE), it has no symmetry (E_SYMMETRY), or reading it
            exceeded the limits (E_LIMIT).
    """
    if len(content) > MAX_BYTES:
        msg = f"{shorten(name)}: has {len(content) / 2**20:.0f} MB; expected a CIF of at most {MAX_BYTES // 2**20} MB"
        raise StructureError(msg, code="E_TOO_LARGE")
    answer = PROCESSES.run({"name": name, "index": index}, content, seconds=seconds, max_bytes=64 * MAX_BYTES)
    if isinstance(answer, str):
        raise StructureError(answer, code="E_LIMIT")
    header, block = answer
    if "error" in header:
        raise StructureError(header["error"], code=header["code"])
    columns = np.frombuffer(block, dtype=np.float64).reshape(6, -1)
    return ReferenceReflections(
        d=columns[0],
        strength=columns[1],
        multiplicity=columns[2].astype(np.int64),
        hkl=columns[3:].T.astype(np.int64),
        formula=header["formula"],
        space_group=header["space_group"],
        notes=tuple(header["notes"]),
        blocks=tuple(header["blocks"]),
    )
