"""CIF text → structure, through pymatgen."""

from __future__ import annotations

import io
import warnings
from pathlib import Path

from xxact_core.errors import StructureError, shorten
from xxact_core.structures.source_files import file_stem, read_unpacked
from xxact_core.structures.structure import MOST_ATOMS, Structure, pymatgen_to_structure

MOST_CIF_BYTES = 64 * 2**20
"""Largest size of a CIF file, decompressed. Ours: a structure of `MOST_ATOMS` atoms takes about 1 MB."""


def read_cif(path: Path, *, name: str | None = None) -> Structure:
    """Read the first structure of a CIF file, named `name` or by the file name; other data blocks are ignored.

    Raises:
        StructureError: the file contains no readable structure.
    """
    text = read_unpacked(path, most=MOST_CIF_BYTES).decode("utf-8", errors="replace")
    return cif_to_structure(text, name=name or file_stem(path.name), file=path.name)


def cif_to_structure(text: str, *, name: str, file: str) -> Structure:
    """First structure in the text of a CIF; `file` is its name in messages.

    Raises:
        StructureError: the text contains no readable structure, or more than `MOST_ATOMS` sites.
    """
    from pymatgen.io.cif import CifParser  # noqa: PLC0415 - slow, and only CIF files need it

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            parser = CifParser(io.StringIO(text, newline=None))
            _check_sites(parser.as_dict())
            structure = parser.parse_structures(primitive=False)[0]
    except Exception as error:  # pymatgen raises errors of any type
        msg = f"{shorten(file)}: not a readable CIF structure ({shorten(error)})"
        raise StructureError(msg, code="E_STRUCTURE") from error
    return pymatgen_to_structure(structure, name=name)


def _check_sites(blocks: dict[str, dict[str, object]]) -> None:
    """Refuse too many sites before symmetry is applied, which takes quadratic time."""
    for block in blocks.values():
        sites = block.get("_atom_site_fract_x")
        if isinstance(sites, list) and len(sites) > MOST_ATOMS:
            msg = f"{len(sites)} atom sites; expected at most {MOST_ATOMS}"
            raise StructureError(msg, code="E_STRUCTURE")
