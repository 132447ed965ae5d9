"""Text tables: the same numbers in every encoding and notation, or a refusal that names the line."""

from __future__ import annotations

import codecs

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from xxact_core.errors import PatternError
from xxact_core.patterns.conversions import CU_K_ALPHA, change_wavelength, two_theta_to_d, two_theta_to_q
from xxact_core.readers import text_table as text_tables
from xxact_core.readers.read import read_pattern

ANGLES = np.round(np.arange(10, 14, 0.02), 2)
COUNTS = np.round(1200 + 900 * np.exp(-((ANGLES - 12) ** 2) / 0.02), 1)
ROWS = [(f"{angle:.2f}", f"{count:.1f}") for angle, count in zip(ANGLES, COUNTS, strict=True)]


def table(*, separator: str = " ", end: str = "\n", header: str = "", rows: list[tuple[str, ...]] | None = None) -> str:
    """The scan above as text."""
    return header + "".join(separator.join(row) + end for row in (ROWS if rows is None else rows))


def replaced(index: int, *fields: str) -> str:
    """The scan with one row changed; row 0 stands on line 1."""
    return table(rows=[*ROWS[:index], fields, *ROWS[index + 1 :]])


def refused(text: str | bytes, code: str, pattern: str) -> None:
    data = text if isinstance(text, bytes) else text.encode()
    with pytest.raises(PatternError, match=pattern) as refusal:
        read_pattern(data, name="scan.xy")
    assert refusal.value.code == code
    assert str(refusal.value).startswith("scan.xy")


def assert_same(data: bytes) -> None:
    pattern = read_pattern(data, name="scan.xy")
    np.testing.assert_array_equal(pattern.two_theta, ANGLES)
    np.testing.assert_array_equal(pattern.intensity, COUNTS)


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("separator", [" ", "\t", ",", ";", ", ", "   ", " ; "])
def test_separators_and_line_ends_change_no_number(separator: str, end: str) -> None:
    assert_same(table(separator=separator, end=end).encode())


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "latin-1"])
def test_encodings_change_no_number(encoding: str) -> None:
    assert_same(table(header="2theta (°)  intensity\n").encode(encoding))
    if encoding.startswith("utf-16-"):
        mark = codecs.BOM_UTF16_LE if encoding.endswith("le") else codecs.BOM_UTF16_BE
        assert_same(mark + table().encode(encoding))


@pytest.mark.parametrize("separator", [" ", "\t", ";"])
def test_decimal_commas_are_decimals(separator: str) -> None:
    assert_same(table(separator=separator).replace(".", ",").encode())


@pytest.mark.parametrize(
    "header",
    [
        "# 2theta counts\n",
        "2Theta;Intensity\n",
        '\'Id: "" Comment: "3 phases" Anode: "Cu"\n',
        "! a comment\n\n; another\n",
        "/* 11-BM\n# Temp (K) = 300.03\n*/ \n",
        "sample 12\n10.00 13.98 0.02\n",
        "[Data]\nAngle,       PSD,\n",
    ],
)
def test_headers_and_comments_are_no_points(header: str) -> None:
    assert_same(table(header=header).encode())
    assert_same((header + table() + "# end\n\n").encode())


def test_further_columns_are_left_out() -> None:
    rows = [(*row, "3.2", "0") for row in ROWS]
    assert_same(table(rows=rows).encode())
    assert_same(table(rows=rows, separator="\t").encode())


def test_fortran_exponents_are_numbers() -> None:
    assert_same(table(rows=[(angle, f"{float(count):.6E}".replace("E", "D")) for angle, count in ROWS]).encode())


@pytest.mark.parametrize("content", [b"", b"  \n\r\n\t", b"\xef\xbb\xbf", b"\xff\xfe", b"\0\0\0\0"])
def test_nothing_is_refused_as_empty(content: bytes) -> None:
    refused(content, "E_EMPTY", "is empty")


@pytest.mark.parametrize("value", ["nan", "NaN", "inf", "-inf", "1e999", "1.#QNAN", "Infinity"])
@pytest.mark.parametrize("column", [0, 1])
def test_values_that_are_not_finite_are_refused_with_their_line_or_gaps(value: str, column: int) -> None:
    row = [*ROWS[7]]
    row[column] = value
    if column == 1 and "nan" in value.lower():
        pattern = read_pattern(replaced(7, *row).encode())
        np.testing.assert_array_equal(pattern.intensity, np.delete(COUNTS, 7))
        assert any("1 points without an intensity" in note for note in pattern.warnings)
    else:
        refused(replaced(7, *row), "E_VALUES", r"line 8: the (angle|intensity) is (nan|inf|-inf)")


