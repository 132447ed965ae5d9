"""The process that makes reference lines from untrusted CIFs: `python -m xxact_core.simulation.cif_worker`."""

from __future__ import annotations

from typing import Any

import numpy as np

from xxact_core.sandbox.framing import serve
from xxact_core.simulation.cif_reading import MAX_BYTES
from xxact_core.simulation.reference_lines import structure_to_reference_lines
from xxact_core.structures.cif_files import cif_to_structure

MAX_MEMORY = 3 * 2**30
"""Address space of the process [bytes]; the libraries that read CIFs take half of it without filling it."""


def main() -> None:
    """Read CIFs until the input ends."""

    def read(request: dict[str, Any], data: bytes) -> tuple[dict[str, Any], bytes]:
        name = request["name"]
        lines = structure_to_reference_lines(
            cif_to_structure(data.decode("utf-8", errors="replace"), name=name, file=name)
        )
        columns = [lines.d, lines.strength, lines.multiplicity, *lines.hkl.T]
        block = np.stack([column.astype(np.float64) for column in columns]).tobytes()
        return {"formula": lines.formula, "space_group": lines.space_group}, block

    serve(read, max_bytes=MAX_BYTES, max_memory=MAX_MEMORY)


if __name__ == "__main__":
    main()
