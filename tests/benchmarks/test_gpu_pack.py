"""A packed dataset is unpacked unchanged on a machine that has only what training needs."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from xxact_core.dataset.table import StickTable, read_dataset
from xxact_core.quantities import TARGETS

TABLE = "xxact_core/data/materials_project.parquet"

ONLY_WHAT_TRAINING_NEEDS = """
import runpy, sys
blocked = ("numba", "pyarrow", "pandas", "pymatgen", "spglib", "h5netcdf", "typer", "tqdm", "dask", "ase")
sys.modules.update(dict.fromkeys(blocked))
sys.argv = sys.argv[1:]
runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
"""


def run_bare(repository: Path, module: str, *arguments: object) -> dict:
    """The last line that a script prints where nothing is installed but what training needs, warnings being errors."""
    command = [sys.executable, "-W", "error", "-c", ONLY_WHAT_TRAINING_NEEDS, module, *map(str, arguments)]
    done = subprocess.run(command, cwd=repository, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_every_script_but_the_packer_begins_with_only_what_training_needs(repository: Path) -> None:
    scripts = sorted(path.stem for path in (repository / "benchmarks" / "gpu").glob("*.py") if path.stem != "pack")
    lines = [*ONLY_WHAT_TRAINING_NEEDS.strip().splitlines()[:3], *(f"import benchmarks.gpu.{name}" for name in scripts)]
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", "\n".join(lines)],
        cwd=repository, capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def packed(small_dataset: Path, repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("pack") / "small.pack"
    command = [sys.executable, "-W", "error", "-m", "benchmarks.gpu.pack", small_dataset, path]
    subprocess.run([*command, "--source", repository / TABLE], cwd=repository, check=True, timeout=300)
    return path


@pytest.fixture(scope="module")
def unpacked(packed: Path, repository: Path) -> StickTable:
    folder = packed.with_name("again")
    said = run_bare(repository, "benchmarks.gpu.unpack", packed, folder)
    assert said["equal"], "the values are not those that were packed"
    return read_dataset(folder)


def test_every_value_of_a_packed_dataset_comes_back(small_table: StickTable, unpacked: StickTable) -> None:
    assert unpacked.digest == small_table.digest
    assert unpacked.wavelength == small_table.wavelength
    for name in ("id", "formula", "split", "energy_kind", "cell", "atomic_number", "fraction", "element_start"):
        np.testing.assert_array_equal(getattr(unpacked, name), getattr(small_table, name), err_msg=name)
    for name in ("rotation_start", "rotations", "peak_start", "hkl", "intensity"):
        np.testing.assert_array_equal(getattr(unpacked, name), getattr(small_table, name), err_msg=name)
    for name in TARGETS:
        np.testing.assert_array_equal(unpacked.targets[name], small_table.targets[name], err_msg=name)


def test_a_pack_is_less_than_a_fifth_of_the_dataset(packed: Path, small_dataset: Path) -> None:
    stored = sum(path.stat().st_size for path in small_dataset.glob("*.h5"))
    assert packed.stat().st_size < stored / 5


def test_a_pack_that_is_changed_gives_another_digest(packed: Path, small_table: StickTable) -> None:
    from benchmarks.gpu.pack_form import read_pack, write_pack
    from benchmarks.gpu.unpack import unpack

    columns, head = read_pack(packed)
    changed = columns | {"band_gap": columns["band_gap"] + np.float32(1)}
    other = packed.with_name("changed.pack")
    write_pack(other, changed, {name: head[name] for name in ("plan", "digest", "values")})
    manifest = unpack(other, packed.with_name("changed"))
    assert manifest["digest"] != small_table.digest


@pytest.mark.parametrize("coordinate", [0.0, 0.5, 1.0, -0.02, 1.25, 1 / 3, 2 / 3, 1 / 24000, 1 / 144000, 0.25])
def test_a_folded_coordinate_unfolds_to_itself(coordinate: float) -> None:
    from benchmarks.gpu.pack_form import fold, unfold

    there = np.array([[coordinate, 0.123, 1 - 0.123]])
    np.testing.assert_allclose(unfold(*fold(there)), there, rtol=0, atol=1e-15)


def test_coordinates_between_the_steps_are_refused() -> None:
    from benchmarks.gpu.pack_form import fold

    with pytest.raises(ValueError, match="multiples of 1/144,000"):
        fold(np.array([[0.12345678, 0.0, 0.0]]))
