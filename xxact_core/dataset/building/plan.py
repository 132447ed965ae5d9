"""The plan of a data set: what it is made from and how."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from xxact_core.dataset.store import write_json
from xxact_core.errors import DatasetError
from xxact_core.patterns.conversions import CU_K_ALPHA
from xxact_core.simulation.symmetry import SYMPREC
from xxact_core.structures.labels import Labels, parse_labels

PLAN = "plan.json"


@dataclass(frozen=True)
class BuildPlan:
    """What a data set is made from and how; part of its manifest, so that a rerun goes on only with the same plan.

    source: file or folder that `xxact_core.structures.sources` reads. labels: texts as `parse_labels` takes them.
    wavelength [Å], two_theta_range [deg]: of the sticks. symprec: tolerance of spglib [Å]. symmetry: off where only
    sticks are wanted; symmetry labels are then missing. limit: only the first structures. seed: of the split.
    """

    source: str
    shard_rows: int = 4096
    seed: int = 0
    wavelength: float = CU_K_ALPHA
    two_theta_range: tuple[float, float] = (5.0, 90.0)
    symprec: float = SYMPREC
    symmetry: bool = True
    labels: tuple[str, ...] = ()
    limit: int | None = None

    @property
    def parsed_labels(self) -> Labels:
        """Which field of the source is which target.

        Raises:
            DatasetError: a text cannot be understood.
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
        """Plain values for a manifest; of the source its name, for the folder that it lies in may be another."""
        return {**json.loads(self.to_json()), "source": Path(self.source).name}


def keep_plan(plan: BuildPlan, folder: Path) -> None:
    """Write the plan into a data set's folder, or check that the folder holds this very plan.

    Raises:
        DatasetError: it holds another one, with what differs.
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
    changed = [name for name, value in plan.described().items() if before.get(name) != value]
    if changed:
        msg = f"{folder} holds a data set of another plan; it differs in {changed}: choose another folder"
        raise DatasetError(msg, code="E_DATASET")
