"""Structure → stick pattern: ideal powder reflections, equal to those of pymatgen's `XRDCalculator` and much faster.

The phase exp(2πi(hx + ky + lz)) separates into three factors, so one matrix product per element replaces the sum over
atoms and reflections. Scattering factors, Lorentz and polarisation factors, which depend on the angle alone, are
computed once per shell of equal 1/d. Reflections are merged by sorting, without families of Miller indices.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from xxact_core.errors import StructureError
from xxact_core.patterns.conversions import CU_K_ALPHA
from xxact_core.patterns.pattern import Sticks
from xxact_core.simulation.lattice import cell_to_reciprocal_metric, cell_volume
from xxact_core.simulation.scattering import dispersion_corrections, scattering_factors

MERGE_TOLERANCE = 1e-5
"""Reflections in the same bin of this width [deg 2θ] are merged. Source: pymatgen `TWO_THETA_TOL`."""

WEAKEST_REFLECTION = 1e-3
"""Reflections up to this intensity [% of the strongest] are dropped. Source: pymatgen `SCALED_INTENSITY_TOL`."""

SHELL_TOLERANCE = 1e-12
"""Reflections whose 1/d² differs by less [Å⁻²] share scattering factors; far above round-off."""

LARGEST_BOX = 10_000_000
"""Largest number of Miller indices enumerated for a structure; larger cells are refused."""

CACHED_NUMBERS = 60_000
"""Numbers that sums over elements may take together (0.5 MB), which fit into the cache of a CPU."""

BLOCK = 4_000_000
"""Numbers held at once in a matrix of phases (32 MB); the atoms of larger structures are summed in parts."""


def arrays_to_sticks(
    *,
    cell: np.ndarray,
    atomic_numbers: np.ndarray,
    frac_coords: np.ndarray,
    occupancies: np.ndarray | None = None,
    wavelength: float = CU_K_ALPHA,
    two_theta_range: tuple[float, float] = (5.0, 90.0),
) -> Sticks:
    """Calculate the powder stick pattern of a crystal structure, scaled to a maximum of 100.

    I = 2 |Σ_j o_j f_j exp(2πi h·r_j)|² (1 + cos² 2θ) / (sin² θ cos θ), summed over coincident reflections; the factor 2
    is for Friedel mates.

    Source: De Graef & McHenry, Structure of Materials (2007), chapters 11-12; conventions of pymatgen ≥ 2026.10
    `XRDCalculator` (no thermal motion, no anomalous scattering).

    Args:
        cell: a, b, c [Å], α, β, γ [deg], shape (6,).
        atomic_numbers: one per atom, shape (atoms,); a mixed site is several atoms.
        frac_coords: fractional coordinates, shape (atoms, 3).
        occupancies: shape (atoms,); 1 by default.
        wavelength: of the radiation [Å], for instance one of `xxact_core.patterns.conversions.WAVELENGTHS`.
        two_theta_range: first and last angle [deg], within 0-180.

    Returns:
        Angles 2θ in ascending order [deg], intensities 0-100, and the Miller indices of one reflection per angle.

    Raises:
        StructureError: a cell without volume, no reflection in the range, or an element without scattering factor.
        ValueError: the range is not within 0-180°, or the wavelength is not positive.
    """
    shell, power, first, most, places = _powers(
        cell, atomic_numbers, frac_coords, occupancies, wavelength=wavelength, two_theta_range=two_theta_range
    )
    sine_squared = shell * (wavelength * wavelength / 4)
    np.minimum(sine_squared, 1 - 1e-15, out=sine_squared)
    lorentz_polarisation = (1 + (1 - 2 * sine_squared) ** 2) / (sine_squared * np.sqrt(1 - sine_squared))
    two_theta = np.degrees(2 * np.arcsin(np.sqrt(sine_squared)))
    merged = _differs(np.rint(two_theta / MERGE_TOLERANCE), by=0).nonzero()[0]
    summed = np.add.reduceat(power * lorentz_polarisation, merged)
    strongest = summed.max()
    if not (np.isfinite(strongest) and strongest > 0):
        msg = "no reflection in this range has any intensity"
        raise StructureError(msg, code="E_STRUCTURE")
    scaled = summed * (100 / strongest)
    kept = scaled > WEAKEST_REFLECTION
    hkl = _place_to_hkl(np.maximum.reduceat(places, first[merged])[kept], most)
    # The smallest angle of the bin, as in pymatgen.
    return Sticks(two_theta[merged[kept]], scaled[kept], wavelength=wavelength, hkl=hkl)


def arrays_to_powers(
    *,
    cell: np.ndarray,
    atomic_numbers: np.ndarray,
    frac_coords: np.ndarray,
    occupancies: np.ndarray | None = None,
    wavelength: float = CU_K_ALPHA,
    two_theta_range: tuple[float, float] = (5.0, 90.0),
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Structure factors on the absolute scale: Σ |F|² over all reflections that share a value of 1/d².

    With anomalous dispersion, without thermal motion and without Lorentz and polarisation factors. Arguments and errors
    as of `arrays_to_sticks`.

    Returns:
        1/d² in ascending order [Å⁻²], shape (shells,); Σ |F|² of both Friedel mates [electrons²], shape (shells,); and
        the Miller indices of one reflection of each, shape (shells, 3).
    """
    shell, power, first, most, places = _powers(
        cell,
        atomic_numbers,
        frac_coords,
        occupancies,
        wavelength=wavelength,
        two_theta_range=two_theta_range,
        dispersion=dispersion_corrections(np.asarray(atomic_numbers), wavelength=wavelength),
    )
    return shell, 2 * power, _place_to_hkl(np.maximum.reduceat(places, first), most)


