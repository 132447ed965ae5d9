"""Labels: which field is which target, in which unit; what cannot be true is refused, what is missing is absent."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet
import pytest
from source_fixtures import CRYSTALS, read_source, write_json, write_table

from xxact_core.errors import DatasetError, StructureError
from xxact_core.structures.labels import Labels, parse_labels, record_to_targets
from xxact_core.structures.sources import list_blocks

ENERGY = "formation_energy_per_atom"


def test_labels_are_parsed_with_and_without_a_unit() -> None:
    labels = parse_labels(["band_gap=gap pbe", f" {ENERGY} = e_form : meV/atom"])
    assert labels.columns == {"band_gap": ("gap pbe", None), ENERGY: ("e_form", "meV/atom")}
    assert parse_labels(["band_gap=a:b:eV"]).columns == {"band_gap": ("a:b", "eV")}
    assert parse_labels([]) == Labels()


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("band_gap", "not of the form"),
        ("band_gap=", "not of the form"),
        ("=gap", "not a target"),
        ("space_group=spg", rf"not a target that a source states.*{ENERGY}.*band_gap"),
        ("band_gap=gap:eV/atom", r"'eV/atom' is not a unit of band_gap; choose from.*eV, meV"),
        (f"{ENERGY}=e:eV", "choose from.*eV/atom"),
        (f"{ENERGY}=e:kJ/mol", "kJ/mol/atom"),
        ("band_gap=gap:MeV", "not a unit"),
        ("band_gap=gap:nm", "not a unit"),
    ],
)
def test_label_that_cannot_be_meant_is_refused_with_the_choices(text: str, reason: str) -> None:
    with pytest.raises(DatasetError, match=reason):
        parse_labels([text])


def test_one_target_from_two_fields_is_refused() -> None:
    with pytest.raises(DatasetError, match="given twice"):
        parse_labels(["band_gap=a", "band_gap=b"])


@pytest.mark.parametrize(
    ("unit", "electronvolts"),
    [
        ("eV", 1.0),
        ("meV", 1e-3),
        ("kJ/mol", 0.010364270),
        ("kcal/mol", 0.043364104),
        ("Ry", 13.605693),
        ("Ha", 27.2113862),
    ],
)
def test_units_are_converted(unit: str, electronvolts: float) -> None:
    """Source of the expected numbers: CODATA 2018, as printed."""
    value = 0.5 / electronvolts
    gap = record_to_targets({"x": value}, parse_labels([f"band_gap=x:{unit}"]))
    energy = record_to_targets({"x": -value}, parse_labels([f"{ENERGY}=x:{unit}/atom"]))
    assert gap == {"band_gap": pytest.approx(0.5, rel=1e-6)}
    assert energy == {ENERGY: pytest.approx(-0.5, rel=1e-6)}


@pytest.mark.parametrize("value", [None, float("nan"), "na", "", "NaN", " None ", True])
def test_missing_value_leaves_the_target_absent(value: object) -> None:
    assert record_to_targets({"band_gap": value}, Labels()) == {}


def test_first_name_that_has_a_value_counts() -> None:
    record = {"band_gap": None, "data": {"band_gap_ind": 1.5, "band_gap_dir": 2.0}, "optb88vdw_bandgap": 3.0}
    assert record_to_targets(record, Labels()) == {"band_gap": 1.5}
    assert record_to_targets({"_oqmd_delta_e": -1.0, "_mp_stability": 4}, Labels()) == {ENERGY: -1.0}


def test_field_may_stand_in_a_part_of_the_record() -> None:
    record = {"data": {"hse": {"gap": 2.5}, "gap a": 2.0}, "summary": {"gap": 1.0}}
    assert record_to_targets(record, parse_labels(["band_gap=gap a"])) == {"band_gap": 2.0}
    assert record_to_targets(record, parse_labels(["band_gap=summary.gap"])) == {"band_gap": 1.0}
    assert record_to_targets(record, parse_labels(["band_gap=data.hse.gap"])) == {"band_gap": 2.5}
    assert record_to_targets(record, parse_labels(["band_gap=elsewhere"])) == {}


@pytest.mark.parametrize(("value", "gap"), [(-1e-6, 0.0), (-0.01, 0.0), (0.0, 0.0), ("1.25", 1.25), (25, 25.0)])
def test_gap_just_below_zero_is_a_metal(value: object, gap: float) -> None:
    assert record_to_targets({"band_gap": value}, Labels()) == {"band_gap": gap}


@pytest.mark.parametrize(
    ("record", "reason"),
    [
        ({"band_gap": 1500}, r"band_gap 1500 eV is outside 0 to 25 eV; is it in another unit\?"),
        ({"band_gap": -0.5}, "outside 0 to 25 eV"),
        ({"band_gap": float("inf")}, "outside"),
        ({"e_form": -350.0}, "outside -10 to 10 eV/atom"),
        ({"band_gap": "wide"}, "'wide' is not a number"),
        ({"band_gap": [1, 2]}, "is not a number"),
        ({"band_gap": 10**400}, "is not a number"),
    ],
)
def test_value_that_cannot_be_true_is_refused(record: dict[str, object], reason: str) -> None:
    with pytest.raises(StructureError, match=reason):
        record_to_targets(record, Labels())


def test_mapping_reaches_the_records_of_a_source(tmp_path: Path) -> None:
    documents = [
        {"structure": CRYSTALS["Si"].as_dict(), "hse gap": 1150.0, "band_gap": 0.6, "e": -43.0},
        {"structure": CRYSTALS["NaCl"].as_dict(), "band_gap": 5.0},
    ]
    labels = parse_labels(["band_gap=hse gap:meV", f"{ENERGY}=e:meV/atom"])
    named, without = read_source(write_json(tmp_path / "documents.json", documents), labels=labels)
    assert named.targets == pytest.approx({"band_gap": 1.15, ENERGY: -0.043})
    assert named.energy_is_exact
    assert without.targets == {}  # its band_gap is of another functional than the one asked for
    assert not without.energy_is_exact


def write_table_with_unit(path: Path, unit: str) -> Path:
    table = pa.parquet.read_table(write_table(path, list(CRYSTALS)))
    place = table.column_names.index("band_gap")
    field = pa.field("band_gap", pa.float64(), metadata={"unit": unit})
    pa.parquet.write_table(table.set_column(place, field, table["band_gap"]), path)
    return path


def test_unit_that_a_table_states_is_used(tmp_path: Path) -> None:
    path = write_table_with_unit(tmp_path / "table.parquet", "meV")
    for labels in (Labels(), parse_labels(["band_gap=band_gap"]), parse_labels(["band_gap=band_gap:meV"])):
        assert read_source(path, labels=labels)[0].targets["band_gap"] == pytest.approx(0.005)


def test_unit_that_contradicts_the_table_is_refused(tmp_path: Path) -> None:
    path = write_table_with_unit(tmp_path / "table.parquet", "meV")
    with pytest.raises(DatasetError, match="'band_gap' is in meV, not in eV"):
        list_blocks(path, rows=5, labels=parse_labels(["band_gap=band_gap:eV"]))
    write_table_with_unit(path, "furlong")
    with pytest.raises(DatasetError, match="'furlong' is not a unit of band_gap"):
        list_blocks(path, rows=5)


def test_column_that_a_table_lacks_is_refused_before_anything_is_read(tmp_path: Path) -> None:
    path = write_table(tmp_path / "table.parquet", list(CRYSTALS))
    with pytest.raises(DatasetError, match=r"no column 'gap' for band_gap; the table has .*band_gap"):
        list_blocks(path, rows=5, labels=parse_labels(["band_gap=gap"]))


def test_energy_of_a_table_is_exact_unless_its_source_says_otherwise(tmp_path: Path) -> None:
    sources = ["unique", "megnet2018", "median", None, "teacher"]
    path = write_table(tmp_path / "table.parquet", list(CRYSTALS), formation_energy_source=sources)
    items = read_source(path)
    assert [item.energy_kind for item in items] == ["unique", "megnet2018", "approximate", "approximate", "teacher"]
    assert [item.energy_is_exact for item in items] == [True, True, False, False, False]
    write_table(path, list(CRYSTALS))
    assert all(item.energy_kind == "stated" and item.energy_is_exact for item in read_source(path))


def test_labels_of_a_record_that_python_alone_can_write(tmp_path: Path) -> None:
    """NaN and Infinity are no JSON, but what `json.dump` makes of such labels; the records after them count, too."""
    document = {"structure": CRYSTALS["Si"].as_dict(), "band_gap": float("nan"), "e_form": -0.1}
    path = tmp_path / "documents.json"
    path.write_text(json.dumps([document, {**document, "band_gap": 0.6}]))
    first, second = read_source(path)
    assert first.targets == {ENERGY: -0.1}
    assert second.targets == {ENERGY: -0.1, "band_gap": 0.6}
