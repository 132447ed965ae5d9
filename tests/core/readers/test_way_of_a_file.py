"""The bytes of a file pass few modules on their way to a `Pattern`, so that a newcomer can follow them."""

from __future__ import annotations

import pattern_files
import pytest
from tracing import modules_entered

from xxact_core.patterns.pattern import Pattern
from xxact_core.readers.read import read_pattern
from xxact_core.shipped import EXAMPLES, shipped_path

MAX_MODULES = 6
EXAMPLE_FILES = sorted(path for path in shipped_path(EXAMPLES).iterdir() if path.name != "examples.csv")
VENDOR_FILES = {
    "bruker": pattern_files.raw_1(),
    "philips": pattern_files.philips_udf().encode(),
    "powder_cif": pattern_files.powder_cif().encode(),
    "stoe": pattern_files.stoe_raw(),
}
"""Vendors without an example; HDF5 is read in another process."""


def test_the_trace_lists_each_module_once_and_no_other_package() -> None:
    pattern = Pattern(two_theta=[1.0, 2.0], intensity=[1.0, 2.0])
    trace = modules_entered(lambda: (pattern == pattern, Pattern([1, 2], [3, 4])), package="xxact_core")  # noqa: PLR0124 - __eq__ is entered
    assert trace == ["xxact_core.patterns.pattern"]


@pytest.mark.parametrize("path", EXAMPLE_FILES, ids=lambda path: path.name)
def test_an_example_passes_at_most_six_modules(path: object) -> None:
    read_pattern(path)
    modules = modules_entered(lambda: read_pattern(path), package="xxact_core")
    assert modules[0] == "xxact_core.readers.read"
    assert len(modules) <= MAX_MODULES, modules


@pytest.mark.parametrize("vendor", VENDOR_FILES)
def test_a_vendor_file_passes_at_most_six_modules_one_of_them_its_vendors(vendor: str) -> None:
    data = VENDOR_FILES[vendor]
    read_pattern(data)
    modules = modules_entered(lambda: read_pattern(data), package="xxact_core")
    assert f"xxact_core.readers.{vendor}" in modules
    assert len(modules) <= MAX_MODULES, modules
