"""Atom sites of a CIF: labels and type symbols → elements, occupancies and coordinates."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field

import numpy as np

from xxact_core.compositions.element_table import ATOMIC_NUMBERS
from xxact_core.errors import StructureError, shorten
from xxact_core.structures.cif_text import CifBlock
from xxact_core.structures.structure import MOST_ATOMS

COORDINATES = ("_atom_site_fract_x", "_atom_site_fract_y", "_atom_site_fract_z")
LABELS = ("_atom_site_label", "_atom_site_label_atom_id", "_atom_site_id")

LARGEST_COORDINATE = 10.0
"""Largest fractional coordinate; older tables list them times 10,000."""

_VACANCY = re.compile(r"(?:va|vac|vacancy|vacant|void|□|◻|\[\]|vc)[0-9_]*", re.IGNORECASE)
_GROUPS = (
    (re.compile(r"O-?[Hh](?![a-z])"), "O"),
    (re.compile(r"(?:[Ww][Aa][Tt](?:er)?|H[23]O|Oh?w|OH?W)(?![a-z])"), "O"),
    (re.compile(r"[Ww]|HO(?![a-z])"), "O"),
    (re.compile(r"NH[2-4]?(?![a-z])"), "N"),
    (re.compile(r"CH[1-3]?(?![a-z])"), "C"),
)
"""Labels of groups with hydrogen (hydroxyl, water, ammonium, methyl), and the atom at the site."""

_DOUBTFUL_GROUP = 2
"""Index of labels that are elements, too (tungsten, holmium) and groups only if the formula sum says so."""

_CHARGED = re.compile(r"([A-Za-z]{1,2})(?:[0-9.]*[+-][0-9.]*|\((?:[IV]+|[0-9]*[+-]|[+-]?[0-9]*)\))")
_VALENCE_STATE = re.compile(r"(Si|C)v(?:al)?")
"""Scattering factors of bonded atoms, `Cval` and `Siva`. Source: International Tables for Crystallography C, 6.1.1."""

_MIXTURE = re.compile(
    r"\s*\+?\s*(?:([0-9]*\.?[0-9]+)\s*(?:\([0-9]+\))?\s*([A-Z][a-z]?)|([A-Z][a-z]?)\s*(0?\.[0-9]+))\s*"
)
_SYLLABLE = re.compile(r"[A-Z][a-z]*")
_NUMBER = re.compile(r"([+-]?(?:[0-9]+[.,]?[0-9]*|[.,][0-9]+)(?:[eE][+-]?[0-9]+)?)(?:\([0-9]*\))?")
_FRACTION = re.compile(r"([+-]?[0-9]+)/([0-9]+)")
_SYMBOL_NUMBER = re.compile(r"([A-Za-z]{1,2})[0-9]*")
_SYMBOLS_OF_HYDROGEN = frozenset({"H", "D", "T"})


@dataclass
class Site:
    """A site of the asymmetric unit."""

    label: str
    species: list[tuple[str, float]]
    """Element symbols and occupancies."""
    place: np.ndarray
    """Fractional coordinates, shape (3,)."""
    multiplicity: int | None = None
    """Stated number of equivalent positions in the cell."""


@dataclass
class Sites:
    """Sites of a block, and what a reader of the structure should know."""

    sites: list[Site] = field(default_factory=list)
    digits: int = 6
    """Largest number of decimals of a coordinate."""
    hydrogen_missing: bool = False
    """Whether a label or an entry tells of hydrogen without coordinates."""
    notes: list[str] = field(default_factory=list)
    ho_is_hydrogen: bool = False
    """Whether labels such as HO1 are the hydrogen of a hydroxyl group, not its oxygen."""
    ho_labels: bool = False
    """Whether there are such labels."""


def read_sites(block: CifBlock, formula: Collection[str], *, ho_is_hydrogen: bool = False) -> Sites:
    """Sites of a block; vacancies, dummy atoms and hydrogen without coordinates are left out with a note.

    Args:
        block: a data block.
        formula: elements of its formula sum, which decide where a label can be read in two ways; empty if not stated.
        ho_is_hydrogen: whether labels such as HO1 are the hydrogen of a hydroxyl group, not its oxygen.

    Raises:
        StructureError: a site names no element, or has a coordinate or occupancy that is not a number.
    """
    columns = _columns(block)
    found = Sites(ho_is_hydrogen=ho_is_hydrogen)
    dummies: list[str] = []
    vacancies: list[str] = []
    unlocated: list[str] = []
    unknown_occupancy: list[str] = []
    for row in range(len(columns["x"])):
        label, kind = columns["label"][row], columns["type"][row]
        shown = shorten(label if label not in _UNSTATED else kind, limit=40)
        texts = [columns[axis][row] for axis in "xyz"]
        if {label, kind, *texts} <= _UNSTATED:
            continue  # a row of a template
        if columns["flag"][row].lower() in {"dum", "dummy"}:
            dummies.append(shown)
            continue
        occupancy = _to_occupancy(columns["occupancy"][row], shown)
        if columns["occupancy"][row] == "?":
            unknown_occupancy.append(shown)
        if is_vacancy(label, kind, formula):
            vacancies.append(shown)
            continue
        species = _site_species(label, kind, formula, found)
        if all(text in _UNSTATED for text in texts):
            if not {symbol for symbol, _ in species} <= {"H"}:
                msg = f"site {shown} has no coordinates; expected them for all atoms but hydrogen"
                raise StructureError(msg, code="E_STRUCTURE")
            unlocated.append(shown)
            continue
        if occupancy == 0:
            continue
        place = np.array([_to_coordinate(text, shown) for text in texts])
        shares = [(symbol, occupancy * share) for symbol, share in species]
        found.sites.append(
            Site(shown, shares, place, _to_multiplicity(columns["multiplicity"][row], columns["wyckoff"][row]))
        )
        if _to_number(columns["hydrogens"][row]):
            found.hydrogen_missing = True
    found.digits = max((_decimals(text) for axis in "xyz" for text in columns[axis]), default=6)
    for what, labels in (
        ("left out as vacancies", vacancies),
        ("left out as dummy atoms", dummies),
        ("hydrogen without coordinates was left out", unlocated),
        ("an occupancy of ? was taken as 1", unknown_occupancy),
    ):
        if labels:
            found.notes.append(f"{what}: {shorten(', '.join(dict.fromkeys(labels)), limit=80)}")
    found.notes += _note_lost_sites(block, columns["label"])
    found.hydrogen_missing |= bool(unlocated)
    return found


def _note_lost_sites(block: CifBlock, labels: list[str]) -> list[str]:
    """A note on sites that have displacement parameters but no coordinates: their rows may have been lost."""
    known = {*labels, *_UNSTATED}
    lost = [label for text in block.column("_atom_site_aniso_label") or () if (label := text.strip()) not in known]
    return (
        [f"displacement parameters of sites without coordinates: {shorten(', '.join(lost), limit=80)}"] if lost else []
    )


_UNSTATED = frozenset({"", "?", "."})


def _columns(block: CifBlock) -> dict[str, list[str]]:
    """Columns of the sites by a short name, filled with ? where they are missing."""
    loops = [loop for loop in block.loops if COORDINATES[0] in loop]
    if len(loops) > 1:
        msg = f"{len(loops)} lists of atom sites in one data block; expected one"
        raise StructureError(msg, code="E_STRUCTURE")
    loop = (
        loops[0] if loops else {name: [value] for name, value in block.items.items() if name.startswith("_atom_site_")}
    )
    missing = [name for name in COORDINATES if name not in loop]
    if missing:
        cartesian = any("_atom_site_cartn_x" in loop for loop in block.loops)
        msg = f"no {missing[0]}" + ("; Cartesian coordinates are not read" if cartesian else "")
        raise StructureError(msg, code="E_STRUCTURE")
    rows = len(loop[COORDINATES[0]])
    if rows > MOST_ATOMS:
        msg = f"{rows} atom sites; expected at most {MOST_ATOMS}"
        raise StructureError(msg, code="E_STRUCTURE")
    names = {
        "label": LABELS,
        "type": ("_atom_site_type_symbol",),
        "x": COORDINATES[:1],
        "y": COORDINATES[1:2],
        "z": COORDINATES[2:],
        "occupancy": ("_atom_site_occupancy",),
        "flag": ("_atom_site_calc_flag",),
        "hydrogens": ("_atom_site_attached_hydrogens",),
        "wyckoff": ("_atom_site_wyckoff_symbol", "_atom_site_wyckoff_label"),
        "multiplicity": ("_atom_site_symmetry_multiplicity", "_atom_site_site_symmetry_multiplicity"),
    }
    return {
        short: [text.strip() for text in next((loop[name] for name in known if name in loop), None) or [""] * rows]
        for short, known in names.items()
    }


def is_vacancy(label: str, kind: str, formula: Collection[str]) -> bool:
    """Whether a site is a vacancy: `Va`, `Vac`, `□` as its type symbol, or as its label where that is missing."""
    if kind not in _UNSTATED:
        return bool(_VACANCY.fullmatch(kind)) and not (kind.lower() == "va" and "V" in formula)
    return bool(_VACANCY.fullmatch(label)) and "V" not in formula


def _site_species(label: str, kind: str, formula: Collection[str], found: Sites) -> list[tuple[str, float]]:
    """Elements of a site and their shares, which sum to 1 for one element."""
    typed = kind not in _UNSTATED
    text = kind if typed else label
    if shares := _mixture(text):
        return shares
    symbol = _type_symbol(kind) if typed else None
    if symbol is None:
        symbol = _group_symbol(text, formula, found)
    if symbol is None:
        symbol = _label_symbol(text, formula, typed=typed, found=found)
    labelled = re.fullmatch(r"([A-Z][a-z]?)[0-9]*", label)
    if typed and labelled and labelled[1] in ATOMIC_NUMBERS and labelled[1] != symbol and symbol != "D":
        _note(found, f"{shorten(label, limit=40)} was read as {symbol}, its type symbol")
    return [("H" if symbol in _SYMBOLS_OF_HYDROGEN else symbol, 1.0)]


def _group_symbol(text: str, formula: Collection[str], found: Sites) -> str | None:
    """Atom at the site of a group with hydrogen, such as OH, Wat or NH4; None if the label names none."""
    for index, (pattern, element) in enumerate(_GROUPS):
        if not pattern.match(text) or (formula and element not in formula):
            continue
        if text.startswith("OW") and "W" in formula:
            continue  # the oxygen of a tungstate
        if index == _DOUBTFUL_GROUP and (not formula or {"W", "Ho"} & set(formula)):
            continue
        if index == _DOUBTFUL_GROUP and text.startswith("HO"):
            found.ho_labels = True
            if found.ho_is_hydrogen:
                _note(found, f"{shorten(text, limit=40)} was read as H, because it is beside an oxygen atom")
                return "H"
        if not formula or "H" in formula:
            found.hydrogen_missing = True
            _note(found, f"{shorten(text, limit=40)} was read as {element}; its hydrogen has no coordinates")
        return element
    return None


def _note(found: Sites, note: str) -> None:
    found.notes += [] if note in found.notes else [note]


def _label_symbol(text: str, formula: Collection[str], *, typed: bool, found: Sites) -> str:
    readings = [reading for reading in dict.fromkeys(_label_readings(text)) if reading in ATOMIC_NUMBERS]
    first = text[:1]
    if first in formula and first not in readings and not set(readings) & set(formula):  # Pa, where there is P
        lacking = ", ".join(readings)
        _note(found, f"{shorten(text, limit=40)} was read as {first}, because the formula lacks {lacking}")
        readings = [first]
    if formula and set(readings) & set(formula):
        readings = [reading for reading in readings if reading in formula][:1]
    if not readings:
        what = "type symbol" if typed else "label"
        msg = f"site {what} {shorten(text, limit=40)!r} names no chemical element"
        raise StructureError(msg, code="E_ELEMENT")
    if not typed and not formula and (several := _PLACEHOLDERS.match(text)):
        msg = f"site {shorten(text, limit=40)!r} may be {several[0].title()} or stand for several elements; expected "
        raise StructureError(msg + "_atom_site_type_symbol", code="E_ELEMENT")
    if len(readings) > 1:
        msg = f"site {shorten(text, limit=40)!r} may be {' or '.join(readings)}; expected _atom_site_type_symbol"
        raise StructureError(msg, code="E_ELEMENT")
    return readings[0]


_PLACEHOLDERS = re.compile(r"(?:RE|TM)(?![a-z])")
"""Labels of rare earths and transition metals, which read as rhenium and thulium."""

_NEVER_SEEN = 99
"""Atomic number from which on elements are in no crystal: NO, CN and NH in capitals are not nobelium and the like."""


def _type_symbol(kind: str) -> str | None:
    """Element of a type symbol such as Fe3+, O-2, FE, Cval or D; None if it is of no such form."""
    kind = re.sub(r"^[0-9]{1,3}(?=[A-Z])", "", kind)  # the isotope, as in 11B
    if state := _VALENCE_STATE.fullmatch(kind):
        return state[1]
    charged = _CHARGED.fullmatch(kind)
    numbered = _SYMBOL_NUMBER.fullmatch(kind)
    bare = charged[1] if charged else numbered[1] if numbered else ""
    if bare in ATOMIC_NUMBERS or bare in _SYMBOLS_OF_HYDROGEN:
        return bare
    return bare.title() if ATOMIC_NUMBERS.get(bare.title(), _NEVER_SEEN) < _NEVER_SEEN else None


def _label_readings(label: str) -> Iterator[str]:
    """Elements that a label may begin with: Ca1 → Ca; CA1 → Ca, C; MgM1 → Mg; Ow → O."""
    text = label.lstrip("_-( ")
    match = _SYLLABLE.match(text)
    if match is None:
        if text[:1].islower():  # fe1, na2
            yield from _label_readings(text[:1].upper() + text[1:])
        return
    syllable = match[0]
    if len(syllable) > 1:
        yield syllable[:2] if syllable[:2] in ATOMIC_NUMBERS else {"D": "H"}.get(syllable[0], syllable[0])
        return
    following = text[1:2]
    pair = syllable + following.lower()
    if following.isupper() and not text[2:3].islower() and ATOMIC_NUMBERS.get(pair, _NEVER_SEEN) < _NEVER_SEEN:
        yield pair
    yield {"D": "H"}.get(syllable, syllable)


def _mixture(text: str) -> list[tuple[str, float]] | None:
    """Elements and shares of a text such as `0.8Nb + 0.2Zr` or `Fe0.5Mg0.5`; None if it is no such text."""
    shares: list[tuple[str, float]] = []
    place = 0
    while place < len(text):
        match = _MIXTURE.match(text, place)
        if match is None or not match.end() > place:
            break
        shares.append((match[2] or match[3], float(match[1] or match[4])))
        place = match.end()
    named = bool(shares) and place == len(text) and all(symbol in ATOMIC_NUMBERS for symbol, _ in shares)
    if named and "." in text and sum(share for _, share in shares) <= _WHOLE:
        return shares
    elements = re.split(r"[/,+]", text.strip("() "))
    if len(elements) > 1 and all(element.strip() in ATOMIC_NUMBERS for element in elements):
        msg = f"site {shorten(text, limit=40)!r} names several elements without their occupancies"
        raise StructureError(msg, code="E_STRUCTURE")
    return None


_WHOLE = 1.01
"""Largest occupancy of a site; above 1 because of round-off."""


def _to_occupancy(text: str, site: str) -> float:
    """Occupancy of a site; 1 where none is stated. Source: cif_core, default of `_atom_site_occupancy`."""
    if text in _UNSTATED:
        return 1.0
    value = _to_number(text)
    if value is None:
        msg = f"site {site} has the occupancy {shorten(text, limit=40)!r}; expected a number"
        raise StructureError(msg, code="E_STRUCTURE")
    if not 0 <= value <= _WHOLE:
        msg = f"site {site} has the occupancy {value:g}; expected 0 to 1"
        raise StructureError(msg, code="E_STRUCTURE")
    return min(value, 1.0)


def _to_coordinate(text: str, site: str) -> float:
    value = _to_number(text)
    if value is None:
        msg = f"site {site} has the coordinate {shorten(text, limit=40)!r}; expected a number"
        raise StructureError(msg, code="E_STRUCTURE")
    if abs(value) > LARGEST_COORDINATE:
        msg = f"site {site} has the fractional coordinate {value:g}; expected it near 0 to 1"
        raise StructureError(msg, code="E_STRUCTURE")
    return _snap(text, value)


def _snap(text: str, value: float) -> float:
    """A coordinate that is a sixth within its digits (0.333, 0.6667, 0.166), as that sixth."""
    decimals = _decimals(text)
    if decimals < _FEWEST_DECIMALS:
        return value
    sixth = round(value * 6) / 6
    return sixth if abs(value - sixth) <= 1.001 * 10.0**-decimals and abs(value - sixth) <= _LARGEST_SNAP else value


_FEWEST_DECIMALS = 2
_LARGEST_SNAP = 5e-3


def _decimals(text: str) -> int:
    match = re.search(r"[.,]([0-9]+)", text)
    return len(match[1]) if match else 0


def _to_multiplicity(text: str, wyckoff: str) -> int | None:
    """Stated multiplicity of a site, where a Wyckoff letter stands beside it.

    Without one it is often the order of the site symmetry instead. Source: SHELXL-97.
    """
    value = _to_number(text)
    return int(value) if value is not None and value >= 1 and wyckoff not in _UNSTATED else None


def cif_number(text: str | None) -> float | None:
    """Number in a CIF, without its standard uncertainty in brackets; None if it is none."""
    return None if text is None else _to_number(text)


def _to_number(text: str) -> float | None:
    if fraction := _FRACTION.fullmatch(text):
        return float(fraction[1]) / float(fraction[2]) if float(fraction[2]) else None
    match = _NUMBER.fullmatch(text.strip().replace("−", "-"))
    return float(match[1].replace(",", ".")) if match else None
