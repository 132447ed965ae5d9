"""JCAMP-DX: each form gives the same numbers, and a table that contradicts its header is refused."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pattern_files import refused

from xxact_core.patterns.conversions import two_theta_to_q
from xxact_core.readers.read import read_pattern, read_scans

ANGLES = 10 + 0.05 * np.arange(100)
COUNTS = np.array([20, 20, 20, 25, 1000, 310, 30, 20, 20, 20] * 10)


def _pseudo(value: int, positive: str, negative: str) -> str:
    digits = str(abs(value))
    return (negative[int(digits[0]) - 1] if value < 0 else positive[int(digits[0])]) + digits[1:]


def squeezed(value: int) -> str:
    return _pseudo(value, "@ABCDEFGHI", "abcdefghi")


def difference(value: int) -> str:
    return _pseudo(value, "%JKLMNOPQR", "jklmnopqr")


def body(counts: np.ndarray, form: str, *, width: int = 10) -> str:
    """Lines of a table (X++(Y..Y)) in one of the forms."""
    lines = []
    for begin in range(0, counts.size, width):
        part = [int(value) for value in counts[begin : begin + width]]
        x = f"{10 + 0.05 * begin:.2f}"
        if form == "AFFN":
            lines.append(x + " " + " ".join(map(str, part)))
        elif form == "PAC":
            lines.append(x + "".join(f"{value:+d}" for value in part))
        elif form == "SQZ":
            lines.append(x + "".join(map(squeezed, part)))
        elif form == "DUP":
            text, index = x, 0
            while index < len(part):
                times = next(
                    (n for n in range(1, len(part) - index) if part[index + n] != part[index]), len(part) - index
                )
                text += squeezed(part[index]) + ("STUVWXYZs"[times - 1] if 1 < times < 10 else "")
                index += times if 1 < times < 10 else 1
            lines.append(text)
        else:
            first = int(counts[begin - 1]) if begin else part[0]
            x = f"{10 + 0.05 * max(begin - 1, 0):.2f}"
            steps = [value - before for value, before in zip(part, [first, *part], strict=False)]
            lines.append(x + squeezed(first) + "".join(map(difference, steps if begin else steps[1:])))
    return "\n".join(lines)


def jcamp(table: str, **records: object) -> bytes:
    known = {
        "TITLE": "corundum",
        "JCAMP-DX": "4.24",
        "DATA TYPE": "X-RAY DIFFRACTION",
        "XUNITS": "2-THETA",
        "YUNITS": "COUNTS",
        "FIRSTX": 10,
        "LASTX": 14.95,
        "DELTAX": 0.05,
        "XFACTOR": 1,
        "YFACTOR": 1,
        "NPOINTS": 100,
        **{key.replace("_", " "): value for key, value in records.items()},
        "XYDATA": f"(X++(Y..Y))\n{table}",
        "END": "",
    }
    return "".join(f"##{key}={value}\n" for key, value in known.items() if value is not None).encode()


@pytest.mark.parametrize("form", ["AFFN", "PAC", "SQZ", "DUP", "DIF"])
def test_each_form_gives_the_same_numbers(form: str) -> None:
    pattern = read_pattern(jcamp(body(COUNTS, form)))
    np.testing.assert_allclose(pattern.two_theta, ANGLES)
    np.testing.assert_array_equal(pattern.intensity, COUNTS)
    assert (pattern.format, pattern.metadata["sample"]) == ("JCAMP-DX", "corundum")


@given(st.lists(st.integers(-9999, 99_999), min_size=100, max_size=100).filter(lambda values: max(values) > 0))
def test_any_numbers_come_back_from_any_form(values: list[int]) -> None:
    counts = np.array(values)
    for form in ("AFFN", "PAC", "SQZ", "DUP", "DIF"):
        np.testing.assert_array_equal(read_pattern(jcamp(body(counts, form))).intensity, counts)


def test_factors_units_and_comments_are_applied() -> None:
    data = jcamp(body(COUNTS, "AFFN").replace(" 1000 ", " 1000 ", 1), YFACTOR=0.5, YUNITS="COUNTS $$ per step")
    np.testing.assert_array_equal(read_pattern(data).intensity, COUNTS / 2)
    scaled = jcamp(body(COUNTS, "AFFN").replace("\n1", "\n1"), XFACTOR=None, DELTAX=None)
    np.testing.assert_allclose(read_pattern(scaled).two_theta, ANGLES)


def test_pairs_are_read() -> None:
    pairs = "\n".join(f"{angle:.2f}, {count}" for angle, count in zip(ANGLES, COUNTS, strict=True))
    data = jcamp("").replace(b"##XYDATA=(X++(Y..Y))\n", b"##XYPOINTS=(XY..XY)\n" + pairs.encode())
    np.testing.assert_array_equal(read_pattern(data).intensity, COUNTS)


def test_an_axis_of_q_is_one() -> None:
    q = two_theta_to_q(np.array([10, 14.95]), wavelength=1.5406)
    data = jcamp(" ".join(["0.0", *map(str, COUNTS)]), XUNITS="Q (1/A)", FIRSTX=q[0], LASTX=q[1], DELTAX=None)
    refused(data, "E_VALUES", "begins at 0")
    pattern = read_pattern(data.replace(b"0.0 20", f"{q[0]} 20".encode()), wavelength=1.5406)
    np.testing.assert_allclose(pattern.two_theta[[0, -1]], [10, 14.95])


@pytest.mark.parametrize(
    ("records", "code", "words"),
    [
        ({"NPOINTS": 110}, "E_TRUNCATED", "100 points; its header says NPOINTS=110"),
        ({"NPOINTS": 90}, "E_FORMAT", "NPOINTS=90"),
        ({"LASTX": 20}, "E_FORMAT", "do not fit"),
        ({"DELTAX": 0.1}, "E_FORMAT", "do not fit"),
        ({"FIRSTX": 11, "LASTX": 15.95}, "E_VALUES", "begins at 10"),
        ({"FIRSTY": 500}, "E_VALUES", "FIRSTY"),
        ({"LASTX": None, "DELTAX": None}, "E_FORMAT", "neither LASTX nor DELTAX"),
        ({"XUNITS": "1/CM"}, "E_AXIS", "wavenumber"),
        ({"XUNITS": "Q"}, "E_AXIS", "without a unit"),
        ({"DATA_TYPE": "INFRARED SPECTRUM"}, "E_FORMAT", "expected x-ray diffraction"),
        ({"YUNITS": "LOG COUNTS"}, "E_VALUES", "logarithms"),
        ({"NPOINTS": "many"}, "E_FORMAT", "expected a number"),
    ],
)
def test_a_header_that_contradicts_the_table_is_refused(records: dict[str, object], code: str, words: str) -> None:
    refused(jcamp(body(COUNTS, "AFFN"), **records), code, words)


def test_stated_extremes_are_held_against_the_intensities() -> None:
    assert not read_pattern(jcamp(body(COUNTS, "AFFN"), MAXY=1000, MINY=20)).warnings
    noted = read_pattern(jcamp(body(COUNTS, "AFFN"), MAXY=5, MINY=-3)).warnings
    assert noted == ("the largest intensity is 1000; MAXY says 5", "the smallest intensity is 20; MINY says -3")


def test_a_line_that_is_lost_or_changed_is_noticed() -> None:
    lines = body(COUNTS, "DIF").split("\n")
    refused(jcamp("\n".join(lines[:5] + lines[6:])), "E_TRUNCATED", "NPOINTS")
    changed = [*lines[:5], lines[5].replace(squeezed(20), squeezed(27), 1), *lines[6:]]
    refused(jcamp("\n".join(changed)), "E_VALUES", "does not begin with 20")
    refused(jcamp("\n".join([*lines[:5], "hello", *lines[5:]])), "E_VALUES", "line 6: 'hello'")


def test_blocks_are_scans_and_peaks_are_refused() -> None:
    scans = read_scans(jcamp(body(COUNTS, "AFFN")) + jcamp(body(2 * COUNTS, "AFFN")))
    np.testing.assert_array_equal(scans[1].intensity, 2 * COUNTS)
    refused(jcamp("").replace(b"##XYDATA=(X++(Y..Y))", b"##PEAK TABLE=(XY..XY)\n1,2 3,4"), "E_FORMAT", "list of peaks")
