"""File names, texts and tables state the value of a frame: temperatures, pressures, times, numbers."""

from __future__ import annotations

from pathlib import Path

import pytest

from xxact_core.errors import InputError
from xxact_core.series.values import (
    Quantity,
    gaps,
    name_to_quantities,
    names_to_quantities,
    read_values,
    text_to_quantity,
    to_one_unit,
)


@pytest.mark.parametrize(
    ("name", "by", "value", "unit"),
    [
        ("CaCO3_450C_30min.xy", "temperature", 450, "°C"),
        ("CaCO3_450C_30min.xy", "time", 30, "min"),
        ("Bi2O3-2MoO3_400C_60min.xrdml", "temperature", 400, "°C"),
        ("heat 450 °C.csv", "temperature", 450, "°C"),
        ("25degC.raw", "temperature", 25, "°C"),
        ("ZrO2_300.5K.xy", "temperature", 300.5, "K"),
        ("sample T=300K.xy", "temperature", 300, "K"),
        ("sample_T=-100C.xy", "temperature", -100, "°C"),
        ("sample_-100C.xy", "temperature", -100, "°C"),
        ("sample-100C.xy", "temperature", 100, "°C"),  # a dash that separates
        ("T300.xy", "temperature", 300, ""),
        ("Li2CO3_T450_x.xy", "temperature", 450, ""),
        ("quartz_RT.xy", "temperature", 25, "°C"),
        ("NaCl_12.5GPa.xye", "pressure", 12.5, "GPa"),
        ("NaCl_12p5GPa.xye", "pressure", 12.5, "GPa"),
        ("P=3kbar.xy", "pressure", 3, "kbar"),
        ("t=30min", "time", 30, "min"),
        ("run_1h30min.xy", "time", 90, "min"),
        ("run_90s.xy", "time", 90, "s"),
        ("frame_0012.xy", "frame", 12, ""),
        ("voltage=3.7V_2.xy", "voltage", 3.7, "V"),
        ("cell_Voltage_3.7.xy", "voltage", 3.7, ""),
    ],
)
def test_a_file_name_states_a_value(name: str, by: str, value: float, unit: str) -> None:
    assert name_to_quantities(name, by) == [Quantity(value, unit)]


@pytest.mark.parametrize("name", ["CaCO3.xy", "Fe3C.xy", "V2O5.xy", "Scan_C1.xrdml", "2C3.xy", "LiK2.xy", "12 Cu.xy"])
def test_formulas_and_numbers_of_scans_are_no_temperatures(name: str) -> None:
    assert name_to_quantities(name, "temperature") == []


def test_of_several_values_the_one_that_changes_counts() -> None:
    cooled = ["900C_powder_T25C.xy", "900C_powder_T50C.xy", "900C_powder_T75C.xy"]
    assert names_to_quantities(cooled, "temperature") == [Quantity(value, "°C") for value in (25, 50, 75)]
    assert names_to_quantities(["a_900C.xy", "b.xy"], "temperature") == [Quantity(900, "°C"), None]


def test_values_in_different_units_are_converted_to_one() -> None:
    numbers, unit = to_one_unit([Quantity(300, "K"), Quantity(25, "°C"), None], "temperature")
    assert unit == "K"
    assert numbers == [300, 298.15, None]
    assert to_one_unit([Quantity(90, "s"), Quantity(2, "min"), Quantity(1, "h")], "time") == ([90, 120, 3600], "s")
    assert to_one_unit([Quantity(400, "°C"), Quantity(500, "°C")], "temperature") == ([400, 500], "°C")
    assert to_one_unit([Quantity(3.7, "V"), Quantity(3.8)], "voltage") == ([3.7, 3.8], "V")


@pytest.mark.parametrize(
    ("text", "quantity"),
    [
        ("573 K", Quantity(573, "K")),
        ("-3,5", Quantity(-3.5)),
        ("1e3 Pa", Quantity(1000, "Pa")),
        ("450 °C", Quantity(450, "°C")),
        ("warm", None),
        ("3 4", None),
        ("", None),
    ],
)
def test_a_text_is_a_number_with_a_unit_or_nothing(text: str, quantity: Quantity | None) -> None:
    assert text_to_quantity(text) == quantity


def test_missing_numbers_are_listed_as_ranges() -> None:
    assert gaps([1, 2, 5, 9]) == ["3-4", "6-8"]
    assert gaps([3, 1]) == ["2"]
    assert gaps([1, 2, 3]) == []
    assert gaps([]) == []
    assert gaps([10**15, 1]) == ["2-999999999999999"]
    assert text_to_quantity("1e999") is None


@pytest.mark.parametrize(
    "text",
    [
        "file,temperature [°C]\na.xy,20\nb.xy,30\n",
        "file;T (°C)\na.xy;20,0\nb.xy;30,0\n",
        "file\ttemperature_C\na.xy\t20\nb.xy\t30\n",
        "# heating\nname,note,Temperature/°C\na.xy,first,20\nb.xy,second,30\n",
        "a.xy,20 °C\nb.xy,30 °C\n",
    ],
)
def test_a_table_of_files_and_values_is_read_in_any_usual_form(tmp_path: Path, text: str) -> None:
    (tmp_path / "values.csv").write_text(text, encoding="utf-8")
    by, values = read_values(tmp_path / "values.csv", "temperature")
    assert by == "temperature"
    assert values == {"a.xy": Quantity(20, "°C"), "b.xy": Quantity(30, "°C")}


def test_a_table_names_its_quantity_and_may_be_a_list_in_the_order_of_the_frames(tmp_path: Path) -> None:
    (tmp_path / "values.csv").write_text("T [K]\n300\n310\n\n", encoding="utf-8")
    assert read_values(tmp_path / "values.csv", None) == ("temperature", [Quantity(300, "K"), Quantity(310, "K")])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty"),
        (
            "file,temperature\na.xy,hot\n",
            "has no column of numbers called temperature; its columns are file, temperature",
        ),
        ("file,pressure\na.xy,3\n", "has no column of numbers called temperature"),
    ],
)
def test_a_table_without_the_values_is_refused(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "values.csv").write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=message) as raised:
        read_values(tmp_path / "values.csv", "temperature")
    assert raised.value.code == "E_SERIES"
