"""SPEC files: the main counter over 2θ, whatever stands beside it."""

from __future__ import annotations

import numpy as np
import pytest
from pattern_files import ANGLES, COUNTS, refused

from xxact_core.patterns.conversions import two_theta_to_q
from xxact_core.readers.read import read_pattern, read_scans


def spec(
    labels: str = "Two Theta  Epoch  Monitor  Detector",
    *,
    command: str = "ascan  tth 10 13.98 199 1",
    number: int = 1,
    **columns: object,
) -> str:
    """One scan; columns by label without blanks, by default those of a constant monitor."""
    known = {"TwoTheta": ANGLES, "Epoch": np.arange(200), "Monitor": np.full(200, 1000), "Detector": COUNTS, **columns}
    names = ["".join(label.split()) for label in labels.split("  ")]
    rows = "\n".join(" ".join(map(str, row)) for row in zip(*(known[name] for name in names), strict=True))
    return f"\n#S {number}  {command}\n#D Mon Sep 29 09:44:15 2014\n#N {len(names)}\n#L {labels}\n{rows}\n"


HEAD = "#F lab6.spec\n#E 1412001795\n"


def test_the_last_counter_is_the_intensity() -> None:
    pattern = read_pattern((HEAD + spec()).encode())
    np.testing.assert_allclose(pattern.two_theta, ANGLES)
    np.testing.assert_array_equal(pattern.intensity, COUNTS)
    assert any("'Detector'" in note for note in pattern.warnings)
    assert pattern.format == "SPEC"


@pytest.mark.parametrize(
    "labels", ["TwoTheta  Detector  Seconds", "TwoTheta  Epoch  Detector  Monitor", "Epoch  TwoTheta  Detector"]
)
def test_times_and_monitors_are_no_counters(labels: str) -> None:
    pattern = read_pattern((HEAD + spec(labels, Seconds=np.ones(200))).encode())
    np.testing.assert_array_equal(pattern.intensity, COUNTS)
    np.testing.assert_allclose(pattern.two_theta, ANGLES)


def test_a_monitor_and_a_time_that_vary_divide_the_counts() -> None:
    monitor = 1000 + COUNTS % 5
    data = HEAD + spec(Monitor=monitor, Detector=COUNTS * monitor)
    np.testing.assert_allclose(read_pattern(data.encode()).intensity, COUNTS * monitor.mean())


def test_scans_over_other_axes_are_left_out_or_refused() -> None:
    other = spec("Theta  Detector", command="ascan  th 0 1 10 1", Theta=ANGLES)
    scans = read_scans((HEAD + other + spec(number=2) + spec(number=3)).encode())
    assert len(scans) == 2
    assert any("1 scans over other axes" in note for note in scans[0].warnings)
    refused((HEAD + other).encode(), "E_AXIS", "no scan of the SPEC file runs over 2θ, q or d .* 'Theta'")


def test_a_number_of_columns_that_is_not_the_stated_one_is_noted() -> None:
    assert not any("#N" in note for note in read_pattern((HEAD + spec()).encode()).warnings)
    noted = read_pattern((HEAD + spec().replace("#N 4", "#N 5")).encode()).warnings
    assert "the rows have 4 columns; #N says 5" in noted


def test_a_stopped_scan_says_so() -> None:
    data = HEAD + spec(command="ascan  tth 10 80 3500 1")
    assert any("200 of 3501 points" in note for note in read_pattern(data.encode()).warnings)


def test_spectra_of_analysers_are_skipped() -> None:
    lines = spec().split("\n")
    lines.insert(7, "@A 1 2 3\\\n4 5 6")
    np.testing.assert_array_equal(read_pattern((HEAD + "\n".join(lines)).encode()).intensity, COUNTS)


def test_rows_of_other_lengths_and_words_are_refused_with_their_line() -> None:
    refused((HEAD + spec() + "14.0 1\n").encode(), "E_VALUES", "line 208: has 2 columns")
    refused((HEAD + spec().replace(" 1000 7\n", " 1000 seven\n")).encode(), "E_VALUES", "not a table of numbers")


@pytest.mark.parametrize(("label", "code"), [("I", ""), ("F(Q)", "E_AXIS"), ("S(Q)", "E_AXIS")])
def test_pdfgetx3_intensities_are_read_and_structure_functions_refused(label: str, code: str) -> None:
    q = two_theta_to_q(ANGLES, wavelength=0.1867)
    rows = "".join(f"{x:.7f} {count}\n" for x, count in zip(q, COUNTS, strict=True))
    data = f"[DEFAULT]\n\nwavelength = 0.1867\n\n#### start data\n\n#S 1\n#L Q($\\AA^{{-1}}$)  {label}\n{rows}".encode()
    if code:
        refused(data, code, "structure function")
        return
    pattern = read_pattern(data)
    assert pattern.wavelength == 0.1867
    np.testing.assert_allclose(pattern.two_theta, ANGLES, atol=1e-4)