def _powers(
    cell: np.ndarray,
    atomic_numbers: np.ndarray,
    frac_coords: np.ndarray,
    occupancies: np.ndarray | None,
    *,
    wavelength: float,
    two_theta_range: tuple[float, float],
    dispersion: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, list[int], np.ndarray]:
    """1/d² and Σ |F|² over one Friedel half of each shell; its first place; the size of the box, and all places."""
    low, high = two_theta_range
    if not (0 <= low < high < 180 and wavelength > 0):  # noqa: PLR2004 - the range of a scattering angle
        msg = f"2θ from {low:g}° to {high:g}° at {wavelength:g} Å cannot be simulated; expected 0 ≤ low < high < 180"
        raise ValueError(msg)
    if not cell_volume(cell) ** 2 >= 1e-3:  # noqa: PLR2004 - Å⁶, far below any atom; NaN is refused, too
        msg = f"the cell {np.round(cell, 4).tolist()} has no volume"
        raise StructureError(msg, code="E_STRUCTURE")
    most = [int(2 * math.sin(math.radians(high / 2)) / wavelength * length + 1e-9) for length in cell[:3]]
    places, squared = _reflections_in_shell(cell, most, wavelength=wavelength, two_theta_range=two_theta_range)
    new_shell = _differs(squared, by=SHELL_TOLERANCE)
    starts = new_shell.nonzero()[0]
    shell = squared[starts]
    shell_of = new_shell.cumsum() - 1
    numbers, coords = np.asarray(atomic_numbers), np.asarray(frac_coords, dtype=np.float64)
    amplitude = _structure_factors(
        places,
        shell_of,
        shell,
        most,
        atomic_numbers=numbers,
        frac_coords=coords,
        occupancies=occupancies,
        added=None if dispersion is None else dispersion.real,
    )
    amplitude *= amplitude
    power = np.add.reduceat(amplitude[0] + amplitude[1], starts)
    if dispersion is not None and dispersion.imag.any():
        # |F(h)|² + |F(-h)|² is 2 |Σ (f + f') e|² + 2 |Σ f'' e|²: the mixed terms cancel.
        imaginary = _structure_factors(
            places,
            shell_of,
            shell,
            most,
            atomic_numbers=numbers,
            frac_coords=coords,
            occupancies=occupancies,
            added=dispersion.imag,
            without_atoms=True,
        )
        power += np.add.reduceat((imaginary * imaginary).sum(axis=0), starts)
    return shell, power, starts, most, places


def _differs(values: np.ndarray, *, by: float) -> np.ndarray:
    """Which of the ascending values exceed the previous one by more than `by`; the first always does."""
    new = np.empty(len(values), dtype=np.bool_)
    new[0] = True
    np.greater(values[1:] - values[:-1], by, out=new[1:])
    return new


def _reflections_in_shell(
    cell: np.ndarray, most: list[int], *, wavelength: float, two_theta_range: tuple[float, float]
) -> tuple[np.ndarray, np.ndarray]:
    """Places of one Friedel half in the box (l, h, k) with h ≥ 0, shape (n,), and 1/d² [Å⁻²], in order of 1/d²."""
    low, high = (2 * math.sin(math.radians(angle / 2)) / wavelength for angle in two_theta_range)
    if math.prod(2 * index + 1 for index in most) > 2 * LARGEST_BOX:
        msg = f"the cell is so large that more than {LARGEST_BOX:,} reflections would have to be enumerated"
        raise StructureError(msg, code="E_STRUCTURE")
    g11, g22, g33, g12, g13, g23 = cell_to_reciprocal_metric(cell).tolist()
    h = np.arange(most[0] + 1.0)[:, None]
    k = np.arange(-most[1], most[1] + 1.0)
    ell = np.arange(-most[2], most[2] + 1.0)[:, None, None]
    box = (2 * g13 * h + 2 * g23 * k) * ell
    box += (g11 * h * h) + (2 * g12 * h + g22 * k) * k
    box += g33 * ell * ell
    box[:, 0, : most[1]] = -1  # Friedel mates of counted reflections, and 000
    box[: most[2] + 1, 0, most[1]] = -1
    flat = box.reshape(-1)
    places = ((flat <= high * high + 1e-12) & (flat >= low * low)).nonzero()[0]
    if not len(places):
        msg = f"no reflection lies between {two_theta_range[0]:g}° and {two_theta_range[1]:g}°"
        raise StructureError(msg, code="E_STRUCTURE")
    squared = flat[places]
    order = squared.argsort()
    return places[order], squared[order]


