"""Many structures → stick patterns, in several processes, with numpy alone."""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterable, Iterator
from functools import partial

import numpy as np

from xxact_core.errors import StructureError
from xxact_core.patterns.conversions import CU_K_ALPHA
from xxact_core.patterns.pattern import Sticks
from xxact_core.simulation.diffraction import arrays_to_sticks
from xxact_core.structures.structure import Structure

TOGETHER = 64
"""Structures sent to a process at a time: enough to keep it busy, few enough to balance the load."""


def structures_to_sticks(
    structures: Iterable[Structure],
    *,
    processes: int = 1,
    wavelength: float = CU_K_ALPHA,
    two_theta_range: tuple[float, float] = (5.0, 90.0),
) -> Iterator[Sticks | StructureError]:
    """Stick pattern of each structure in order, or the error why there is none.

    A script that uses more than one process needs `if __name__ == "__main__":`, because processes are spawned.

    Args:
        structures: any number, consumed lazily.
        processes: number of processes; 1 computes in this one.
        wavelength: of the radiation [Å].
        two_theta_range: first and last angle [deg].
    """
    simulate = partial(_to_sticks, wavelength=wavelength, two_theta_range=two_theta_range)
    arrays = (
        (structure.cell, structure.atomic_numbers, structure.frac_coords, structure.occupancies)
        for structure in structures
    )
    if processes == 1:
        yield from map(simulate, arrays)
        return
    with multiprocessing.get_context("spawn").Pool(processes) as pool:
        yield from pool.imap(simulate, arrays, chunksize=TOGETHER)


def _to_sticks(
    arrays: tuple[np.ndarray, ...], *, wavelength: float, two_theta_range: tuple[float, float]
) -> Sticks | StructureError:
    cell, atomic_numbers, frac_coords, occupancies = arrays
    try:
        return arrays_to_sticks(
            cell=cell,
            atomic_numbers=atomic_numbers,
            frac_coords=frac_coords,
            occupancies=None if (occupancies == 1).all() else occupancies,
            wavelength=wavelength,
            two_theta_range=two_theta_range,
        )
    except StructureError as error:
        return error
