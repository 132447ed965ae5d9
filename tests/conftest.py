"""What every test shares: checked shapes, one thread, and where things are."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import hypothesis
import jaxtyping
import pytest
from locations import REPOSITORY

# Shapes in signatures are checked at every call, under pytest only. It must stand before the modules are imported.
# Not in config.py: settings come from people, and have checks and messages of their own.
SHAPED = [
    ".".join(path.relative_to(REPOSITORY).with_suffix("").parts)
    for folder in ("model", "objectives")
    for path in (REPOSITORY / "xxact_core" / folder).rglob("*.py")
    if path.stem not in {"__init__", "config"}
]
jaxtyping.install_import_hook(SHAPED, "beartype.beartype")

# The same examples at every run, and no time limit for one: the machines of CI are slow and shared.
hypothesis.settings.register_profile("xxact", deadline=None, derandomize=True)
hypothesis.settings.load_profile("xxact")

pytest_plugins = ["dataset_fixtures", "browser_fixtures", "rock_salt_fixtures"]


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> None:
    """Small tensors are slower on many threads, and sums then depend on the machine."""
    import torch

    torch.set_num_threads(1)


@pytest.fixture
def tables() -> None:
    """What Panel needs before it draws tables."""
    import panel as pn

    pn.extension("tabulator")


@pytest.fixture(scope="session")
def repository() -> Path:
    """The root of the repository."""
    return REPOSITORY


@pytest.fixture(scope="session")
def examples() -> Path:
    """The folder of measured patterns that ships."""
    return REPOSITORY / "xxact_core" / "data" / "examples"


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The larger collection of measured patterns, for machines that have it: XXACT_SHARED_DATA or ../shared/data."""
    folder = Path(os.environ.get("XXACT_SHARED_DATA", REPOSITORY.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"no collection of measured patterns at {folder} (set XXACT_SHARED_DATA)")
    return folder


@pytest.fixture(scope="session")
def chromium() -> str:
    """Path of the system's Chromium; without one the test is skipped, or failed where a browser is required."""
    path = os.environ.get("XXACT_CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
    if path is None:
        reason = "no chromium on the PATH (set XXACT_CHROMIUM, or install Debian's package chromium)"
        if os.environ.get("XXACT_REQUIRE_BROWSER") == "1":
            pytest.fail(reason)
        pytest.skip(reason)
    return path


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> object:
    """Turn a skipped browser test into a failure where a browser is required, whatever the reason for the skip."""
    report = yield
    required = os.environ.get("XXACT_REQUIRE_BROWSER") == "1"
    if required and item.get_closest_marker("browser") and report.skipped and call.excinfo is not None:
        report.outcome = "failed"
        report.longrepr = f"a browser test was skipped although XXACT_REQUIRE_BROWSER=1: {call.excinfo.value}"
    return report
