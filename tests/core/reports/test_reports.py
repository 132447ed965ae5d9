"""Reports of an analysed pattern: JSON, HTML, plot, NeXus, archives for lab notebooks, and tables."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import os
import re
import shutil
import subprocess
import zipfile
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from html.parser import HTMLParser
from pathlib import Path

import h5py
import numpy as np
import pytest

from xxact_core.errors import FormulaError, InputError, PatternError
from xxact_core.patterns.conversions import WAVELENGTHS
from xxact_core.patterns.pattern import Pattern
from xxact_core.readers.read import read_pattern, read_scans
from xxact_core.reports.analysed_pattern import (
    AnalysedPattern,
    AnalysisSettings,
    PatternAnalyser,
    to_analysed_pattern,
)
from xxact_core.reports.eln_archive import crate_metadata
from xxact_core.reports.figure import draw_plot, printable
from xxact_core.reports.files import FORMATS, analysed_to_files, format_of, write_report
from xxact_core.reports.html_report import write_error_html, write_html
from xxact_core.reports.nexus_file import analysed_to_nexus, pattern_to_nexus
from xxact_core.reports.records import analysed_to_row, rows_to_csv
from xxact_core.search_match.phase_analysis import PhaseAnalysis
from xxact_core.search_match.worker import analysis_to_curves

WHEN = datetime(2026, 11, 30, 1, 2, 3, tzinfo=UTC)
NAME = "<img src=x onerror=alert(1)>.xy"


@pytest.fixture(scope="module")
def analysed(analysis: AnalysisSettings, measured: Callable[..., str]) -> AnalysedPattern:
    return PatternAnalyser(analysis).analyse(measured("NaCl").encode(), name=NAME)


@pytest.fixture(scope="module")
def content(measured: Callable[..., str]) -> bytes:
    return measured("NaCl").encode()


def test_json_has_the_keys_of_identify_and_where_it_comes_from(analysed: AnalysedPattern, content: bytes) -> None:
    plain = json.loads(json.dumps(analysed.to_dict(), allow_nan=False))
    assert plain["phases"][0]["formula"] == "NaCl"
    assert set(analysed.found.to_dict()) <= set(plain)
    assert plain["source"] == {"name": NAME, "size": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    assert plain["prediction"] is None
    assert [step["step"] for step in plain["processing"]["steps"]] == [step.NAME for step in analysed.pipeline.steps]
    assert plain["program"]["reference_digest"] == analysed.reference_digest


def test_an_analysis_is_made_again_from_its_json_and_its_curves(analysed: AnalysedPattern) -> None:
    """As the app gets it from the process that searches."""
    plain = json.loads(json.dumps(analysed.found.to_dict(reflections=True)))
    again = PhaseAnalysis.from_dict(plain, curves=analysis_to_curves(analysed.analysis))
    assert again.to_dict(reflections=True) == analysed.analysis.to_dict(reflections=True)
    np.testing.assert_allclose(again.calculated, analysed.analysis.calculated, rtol=1e-6)
    assert again.phases[0].row == -1
    assert (again.phases[0].label, again.phases[0].cell_text) == (
        analysed.analysis.phases[0].label, analysed.analysis.phases[0].cell_text,
    )  # fmt: skip


def test_settings_are_checked_and_survive_json(analysis: AnalysisSettings) -> None:
    settings = replace(analysis, elements="Na,Cl", maybe=("K",), one_of="C,O")
    assert settings.composition == "Na,Cl,?K,?C,?O"
    assert AnalysisSettings.from_dict(json.loads(json.dumps({"elements": ["Na"], "scan": "sum"}))).elements == ("Na",)
    assert AnalysisSettings().composition == "?"
    with pytest.raises(FormulaError):
        AnalysisSettings(elements="Xx")
    with pytest.raises(PatternError):
        AnalysisSettings(scan="first")


def test_a_prediction_agrees_with_the_phase(
    analysis: AnalysisSettings, analysed: AnalysedPattern, content: bytes
) -> None:
    found = PatternAnalyser(replace(analysis, predict=True, elements="Na,Cl")).analyse(content, name="salt.xy")
    assert found.prediction is not None
    assert found.model_digest is not None
    assert found.prediction.crystal_system[0].label == "cubic"
    assert found.prediction.formula == ("NaCl" if found.certainty == "likely" else "Na,Cl")
    with h5py.File(io.BytesIO(analysed_to_nexus(found, when=WHEN))) as file:
        results = file["entry/prediction/results"]
        assert results["crystal_system"].asstr()[()] == "cubic"
        assert results["model_sha256"].asstr()[()] == found.model_digest
    assert "Prediction for" in write_html(found)
    assert analysed_to_row(found, when=WHEN)["predicted_crystal_system"] == "cubic"
    mixture = to_analysed_pattern(
        replace_verdict(analysed), analysed.pattern, source=analysed.source, settings=analysed.settings,
        reference_digest="", prediction=found.prediction,
    )  # fmt: skip
    assert mixture.prediction is None
    assert mixture.notes == ("no single prediction applies to a mixture",)


def replace_verdict(analysed: AnalysedPattern) -> object:
    """The identification, as if the specimen were a mixture."""
    analysis = replace(analysed.analysis, verdict="mixture", phases=analysed.analysis.phases * 2)
    return replace(analysed.found, analyse=lambda: analysis)


class _Tags(HTMLParser):
    """Tags and attributes of a page, and its text."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data


