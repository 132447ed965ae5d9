"""GSAS records."""

from __future__ import annotations

import pytest
from pattern_files import ANGLES, COUNTS, assert_scan, refused

from xxact_core.readers.read import read_pattern


def test_gsas_hundredths_of_a_degree_are_degrees_and_flight_banks_are_refused() -> None:
    rows = "".join(f"{100 * angle:.1f} {count}.0 1.0\n" for angle, count in zip(ANGLES, COUNTS, strict=True))
    assert_scan(
        read_pattern(f"title\nBANK 1 {ANGLES.size} {ANGLES.size} CONST 1000.0 2.0 0 0 FXYE\n{rows}".encode()),
        wavelength=None,
    )
    refused(f"title\nBANK 1 200 20 SLOG 1000.0 9000.0 0.001 0 FXYE\n{rows}".encode(), "E_AXIS", "time-of-flight")


@pytest.mark.parametrize("width", [1, 5])
@pytest.mark.parametrize("form", ["STD", "ESD", "FXYE", "FXY"])
def test_gsas_records_are_read_in_hundredths_of_a_degree(form: str, width: int) -> None:
    head = f"quartz\n# wavelength 0.4138\nBANK 1 200 40 CONST 1000.00 2.00 0 0 {form}\n"
    rows = [f"{100 * angle:.2f} {count}.0 1.0" for angle, count in zip(ANGLES, COUNTS, strict=True)]
    fields = {"STD": [f"{count:8d}" for count in COUNTS], "ESD": [f"{count:8.1f}{1:8.1f}" for count in COUNTS]}.get(
        form, rows if form == "FXYE" else [row.removesuffix(" 1.0") for row in rows]
    )
    width = 1 if form.startswith("FXY") else width
    body = "".join("".join(fields[at : at + width]) + "\n" for at in range(0, 200, width))
    assert_scan(read_pattern((head + body).encode(), name="scan.gsas"), wavelength=0.4138)
    bank = head.partition("BANK")[2]
    second = read_pattern(f"{head}{body}BANK{bank}{body}".encode(), name="scan.gsas", scan=1)
    assert_scan(second, wavelength=0.4138)


def test_what_stands_behind_the_columns_of_a_record_is_no_channel() -> None:
    head = "quartz\nBANK 1 200 20 CONST 1000.00 2.00 0 0 STD\n"
    records = ["".join(f"{count:8d}" for count in COUNTS[at : at + 10]) for at in range(0, 200, 10)]
    numbered = "".join(f"{record}{number:8d}\n" for number, record in enumerate(records))
    assert_scan(read_pattern((head + numbered).encode()), wavelength=None)
    long = "".join(records[:19]) + records[19]
    last = head.replace(" 20 ", " 2 ") + long[:800] + "\n" + long[800:] + "\n"
    assert_scan(read_pattern(last.encode()), wavelength=None)


@pytest.mark.parametrize("step", [2.0, -2.0])
def test_a_negative_step_is_noted(step: float) -> None:
    rows = "".join("".join(f"{10 * row + column:8d}" for column in range(1, 11)) + "\n" for row in range(5))
    pattern = read_pattern(f"title\nBANK 1 50 5 CONST 1000.0 {step} 0 0 STD\n{rows}".encode())
    assert pattern.two_theta[0] == pytest.approx(10.0 if step > 0 else 9.02)
    assert ("the angles decreased and were reversed" in pattern.warnings) is (step < 0)
