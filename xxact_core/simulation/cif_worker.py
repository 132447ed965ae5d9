"""A process that makes reference lines of the CIFs of others under limits."""

from __future__ import annotations

from typing import Any

import numpy as np

from xxact_core.sandbox.framing import serve
from xxact_core.simulation.cif_reading import MOST_BYTES

MOST_MEMORY = 3 * 2**30
"""Address space of the process [bytes]; the libraries that read CIFs take half of it without filling it."""


def main() -> None:
    """Read CIFs."""
    from xxact_core.simulation.reference_lines import structure_to_reference_lines  # noqa: PLC0415 - behind the limits
    from xxact_core.structures.cif_files import cif_to_structure  # noqa: PLC0415 - likewise

    def answer(wanted: dict[str, Any], data: bytes) -> tuple[dict[str, Any], bytes]:
        name = wanted["name"]
        lines = structure_to_reference_lines(
            cif_to_structure(data.decode("utf-8", errors="replace"), name=name, file=name)
        )
        columns = [lines.d, lines.strength, lines.multiplicity, *lines.hkl.T]
        block = np.stack([column.astype(np.float64) for column in columns]).tobytes()
        return {"formula": lines.formula, "space_group": lines.space_group}, block

    serve(answer, most_bytes=MOST_BYTES, most_memory=MOST_MEMORY)


if __name__ == "__main__":
    main()
