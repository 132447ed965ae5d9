"""Reference structures from CIF files, and their calculated reflections."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Collection
from dataclasses import dataclass

import numpy as np

from xxact_app.samples.sample import file_to_name, free_name, naming
from xxact_app.ui.safe_text import safe_text
from xxact_core.errors import StructureError
from xxact_core.patterns.conversions import two_theta_to_d
from xxact_core.simulation.cif_reading import read_untrusted_cif
from xxact_core.simulation.reference_reflections import ReferenceReflections

_ATOMS = re.compile(rb"^\s*_atom_site_(?:fract_x|cartn_x|label)\b", re.MULTILINE | re.IGNORECASE)
_INTENSITIES = re.compile(rb"^\s*_pd_(?:meas|proc|calc)_\w*(?:intensity|counts)", re.MULTILINE | re.IGNORECASE)


@dataclass(frozen=True, eq=False)
class Reference:
    """A reference structure: `name` is safe to show, `file` is the original file name."""

    key: str
    name: str
    file: str
    lines: ReferenceReflections
    content: bytes = b""


def is_structure(content: bytes) -> bool:
    """Whether a file is a CIF of a structure without a measured pattern."""
    return bool(_ATOMS.search(content)) and not _INTENSITIES.search(content)


def content_to_key(content: bytes) -> str:
    """Key of the first structure in a file; those of others have their number behind it."""
    return f"cif-{hashlib.sha256(content).hexdigest()[:16]}"


def read_reference(file: str, content: bytes, *, taken: Collection[str], index: int = 0) -> Reference:
    """Read a structure of an uploaded CIF in a separate process with limits on time and memory.

    Args:
        file: name of the file.
        content: content of the file.
        taken: names in use.
        index: which of several structures, from 0.

    Raises:
        StructureError: the structure cannot be read; the message begins with the name of the file.
    """
    name = file_to_name(file)
    with naming(name, as_=StructureError, code="E_STRUCTURE"):
        lines = read_untrusted_cif(content, name=name, index=index)
    key = content_to_key(content) + (f"-{index}" if index else "")
    block = lines.blocks[index] if index < len(lines.blocks) else ""
    return Reference(key, free_name(f"{name} {safe_text(block)}".strip(), taken), file, lines, content)


@dataclass(frozen=True)
class ReferenceTrace:
    """Reflections at one wavelength: x on the selected axis, 2θ [deg], d [Å], intensity [%], and hkl as text."""

    x: np.ndarray
    two_theta: np.ndarray
    d: np.ndarray
    intensity: np.ndarray
    hkl: list[str]


def lines_to_trace(
    lines: ReferenceReflections, *, wavelength: float, to_axis: Callable[..., np.ndarray]
) -> ReferenceTrace:
    """The reflections at a wavelength [Å]; `to_axis` converts angles [deg] to the selected axis."""
    sticks = lines.at(wavelength)
    indices = [] if sticks.hkl is None else sticks.hkl.tolist()
    return ReferenceTrace(
        x=to_axis(sticks.two_theta, wavelength=wavelength),
        two_theta=sticks.two_theta,
        d=two_theta_to_d(sticks.two_theta, wavelength=wavelength),
        intensity=sticks.intensity,
        hkl=[" ".join(map(str, hkl)) for hkl in indices],
    )
