"""Symmetry that a CIF states (operations, Hall and Hermann-Mauguin symbols, number) → symmetry operations."""

from __future__ import annotations

import re
import warnings
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cache, lru_cache

import numpy as np

from xxact_core.errors import StructureError, shorten
from xxact_core.structures.cif_text import CifBlock

OPERATIONS = ("_symmetry_equiv_pos_as_xyz", "_space_group_symop_operation_xyz", "_space_group_symop_xyz")
MAGNETIC_OPERATIONS = ("_space_group_symop_magn_operation_xyz", "_space_group_symop_magn_xyz")
MAGNETIC_CENTRINGS = ("_space_group_symop_magn_centering_xyz", "_space_group_symop_magn_centering_operation_xyz")
SYMBOLS = (
    "_symmetry_space_group_name_h-m",
    "_space_group_name_h-m_alt",
    "_space_group_name_h-m_full",
    "_symmetry_space_group_name_h_m",
    "_space_group_name_h-m",
    "_space_group_name_h-m_ref",
)
HALL_SYMBOLS = ("_space_group_name_hall", "_symmetry_space_group_name_hall")
NUMBERS = ("_space_group_it_number", "_symmetry_int_tables_number")

MOST_OPERATIONS = 1000
"""Largest number of operations. Ours: the largest of a space group is 192, primitive cells in supercells have more."""

METRIC_TOLERANCE = 0.02
"""Relative deviation of a cell from the metric of its symmetry, above which the two contradict each other. Ours: twice
the deviation of strongly rounded cells."""

_SETTINGS = 530
_DENOMINATOR = 24


@dataclass(frozen=True, eq=False)
class Operations:
    """Symmetry operations x' = W x + w of a space group, modulo lattice translations."""

    rotations: np.ndarray
    """W, shape (operations, 3, 3), integers as float64."""
    translations: np.ndarray
    """w, shape (operations, 3), within 0-1."""
    number: int
    """Number of the space group, 1-230; 0 if unknown."""
    source: str
    """What they follow from, for messages."""
    choice: str = ""
    """Origin, axes or setting, for messages."""
    open: str = ""
    """What the file leaves open, where there are several choices; what was assumed, where it states nothing."""

    def __len__(self) -> int:
        """Number of operations."""
        return len(self.rotations)


@dataclass(frozen=True)
class _Setting:
    hall_number: int
    number: int
    short: str
    full: str
    hall: str
    choice: str


def stated_symmetry(block: CifBlock, cell: np.ndarray) -> list[Operations]:
    """Operations that the symmetry in a block may mean, the most likely first.

    There is one where operations are stated, and several where a symbol leaves the origin, the axes or the setting
    open; those that the metric of the cell excludes are left out.

    Args:
        block: a data block.
        cell: a, b, c [Å], α, β, γ [deg].

    Raises:
        StructureError: an operation or a symbol cannot be read, or they contradict each other or the cell.
    """
    magnetic = block.column(*MAGNETIC_OPERATIONS)
    if magnetic:
        return [_magnetic_operations(magnetic, block.column(*MAGNETIC_CENTRINGS))]
    stated = [text for text in block.column(*OPERATIONS) or () if text.strip() not in {"", "?", "."}]
    settings = _stated_settings(block)
    if not stated:
        return _settings_to_operations(block, settings, cell)
    operations = _texts_to_operations(stated)
    _check_metric(operations, cell)
    return [operations]


def stated_numbers(block: CifBlock) -> tuple[set[int], str]:
    """Numbers of the space groups that symbols and number in a block allow, and what it states, for messages.

    The set is empty where nothing is stated, or nothing that is known.

    Raises:
        StructureError: symbols and number contradict each other.
    """
    settings = _stated_settings(block)
    return {setting.number for setting in settings or ()}, describe_stated(block)


