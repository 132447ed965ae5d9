"""The process that makes reference reflections from untrusted CIFs: `python -m xxact_core.simulation.cif_worker`."""

from __future__ import annotations

from typing import Any

import numpy as np

from xxact_core.errors import StructureError
from xxact_core.sandbox.framing import serve
from xxact_core.simulation.cif_reading import MAX_BYTES
from xxact_core.simulation.reference_reflections import structure_to_reflections
from xxact_core.structures.cif_files import cif_to_structure, structure_names

MAX_MEMORY = 3 * 2**30
"""Address space of the process [bytes]; the libraries that read CIFs take half of it without filling it."""


def main() -> None:
    """Read CIFs until the input ends."""

    def read(request: dict[str, Any], data: bytes) -> tuple[dict[str, Any], bytes]:
        name = request["name"]
        text = data.decode("utf-8", errors="replace")
        names = structure_names(text)
        try:
            structure = cif_to_structure(text, name=name, file=name, index=request["index"])
        except StructureError as error:
            if len(names) > 1:
                msg = f"{error}; this is structure {request['index'] + 1} of {len(names)} in the file"
                raise StructureError(msg, code=error.code) from error
            raise
        reflections = structure_to_reflections(structure)
        columns = [reflections.d, reflections.strength, reflections.multiplicity, *reflections.hkl.T]
        block = np.stack([column.astype(np.float64) for column in columns]).tobytes()
        header = {"formula": reflections.formula, "space_group": reflections.space_group}
        return {**header, "notes": structure.notes, "blocks": names}, block

    serve(read, max_bytes=MAX_BYTES, max_memory=MAX_MEMORY)


if __name__ == "__main__":
    main()
