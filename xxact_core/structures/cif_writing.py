"""Conventional structure → CIF text."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

import numpy as np

from xxact_core.compositions.formula_format import format_formula
from xxact_core.structures.conventional_cell import ConventionalStructure
from xxact_core.structures.structure import cell_to_matrix

_CELL_TAGS = ("length_a", "length_b", "length_c", "angle_alpha", "angle_beta", "angle_gamma")

_LEAST_TWO_DIGITS = 19
"""Uncertainties are written with two digits up to this number. Source: Acta Crystallographica, rule of 19."""


def conventional_to_cif(
    structure: ConventionalStructure,
    *,
    name: str,
    cell: np.ndarray | None = None,
    u_cell: Sequence[float] | np.ndarray | None = None,
    b_iso: float | None = None,
    comment: str = "",
) -> str:
    """A CIF of one data block, with the operations of the space group and the asymmetric unit.

    Args:
        structure: whose sites are written, with their occupancies.
        name: of the data block; characters that a CIF does not allow there are replaced.
        cell: a, b, c [Å], α, β, γ [deg], shape (6,); that of the structure where none is given.
        u_cell: standard uncertainties of the cell; 0 where a value is fixed by symmetry.
        b_iso: isotropic displacement parameter B of all sites [Å²]; not written where none is given.
        comment: written at the top, after `# `.
    """
    values = structure.cell if cell is None else np.asarray(cell, dtype=np.float64)
    uncertainties = np.zeros(6) if u_cell is None else np.nan_to_num(np.asarray(u_cell, dtype=np.float64))
    lines = [f"# {line}" for line in comment.splitlines()]
    lines += [f"data_{re.sub(r'[^A-Za-z0-9_.+-]+', '_', name).strip('_') or 'structure'}"]
    lines += [f"_chemical_formula_sum '{' '.join(_formula_parts(structure))}'"]
    lines += [f"_chemical_name_common {quote(name)}", f"_chemical_formula_structural {quote(_formula(structure))}"]
    pairs = zip(_CELL_TAGS, values, uncertainties, strict=True)
    lines += [f"_cell_{tag} {with_uncertainty(float(value), float(u))}" for tag, value, u in pairs]
    lines += [
        f"_cell_volume {np.linalg.det(cell_to_matrix(values)):.4f}",
        f"_space_group_IT_number {structure.space_group}",
        f"_space_group_name_H-M_alt {quote(structure.symbol)}",
        f"_space_group_name_Hall {quote(structure.hall_symbol)}",
        "loop_",
        "_space_group_symop_id",
        "_space_group_symop_operation_xyz",
    ]
    lines += [f"{number} {quote(text)}" for number, text in enumerate(structure.operations, start=1)]
    columns = ["label", "type_symbol", "symmetry_multiplicity", "fract_x", "fract_y", "fract_z", "occupancy"]
    lines += ["loop_", *(f"_atom_site_{column}" for column in columns)]
    lines += [] if b_iso is None else ["_atom_site_B_iso_or_equiv"]
    for site in structure.sites:
        position = " ".join(f"{value:.6f}" for value in site.position)
        for place, (symbol, occupancy) in enumerate(site.species):
            label = site.label if place == 0 and len(site.species) == 1 else f"{site.label}{chr(ord('A') + place)}"
            row = f"{label} {symbol} {site.multiplicity} {position} {occupancy:.4f}"
            lines.append(row if b_iso is None else f"{row} {b_iso:.3f}")
    return "\n".join([*lines, ""])


def with_uncertainty(value: float, u: float) -> str:
    """A number with its standard uncertainty in parentheses, `4.7592(3)`; six digits where there is none."""
    if not (math.isfinite(u) and u > 0):
        return f"{value:.6g}"
    digits = max(0, -math.floor(math.log10(u)))
    if round(u * 10**digits) * 10 <= _LEAST_TWO_DIGITS:
        digits += 1
    return f"{value:.{digits}f}({round(u * 10**digits)})" if digits else f"{value:.0f}({round(u)})"


def quote(text: str) -> str:
    """A CIF string; quotes and line breaks in it are replaced."""
    plain = " ".join(text.split())
    return f"'{plain}'" if "'" not in plain else '"' + plain.replace('"', "'") + '"'


def _formula(structure: ConventionalStructure) -> str:
    return format_formula(structure.composition)


def _formula_parts(structure: ConventionalStructure) -> list[str]:
    composition = structure.composition
    order = sorted(zip(composition.symbols, composition.amounts, strict=True), key=lambda part: (part[0] != "C", part))
    return [f"{symbol}{amount:g}" for symbol, amount in order]
