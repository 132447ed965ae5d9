"""Settings of a dataset build."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from xxact_core.dataset.store import file_digest, write_json
from xxact_core.errors import DatasetError
from xxact_core.patterns.conversions import CU_K_ALPHA
from xxact_core.simulation.symmetry import SYMPREC
from xxact_core.structures.labels import Labels, parse_labels

PLAN = "plan.json"


@dataclass(frozen=True)
class BuildPlan:
    """Settings of a dataset build; part of the manifest, so that a build is resumed with the same plan only."""

    source: str
    """File or folder of structures, see `xxact_core.structures.sources`."""
    shard_rows: int = 4096
    """Structures per shard, at least 1."""
    seed: int = 0
    """Seed of the split by reduced formula."""
    wavelength: float = CU_K_ALPHA
    """Wavelength of the calculated reflections [Å]."""
    two_theta_range: tuple[float, float] = (5.0, 90.0)
    """Range of the calculated reflections [deg 2θ], within 0-180."""
    symprec: float = SYMPREC
    """Symmetry tolerance of spglib [Å]."""
    symmetry: bool = True
    """Whether to determine crystal system, space group and conventional cell."""
    labels: tuple[str, ...] = ()
    """Fields and units of targets, as `parse_labels` reads them: `band_gap=gap pbe:eV`."""
    energies: str | None = None
    """Table of a teacher's energies, as `xxact dataset label` writes it, for materials without a formation energy."""
    limit: int | None = None
    """Use only the first structures; None for all."""
    measured_cells: bool = False
    """Whether the cells of the source were measured, or are scaled to measured ones; augmentation shrinks others."""

    @property
    def parsed_labels(self) -> Labels:
        """Fields and units of the targets.

        Raises:
            DatasetError: a label cannot be parsed.
        """
        return parse_labels(self.labels)

    @classmethod
    def from_json(cls, text: str) -> BuildPlan:
        """The plan that `to_json` wrote."""
        values = json.loads(text)
        for name in ("two_theta_range", "labels"):
            values[name] = tuple(values[name])
        return cls(**values)

    def to_json(self) -> str:
        """The plan as text."""
        return json.dumps(asdict(self))

    def described(self) -> dict[str, object]:
        """Plain values for a manifest, with the name of the source but not its folder."""
        values = {**json.loads(self.to_json()), "source": Path(self.source).name}
        if self.energies is None:
            del values["energies"]  # so that plans of version 0.1.0 are the same
        else:
            values["energies"] = f"{Path(self.energies).name} (SHA-256 {file_digest(Path(self.energies))})"
        return values


def keep_plan(plan: BuildPlan, folder: Path) -> None:
    """Write the plan into the folder of a dataset, or check that the folder contains the same plan.

    Raises:
        DatasetError: the folder contains another plan; the message names the differences.
    """
    path = folder / PLAN
    if not path.is_file():
        write_json(path, plan.described())
        return
    try:
        before = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        msg = f"{path} is not JSON: {error}; choose another folder"
        raise DatasetError(msg, code="E_DATASET") from error
    unset = {item.name: item.default for item in fields(BuildPlan)}  # for settings that version 0.1.0 lacks
    changed = [name for name, value in plan.described().items() if before.get(name, unset[name]) != value]
    if changed:
        msg = f"{folder} contains a dataset with other settings ({changed}): choose another folder"
        raise DatasetError(msg, code="E_DATASET")
