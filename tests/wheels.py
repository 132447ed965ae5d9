"""The wheel of the package."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

BUILT_FROM = ("pyproject.toml", "README.md", "LICENSE", "xxact_core", "xxact_app")


def build_wheel(repository: Path, folder: Path) -> Path:
    """Build the wheel in a folder, from a copy, so that nothing of an older build gets in."""
    for name in BUILT_FROM:
        if (path := repository / name).is_dir():
            shutil.copytree(path, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copyfile(path, folder / name)
    line = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", "dist", "."]
    surroundings = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    built = subprocess.run(line, cwd=folder, env=surroundings, capture_output=True, text=True, check=False)
    if built.returncode:
        raise RuntimeError(built.stdout + built.stderr)
    (found,) = (folder / "dist").glob("*.whl")
    return found
