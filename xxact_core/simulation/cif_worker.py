"""The process that makes reference reflections from untrusted CIFs: `python -m xxact_core.simulation.cif_worker`."""

from __future__ import annotations

from typing import Any

import numpy as np

from xxact_core.sandbox.framing import serve
from xxact_core.simulation.cif_reading import MAX_BYTES
from xxact_core.simulation.reference_reflections import structure_to_reflections
from xxact_core.structures.cif_files import cif_to_structure

MAX_MEMORY = 3 * 2**30
"""Address space of the process [bytes]; the libraries that read CIFs take half of it without filling it."""


def main() -> None:
    """Read CIFs until the input ends."""

    def read(request: dict[str, Any], data: bytes) -> tuple[dict[str, Any], bytes]:
        name = request["name"]
        reflections = structure_to_reflections(
            cif_to_structure(data.decode("utf-8", errors="replace"), name=name, file=name)
        )
        columns = [reflections.d, reflections.strength, reflections.multiplicity, *reflections.hkl.T]
        block = np.stack([column.astype(np.float64) for column in columns]).tobytes()
        return {"formula": reflections.formula, "space_group": reflections.space_group}, block

    serve(read, max_bytes=MAX_BYTES, max_memory=MAX_MEMORY)


if __name__ == "__main__":
    main()