def fitting_settings(numbers: Collection[int], cell: np.ndarray) -> list[Operations]:
    """Operations of all settings of space groups that the metric of a cell allows.

    Args:
        numbers: of space groups, 1-230.
        cell: a, b, c [Å], α, β, γ [deg].
    """
    settings = [setting for setting in all_settings() if setting.number in numbers]
    found = [_setting_operations(setting, f"space group {setting.number}") for setting in settings]
    return [one for one in found if _metric_deviation(one.rotations, cell) <= METRIC_TOLERANCE]


def operations_to_number(operations: Operations, cell: np.ndarray) -> int | None:
    """Number of the space group of operations; None if they are not those of a space group.

    Args:
        operations: with or without all centring translations.
        cell: a, b, c [Å], α, β, γ [deg].
    """
    import spglib  # noqa: PLC0415 - with a binary library, and only CIF files need it

    if not _is_group(operations):
        return None
    try:
        with spglib_errors():
            found = spglib.get_spacegroup_type_from_symmetry(
                operations.rotations.astype(np.intc),
                operations.translations,
                lattice=cell_to_vectors(cell),
                symprec=1e-3,
            )
    except (spglib.SpglibError, ValueError):
        return None
    return None if found is None else int(found.number)


@contextmanager
def spglib_errors() -> Iterator[None]:
    """Run spglib without its notice, at each call, that it will raise errors instead of returning None."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        yield


def describe_stated(block: CifBlock) -> str:
    """What a block states on its space group, for messages: `F m -3 m (225)`."""
    number = block.value(*NUMBERS)
    text = block.value(*SYMBOLS) or block.value(*HALL_SYMBOLS)
    shown = shorten(text, limit=40) if text else "space group"
    return f"{shown} ({shorten(number, limit=10)})" if number else shown


# ------------------------------------------------------------------------------------------------- stated operations
def _texts_to_operations(texts: list[str]) -> Operations:
    """Operations from texts such as `-x, y+1/2, -z`, each once."""
    if len(texts) > MOST_OPERATIONS:
        msg = f"{len(texts)} symmetry operations; expected at most {MOST_OPERATIONS}"
        raise StructureError(msg, code="E_STRUCTURE")
    pairs = [parse_operation(text) for text in texts]
    rotations = np.array([rotation for rotation, _ in pairs], dtype=np.float64)
    translations = np.array([translation for _, translation in pairs], dtype=np.float64)
    kept = list({key: index for index, key in reversed(list(enumerate(_keys(rotations, translations))))}.values())
    kept.sort()
    return Operations(
        rotations[kept],
        translations[kept],
        0,
        f"the {len(kept)} stated operations" if len(kept) > 1 else "the stated operations (x,y,z alone)",
    )


@lru_cache(maxsize=4096)
def parse_operation(text: str) -> tuple[np.ndarray, np.ndarray]:
    """Rotation W, shape (3, 3), and translation w, shape (3,), of a text such as `-x, y+1/2, -z` or `x-y,x,z+.3333`.

    A numeral that precedes the text (`1 x,y,z`), and a time reversal that follows it (`x,y,z,+1`), are dropped.

    Raises:
        StructureError: it is no symmetry operation of three dimensions.
    """
    plain = re.sub(r"\s+", "", re.sub(r"^\s*\(?[0-9]+\)?\s+(?=[-+xyzXYZ0-9])", "", text)).lower().strip("'\"")
    plain = plain.replace("−", "-").replace("*", "")
    parts = re.split(r"[,;]", plain)
    if len(parts) == 4 and parts[3] in {"1", "+1", "-1", "m", "-m", "+m"}:  # noqa: PLR2004 - time reversal, magCIF
        parts.pop()
    rotation, translation = np.zeros((3, 3)), np.zeros(3)
    matched = len(parts) == 3 and all(parts)  # noqa: PLR2004 - directions of space
    for row, part in enumerate(parts if matched else ()):
        terms = _TERM.findall(part)
        matched = matched and "".join("".join(term) for term in terms) == part
        for sign, number, behind, _, alone in terms:
            axis = behind or alone
            value = -1.0 if sign == "-" else 1.0
            value *= _fraction(number) if number else 1.0
            if axis:
                rotation[row, "xyz".index(axis)] += value
            else:
                translation[row] += value
    if not matched or not abs(abs(np.linalg.det(rotation)) - 1) < 1e-6 or (rotation != np.rint(rotation)).any():  # noqa: PLR2004 - round-off
        msg = f"{shorten(text, limit=60)!r} is not a symmetry operation such as -x, y+1/2, -z"
        raise StructureError(msg, code="E_STRUCTURE")
    ideal = np.rint(translation * _DENOMINATOR) / _DENOMINATOR
    translation = np.where(np.abs(translation - ideal) < 4e-3, ideal, translation)  # noqa: PLR2004 - 0.333
    return rotation, translation % 1.0


_NUMBER = r"(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:/[0-9]+)?"
_TERM = re.compile(rf"([+-]?)(?:({_NUMBER})([xyz]?)|()([xyz]))")


def _fraction(text: str) -> float:
    numerator, _, denominator = text.partition("/")
    if denominator and float(denominator) == 0:
        msg = f"{shorten(text, limit=40)!r} divides by zero"
        raise StructureError(msg, code="E_STRUCTURE")
    return float(numerator) / float(denominator or 1)


def _magnetic_operations(texts: list[str], centrings: list[str] | None) -> Operations:
    """Operations of a magnetic space group without time reversal: those of the nuclear structure."""
    base = _texts_to_operations(texts)
    if not centrings:
        return base
    rotations, translations = [], []
    for centring in _texts_to_operations(centrings).translations:
        rotations.append(base.rotations)
        translations.append((base.translations + centring) % 1.0)
    return _unique(np.concatenate(rotations), np.concatenate(translations), "the magnetic operations")


def _unique(rotations: np.ndarray, translations: np.ndarray, source: str) -> Operations:
    kept = sorted({key: index for index, key in enumerate(_keys(rotations, translations))}.values())
    return Operations(rotations[kept], translations[kept], 0, source)


def _keys(rotations: np.ndarray, translations: np.ndarray) -> list[bytes]:
    """A key for each operation, equal for equal ones."""
    steps = np.rint(translations * 1000) % 1000
    return [row.tobytes() for row in np.concatenate([rotations.reshape(-1, 9), steps], axis=1).astype(np.int32)]


def _is_group(operations: Operations) -> bool:
    """Whether the product of any two operations is one of them."""
    count = len(operations)
    generators = range(count) if count <= _FEW else [*range(1, _FEW), count - 1, count // 2, count // 3]
    known = set(_keys(operations.rotations, np.rint(operations.translations * 200) / 200))
    for index in generators:
        rotations = operations.rotations @ operations.rotations[index]
        translations = (operations.rotations @ operations.translations[index] + operations.translations) % 1.0
        if not known.issuperset(_keys(rotations, np.rint(translations * 200) / 200)):
            return False
    return True


_FEW = 12
"""Operations that are multiplied with all others; enough to find a list that is cut or incomplete."""


def cell_to_vectors(cell: np.ndarray) -> np.ndarray:
    """Lattice vectors as rows [Å], shape (3, 3)."""
    a, b, c = cell[:3]
    cos_alpha, cos_beta, cos_gamma = np.cos(np.radians(cell[3:]))
    sin_gamma = np.sin(np.radians(cell[5]))
    x, y = c * cos_beta, c * (cos_alpha - cos_beta * cos_gamma) / sin_gamma
    height = np.sqrt(max(c * c - x * x - y * y, 0.0))
    return np.array([[a, 0, 0], [b * cos_gamma, b * sin_gamma, 0], [x, y, height]])


def _metric_deviation(rotations: np.ndarray, cell: np.ndarray) -> float:
    """Largest relative change of the metric tensor under the rotations."""
    vectors = cell_to_vectors(cell)
    metric = vectors @ vectors.T
    scale = np.sqrt(np.outer(np.diag(metric), np.diag(metric)))
    changed = np.einsum("nki,kl,nlj->nij", rotations, metric, rotations)
    return float((np.abs(changed - metric) / scale).max())


def _check_metric(operations: Operations, cell: np.ndarray) -> None:
    if _metric_deviation(operations.rotations, cell) > METRIC_TOLERANCE:
        shown = ", ".join(f"{value:g}" for value in cell)
        msg = f"the cell {shown} contradicts the symmetry of {operations.source}"
        raise StructureError(msg, code="E_SYMMETRY")


# ---------------------------------------------------------------------------------------------- symbols and numbers
def _stated_settings(block: CifBlock) -> list[_Setting] | None:
    """Settings that agree with all that is stated; None if nothing is.

    Raises:
        StructureError: Hall symbol, Hermann-Mauguin symbol and number contradict each other, or none is known.
    """
    symbols = [text for name in SYMBOLS if (text := block.value(name))]
    halls = [text for name in HALL_SYMBOLS if (text := block.value(name))]
    number = block.value(*NUMBERS)
    number = None if number == "0" else number  # programs write 0 where it is unknown
    found: dict[str, tuple[_Setting, ...]] = {}
    unknown = []
    for text, settings in [(text, symbol_to_settings(text)) for text in symbols] + [
        (text, _hall_to_settings(text)) for text in halls
    ]:
        if settings:
            found[text] = settings
        else:
            unknown.append(text)
    if number:
        if not re.fullmatch(r"[0-9]{1,3}(\.0*)?", number) or not 1 <= int(float(number)) <= 230:  # noqa: PLR2004 - there are 230
            msg = f"space group number {shorten(number, limit=20)!r}; expected 1 to 230"
            raise StructureError(msg, code="E_SYMMETRY")
        found[f"number {number}"] = tuple(s for s in all_settings() if s.number == int(float(number)))
    if not found:
        if unknown and not block.column(*OPERATIONS):
            msg = f"space group {shorten(unknown[0], limit=40)!r} is not known; state the symmetry operations"
            raise StructureError(msg, code="E_SYMMETRY")
        return None
    common = None
    for settings in found.values():
        numbers = {setting.hall_number for setting in settings}
        common = numbers if common is None else common & numbers
    if not common:
        groups = [{setting.number for setting in settings} for settings in found.values()]
        if set.intersection(*groups) and block.column(*OPERATIONS):
            return [setting for settings in found.values() for setting in settings]  # the operations decide
        listed = " and ".join(f"{shorten(text, limit=40)} (space group {_numbers(s)})" for text, s in found.items())
        msg = f"the file states {listed}, which contradict each other"
        raise StructureError(msg, code="E_SYMMETRY")
    if unknown and set(found) == {f"number {number}"} and len(common) > 1 and not block.column(*OPERATIONS):
        msg = f"space group {shorten(unknown[0], limit=40)!r} is not known, and its number {number} has {len(common)} "
        msg += "settings; state the symmetry operations"
        raise StructureError(msg, code="E_SYMMETRY")
    return [setting for setting in all_settings() if setting.hall_number in common]


def _numbers(settings: tuple[_Setting, ...]) -> str:
    return " or ".join(str(number) for number in sorted({setting.number for setting in settings}))


def _settings_to_operations(block: CifBlock, settings: list[_Setting] | None, cell: np.ndarray) -> list[Operations]:
    if settings is None:
        return [Operations(np.eye(3)[None], np.zeros((1, 3)), 1, "P 1", open="no symmetry is stated; P 1 was assumed")]
    stated = describe_stated(block)
    if block.value(*SYMBOLS, *HALL_SYMBOLS) is None:  # a number alone means the axes of the standard setting
        settings = [setting for setting in settings if setting.choice in _STANDARD_CHOICES] or settings
    found = [(setting, _setting_operations(setting, stated)) for setting in settings]
    deviations = [_metric_deviation(operations.rotations, cell) for _, operations in found]
    tolerance = max(METRIC_TOLERANCE / 10, min(deviations)) if min(deviations) <= METRIC_TOLERANCE else 0.0
    fitting = [pair for pair, deviation in zip(found, deviations, strict=True) if deviation <= tolerance]
    if not fitting:
        _check_metric(found[int(np.argmin(deviations))][1], cell)
    along_b = [pair for pair in fitting if pair[0].number <= _LAST_MONOCLINIC and "b" in pair[0].choice]
    fitting = along_b or fitting  # the axis that a short symbol means
    return [
        replace(operations, choice=_choice_in_words(setting), open=f"{stated} can be read in {len(fitting)} ways")
        for setting, operations in fitting
    ]


_STANDARD_CHOICES = frozenset({"", "1", "2", "H", "R", "b", "b1"})


def _choice_in_words(setting: _Setting) -> str:
    words = {"1": "origin choice 1", "2": "origin choice 2", "H": "hexagonal axes", "R": "rhombohedral axes"}
    return words.get(setting.choice, setting.full)


@cache
def _setting_arrays(hall_number: int) -> tuple[np.ndarray, np.ndarray]:
    import spglib  # noqa: PLC0415 - with a binary library, and only CIF files need it

    with spglib_errors():
        symmetry = spglib.get_symmetry_from_database(hall_number)
    assert symmetry is not None, hall_number
    return symmetry["rotations"].astype(np.float64), symmetry["translations"] % 1.0


def _setting_operations(setting: _Setting, stated: str) -> Operations:
    rotations, translations = _setting_arrays(setting.hall_number)
    return Operations(rotations, translations, setting.number, stated)


@cache
def all_settings() -> tuple[_Setting, ...]:
    """The 530 settings of the space groups. Source: International Tables for Crystallography A, through spglib."""
    import spglib  # noqa: PLC0415 - with a binary library, and only CIF files need it

    settings = []
    for hall_number in range(1, _SETTINGS + 1):
        with spglib_errors():
            found = spglib.get_spacegroup_type(hall_number)
        assert found is not None, hall_number
        short = _without_ones(found.international_full) if found.number <= _LAST_MONOCLINIC else found.international
        short = "Bbeb" if hall_number == _MISPRINT else short
        settings.append(
            _Setting(hall_number, int(found.number), short, found.international_full, found.hall_symbol, found.choice)
        )
    return tuple(settings)


_LAST_MONOCLINIC, _FIRST_CUBIC = 15, 195
_MISPRINT = 331
"""Setting whose short symbol spglib gives as Bbcb."""


def _without_ones(full: str) -> str:
    """`P 1 2_1/c 1` → `P 2_1/c`."""
    parts = full.split()
    kept = [part for part in parts[1:] if part != "1"]
    return " ".join([parts[0], *(kept or ["1"])])


@lru_cache(maxsize=1024)
def symbol_to_settings(symbol: str) -> tuple[_Setting, ...]:
    """Settings that a Hermann-Mauguin symbol may mean; none if it is not known.

    Short, full, old (Abm2, F m 3 m, C 63/m m c) and extended symbols are known, with or without blanks, with the
    choice of origin or axes as `:1`, `:R`, `S`, `Z`, `H` or `R`, and screw axes as 2_1, 2(1) or 2~1~.
    """
    plain, choice = _plain_symbol(symbol)
    table = _symbol_table()
    found = table.get(plain) or table.get(_hexagonal_letter(plain)) or ()
    settings = tuple(all_settings()[hall_number - 1] for hall_number in found)
    chosen = tuple(setting for setting in settings if setting.choice.startswith(choice))
    if not chosen and choice in {"1", "2"} and not any(setting.choice for setting in settings):
        return settings  # a group with one origin
    return chosen


def _plain_symbol(symbol: str) -> tuple[str, str]:
    """The symbol in lower case without blanks, and the choice of origin or axes."""
    text = re.sub(r"</?su[bp]>|<[^>]*>", "", symbol.strip().strip("'\"")).replace("−", "-").replace("–", "-")
    text = _BEHIND_SYMBOL.sub("", text)
    text = re.sub(r"\\(?:bar|overline)\s*\{?([0-9])\}?", r"-\1", text)
    text = re.sub(r"([0-9])\u0305", r"-\1", text).translate(_SUBSCRIPTS)
    text = re.sub(r"[~_]|(?<=[0-9])\(([1-5])\)|[{}$]", r"\1", text)
    choice = ""
    if match := re.search(r"\(?\s*origin\s*(?:choice|at)?\s*([12])\s*\)?\s*$", text, re.IGNORECASE):
        text, choice = text[: match.start()], match[1]
    elif match := re.search(r"\s*:\s*([A-Za-z0-9-]+)\s*$", text):
        text, choice = text[: match.start()], match[1].upper()
    elif match := re.search(r"(?<=[\s0-9a-z])\s*([SZHR]|HR|RS|HS|O1|O2)$", text.strip()):
        text, choice = text.strip()[: match.start()], match[1]
    elif match := re.search(r"\((hex|rhomb)[a-z. ]*\)\s*$", text, re.IGNORECASE):
        text, choice = text[: match.start()], match[1][0].upper()
    names = {"S": "1", "Z": "2", "O1": "1", "O2": "2", "HR": "H", "RS": "R", "HS": "H", "HEX": "H", "RHOMB": "R"}
    plain = re.sub(r"\s+", "", text).lower()
    choice = names.get(choice, choice)
    monoclinic = re.fullmatch(r"-?[ABC][123]?", choice)
    return plain, choice.lower() if monoclinic else choice


_BEHIND_SYMBOL = re.compile(
    r"(?:\s*\((?:No\.?|#)?\s*[0-9]{2,3}\)|\s+\([0-9]\)|[,;\s]+(?:No\.?|#)\s*[0-9]{1,3})\s*$|^\s*[0-9]{1,3}\s*:\s*",
    re.IGNORECASE,
)
"""A number of the space group beside its symbol: F m -3 m (225)."""

_SUBSCRIPTS = str.maketrans("₀₁₂₃₄₅₆₇₈₉", "0123456789")


def _hexagonal_letter(plain: str) -> str:
    """An old symbol of a hexagonal or trigonal lattice with the letter C, with P instead: C63/mmc → P63/mmc."""
    return "p" + plain[1:] if re.match(r"c-?[36]", plain) else plain


@lru_cache(maxsize=1024)
def _hall_to_settings(symbol: str) -> tuple[_Setting, ...]:
    plain = re.sub(r"[\s_]+", "", symbol).lower()
    return tuple(setting for setting in all_settings() if re.sub(r"\s+", "", setting.hall).lower() == plain)


@cache
def _symbol_table() -> dict[str, tuple[int, ...]]:
    """Hall numbers by symbol, in lower case without blanks."""
    table: dict[str, set[int]] = {}
    for setting in all_settings():
        cubic = setting.number >= _FIRST_CUBIC
        for symbol in {*_spellings(setting.short, cubic=cubic), *_spellings(setting.full, cubic=cubic)}:
            table.setdefault(re.sub(r"[\s_]+", "", symbol).lower(), set()).add(setting.hall_number)
    return {symbol: tuple(sorted(numbers)) for symbol, numbers in table.items()}


def _spellings(symbol: str, *, cubic: bool) -> Iterable[str]:
    """A symbol with its old spellings: translations instead of e, cubic groups without the bar."""
    parts = [part.strip() for part in symbol.split("=")]
    for part in parts:
        spelled = {part}
        letter = part.strip()[0]
        if "e" in part:
            spelled |= {part.replace("e", glide) for glide in {"A": "bc", "B": "ac", "C": "ab"}[letter]}
        if cubic:
            spelled |= {text.replace("-3", "3") for text in spelled}
        yield from spelled
