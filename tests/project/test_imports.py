"""No import goes in a circle, not even through an import inside a function."""

from __future__ import annotations

from pathlib import Path

from import_cycles import find_cycles, import_graph
from locations import REPOSITORY


def test_no_module_imports_itself_through_others() -> None:
    graph = import_graph(REPOSITORY)
    assert len(graph) > 200
    assert find_cycles(graph) == []


def test_circle_through_a_function_is_found_and_one_for_types_alone_is_not(tmp_path: Path) -> None:
    package = tmp_path / "xxact_core"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "one.py").write_text("from xxact_core import two\n")
    (package / "two.py").write_text("def late():\n    from xxact_core.three import name\n")
    (package / "three.py").write_text("import xxact_core.one\n")
    (package / "four.py").write_text(
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from xxact_core import five\n"
    )
    (package / "five.py").write_text("from xxact_core import four\n")
    names = {f"xxact_core.{name}" for name in ("one", "two", "three")}
    assert find_cycles(import_graph(tmp_path)) == [names]
