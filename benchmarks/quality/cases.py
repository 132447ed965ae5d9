"""Small inputs that other programs read wrong: is each read right, or refused with the true reason?

`cases.csv` of the collection has one row a case; the input lies in the folder of that name. Imported by `readers.py`.
Each case goes through the public entry point: `read_scans` and `read_untrusted_pattern` for patterns, the blocks of a
dataset build for structures, `parse_composition` for formulas, `inputs_to_patterns` for objects of a notebook.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from xxact_core.compositions.composition import Composition
from xxact_core.compositions.partial import PartialComposition, parse_composition, possible_symbols
from xxact_core.errors import FormulaError, InputError, PatternError
from xxact_core.patterns.conversions import two_theta_to_q
from xxact_core.patterns.pattern import Pattern
from xxact_core.readers.read import read_pattern, read_scans

CU = 1.5406
"""Wavelength [Å] for which the patterns of the cases were calculated."""

PEAKS = ((30.4, 980.0), (43.5, 219.0))
"""Position [deg] at `CU` and height of two peaks of the patterns, on a background of 20."""

POINTS = (1400, 1401)
"""Points from 10° to 80° in steps of 0.05°."""


@dataclass(frozen=True)
class CaseVerdict:
    """How the input of one case was read."""

    case: str
    reason: str
    """What is wrong; empty for a case that is read as it should be."""

    @property
    def right(self) -> bool:
        """Whether it is read right, or refused where this is right."""
        return not self.reason


def judge_cases(folder: Path) -> list[CaseVerdict]:
    """Verdicts on all cases of `folder`/cases.csv."""
    with (folder / "cases.csv").open(encoding="utf-8", newline="") as stream:
        names = [row["name"] for row in csv.DictReader(stream)]
    return [CaseVerdict(name, _judge(name, folder / name)) for name in names]


def _judge(name: str, folder: Path) -> str:
    try:
        if name.startswith("formula_"):
            return _judge_formulas(name, folder)
        if name.startswith(("cif_", "json_")):
            return _STRUCTURES[name](_read_structures(folder))
        return _PATTERNS[name](folder)
    except InputError as error:
        return f"refused: {error}"
    except Exception as error:  # noqa: BLE001 - any other exception is a wrong answer of the case, whatever its type
        return f"{type(error).__name__}: {error}"


# ------------------------------------------------------------------------------------------------------------ patterns
def wrong_scan(
    pattern: Pattern,
    *,
    wavelength: float | None = None,
    points: tuple[int, ...] = POINTS,
    scale: float = 1.0,
    at: float = CU,
) -> str:
    """What is wrong with a scan of the two peaks; empty if nothing is.

    Args:
        pattern: as it was read.
        wavelength: that it must state [Å]; None for one that is not checked.
        points: numbers of points that are right.
        scale: factor of all intensities.
        at: wavelength [Å] of its angles, where the pattern states none.
    """
    if pattern.two_theta.size not in points:
        return f"{pattern.two_theta.size} points instead of {points[-1]}"
    if wavelength is not None and (pattern.wavelength is None or abs(pattern.wavelength / wavelength - 1) > 1e-3):
        return f"the wavelength is {pattern.wavelength} instead of {wavelength}"
    length = pattern.wavelength or at
    q = two_theta_to_q(pattern.two_theta, wavelength=length)
    for angle, height in PEAKS:
        expected = float(two_theta_to_q(np.array([angle]), wavelength=CU)[0])
        near = np.abs(q / expected - 1) < 0.02
        if not near.any():
            return f"nothing at {angle}° of Cu"
        top = int(np.flatnonzero(near)[pattern.intensity[near].argmax()])
        if abs(q[top] / expected - 1) > 2e-3:
            return f"the peak of {angle}° is at q = {q[top]:.4f} instead of {expected:.4f}"
        if abs(pattern.intensity[top] / (scale * (height + 20)) - 1) > 0.03:
            return f"the peak of {angle}° has {pattern.intensity[top]:g} instead of {scale * (height + 20):g}"
    return ""


def _file(folder: Path) -> Path:
    return next(path for path in sorted(folder.iterdir()) if path.is_file())


def _one(*, wavelength: float | None = None, points: tuple[int, ...] = POINTS) -> Callable[[Path], str]:
    """Judge of a folder whose only file is one scan."""

    def judge(folder: Path) -> str:
        return wrong_scan(read_pattern(_file(folder)), wavelength=wavelength, points=points)

    return judge


def _q_titles(folder: Path) -> str:
    wrong = [
        f"{path.name}: {reason}" for path in sorted(folder.iterdir()) if (reason := wrong_scan(read_pattern(path)))
    ]
    return "; ".join(wrong)


def _refused(code: str, words: str) -> Callable[[Path], str]:
    """Judge of a folder whose file must be refused with this code and such words."""

    def judge(folder: Path) -> str:
        try:
            pattern = read_pattern(_file(folder))
        except PatternError as error:
            right = re.fullmatch(code, error.code) and re.search(words, str(error))
            return "" if right else f"refused for another reason: {error}"
        return f"read as {pattern.two_theta.size} points over 2θ"

    return judge


def _noted(words: str, *, points: tuple[int, ...] = POINTS) -> Callable[[Path], str]:
    """Judge of one scan that carries a note with such words."""

    def judge(folder: Path) -> str:
        pattern = read_pattern(_file(folder))
        wrong = wrong_scan(pattern, points=points)
        told = any(re.search(words, note) for note in pattern.warnings)
        return wrong or ("" if told else f"no note about it: {pattern.warnings}")

    return judge


def _series(folder: Path) -> str:
    scans = read_scans(_file(folder))
    if len(scans) != 3:
        note = any("column" in note for note in scans[0].warnings)
        return "" if note else f"{len(scans)} scan and no note that two columns were left out"
    wrong = [wrong_scan(scan, scale=number) for number, scan in enumerate(scans, 1)]
    return "; ".join(filter(None, wrong))


def _ranges(folder: Path) -> str:
    scans = read_scans(_file(folder))
    return "; ".join(filter(None, map(wrong_scan, scans))) if len(scans) == 2 else f"{len(scans)} scans instead of 2"


def _roundtrip(folder: Path) -> str:
    from xxact_app.plots.export import columns_to_csv, columns_to_netcdf
    from xxact_app.plots.patterns import Curve
    from xxact_app.screens.patterns.drawing import DrawnPatterns
    from xxact_app.screens.patterns.text import to_columns

    wrong = [wrong_scan(scan, wavelength=CU) for scan in read_scans(_file(folder))]
    angles, counts = _curve()
    d = CU / (2 * np.sin(np.deg2rad(angles) / 2))
    curves = [Curve(f"{number}.xy", "black", angles, angles, d, number * counts) for number in (1, 2)]
    drawn = DrawnPatterns(["1", "2"], curves, [CU, CU], rows=[], x_label="", sticks_note="", absent={})
    columns, units = to_columns(drawn), {"two_theta": "degree", "d": "angstrom", "wavelength": "angstrom"}
    netcdf = columns_to_netcdf(columns, dimension="point", units=units, about={})
    for suffix, data in (("csv", columns_to_csv(columns)), ("nc", netcdf)):
        scans = read_scans(data, name=f"export.{suffix}")
        if len(scans) != 2:
            wrong.append(f".{suffix}: {len(scans)} scans instead of 2")
        wrong += [wrong_scan(scan, wavelength=CU, scale=number) for number, scan in enumerate(scans, 1)]
    return "; ".join(filter(None, wrong))


def _dataframes(_folder: Path) -> str:
    import pandas as pd

    from xxact_app.widgets.coerce_patterns import inputs_to_patterns

    angles, counts = _curve()
    frame = pd.DataFrame({"2theta": angles, "I": counts})
    found = [*inputs_to_patterns([frame]).values(), *inputs_to_patterns([pd.Series(counts, index=angles)]).values()]
    return "; ".join(filter(None, map(wrong_scan, found))) if len(found) == 2 else f"{len(found)} patterns"


def _doublet(_folder: Path) -> str:
    import xarray as xr

    from xxact_app.widgets.coerce_patterns import inputs_to_patterns

    angles, counts = _curve()
    pair = {"wavelength": np.array([1.5406, 1.5444])}
    array = xr.DataArray(counts, dims="tth", coords={"tth": angles}, attrs=pair)
    try:
        (pattern,) = inputs_to_patterns([array]).values()
    except InputError:
        return ""
    mean = (2 * 1.5406 + 1.5444) / 3
    return "" if pattern.wavelength and abs(pattern.wavelength - mean) < 1e-4 else f"wavelength {pattern.wavelength}"


def _curve() -> tuple[np.ndarray, np.ndarray]:
    angles = np.arange(10, 80, 0.05)
    curve = 20 + sum(height * np.exp(-(((angles - angle) / 0.15) ** 2)) for angle, height in PEAKS)
    return angles, np.asarray(curve)


def _log_intensity(folder: Path) -> str:
    refusal = _refused("E_VALUES", "log")(folder)
    return wrong_scan(read_pattern(_file(folder))) if refusal else ""


_PATTERNS: dict[str, Callable[[Path], str]] = {
    "text_wavelength_metres": _one(wavelength=0.213),
    "text_wavelength_unit_first": _one(wavelength=CU),
    "text_q_title": _q_titles,
    "chi_q_words": _one(),
    "spec_scan": _one(),
    "jcamp_affn": _one(),
    "pdfgetx3_iq": _one(wavelength=0.1867),
    "pdf_gr": _refused("E_(AXIS|FORMAT)", "pair distribution|G\\(r"),
    "text_rounded_angles": _noted("angle", points=tuple(range(5000, 7577))),
    "text_nan_gap": _noted("left out|without", points=tuple(range(1300, 1401))),
    "csv_blank_rows": _one(),
    "neutron_in_sample_name": _one(wavelength=CU),
    "text_five_columns": _one(),
    "csv_series": _series,
    "eva_xy_ranges": _ranges,
    "text_log_intensity": _log_intensity,
    "pdcif_angle_2theta": _one(wavelength=CU),
    "nexus_q_nanometer": _one(),
    "xarray_dataarray_file": _one(),
    "nexus_edges": _one(),
    "notebook_dataframe": _dataframes,
    "notebook_wavelength_pair": _doublet,
    "export_roundtrip": _roundtrip,
}


# ---------------------------------------------------------------------------------------------------------- structures
@dataclass(frozen=True)
class _Read:
    """What a dataset build finds in a folder: structures as (formula, atoms, space group, density [g/cm³]), errors."""

    structures: list[tuple[str, int, int, float]]
    errors: list[str]


def _read_structures(folder: Path) -> _Read:
    from xxact_core.simulation.symmetry import find_symmetry
    from xxact_core.structures.labels import Labels
    from xxact_core.structures.sources import list_blocks, read_block

    found = _Read([], [])
    for block in list_blocks(folder, rows=10):
        for item in read_block(block, labels=Labels()):
            if isinstance(item, tuple):
                found.errors.append(item[1])
                continue
            try:
                group = find_symmetry(item).space_group
            except InputError as error:
                found.errors.append(str(error))
                continue
            sites = len(np.unique(np.round(item.frac_coords, 3), axis=0))
            found.structures.append((item.reduced_formula, sites, int(group), _density(item)))
    return found


def _density(structure: object) -> float:
    from pymatgen.core.lattice import Lattice
    from pymatgen.core.periodic_table import Element

    from xxact_core.structures.structure import Structure

    assert isinstance(structure, Structure)
    masses = [float(Element.from_Z(int(number)).atomic_mass) for number in structure.atomic_numbers]
    volume = Lattice.from_parameters(*structure.cell).volume
    return float(np.dot(masses, structure.occupancies)) / volume * 1.66054


def _is(
    formula: str | None, atoms: int, group: int, density: float | None = None, *, error: str | None = None
) -> Callable[[_Read], str]:
    """Judge of one structure; `error`: words of an error row that is right as well, None where none is."""

    def judge(found: _Read) -> str:
        if not found.structures and found.errors:
            if error is not None and re.search(error, found.errors[0], re.IGNORECASE):
                return ""
            return f"refused: {found.errors[0]}"
        if len(found.structures) != 1:
            return f"{len(found.structures)} structures: {found.structures}"
        (one,) = found.structures
        right = one[:3] == (formula or one[0], atoms, group) and (density is None or abs(one[3] / density - 1) < 0.02)
        return "" if right else f"read as {one[0]}, {one[1]} atoms, space group {one[2]}, {one[3]:.2f} g/cm³"

    return judge


def _hydroxyl(found: _Read) -> str:
    with_hydrogen = _is("H2Mg1O2", 5, 164, 2.37)(found)
    return with_hydrogen and _is("Mg1O2", 3, 164, 2.3, error="OH|formula|hydrogen")(found)


def _two(found: _Read) -> str:
    formulas = sorted(formula for formula, *_ in found.structures)
    told = any("left out" in error or "second" in error for error in found.errors)
    return "" if formulas == ["Cl1Na1", "Mg1O1"] or told else f"{formulas}, and no word on another structure"


def _three(found: _Read) -> str:
    formulas = sorted(formula for formula, *_ in found.structures)
    if formulas == ["Br1Cs1", "Cl1Cs1", "Cs1I1"] or (not formulas and found.errors):
        return ""
    return f"{len(formulas)} of 3 materials"


_STRUCTURES: dict[str, Callable[[_Read], str]] = {
    "cif_hydroxyl_label": _hydroxyl,
    "cif_rhombohedral_no_ops": _is("Al2O3", 10, 167, 3.99, error="."),
    "cif_old_symbol": _is("Cl1Na1", 8, 225, 2.16, error="."),
    "cif_contradiction": _is("Cl1Na1", 8, 225, 2.16, error=r"\b4\b|225"),
    "cif_occupancy_roundoff": _is(None, 8, 225, 2.165),
    "cif_occupancy_dot": _is("Cl1Na1", 8, 225),
    "cif_vacancy_symbol": _is("Cl5Na4", 8, 225, error="vacan|Va"),
    "cif_three_digit_thirds": _is("O1Zn1", 4, 186),
    "cif_unlocated_h": _is("Cl1Na1", 8, 225, error=r"\bH1?\b"),
    "cif_dotted_names": _is("Cl1Na1", 8, 225),
    "cif_two_structures": _two,
    "json_pandas_columns": _three,
}


# ------------------------------------------------------------------------------------------------------------ formulas
_REFUSALS = {
    "formula_roman_oxidation": "oxidation",
    "formula_half_water_dot": "two ways|ambiguous|·",
    "formula_oxide_sum_dots": "two ways|ambiguous|·",
    "formula_variable": r"no value|variable|range|from .* to",
    "formula_alloy_hyphens": "wt",
    "formula_dopant": r"\?(?:Nb|Eu|Al)|dopant",
    "formula_decimal_comma": "decimal comma|decimal point",
    "formula_mineral_brackets": "comma|solid solution|without amounts|Mg,Fe|OH,F",
}
"""Words of the refusals that are right; cases that are not listed must be read."""

_WITHOUT_AMOUNTS = {
    "(Mg,Fe)2SiO4": "Fe Mg O Si",
    "Ca5(PO4)3(OH,F)": "Ca F H O P",
    "Y2O3:Eu3+": "Eu O Y",
    "ZnO:Al 2%": "Al O Zn",
}
"""Elements of formulas whose amounts may be left open."""


def _judge_formulas(name: str, folder: Path) -> str:
    wrong = []
    for line in (folder / "formulas.txt").read_text(encoding="utf-8").splitlines():
        text, _, truth = (part.strip() for part in line.partition("->"))
        if text and (reason := _wrong_formula(text, truth, refusal=_REFUSALS.get(name))):
            wrong.append(f"{text}: {reason}")
    return "; ".join(wrong)


def _wrong_formula(text: str, truth: str, *, refusal: str | None) -> str:
    try:
        found = parse_composition(text)
    except FormulaError as error:
        message = str(error).replace(repr(text), "")
        right = refusal and re.search(refusal, message) and "charges" not in message
        return "" if right else f"refused: {message}"
    if text in _WITHOUT_AMOUNTS and isinstance(found, PartialComposition):
        elements = " ".join(sorted(possible_symbols(found)))
        return "" if elements == _WITHOUT_AMOUNTS[text] else f"read as {found}"
    if not truth:
        if text == "Fe-30Ni":
            truth = "Fe 70 wt% Ni 30 wt%"
        else:
            return f"read as {found}"
    expected = parse_composition(truth.rpartition("=")[2].strip().replace(" with ", " "))
    return "" if _same(found, expected) else f"read as {found} instead of {expected}"


def _same(first: Composition | PartialComposition, second: Composition | PartialComposition) -> bool:
    def shares(one: Composition | PartialComposition) -> dict[str, float]:
        amounts = one.amounts or (1.0,) * len(one.symbols)
        return {symbol: amount / sum(amounts) for symbol, amount in zip(one.symbols, amounts, strict=True)}

    mine, theirs = shares(first), shares(second)
    maybe = [set(getattr(one, "maybe", ())) for one in (first, second)]
    equal = mine.keys() == theirs.keys() and all(abs(mine[symbol] - theirs[symbol]) < 1e-3 for symbol in mine)
    return equal and maybe[0] == maybe[1]