def test_the_report_is_one_file_and_names_from_files_are_only_text(analysed: AnalysedPattern) -> None:
    page = _Tags()
    page.feed(write_html(analysed, plot=draw_plot(analysed), remarks=["<script>"]))
    assert NAME in page.text
    assert "Single phase: NaCl" in page.text
    assert [tag for tag, _ in page.tags if tag in {"script", "iframe", "link"}] == []
    (image,) = [attributes for tag, attributes in page.tags if tag == "img"]
    assert str(image["src"]).startswith("data:image/png;base64,")
    assert "onerror" not in image
    page = _Tags()
    page.feed(write_error_html(NAME, "x < y"))
    assert "x < y" in page.text
    assert [tag for tag, _ in page.tags if tag == "img"] == []


def test_plots_have_the_fit_and_equal_ones_are_equal_files(analysed: AnalysedPattern) -> None:
    assert draw_plot(analysed).startswith(b"\x89PNG")
    assert draw_plot(analysed, kind="pdf").startswith(b"%PDF")
    assert b"<svg" in draw_plot(analysed, kind="svg")
    assert draw_plot(analysed) == draw_plot(analysed)
    assert printable("$x$ TiO₂ é 日") == "$x$ TiO₂ é □"


def test_nexus_is_read_back_with_its_points_and_its_wavelength(analysed: AnalysedPattern) -> None:
    pattern = replace(analysed.pattern, metadata={"anode": "Cu", "kalpha2": "ratio 0.5", "step_seconds": "12.5",
                                                  "sample": "salt", "scan_axis": "Gonio"})  # fmt: skip
    data = analysed_to_nexus(replace(analysed, pattern=pattern), when=WHEN, start=WHEN)
    (read,) = read_scans(data, name="salt.nxs")
    np.testing.assert_array_equal(read.two_theta, pattern.two_theta)
    np.testing.assert_array_equal(read.intensity, pattern.intensity)
    assert read.wavelength == pattern.wavelength == WAVELENGTHS["CuKa"]
    assert read.warnings == ()
    assert dict(read.metadata).items() >= pattern.metadata.items()
    with h5py.File(io.BytesIO(data)) as file:
        entry = file["entry"]
        assert entry["definition"].asstr()[()] == "NXxrd_pan"
        assert entry["start_time"].asstr()[()].startswith("2026-11-30T")
        assert "note" not in entry
        phase = entry["phase_analysis/phase_1"]
        assert phase["chemical_formula"].asstr()[()] == "NaCl"
        assert phase["unit_cell_abc"][()] == pytest.approx([5.6402] * 3, abs=0.01)
        assert phase["unit_cell_abc"].attrs["units"] == "angstrom"
        assert phase["unit_cell_alphabetagamma"][()] == pytest.approx([90] * 3)
        assert entry["process_1/note/description"].asstr()[()] == analysed.pipeline.steps[0].NAME
        fit = entry["phase_analysis/fit"]
        np.testing.assert_allclose(fit["difference"][()], fit["measured"][()] - fit["calculated"][()])
        np.testing.assert_array_equal(entry["model_input/gridded/intensity"], analysed.processed.gridded.intensity)


