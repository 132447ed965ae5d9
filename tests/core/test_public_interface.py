"""The names that `xxact_core` exports."""

from __future__ import annotations

import ast
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

import xxact_core


def typed_imports() -> dict[str, tuple[str, str]]:
    """Public name → module and name there, as a type checker reads them."""
    tree = ast.parse(Path(str(xxact_core.__file__)).read_text(encoding="utf-8"))
    (block,) = [node for node in tree.body if isinstance(node, ast.If)]
    return {
        alias.asname or alias.name: (node.module, alias.name)
        for node in block.body
        if isinstance(node, ast.ImportFrom) and node.module
        for alias in node.names
    }


@pytest.mark.parametrize("name", sorted(typed_imports()))
def test_type_checkers_and_programs_see_the_same_object(name: str) -> None:
    module, defined_as = typed_imports()[name]
    assert getattr(xxact_core, name) is getattr(import_module(module), defined_as)


def test_all_lists_the_typed_names() -> None:
    assert set(xxact_core.__all__) == {*typed_imports(), "__version__"} == {*xxact_core._MODULES, "__version__"}
    assert set(xxact_core.__all__) <= set(dir(xxact_core))


def test_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'read_patern'"):
        _ = xxact_core.read_patern  # type: ignore[attr-defined]  # misspelt on purpose


def test_importing_the_package_imports_nothing_else() -> None:
    code = "import sys; before = set(sys.modules); import xxact_core; print(sorted(set(sys.modules) - before))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    new = ast.literal_eval(result.stdout)
    assert [name for name in new if name.partition(".")[0] not in sys.stdlib_module_names] == ["xxact_core"]