def _place_to_hkl(places: np.ndarray, most: list[int]) -> np.ndarray:
    """Miller indices, shape (n, 3), of places in the box (l, h, k)."""
    row, k = np.divmod(places, 2 * most[1] + 1)
    ell, h = np.divmod(row, most[0] + 1)
    return np.stack([h, k - most[1], ell - most[2]], axis=1)


def _structure_factors(
    places: np.ndarray,
    shell_of: np.ndarray,
    shell: np.ndarray,
    most: list[int],
    *,
    atomic_numbers: np.ndarray,
    frac_coords: np.ndarray,
    occupancies: np.ndarray | None,
    added: np.ndarray | None = None,
    without_atoms: bool = False,
) -> np.ndarray:
    """Real and imaginary part of Σ_j o_j f_j exp(2πi h·r_j) for each place, shape (2, n).

    `added` is added to the scattering factor of each atom, shape (atoms,), or replaces it where `without_atoms`.
    """
    order = atomic_numbers.argsort(kind="stable")
    numbers = atomic_numbers[order]
    turns = np.exp(2j * np.pi * frac_coords[order].T)
    weights = None if occupancies is None else occupancies[order]
    edges = [0, *((numbers[1:] != numbers[:-1]).nonzero()[0] + 1).tolist(), len(numbers)]
    factors = (
        np.zeros((len(edges) - 1, len(shell))) if without_atoms else scattering_factors(numbers[edges[:-1]], shell / 4)
    )
    if added is not None:
        factors += added[order][edges[:-1], None]
    total = np.zeros((2, len(places)))
    for first, last, elements in _atom_blocks(edges, most):
        parts = [(max(edges[e], first) - first, min(edges[e + 1], last) - first) for e in elements]
        phases = _phase_sums(
            turns[:, first:last], parts, most, weights=None if weights is None else weights[first:last]
        )
        of_element = factors[elements.start : elements.stop].take(shell_of, axis=1)
        for part in (0, 1):
            amplitude = phases[part].take(places, axis=1)
            amplitude *= of_element
            total[part] += amplitude.sum(axis=0)
    return total


def _atom_blocks(edges: list[int], most: list[int]) -> Iterator[tuple[int, int, range]]:
    """Blocks of atoms with their elements: all at once where memory allows, else element by element."""
    planes = (most[0] + 1) * (2 * most[1] + 1)
    box, elements, atoms = planes * (2 * most[2] + 1), len(edges) - 1, edges[-1]
    if 2 * planes * atoms <= BLOCK and 2 * box * elements <= CACHED_NUMBERS:
        yield 0, atoms, range(elements)
        return
    step = max(1, BLOCK // (2 * planes))
    for element in range(elements):
        for first in range(edges[element], edges[element + 1], step):
            yield first, min(first + step, edges[element + 1]), range(element, element + 1)


def _phase_sums(
    turns: np.ndarray, parts: list[tuple[int, int]], most: list[int], *, weights: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray]:
    """Σ_j o_j exp(2πi h·r_j) over each part of the atoms at every place of the box: real and imaginary part.

    turns: exp(2πi r), shape (3, atoms). Each result has the shape (parts, places).
    """
    atoms = turns.shape[1]
    powers = np.empty((max(most) + 1, 3, atoms), dtype=np.complex128)
    powers[0] = 1
    powers[1:] = turns
    np.multiply.accumulate(powers, axis=0, out=powers)
    along_h = powers[: most[0] + 1, 0] if weights is None else powers[: most[0] + 1, 0] * weights
    along_k = np.concatenate([powers[most[1] : 0 : -1, 1].conj(), powers[: most[1] + 1, 1]])
    plane = (along_h[:, None] * along_k).reshape(-1, atoms)
    planes, ell = len(plane), most[2]
    in_plane = np.concatenate([plane.real, plane.imag])
    along_l = np.concatenate([powers[: ell + 1, 2].real, powers[: ell + 1, 2].imag])
    products = np.empty((len(parts), len(along_l), 2 * planes))
    for product, (first, last) in zip(products, parts, strict=True):
        np.matmul(along_l[:, first:last], in_plane[:, first:last].T, out=product)
    # (x + iy)(c ± is) for +l and -l, from the four real products.
    real_cos, imag_cos = products[:, : ell + 1, :planes], products[:, : ell + 1, planes:]
    real_sin, imag_sin = products[:, ell + 1 :, :planes], products[:, ell + 1 :, planes:]
    real, imag = np.empty((2, len(parts), 2 * ell + 1, planes))
    np.subtract(real_cos, imag_sin, out=real[:, ell:])
    np.add(imag_cos, real_sin, out=imag[:, ell:])
    np.add(real_cos[:, :0:-1], imag_sin[:, :0:-1], out=real[:, :ell])
    np.subtract(imag_cos[:, :0:-1], real_sin[:, :0:-1], out=imag[:, :ell])
    return real.reshape(len(parts), -1), imag.reshape(len(parts), -1)