@pytest.mark.parametrize("value", ["1_000", "0x10", "１２", "١٢", "12a", "--3", "1'000", "1.2.3", "½", "12e", "=A1"])
def test_what_only_looks_like_a_number_is_refused_with_its_line(value: str) -> None:
    refused(replaced(7, ROWS[7][0], value), "E_VALUES", "line 8: .* is not a row of 2 numbers")


@pytest.mark.parametrize("value", ["1.234,5", "1,234.5", "1,234", "1,234,567"])
def test_separators_of_thousands_are_refused_and_never_a_factor_of_a_thousand(value: str) -> None:
    refused(replaced(7, ROWS[7][0], value), "E_VALUES", "line 8")
    for separator in (" ", ";", "\t"):
        everywhere = table(rows=[(angle, value) for angle, _ in ROWS], separator=separator)
        with pytest.raises(PatternError, match=r"line 1: .* in two ways|no table") as refusal:
            read_pattern(everywhere.encode())
        assert refusal.value.code in {"E_VALUES", "E_FORMAT"}


def test_whole_angles_with_grouped_counts_are_refused() -> None:
    refused(table(rows=[(str(angle), f"1,{angle:03d}") for angle in range(10, 40)]), "E_VALUES", "in two ways")


def test_decimal_commas_between_whole_angles_are_decimals() -> None:
    pattern = read_pattern(table(rows=[(str(angle), f"{angle},5") for angle in range(10, 40)]).encode())
    np.testing.assert_array_equal(pattern.intensity, np.arange(10, 40) + 0.5)


def test_blanks_between_thousands_are_refused() -> None:
    rows = [(angle.replace(".", ","), "1", f"{index:03d},5") for index, (angle, _) in enumerate(ROWS)]
    refused(table(rows=rows), "E_VALUES", "in two ways")
    grouped = [(angle, "1", f"{index:03d}") for index, (angle, _) in enumerate(ROWS)]
    refused(table(rows=grouped, separator=","), "E_VALUES", "in two ways")
    refused(replaced(7, ROWS[7][0], "1", "200.5"), "E_VALUES", "line 8")


def test_angles_that_decrease_are_reversed_with_a_note() -> None:
    pattern = read_pattern(table(rows=ROWS[::-1]).encode())
    np.testing.assert_array_equal(pattern.two_theta, ANGLES)
    np.testing.assert_array_equal(pattern.intensity, COUNTS)
    assert any("reversed" in note for note in pattern.warnings)


def test_angles_out_of_order_are_refused_with_their_line() -> None:
    refused(table(rows=[*ROWS[:7], ROWS[8], ROWS[7], *ROWS[9:]]), "E_AXIS", "line 9: .* only increase")


def test_a_few_repeated_angles_are_averaged_and_many_refused() -> None:
    pattern = read_pattern(table(rows=[*ROWS[:5], (ROWS[4][0], "2000.0"), *ROWS[5:]]).encode())
    np.testing.assert_array_equal(pattern.two_theta, ANGLES)
    assert pattern.intensity[4] == (COUNTS[4] + 2000) / 2
    assert any("1 repeated angles were averaged" in note for note in pattern.warnings)
    refused(table(rows=sorted(ROWS + ROWS[:40])), "E_AXIS", "occur again")


def test_under_ten_points_are_refused() -> None:
    refused(table(rows=ROWS[:9]), "E_VALUES", "holds 9 points; expected at least 10")
    assert read_pattern(table(rows=ROWS[:10]).encode()).two_theta.size == 10


def test_wide_and_uneven_steps_are_noted() -> None:
    wide = read_pattern(table(rows=[(f"{10 + 0.5 * index}", "5") for index in range(50)]).encode())
    assert any("the step is 0.5°" in note for note in wide.warnings)
    uneven = read_pattern(table(rows=ROWS[:100] + ROWS[103:]).encode())
    assert any("step size varies" in note for note in uneven.warnings)
    assert not read_pattern(table().encode()).warnings


def test_values_below_zero_are_kept_and_noted_and_nothing_above_zero_is_refused() -> None:
    pattern = read_pattern(replaced(7, ROWS[7][0], "-3.5").encode())
    assert pattern.intensity[7] == -3.5
    assert any("1 intensities are below 0" in note for note in pattern.warnings)
    refused(table(rows=[(angle, "-1") for angle, _ in ROWS]), "E_VALUES", "no intensity is above 0")
    refused(table(rows=[(angle, "0") for angle, _ in ROWS]), "E_VALUES", "no intensity is above 0")


@given(st.integers(200, len(table()) - 2))
def test_a_text_cut_anywhere_says_so(length: int) -> None:
    cut = table()[:length]
    if cut.endswith("\n"):
        return
    pattern = read_pattern(cut.encode())
    assert any("truncated at" in note for note in pattern.warnings)
    points = pattern.two_theta.size
    np.testing.assert_array_equal(pattern.two_theta[: points - 1], ANGLES[: points - 1])
    np.testing.assert_array_equal(pattern.intensity[: points - 1], COUNTS[: points - 1])


