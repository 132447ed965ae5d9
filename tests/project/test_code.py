"""What the text of the program may not contain, and what importing it may not do."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from locations import REPOSITORY

PRODUCT = sorted([REPOSITORY / "app.py", *REPOSITORY.glob("xxact_core/**/*.py"), *REPOSITORY.glob("xxact_app/**/*.py")])
SCRIPTS = sorted([*REPOSITORY.glob("benchmarks/**/*.py"), *REPOSITORY.glob("tests/**/*.py")])
MODULES = [
    ".".join(path.relative_to(REPOSITORY).with_suffix("").parts).removesuffix(".__init__")
    for path in PRODUCT
    if path.name not in {"app.py", "__main__.py"}
]

UNSAFE_IMPORTS = {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "marshal", "shelve", "jsonpickle"}
UNSAFE_XML = ("xml.etree", "xml.dom", "xml.sax", "lxml")
UNSAFE_CALLS = {"eval", "exec", "yaml.load", "yaml.unsafe_load", "os.system", "os.popen", "pd.read_pickle"}

# Reviewed places: (file, what is found there) -> why it is safe.
REVIEWED: dict[tuple[str, str], str] = {
    ("tests/core/test_checkpoint.py", "pickle"): "makes the foreign file that must be refused",
    ("tests/project/test_readme.py", "exec"): "runs the example of our own README",
}


def relative(path: Path) -> str:
    return path.relative_to(REPOSITORY).as_posix()


def dotted(node: ast.expr) -> str:
    return ast.unparse(node) if isinstance(node, ast.Name | ast.Attribute) else ""


def true_keyword(call: ast.Call, name: str) -> bool:
    values = [keyword.value for keyword in call.keywords if keyword.arg == name]
    return bool(values) and not (isinstance(values[0], ast.Constant) and values[0].value is False)


def literally_true(call: ast.Call, name: str) -> bool:
    return any(
        keyword.arg == name and isinstance(keyword.value, ast.Constant) and keyword.value.value is True
        for keyword in call.keywords
    )


def unsafe_import(node: ast.AST) -> str | None:
    names = []
    if isinstance(node, ast.Import):
        names = [alias.name for alias in node.names]
    elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
        names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
    for name in names:
        if name.split(".")[0] in UNSAFE_IMPORTS:
            return "pickle"
        if name.startswith(UNSAFE_XML):
            return "xml"
    return None


def unsafe_call(node: ast.AST) -> str | None:
    if not isinstance(node, ast.Call):
        return None
    name = dotted(node.func)
    if name in UNSAFE_CALLS:
        return name
    if name == "torch.load" and not literally_true(node, "weights_only"):
        return "torch.load"
    if true_keyword(node, "shell"):
        return "shell"
    if true_keyword(node, "allow_pickle"):
        return "allow_pickle"
    return None


def findings(path: Path) -> Iterator[tuple[str, int]]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        found = unsafe_import(node) or unsafe_call(node)
        if found:
            yield found, node.lineno


@pytest.mark.parametrize("path", PRODUCT + SCRIPTS, ids=relative)
def test_nothing_that_runs_foreign_content(path: Path) -> None:
    unsafe = [
        f"{relative(path)}:{line}: {found}" for found, line in findings(path) if (relative(path), found) not in REVIEWED
    ]
    assert not unsafe, unsafe


def test_every_reviewed_exception_is_still_needed() -> None:
    for name, found in REVIEWED:
        assert found in {what for what, _ in findings(REPOSITORY / name)}, f"{name} no longer needs {found}"


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("import pickle", "pickle"),
        ("from xml import etree", "xml"),
        ("import xml.etree.ElementTree as tree", "xml"),
        ("torch.load(path)", "torch.load"),
        ("torch.load(path, weights_only=False)", "torch.load"),
        ("torch.load(path, weights_only=True)", None),
        ("subprocess.run(line, shell=True)", "shell"),
        ("subprocess.run(line, shell=False)", None),
        ("numpy.load(path, allow_pickle=flag)", "allow_pickle"),
        ("eval(text)", "eval"),
        ("model.eval()", None),
        ("yaml.load(text)", "yaml.load"),
    ],
)
def test_the_search_finds_what_it_looks_for(text: str, found: str | None, tmp_path: Path) -> None:
    path = tmp_path / "module.py"
    path.write_text(text)
    assert [what for what, _ in findings(path)] == ([found] if found else [])


@pytest.mark.parametrize("path", sorted(REPOSITORY.glob("tests/**/*.py")), ids=relative)
def test_no_two_tests_of_one_name(path: Path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for body in [tree.body, *(node.body for node in tree.body if isinstance(node, ast.ClassDef))]:
        names = Counter(node.name for node in body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))
        repeated = [name for name, count in names.items() if count > 1]
        assert not repeated, f"{relative(path)}: only the last of {repeated} runs"


def test_module_names_of_tests_differ() -> None:
    names = Counter(path.name for path in REPOSITORY.glob("tests/**/test_*.py"))
    assert [name for name, count in names.items() if count > 1] == []


def run_python(code: str, folder: Path) -> str:
    result = subprocess.run(
        [sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, timeout=300, check=False
    )
    assert result.returncode == 0, result.stderr
    return result.stdout


def test_importing_predict_is_light(tmp_path: Path) -> None:
    code = """
        import sys
        import xxact_core.prediction.predictor
        heavy = {"pymatgen", "panel", "bokeh", "holoviews", "matplotlib", "sklearn", "xarray", "xxact_app"}
        print(sorted(heavy & set(sys.modules)))
    """
    assert run_python("\n".join(line.strip() for line in code.splitlines()), tmp_path) == "[]\n"


IMPORT_EVERYTHING = """
import importlib, os, pathlib, random, sys, threading
import numpy, torch
before = (random.getstate(), repr(numpy.random.get_state()), torch.get_rng_state().tolist(), torch.get_num_threads(),
          torch.get_default_dtype(), str(torch.get_default_device()), dict(os.environ), os.getcwd())
