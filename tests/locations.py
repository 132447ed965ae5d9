"""Where things are in the repository."""

from __future__ import annotations

from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]
DATA = REPOSITORY / "xxact_core" / "data"
EXAMPLES = DATA / "examples"
TABLE = DATA / "materials_project.parquet"
