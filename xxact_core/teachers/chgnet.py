"""CHGNet 0.3.0 as a teacher: a graph network fitted to energies, forces and stresses of the Materials Project.

Source: Deng et al., Nature Machine Intelligence 5, 1031 (2023), doi:10.1038/s42256-023-00716-3.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np

from xxact_core.compositions.element_table import SYMBOLS
from xxact_core.errors import shorten
from xxact_core.structures.structure import Structure, cell_to_matrix

MODEL = "0.3.0"
"""Version of the weights, which the package chgnet carries."""

BATCH = 16
"""Structures evaluated together. Measured: 3.8 ms a structure of six atoms, one thread; 4.1 ms in batches of 8."""

ATOM_CUTOFF, BOND_CUTOFF = 6.0, 3.0
"""Largest distances [Å] of neighbours, and of those that span angles. Source: CHGNet 0.3.0."""


class ChgnetTeacher:
    """Single-point energies by CHGNet on the CPU."""

    name = f"chgnet {MODEL}"

    def __init__(self) -> None:
        from chgnet.model import CHGNet  # noqa: PLC0415 - an extra, and slow to import

        with warnings.catch_warnings():  # libraries that chgnet imports announce changes
            warnings.simplefilter("ignore")
            self._model: Any = CHGNet.load(model_name=MODEL, use_device="cpu", verbose=False)

    def energies(self, structures: Sequence[Structure]) -> tuple[np.ndarray, list[str]]:
        """Total energies per atom [eV], NaN where it fails, and why; see `xxact_core.dataset.building.teacher`."""
        import torch  # noqa: PLC0415 - slow to import

        energies, reasons = np.full(len(structures), np.nan), [""] * len(structures)
        graphs: list[tuple[int, Any]] = []
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")
            for place, structure in enumerate(structures):
                try:
                    graphs.append((place, structure_to_graph(structure)))
                except Exception as error:  # noqa: BLE001 - chgnet and pymatgen raise errors of many kinds
                    reasons[place] = shorten(error)
            graphs.sort(key=lambda one: len(one[1].atomic_number))
            for first in range(0, len(graphs), BATCH):
                self._evaluate(graphs[first : first + BATCH], energies, reasons)
        return energies, reasons

    def _evaluate(self, graphs: Sequence[tuple[int, Any]], energies: np.ndarray, reasons: list[str]) -> None:
        """Fill in the energies of a batch; each structure by itself where the batch fails."""
        try:
            found = self._model([graph for _, graph in graphs], task="e")["e"]
        except Exception as error:  # noqa: BLE001 - likewise
            if len(graphs) == 1:
                reasons[graphs[0][0]] = shorten(error)
                return
            for one in graphs:
                self._evaluate([one], energies, reasons)
            return
        for (place, _), energy in zip(graphs, found.tolist(), strict=True):
            energies[place] = energy


def structure_to_graph(structure: Structure) -> Any:  # noqa: ANN401 - chgnet is an extra
    """The `CrystalGraph` of a structure, as chgnet's own converter makes it, in a fifth of its time.

    Raises:
        ValueError: sites are mixed, or an atom has no neighbour.
    """
    import torch  # noqa: PLC0415 - slow to import
    from chgnet.graph.crystalgraph import CrystalGraph  # noqa: PLC0415 - an extra
    from pymatgen.core.structure import Structure as Crystal  # noqa: PLC0415 - slow to import

    if (structure.occupancies != 1).any():
        msg = "sites are mixed or partly occupied"
        raise ValueError(msg)
    symbols = [SYMBOLS[number - 1] for number in structure.atomic_numbers.tolist()]
    crystal = Crystal(cell_to_matrix(structure.cell), symbols, structure.frac_coords)
    centre, neighbour, image, distance = crystal.get_neighbor_list(ATOM_CUTOFF, numerical_tol=1e-8)
    if len(np.unique(centre)) < len(symbols):
        msg = f"an atom has no neighbour within {ATOM_CUTOFF:g} Å"
        raise ValueError(msg)
    image = np.rint(image).astype(np.int64)
    undirected, undirected_of = _pair_edges(centre, neighbour, image, len(symbols))
    return CrystalGraph(
        atomic_number=torch.tensor(structure.atomic_numbers, dtype=torch.int32),
        atom_frac_coord=torch.tensor(crystal.frac_coords, dtype=torch.float32),
        atom_graph=torch.tensor(np.stack([centre, neighbour], axis=1), dtype=torch.int32),
        neighbor_image=torch.tensor(image, dtype=torch.float32),
        directed2undirected=torch.tensor(undirected_of, dtype=torch.int32),
        undirected2directed=torch.tensor(undirected, dtype=torch.int32),
        bond_graph=torch.tensor(_angles(centre, distance, undirected_of), dtype=torch.int32),
        lattice=torch.tensor(crystal.lattice.matrix, dtype=torch.float32),
        atom_graph_cutoff=ATOM_CUTOFF,
        bond_graph_cutoff=BOND_CUTOFF,
    )


def _pair_edges(
    centre: np.ndarray, neighbour: np.ndarray, image: np.ndarray, atoms: int
) -> tuple[np.ndarray, np.ndarray]:
    """One directed edge of each undirected one, shape (undirected,), and the undirected one of each, shape (edges,).

    Raises:
        ValueError: an edge lacks its reverse.
    """
    span = 2 * int(np.abs(image).max(initial=0)) + 1

    def code(first: np.ndarray, second: np.ndarray, shift: np.ndarray) -> np.ndarray:
        codes: np.ndarray = first.astype(np.int64) * atoms + second
        for axis in range(3):
            codes = codes * span + shift[:, axis] + span // 2
        return codes

    both = np.minimum(code(centre, neighbour, image), code(neighbour, centre, -image))
    _, undirected, undirected_of, count = np.unique(both, return_index=True, return_inverse=True, return_counts=True)
    if (count != 2).any():  # noqa: PLR2004 - an edge and its reverse
        msg = "a neighbour lacks its counterpart"
        raise ValueError(msg)
    return undirected, undirected_of


def _angles(centre: np.ndarray, distance: np.ndarray, undirected_of: np.ndarray) -> np.ndarray:
    """Pairs of short edges at an atom: atom, undirected and directed edge of the first and of the second."""
    short = np.flatnonzero(distance < BOND_CUTOFF)
    short = short[np.argsort(centre[short], kind="stable")]
    at = centre[short]
    first_at = np.searchsorted(at, at, side="left")
    count = np.searchsorted(at, at, side="right") - first_at
    one = np.repeat(np.arange(len(short)), count)
    other = np.arange(len(one)) - np.repeat(np.cumsum(count) - count, count) + np.repeat(first_at, count)
    one, other = short[one[one != other]], short[other[one != other]]
    angles: np.ndarray = np.stack([centre[one], undirected_of[one], one, undirected_of[other], other], axis=1)
    return angles