@pytest.mark.parametrize("wavelength", [0.4131, None, WAVELENGTHS["MoKa1"]])
@pytest.mark.parametrize("scale", [1.0, 0.00137])
def test_nexus_of_other_radiation_and_of_intensities_that_are_no_counts(
    analysed: AnalysedPattern, wavelength: float | None, scale: float
) -> None:
    pattern = Pattern(analysed.pattern.two_theta, analysed.pattern.intensity * scale, wavelength, name="beam.xye")
    data = pattern_to_nexus(pattern, start=WHEN)
    read = read_pattern(data)
    np.testing.assert_array_equal(read.intensity, pattern.intensity)
    assert read.wavelength == wavelength
    with h5py.File(io.BytesIO(data)) as file:
        tube = wavelength == WAVELENGTHS["MoKa1"]
        assert file["entry/definition"].asstr()[()] == ("NXxrd_pan" if tube else "NXxrd")
        counts = file["entry/instrument/detector/data"]
        assert counts.dtype.kind == "i"
        np.testing.assert_allclose(
            counts[()] / counts[()].max(), pattern.intensity / pattern.intensity.max(), atol=1e-5
        )
        assert ("detector/data is" in str(file.get("entry/note/description", {(): b""})[()])) == (scale != 1)


def test_nexus_of_metadata_that_no_reader_wrote(analysed: AnalysedPattern) -> None:
    """As a program may pass them: such values are left out, and characters that HDF5 lacks replaced."""
    metadata = {"temperature": "hot", "step_seconds": "long", "sample": "salt\0 \udce9", "scan_axis": "Gonio"}
    pattern = Pattern(analysed.pattern.two_theta, [1e30, *analysed.pattern.intensity[1:]], name="a\0b",
                      metadata=metadata, wavelength=WAVELENGTHS["CuKa"])  # fmt: skip
    with h5py.File(io.BytesIO(pattern_to_nexus(pattern))) as file:
        assert file["entry/title"].asstr()[()] == "a b"
        assert file["entry/sample/sample_name"].asstr()[()] == "salt  ?"
        assert "temperature" not in file["entry/sample"]
        assert "start of the measurement" not in file["entry/note/description"].asstr()[()], "none is stated"
        counts = file["entry/instrument/detector/data"][()]
        assert counts[0] == 10**6
        assert counts.min() >= 0
    warm = replace(analysed.pattern, metadata={"temperature": "550 °C"})
    with h5py.File(io.BytesIO(pattern_to_nexus(warm))) as file:
        assert (file["entry/sample/temperature"][()], file["entry/sample/temperature"].attrs["units"]) == (550, "degC")


@pytest.mark.slow
def test_nexus_is_valid_by_the_validator_of_pynxtools(analysed: AnalysedPattern, tmp_path: Path) -> None:
    validator = os.environ.get("XXACT_NEXUS_VALIDATOR") or shutil.which("pynx")
    if validator is None:
        pytest.skip("no `pynx` of pynxtools, which validates NeXus files (install it anywhere: XXACT_NEXUS_VALIDATOR)")
    beam = replace(analysed, pattern=replace(analysed.pattern, wavelength=0.4131))
    for name, one in (("tube.nxs", analysed), ("beam.nxs", beam)):
        path = tmp_path / name
        path.write_bytes(analysed_to_nexus(one, when=WHEN))
        done = subprocess.run([validator, "validate", path], capture_output=True, text=True, check=False)
        said = done.stdout + done.stderr
        definition = "NXxrd_pan" if name == "tube.nxs" else "NXxrd"
        assert re.search(rf"is valid according to the `{definition}` application definition", said), said
        assert "NOT valid" not in said


def test_the_archive_is_an_ro_crate_whose_files_are_what_it_says(
    analysed: AnalysedPattern, content: bytes, tmp_path: Path
) -> None:
    path = tmp_path / "day 1 salt.eln"
    write_report(analysed, path, content=content)
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None
        names = archive.namelist()
        roots = {name.split("/")[0] for name in names}
        assert roots == {"day_1_salt"}, "one folder, as the format requires"
        described = json.loads(archive.read("day_1_salt/ro-crate-metadata.json"))
        members = {name.removeprefix("day_1_salt/"): archive.read(name) for name in names}
    graph = {one["@id"]: one for one in described["@graph"]}
    assert described["@context"] == "https://w3id.org/ro/crate/1.1/context"
    assert graph["ro-crate-metadata.json"]["about"] == {"@id": "./"}
    files = {name.removeprefix("./"): one for name, one in graph.items() if one["@type"] == "File"}
    assert set(files) == set(members) - {"ro-crate-metadata.json"}
    for name, one in files.items():
        assert one["sha256"] == hashlib.sha256(members[name]).hexdigest()
        assert one["contentSize"] == str(len(members[name]))
    assert content in members.values(), "the measured file is in it"
    assert {part["@id"] for part in graph["./results/"]["hasPart"]} == {f"./{name}" for name in files}
    for one in described["@graph"]:  # every reference leads somewhere
        for value in [one.get("hasPart"), one.get("variableMeasured"), one.get("instrument"), one.get("object")]:
            for link in value if isinstance(value, list) else [value] if value else []:
                assert link["@id"] in graph
    values = {one["name"]: one for one in described["@graph"] if one["@type"] == "PropertyValue"}
    assert values["verdict"]["value"] == "single"
    fraction = next(one for name, one in values.items() if name.startswith("weight fraction of NaCl"))
    assert (fraction["value"], fraction["unitText"], fraction["unitCode"]) == (100.0, "%", "P1")
    assert "<img" not in graph["./results/"]["text"]