def test_a_sentence_in_the_table_or_behind_it_is_refused_with_its_line() -> None:
    lines = table().split("\n")
    refused("\n".join([*lines[:50], "detector changed here", *lines[50:]]), "E_VALUES", "line 51")
    refused(table() + "Total counts 100\n", "E_VALUES", "line 201")


def test_touching_columns_are_parted_only_where_the_step_says_so() -> None:
    rows = [f"{14 + 0.05 * index:7.4f}{'' if index == 9 else ' '}{10228 if index == 9 else 397}" for index in range(30)]
    pattern = read_pattern(("\n".join(rows) + "\n").encode())
    assert (pattern.two_theta[9], pattern.intensity[9]) == (14.45, 10228)
    assert any("touch" in note for note in pattern.warnings)
    rows[9] = "14.950010228"
    refused("\n".join(rows) + "\n", "E_VALUES", "line 10")


def test_times_of_flight_and_hundredths_of_degrees_are_refused_by_what_they_look_like() -> None:
    flight = table(rows=[(f"{41168 + 105 * index}", "3") for index in range(100)])
    refused(flight, "E_AXIS", "time of flight")
    refused(table(rows=[(f"{500 + 2 * index}", "3") for index in range(100)]), "E_AXIS", "hundredths of a degree")
    refused(table(header="TOF (us)  counts\n"), "E_AXIS", "time of flight")
    refused(table(header="Energy,counts\n", separator=","), "E_AXIS", "energy")
    refused(table(rows=[(f"{angle:.2f}", "3") for angle in ANGLES - 13]), "E_AXIS", "line 1: the angle is -3")


def test_a_scan_that_starts_below_zero_is_read_from_zero() -> None:
    pattern = read_pattern(table(rows=[("-0.5", "3"), ("-0.48", "4"), *ROWS]).encode())
    np.testing.assert_array_equal(pattern.two_theta, ANGLES)
    assert "2 points below 0° were left out" in pattern.warnings


def test_neutrons_are_refused_by_name() -> None:
    refused(table(header="# HRPT neutron powder diffractometer\n"), "E_RADIATION", "neutrons")


@pytest.mark.parametrize("title", ["q [1/Å]", "Q (A^-1)", "# q(nm^-1)", "d [Å]", "d-spacing (nm)"])
def test_q_and_d_axes_become_the_angles_that_copper_shows(title: str) -> None:
    q = two_theta_to_q(ANGLES, wavelength=CU_K_ALPHA)
    d = two_theta_to_d(ANGLES, wavelength=CU_K_ALPHA)
    values = (q if "q" in title.lower() else d) * (10 if "nm^-1" in title else 0.1 if "nm" in title else 1)
    rows = [(f"{value:.9f}", count) for value, (_, count) in zip(values, ROWS, strict=True)]
    pattern = read_pattern(table(header=f"{title}\tcounts\n", separator="\t", rows=rows).encode())
    np.testing.assert_allclose(pattern.two_theta, ANGLES, atol=1e-5)
    np.testing.assert_array_equal(pattern.intensity, COUNTS)
    assert pattern.wavelength == CU_K_ALPHA
    assert any("converted to 2θ" in note for note in pattern.warnings)


def test_q_without_a_unit_is_asked_for_and_radians_are_turned() -> None:
    refused(table(header="q\tintensity\n", separator="\t"), "E_AXIS", "without a unit")
    rows = [(f"{np.deg2rad(angle):.9f}", count) for angle, (_, count) in zip(ANGLES, ROWS, strict=True)]
    pattern = read_pattern(table(header="2theta (rad), counts\n", rows=rows).encode())
    np.testing.assert_allclose(pattern.two_theta, ANGLES, atol=1e-6)


def test_a_column_called_theta_and_an_axis_that_ends_early_are_noted() -> None:
    assert any("called theta" in note for note in read_pattern(table(header="theta,counts\n").encode()).warnings)
    assert not read_pattern(table(header="2theta,counts\n").encode()).warnings
    small = table(rows=[(f"{0.01 * index:.2f}", "7") for index in range(1, 150)])
    assert any("expected 2θ in degrees" in note for note in read_pattern(small.encode()).warnings)


