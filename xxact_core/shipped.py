"""The files that come with the package: example patterns, the table of materials, checkpoints."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

from xxact_core.errors import InputError, InstallationError, shorten

TABLE = "data/materials_project.parquet"
"""106,192 structures of the Materials Project with labels. Source: xxact_core/data/README.md."""

REFERENCE_TABLE = "data/reference_materials.parquet"
"""Reference phases of search and match: calculated and measured structures. Source: xxact_core/data/README.md."""

PROTOTYPE_TABLE = "data/prototype_structures.parquet"
"""Prototypes with other elements, at the equilibrium volume of CHGNet. Source: xxact_core/data/README.md."""

ENERGY_TABLE = "data/teacher_energies.parquet"
"""CHGNet's energies of structures of the other tables. Source: xxact_core/data/README.md."""

NAMED_TABLES = {
    "materials_project": TABLE,
    "reference_materials": REFERENCE_TABLE,
    "prototype_structures": PROTOTYPE_TABLE,
}
"""Names of the shipped tables wherever a command takes a file or folder of structures."""

EXAMPLES = "data/examples"
"""Measured patterns in the formats of instruments; `examples.csv` describes each."""

CHECKPOINT = "weights/compact"
"""The shipped model."""

EMBEDDINGS = "weights/compact/embeddings.h5"
"""Embeddings of 2000 materials of the test split by the shipped model, with coordinates of a t-SNE."""


def shipped_path(name: str) -> Path:
    """Path of a file or folder of the package, such as `TABLE`.

    Raises:
        InstallationError: the installation lacks it (E_INSTALLATION).
    """
    path = Path(str(files("xxact_core").joinpath(name)))
    if not path.exists():
        msg = f"the installation is damaged: xxact_core/{name} is missing; reinstall the package"
        raise InstallationError(msg, code="E_INSTALLATION")
    return path


def named_structures(source: Path) -> Path:
    """The shipped table for a path that is one of `NAMED_TABLES`, where no file or folder has that name, else the path.

    Raises:
        InstallationError: the installation lacks the table (E_INSTALLATION).
    """
    table = NAMED_TABLES.get(str(source))
    return source if table is None or source.exists() else shipped_path(table)


def named_energies(table: Path) -> Path:
    """The shipped table of energies for a path that is `teacher_energies`, where no file has that name, else the path.

    Raises:
        InstallationError: the installation lacks the table (E_INSTALLATION).
    """
    return table if str(table) != "teacher_energies" or table.exists() else shipped_path(ENERGY_TABLE)


def packages_folder() -> Path:
    """The folder from which the package is imported, for the PYTHONPATH of child processes."""
    return Path(str(files("xxact_core"))).parent


def example_path(name: str) -> Path:
    """Path of an example pattern, such as `corundum.prn`.

    Raises:
        InputError: there is no example of that name (E_EXAMPLE); the message lists those that there are.
        InstallationError: the installation lacks the examples (E_INSTALLATION).
    """
    folder = shipped_path(EXAMPLES)
    names = sorted(path.name for path in folder.iterdir())
    if name not in names:
        msg = f"no example pattern is called {shorten(name)!r}; there are {', '.join(names)}"
        raise InputError(msg, code="E_EXAMPLE")
    return folder / name