for name in MODULES:
    importlib.import_module(name)
after = (random.getstate(), repr(numpy.random.get_state()), torch.get_rng_state().tolist(), torch.get_num_threads(),
         torch.get_default_dtype(), str(torch.get_default_device()), dict(os.environ), os.getcwd())
names = ["random", "numpy random", "torch random", "torch threads", "dtype", "device", "environment", "folder"]
print([name for name, old, new in zip(names, before, after) if old != new])
print(sorted(str(path) for path in pathlib.Path.cwd().rglob("*")))
"""


@pytest.mark.slow
def test_importing_does_nothing(tmp_path: Path) -> None:
    core = [name for name in MODULES if name.startswith("xxact_core")]
    output = run_python(f"MODULES = {core!r}\n{IMPORT_EVERYTHING}", tmp_path)
    assert output == "[]\n[]\n", f"importing changed or printed: {output}"


MODULE_LEVEL_EFFECTS = (
    "warnings.filterwarnings",
    "warnings.simplefilter",
    "logging.basicConfig",
    "torch.manual_seed",
    "torch.set_",
    "np.random.",
    "random.seed",
    "pn.extension",
    "os.environ",
    "os.makedirs",
    "open",
)


def module_level_calls(tree: ast.Module) -> Iterator[ast.Call]:
    """Calls that run at import: outside of functions, lambdas and `if __name__ == "__main__"`."""
    waiting: list[ast.AST] = list(tree.body)
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            waiting.extend(node.decorator_list if not isinstance(node, ast.Lambda) else [])
            continue
        if isinstance(node, ast.If) and "__name__" in ast.unparse(node.test):
            continue
        if isinstance(node, ast.Call):
            yield node
        waiting.extend(ast.iter_child_nodes(node))


@pytest.mark.parametrize("path", [path for path in PRODUCT if path.name != "app.py"], ids=relative)
def test_nothing_happens_at_module_level(path: Path) -> None:
    calls = [dotted(call.func) for call in module_level_calls(ast.parse(path.read_text(encoding="utf-8")))]
    effects = [name for name in calls if name.startswith(MODULE_LEVEL_EFFECTS) and name != "np.random.Generator"]
    assert not effects, f"{relative(path)} does {effects} when it is imported"
