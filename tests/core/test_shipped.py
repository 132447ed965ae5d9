from __future__ import annotations

from pathlib import Path

import pytest

from xxact_core import shipped
from xxact_core.checkpoint import describe_checkpoint
from xxact_core.errors import InputError, InstallationError
from xxact_core.evaluation.reconstruction import trained_to_reconstruct
from xxact_core.shipped import TABLE, example_path, named_structures, shipped_path


@pytest.mark.parametrize("name", [shipped.TABLE, shipped.EXAMPLES, shipped.CHECKPOINT])
def test_shipped_files_are_there(name: str) -> None:
    assert shipped_path(name).exists()


def test_missing_file_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shipped, "files", lambda _package: tmp_path)
    with pytest.raises(InstallationError, match=r"xxact_core/data/materials_project\.parquet is missing"):
        shipped_path(TABLE)


def test_the_shipped_model_reconstructs() -> None:
    assert trained_to_reconstruct(describe_checkpoint(shipped_path(shipped.CHECKPOINT))["about"])


def test_unknown_example_is_refused_with_the_names_that_there_are() -> None:
    with pytest.raises(InputError, match=r"'gold\.xy'; there are anatase\.xy"):
        example_path("gold.xy")


def test_materials_project_names_the_shipped_table_unless_a_path_has_the_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert named_structures(Path("materials_project")) == shipped_path(TABLE)
    assert named_structures(Path("other")) == Path("other")
    Path("materials_project").mkdir()
    assert named_structures(Path("materials_project")) == Path("materials_project")