def test_the_description_follows_ro_crate_and_the_checks_of_the_eln_consortium(
    analysed: AnalysedPattern, content: bytes
) -> None:
    """What their validators require, which need a network."""
    files = {"json": b"{}", "csv": b"a"}
    graph = crate_metadata(analysed, files, when=WHEN, content=content)["@graph"]
    nodes = {node["@id"]: node for node in graph}
    assert len(nodes) == len(graph), "each node once"
    for node in graph:
        assert isinstance(node["@type"], str)
        assert all(str(value).strip() for value in node.values()), "no empty values"
        for value in node.values():  # other nodes are named, never embedded
            for part in value if isinstance(value, list) else [value]:
                if isinstance(part, dict):
                    assert list(part) == ["@id"]
                    assert part["@id"] in nodes or part["@id"].startswith("https://")
        for name in ("dateCreated", "dateModified", "datePublished", "endTime"):
            if name in node:
                assert datetime.fromisoformat(node[name]).tzinfo is not None
        if node["@type"] not in {"Dataset", "File"} and node["@id"] != "ro-crate-metadata.json":
            assert node["@id"].startswith("#")
            assert node["name"]
    descriptor, root = nodes["ro-crate-metadata.json"], nodes["./"]
    assert descriptor["@type"] == "CreativeWork"
    assert descriptor["version"]
    assert nodes[descriptor["sdPublisher"]["@id"]]["@type"] == "Organization"
    assert root["name"]
    assert root["description"]
    assert root["datePublished"]
    license_node = nodes[root["license"]["@id"]]
    assert (license_node["@type"], bool(license_node["description"])) == ("CreativeWork", True)
    reached, waiting = set(), ["./"]
    while waiting:
        reached.add(name := waiting.pop())
        waiting += [part["@id"] for part in nodes[name].get("hasPart", [])]
    assert reached == {node["@id"] for node in graph if node["@type"] in {"Dataset", "File"}}
    experiment = nodes["./results/"]
    assert isinstance(experiment["keywords"], str)
    assert isinstance(experiment["identifier"], str)
    assert all(node["contentSize"].isdecimal() for node in graph if node["@type"] == "File")


def test_a_measured_file_that_is_called_like_a_result_is_renamed(analysed: AnalysedPattern, content: bytes) -> None:
    source = replace(analysed.source, name="PLOT.png")
    files = analysed_to_files(replace(analysed, source=source), ("eln",), content=content)
    with zipfile.ZipFile(io.BytesIO(files["eln"])) as archive:
        names = [name.casefold() for name in archive.namelist()]
    assert len(set(names)) == len(names)
    assert "plot.png/results/measured-plot.png" in names


def test_metadata_alone_name_no_files(analysed: AnalysedPattern) -> None:
    described = crate_metadata(analysed, {}, when=WHEN)
    assert [one["@id"] for one in described["@graph"] if one["@type"] == "File"] == []


def test_tables_have_a_row_for_each_pattern_and_no_formulas_for_spreadsheets(analysed: AnalysedPattern) -> None:
    row = analysed_to_row(analysed, when=WHEN)
    (read,) = csv.DictReader(io.StringIO(rows_to_csv([row])))
    assert read["phases"] == analysed.analysis.phases[0].label
    assert float(read["weight_percent"]) == 100
    assert read["title"] == NAME
    assert rows_to_csv([{"a": "=1+1", "b": "-3", "c": "-x"}], header=False) == "'=1+1,-3,'-x\n"


def test_files_of_every_format(analysed: AnalysedPattern, content: bytes, tmp_path: Path) -> None:
    files = analysed_to_files(analysed, tuple(FORMATS), content=content, when=WHEN)
    assert set(files) == set(FORMATS)
    assert all(files.values())
    assert format_of(Path("Report.HTML")) == "html"
    with pytest.raises(InputError, match=r"end in \.json, \.html") as raised:
        write_report(analysed, tmp_path / "result.docx")
    assert raised.value.code == "E_WRITE"
    with pytest.raises(InputError) as raised:
        write_report(analysed, tmp_path / "missing" / "result.json")
    assert raised.value.code == "E_WRITE"
    assert list(tmp_path.iterdir()) == [], "nothing is left behind"