@pytest.mark.parametrize(
    ("header", "wavelength"),
    [
        ("# Wavelength: 1.5406\n", 1.5406),
        ("# wavelength = 0.0413 nm\n", 0.413),
        ("# Calibrated wavelength = 0.414581\n", 0.414581),
        ("#lambda 0,7093\n", 0.7093),
        ("K-Alpha1 wavelength [Å]: 1.54060\nK-Alpha2 wavelength [Å]: 1.54443\n", (2 * 1.5406 + 1.54443) / 3),
        ("#legend,Cu K_alpha\n", 1.54184),
        ("# Mo Kα1 radiation\n", 0.70930),
        ("# Cu Kα1,2\n", 1.54184),
        ("1.1294\n", 1.1294),
        ("", None),
        ("# Wavelength: 154.06\n", None),
        ("K-Alpha1 wavelength,1.54060\nK-Alpha2 wavelength,1.54443\n", (2 * 1.5406 + 1.54443) / 3),
        ("Wavelength,1.5406,\n", 1.5406),
        ("Wavelength;.7093\n", 0.7093),
        ('\'Anode: "Cu"\n', None),
    ],
)
def test_the_wavelength_is_what_the_header_says_and_never_a_likely_one(header: str, wavelength: float | None) -> None:
    assert read_pattern(table(header=header).encode()).wavelength == pytest.approx(wavelength)
    assert read_pattern(table(header=header).encode(), wavelength=0.5).wavelength == 0.5


def test_a_molybdenum_scan_lands_where_copper_shows_it() -> None:
    from xxact_core.processing.gridding import put_on_grid

    angles = np.arange(3, 45, 0.01)
    center = float(change_wavelength(np.array([28.44]), measured=CU_K_ALPHA, target=0.7093)[0])
    counts = 100 + 5000 * np.exp(-(((angles - center) / 0.05) ** 2))
    rows = [(f"{angle:.2f}", f"{count:.0f}") for angle, count in zip(angles, counts, strict=True)]
    gridded = put_on_grid(read_pattern(table(header="# Mo Kα1\n", rows=rows).encode()))
    assert gridded.grid.two_theta[gridded.intensity.argmax()] == pytest.approx(28.44, abs=0.02)


def test_huge_lines_and_tables_are_refused_quickly() -> None:
    refused(" ".join(["1.5"] * 3_000_000), "E_TOO_LARGE", "line 1: has .* characters")
    refused("1.5 2\n" * 1_100_000, "E_TOO_LARGE", "lines; expected at most 500000")
    refused((" ".join(["1.5"] * 60) + "\n") * 20, "E_TOO_LARGE", "60 columns")


def test_names_and_lines_from_the_file_are_shortened_in_messages() -> None:
    with pytest.raises(PatternError) as refusal:
        read_pattern(("words " * 500).encode(), name="a" * 500 + "\n<script>")
    assert len(str(refusal.value)) < 300
    assert "\n" not in str(refusal.value)


@given(st.binary(max_size=300))
def test_random_bytes_are_a_pattern_or_a_named_error(content: bytes) -> None:
    try:
        intensity = read_pattern(content).intensity
    except PatternError:
        return
    assert np.isfinite(intensity).all()


@given(st.text(alphabet="0123456789.,;- \n\teE", max_size=400))
def test_random_digits_are_a_pattern_or_a_named_error(content: str) -> None:
    try:
        two_theta = read_pattern(content.encode()).two_theta
    except PatternError:
        return
    assert (np.diff(two_theta) > 0).all()


@pytest.mark.parametrize(
    ("separator", "decimal"), [*((mark, ".") for mark in " \t,;"), *((mark, ",") for mark in " \t;")]
)
@pytest.mark.parametrize("width", [2, 3])
def test_quick_reading_gives_what_careful_reading_does(
    separator: str, decimal: str, width: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    fields = [(f"{10 + 0.02 * index:.4f}", f"{index % 7 + 0.25:.3e}", f"{index + 0.5}")[:width] for index in range(300)]
    text = "# a comment\n" + "\n".join(separator.join(row).replace(".", decimal) for row in fields) + "\n\n"
    quick = read_pattern(text.encode())
    monkeypatch.setattr(text_tables, "parse_rows", lambda *_, **__: None)
    assert quick == read_pattern(text.encode())
    np.testing.assert_allclose(quick.intensity, [float(row[1]) for row in fields])


def test_titles_say_which_columns_hold_angles_and_intensities() -> None:
    rows = "".join(f"{index},{angle},0.5,{count},3\n" for index, (angle, count) in enumerate(ROWS))
    assert_same(f"Point,Angle,TimePerStep,Intensity,ESD\n{rows}".encode())
    rows = "".join(f"{angle} 7 {count}\n" for angle, count in ROWS)
    assert_same(f"# 2theta I_calc I_obs\n{rows}".encode())


@pytest.mark.parametrize(("separator", "decimal"), [(",", "."), (",", ","), (";", ","), ("\t", ".")])
def test_numbers_in_quotes_are_numbers(separator: str, decimal: str) -> None:
    text = "".join(f'"{angle}"{separator}"{count}"\n'.replace(".", decimal) for angle, count in ROWS)
    assert_same(f'"Angle"{separator}"Intensity"\n{text}'.encode())
